/* SPDX-License-Identifier: Apache-2.0
 *
 * What the sources over stored streams share: keys collected from conditions, and the way from a
 * stored batch to query columns (names for ENUM values).
 */
#ifndef KP_QUERY_SCAN_H
#define KP_QUERY_SCAN_H

#include "query/op.h"

/* Conditions a scan takes over. */
struct kpi_scan_keys {
    struct kp_scan_key keys[KP_SCAN_KEYS_MAX];
    uint32_t count;
    struct kpi_bounds bounds;
    bool empty; /* a key that nothing can meet */
};

void kpi_scan_keys_init(struct kpi_scan_keys *keys);
/* Takes a condition on a query column of a stream; true when the scan applies it exactly. */
bool kpi_scan_keys_push(struct kpi_run *run, struct kpi_scan_keys *keys,
                        const struct kp_stream *stream, const struct kp_query_column *column,
                        const struct kpi_push *push);
void kpi_scan_keys_text(const struct kpi_scan_keys *keys, const struct kp_stream *stream,
                        struct kp_buf *out);
/* A scan of these streams (by number) without columns, for kp_scan_tally; false when it cannot do
 * what is wanted. */
bool kpi_scan_keys_tally(const struct kpi_run *run, const struct kpi_scan_keys *keys,
                         const bool *kinds, kp_time from, kp_time to, struct kp_scan_req *out);
/* One bound of time; narrows the range. */
void kpi_bounds_push(struct kpi_bounds *bounds, const struct kpi_push *push);
/* True when every stored row lies within. */
bool kpi_bounds_whole(const struct kpi_run *run, const struct kpi_bounds *bounds);
/* What part of the stored time lies within, 0 to 1. */
double kpi_bounds_part(const struct kpi_run *run, const struct kpi_bounds *bounds);
void kpi_bounds_text(const struct kpi_bounds *bounds, struct kp_buf *out);

/* ENUM numbers to names: a dictionary that grows with the numbers seen outside the table. */
struct kpi_enum_names {
    const struct kp_stored_column *column;
    struct kp_str *names;
    int64_t *values;
    uint32_t count, capacity;
    uint32_t codes[512]; /* of values 0..511, + 1 */
    struct kp_dict dict;
};

/* The column as a string vector; `codes` has room for a batch. False with the error set. */
bool kpi_enum_vector(struct kpi_ctx *ctx, struct kpi_enum_names *names, const struct kp_vec *from,
                     uint32_t rows, uint32_t *codes, struct kp_vec *out);
/* Adds the figures of reading to the query's; of a finished scan. */
void kpi_stat_account(struct kpi_run *run, const struct kp_scan_stat *stat);
void kpi_scan_account(struct kpi_run *run, const struct kp_scan *scan);

#endif
