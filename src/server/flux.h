/* SPDX-License-Identifier: Apache-2.0
 *
 * Bodies of /api/v2/query: the text of the query, the form its CSV is to have, and the few calls of
 * Flux that ask what there is. Flux itself is not spoken.
 */
#ifndef KP_SERVER_FLUX_H
#define KP_SERVER_FLUX_H

#include "base/str.h"
#include "server/influxql.h"

/* How annotated CSV is written. */
struct kpi_dialect {
    bool header;                    /* names of the columns */
    bool datatype, group, defaults; /* annotations before them */
    bool seconds;                   /* dateTime:RFC3339, not Nano */
    char delimiter, comment;        /* , and # */
};

/* The strings "query" and "dialect" of a JSON object. INVALID says what is wrong with it. */
kp_status kpi_flux_read(struct kp_str json, struct kp_buf *query, struct kpi_dialect *dialect,
                        struct kp_error *err) KP_MUST;
/* buckets(), v1.tagValues(bucket: "b", tag: "t") and the like as a query of ours into out; false:
 * it is none of these. UNSUPPORTED: other Flux. */
bool kpi_flux_call(struct kp_str text, struct kpi_inquiry *out, kp_status *out_status,
                   struct kp_error *err);

#endif
