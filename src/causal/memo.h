/* SPDX-License-Identifier: Apache-2.0
 *
 * What transactions of a baseline were found to cost, kept with the snapshot they were
 * read from (memo.c).
 */
#ifndef KP_CAUSAL_MEMO_H
#define KP_CAUSAL_MEMO_H

#include "causal/walk.h"

/* Time of a transaction under one key. */
struct kpi_cost {
    enum kpi_kind kind;
    enum kpi_rule rule;
    struct kp_str object_class;
    kp_dur dur;
};

/* The costs kept under the key, in the order they were put; texts are copied to arena. False: there
 * are none. Any thread. */
bool kpi_memo_get(struct kp_snapshot *snapshot, struct kp_str key, struct kp_arena *arena,
                  struct kpi_list *out);
/* Keeps copies; without memory, or when nobody would be helped, nothing is kept. Any thread. */
void kpi_memo_put(struct kp_snapshot *snapshot, struct kp_str key, const struct kpi_list *costs);

#endif
