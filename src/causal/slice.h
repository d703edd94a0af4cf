/* SPDX-License-Identifier: Apache-2.0
 *
 * Slices while they are made, and stretches of time cut by the rows that cover them (slice.c).
 */
#ifndef KP_CAUSAL_SLICE_H
#define KP_CAUSAL_SLICE_H

#include "causal/walk.h"

/* Calls inside for the parts of [from, to) that rows of the group cover and outside for the rest,
 * in order of time; of overlapping rows the earlier begun wins. */
typedef void (*kpi_outside_fn)(struct kpi_walk *walk, const struct kpi_frame *frame,
                               const struct kpi_interval *iv, kp_time from, kp_time to);
typedef void (*kpi_inside_fn)(struct kpi_walk *walk, const struct kpi_frame *frame,
                              const struct kpi_interval *iv, const struct kpi_work *row,
                              kp_time from, kp_time to);
struct kpi_cut {
    enum kpi_works set;
    kpi_inside_fn inside;
    kpi_outside_fn outside;
};
void kpi_cut_run(struct kpi_walk *walk, const struct kpi_frame *frame,
                 const struct kpi_interval *iv, const struct kpi_cut *cut, uint32_t group,
                 kp_time from, kp_time to);

/* A slice of the frame's thread, prefilled; iv may be NULL. */
struct kpi_slice kpi_slice_make(const struct kpi_walk *walk, const struct kpi_frame *frame,
                                const struct kpi_interval *iv, kp_time from, kp_time to);
/* Gives a slice out; empty ones are dropped. Slices must come in order without holes. */
void kpi_slice_emit(struct kpi_walk *walk, struct kpi_slice *slice);
void kpi_slice_event(struct kpi_slice *slice, uint32_t event);
void kpi_slice_work(struct kpi_slice *slice, const struct kpi_work *work);

#endif
