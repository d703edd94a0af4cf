/* SPDX-License-Identifier: Apache-2.0
 *
 * Text of strangers as JSON.
 */
#ifndef KP_INGEST_UTF8_H
#define KP_INGEST_UTF8_H

#include "base/str.h"

/* The bytes are UTF-8, without surrogates and overlong forms. */
bool kpi_utf8_valid(struct kp_str text);
/* Adds "text" with what JSON wants escaped; bytes that are no UTF-8 become U+FFFD. */
void kpi_json_text(struct kp_buf *out, struct kp_str text);

#endif
