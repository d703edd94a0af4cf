/* SPDX-License-Identifier: Apache-2.0
 *
 * What is unusual about this transaction, and which row is its root cause.
 *
 * The excess of a row is its time minus what its class usually spends on the same (kind, object
 * class, rule); rows that share such a key share its median in proportion to their time. Rows come
 * out by excess. One culprit may have several rows, one per victim and span; the root is the
 * largest row of the culprit whose rows together weigh most, if that is a fair part of the
 * slowdown. It is withheld when the transaction was not slow, and when more of the excess is
 * unexplained than those rows account for: a wrong name is worse than none.
 */
#include <stdlib.h>

#include "base/assert.h"
#include "causal/cause.h"

#define ROOT_SHARE_PCT 20 /* of the slowdown that a root must account for */
#define SORT_DEVICE    3
#define SLOW_SPREADS   2 /* distances from median to 95th percentile that a slow one is above */

static bool norm_is_of(const struct kpi_norm *norm, const struct kpi_cause *cause)
{
    return norm->kind == cause->largest.kind && norm->rule == cause->largest.rule &&
           kp_str_equal(norm->object_class, cause->object_class);
}

static void excess_of_norm(struct kpi_causes *causes, const struct kpi_norm *norm)
{
    kp_dur sum = 0;
    for (uint32_t i = 0; i < causes->list.count; i++)
        if (norm_is_of(norm, kpi_cause_at(causes, i)))
            sum += kpi_cause_at(causes, i)->dur;
    for (uint32_t i = 0; i < causes->list.count && sum > 0; i++) {
        struct kpi_cause *cause = kpi_cause_at(causes, i);
        if (norm_is_of(norm, cause))
            cause->excess = cause->dur - (kp_dur)((__int128)norm->median * cause->dur / sum);
    }
}

static void excess_set(struct kpi_causes *causes, const struct kpi_baseline *baseline)
{
    for (uint32_t i = 0; i < causes->list.count; i++)
        kpi_cause_at(causes, i)->excess = kpi_cause_at(causes, i)->dur;
    for (uint32_t i = 0; i < baseline->norms_count; i++)
        excess_of_norm(causes, &baseline->norms[i]);
}

static int cause_compare(const void *a, const void *b)
{
    const struct kpi_cause *x = *(struct kpi_cause *const *)a;
    const struct kpi_cause *y = *(struct kpi_cause *const *)b;
    if (x->excess != y->excess)
        return x->excess > y->excess ? -1 : 1;
    if (x->dur != y->dur)
        return x->dur > y->dur ? -1 : 1;
    return x->order < y->order ? -1 : x->order > y->order;
}

/* How much longer than usual it took, 0 = not slow; everything when there is nothing to compare
 * with. One that failed is worth explaining when it took a little longer; one that did not must lie
 * well outside of what its class does anyway. */
static kp_dur slowdown_of(const struct kpi_causes *causes, const struct kpi_baseline *baseline,
                          bool failed)
{
    if (baseline->used == 0)
        return causes->wall;
    kp_dur slowdown = causes->wall - baseline->wall_median;
    kp_dur spread = baseline->wall_p95 - baseline->wall_median;
    kp_dur least = failed ? baseline->wall_median / 10
                          : KP_MAX(spread * SLOW_SPREADS, baseline->wall_median / 4);
    return slowdown > least ? slowdown : 0;
}

/* Rows that are one culprit's doing of one sort, whoever its victims were. What is waited for at a
 * device is one thing, whoever filled it at the moment. */
static bool same_doing(const struct kpi_world *world, const struct kpi_cause *a,
                       const struct kpi_cause *b)
{
    static const uint8_t sorts[KPI_KINDS] = {
        [KPI_RUNNING] = 1,
        [KPI_SYSCALL] = 1,
        [KPI_PREEMPTED] = 2,
        [KPI_QUEUED] = 2,
        [KPI_MISPLACED] = 2,
        [KPI_BLOCK_QUEUE] = SORT_DEVICE,
        [KPI_BLOCK_DEVICE] = SORT_DEVICE,
    };
    enum kpi_kind x = a->largest.kind, y = b->largest.kind;
    bool sort = x == y || (sorts[x] != 0 && sorts[x] == sorts[y]);
    return sort && kp_str_equal(a->largest.object, b->largest.object) &&
           (sorts[x] == SORT_DEVICE ||
            kpi_culprit_key(world, &a->largest) == kpi_culprit_key(world, &b->largest));
}

static kp_dur excess_of_doing(const struct kpi_world *world, struct kpi_cause **ranked,
                              uint32_t count, uint32_t at)
{
    kp_dur sum = 0;
    for (uint32_t i = 0; i < count; i++)
        if (same_doing(world, ranked[i], ranked[at]))
            sum += KP_MAX(ranked[i]->excess, 0);
    return sum;
}

static enum kpi_verdict root_mark(const struct kpi_world *world, struct kpi_cause **ranked,
                                  uint32_t count, kp_dur slowdown)
{
    kp_dur unexplained = 0, most = 0;
    struct kpi_cause *root = NULL;
    if (slowdown <= 0)
        return KPI_VERDICT_NOT_SLOW;
    for (uint32_t i = 0; i < count && ranked[i]->excess > 0; i++) {
        if (!kpi_cause_named(ranked[i])) {
            unexplained += ranked[i]->excess;
            continue;
        }
        kp_dur sum = excess_of_doing(world, ranked, count, i);
        if (sum > most) {
            most = sum;
            root = ranked[i];
        }
    }
    if (unexplained > most)
        return KPI_VERDICT_UNEXPLAINED;
    if (root == NULL || (__int128)most * 100 < (__int128)slowdown * ROOT_SHARE_PCT)
        return KPI_VERDICT_SPREAD;
    root->root = true;
    return KPI_VERDICT_ROOT;
}

struct kpi_cause **kpi_rank(struct kpi_causes *causes, const struct kpi_baseline *baseline,
                            bool failed, enum kpi_verdict *out_verdict)
{
    static struct kpi_cause *none[1];
    excess_set(causes, baseline);
    struct kpi_cause **ranked = kpi_list_flat(&causes->list);
    if (causes->list.failed)
        return NULL;
    if (causes->list.count > 1)
        qsort(ranked, causes->list.count, sizeof(struct kpi_cause *), cause_compare);
    *out_verdict =
        root_mark(causes->world, ranked, causes->list.count, slowdown_of(causes, baseline, failed));
    return ranked == NULL ? none : ranked;
}
