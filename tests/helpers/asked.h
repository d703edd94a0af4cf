/* SPDX-License-Identifier: Apache-2.0
 *
 * The rows of a query as text, to be compared byte by byte.
 */
#ifndef KP_TESTS_ASKED_H
#define KP_TESTS_ASKED_H

#include "query/query.h"

/* Asks a question and appends its rows to out, cells apart by blanks. END: those were all.
 * out_stat may be NULL. */
kp_status asked_text(struct kp_snapshot *snapshot, const char *question,
                     const struct kp_query_opts *opts, struct kp_buf *out,
                     struct kp_query_stat *out_stat, struct kp_error *err) KP_MUST;

#endif
