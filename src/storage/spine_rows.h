/* SPDX-License-Identifier: Apache-2.0
 *
 * Rows of all streams at once, from the spine of their page: picked, counted and put in order by
 * their places. Whoever decodes holds the lock of the page; what is decoded may be read by anyone.
 */
#ifndef KP_STORAGE_SPINE_ROWS_H
#define KP_STORAGE_SPINE_ROWS_H

#include "storage/spine.h"

/* Rows of a page by their *places*. Actors by local number, kinds by stream number; NULL = all. */
struct kpi_spine_pick {
    kp_time from, to;
    const bool *kinds, *actors;
};

/* Decodes kinds, and of columns (bit per common column) what rows of all streams need for them. */
kp_status kpi_spine_decode(struct kpi_spine *spine, uint32_t columns) KP_MUST;
/* Lists the places of the picked rows, ascending; room for all rows of the page. Times are decoded
 * unless the pick has them all, actors if it picks them. Returns how many. */
uint32_t kpi_spine_select(const struct kpi_spine *spine, const struct kpi_spine_pick *pick,
                          uint32_t *out);
/* Puts ascending places into the order of the page. Times are decoded. */
kp_status kpi_spine_arrange(const struct kpi_spine *spine, uint32_t *places,
                            uint32_t count) KP_MUST;
/* Counts rows in the time of a pick by actor: counts[slots[kind] * (actors + 1) + actor]; slots
 * NULL: all in the first, and then there is a second table of the same size to be added to it. */
void kpi_spine_tally(const struct kpi_spine *spine, const struct kpi_spine_pick *pick,
                     const uint32_t *slots, uint32_t *counts);
/* Places of a lane with times in [from, to]: [*out_first, *out_end). False: there is no such lane.
 * Times are decoded. */
bool kpi_spine_lane(const struct kpi_spine *spine, uint32_t lane, kp_time from, kp_time to,
                    uint32_t *out_first, uint32_t *out_end);
/* Rows of each stream number in places [first, end). */
void kpi_spine_kinds_count(const struct kpi_spine *spine, uint32_t first, uint32_t end,
                           uint32_t out[UINT8_MAX + 1]);
/* How many rows of a stream the page has; kinds are decoded. */
uint32_t kpi_spine_held(const struct kpi_spine *spine, uint32_t stream);
/* Times by place. */
const int64_t *kpi_spine_times(const struct kpi_spine *spine);
/* Values of a decoded common column, and stream numbers, at places; actors as local numbers. */
void kpi_spine_take(const struct kpi_spine *spine, uint32_t column, const uint32_t *places,
                    uint32_t count, int64_t *out);
void kpi_spine_kinds(const struct kpi_spine *spine, const uint32_t *places, uint32_t count,
                     uint32_t *out);

#endif
