/* SPDX-License-Identifier: Apache-2.0
 *
 * Keys of a scan: which rows of a page pass, and which pages cannot have any.
 */
#ifndef KP_STORAGE_FILTER_H
#define KP_STORAGE_FILTER_H

#include "storage/snapshot.h"

/* A checked key; numbers sorted. Memory belongs to the scan's arena. */
struct kpi_filter_key {
    struct kp_colref column;
    enum kp_type type; /* of the stored column */
    const int64_t *numbers;
    const struct kp_str *strs;
    uint32_t count;
};

struct kpi_filter {
    const struct kp_stream *stream;
    kp_time from, to;
    struct kpi_filter_key keys[KP_SCAN_KEYS_MAX];
    uint32_t keys_count;
    bool nothing; /* a key on the kind names other streams */
};

/* Checks the keys of a request and prepares them. INVALID names the wrong key. */
kp_status kpi_filter_init(struct kpi_filter *filter, const struct kp_scan_req *req,
                          struct kp_arena *arena, struct kp_error *err) KP_MUST;
/* False when the footer proves that no row of the block passes. */
bool kpi_filter_may_pass(const struct kpi_filter *filter, const struct kpi_block_ref *ref);
/* Fills rows (room for all of the page) with the row numbers that pass, in row order. */
kp_status kpi_filter_page(const struct kpi_filter *filter, struct kp_snapshot *snapshot,
                          struct kpi_page *page, uint32_t *rows, uint32_t *out_count) KP_MUST;
/* ts - dur, held inside the range of time. */
static inline kp_time kpi_start_of(kp_time ts, kp_dur dur)
{
    kp_time start;
    if (__builtin_sub_overflow(ts, dur, &start))
        return dur > 0 ? KP_TIME_MIN : KP_TIME_MAX;
    return start;
}
/* A text attribute of an actor. */
struct kp_str kpi_actor_text(const struct kp_actor *actor, enum kp_attr attr);

#endif
