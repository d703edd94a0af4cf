/* SPDX-License-Identifier: Apache-2.0
 *
 * What is unusual about this transaction, and which row is its root cause.
 *
 * The excess of a row is its time minus what its class usually spends on the same (kind, object
 * class, rule); rows that share such a key share its median in proportion to their time. Rows come
 * out by excess. The root is the first row that names somebody or something and is a fair part of
 * the slowdown; it is withheld when the transaction was not slow, and when more of the excess is
 * unexplained than that row accounts for: a wrong name is worse than none.
 */
#include <stdlib.h>

#include "base/assert.h"
#include "causal/cause.h"

#define ROOT_SHARE_PCT 20 /* of the slowdown that a root must account for */
#define SLOW_PCT       10 /* above the class's median to be called slow */

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

/* How much longer than usual it took; everything when there is nothing to compare with. */
static kp_dur slowdown_of(const struct kpi_causes *causes, const struct kpi_baseline *baseline)
{
    if (baseline->used == 0)
        return causes->wall;
    kp_dur slowdown = causes->wall - baseline->wall_median;
    bool slow =
        causes->wall > baseline->wall_p95 && slowdown > baseline->wall_median / 100 * SLOW_PCT;
    return slow ? slowdown : 0;
}

static enum kpi_verdict root_mark(struct kpi_cause **ranked, uint32_t count, kp_dur slowdown)
{
    kp_dur unexplained = 0;
    if (slowdown <= 0)
        return KPI_VERDICT_NOT_SLOW;
    for (uint32_t i = 0; i < count; i++)
        if (!kpi_cause_named(ranked[i]) && ranked[i]->excess > 0)
            unexplained += ranked[i]->excess;
    for (uint32_t i = 0; i < count; i++) {
        struct kpi_cause *cause = ranked[i];
        if (!kpi_cause_named(cause))
            continue;
        if ((__int128)cause->excess * 100 < (__int128)slowdown * ROOT_SHARE_PCT)
            return unexplained * 2 > slowdown ? KPI_VERDICT_UNEXPLAINED : KPI_VERDICT_SPREAD;
        if (unexplained > cause->excess)
            return KPI_VERDICT_UNEXPLAINED;
        cause->root = true;
        return KPI_VERDICT_ROOT;
    }
    return KPI_VERDICT_UNEXPLAINED;
}

struct kpi_cause **kpi_rank(struct kpi_causes *causes, const struct kpi_baseline *baseline,
                            enum kpi_verdict *out_verdict)
{
    static struct kpi_cause *none[1];
    excess_set(causes, baseline);
    struct kpi_cause **ranked = kpi_list_flat(&causes->list);
    if (causes->list.failed)
        return NULL;
    if (causes->list.count > 1)
        qsort(ranked, causes->list.count, sizeof(struct kpi_cause *), cause_compare);
    *out_verdict = root_mark(ranked, causes->list.count, slowdown_of(causes, baseline));
    return ranked == NULL ? none : ranked;
}
