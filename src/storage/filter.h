/* SPDX-License-Identifier: Apache-2.0
 *
 * Keys of a scan: which rows of a page pass, and which pages cannot have any.
 */
#ifndef KP_STORAGE_FILTER_H
#define KP_STORAGE_FILTER_H

#include "storage/page.h"

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
    bool exact;   /* oracle runs: look at every row's time */
};

/* Rows of a page in row order; kpi_rows_free when done. */
struct kpi_rows {
    uint32_t *list;        /* NULL: all of [first, first + count) */
    uint32_t first, count; /* first: without a list */
};

static inline uint32_t kpi_row_at(const struct kpi_rows *rows, uint32_t i)
{
    return rows->list != NULL ? rows->list[i] : rows->first + i;
}

/* Checks the keys of a request and prepares them. INVALID names the wrong key. */
kp_status kpi_filter_init(struct kpi_filter *filter, const struct kp_scan_req *req,
                          struct kp_arena *arena, struct kp_error *err) KP_MUST;
/* False when the footer proves that no row of the block passes. */
bool kpi_filter_may_pass(const struct kpi_filter *filter, const struct kpi_block_ref *ref);
/* True when the keys on the actor of a row let this one pass; id: as it stands in rows. */
bool kpi_filter_actor(const struct kpi_filter *filter, kp_actor_id id,
                      const struct kp_actor *actor);
/* True when every row of these times passes, whatever is in it. */
bool kpi_filter_whole(const struct kpi_filter *filter, kp_time ts_min, kp_time ts_max);
/* The rows that pass. Decodes only what the filter must look at. lying: keys are on columns as they
 * lie, the whole page is in the window, and rows count in that order. */
kp_status kpi_filter_page(const struct kpi_filter *filter, struct kp_snapshot *snapshot,
                          struct kpi_page *page, bool lying, struct kpi_rows *out) KP_MUST;
void kpi_rows_free(struct kpi_rows *rows);
/* The same for the page of a spine and the rows of several streams (by number, NULL = all):
 * out->list are places, in order unless any_order (filter_spine.c). */
kp_status kpi_filter_spine(const struct kpi_filter *filter, struct kp_snapshot *snapshot,
                           struct kpi_page *page, const bool *kinds, bool any_order,
                           struct kpi_rows *out) KP_MUST;
/* Which local numbers of actors a key on them lets pass; room for page->actors + 1. */
kp_status kpi_filter_locals(const struct kpi_filter_key *key, struct kp_snapshot *snapshot,
                            struct kpi_page *page, bool *passes) KP_MUST;
/* Which pass all keys on actors (malloc'd); *out NULL: there are no such keys. */
kp_status kpi_filter_actors(const struct kpi_filter *filter, struct kp_snapshot *snapshot,
                            struct kpi_page *page, bool **out) KP_MUST;
bool kpi_filter_number(const struct kpi_filter_key *key, int64_t value);
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
