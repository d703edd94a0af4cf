/* SPDX-License-Identifier: Apache-2.0
 *
 * The body of a query of InfluxDB 2.
 */
#ifndef KP_SERVER_FLUX_H
#define KP_SERVER_FLUX_H

#include "base/str.h"

/* The text of "query" at the top of a JSON object; false: there is none, or no text. */
bool kpi_flux_query(struct kp_str json, struct kp_buf *out);

#endif
