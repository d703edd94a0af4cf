/* SPDX-License-Identifier: Apache-2.0
 *
 * Paged lists and texts in an arena, and arithmetic on stamps that cannot overflow.
 */
#ifndef KP_CAUSAL_LIST_H
#define KP_CAUSAL_LIST_H

#include "base/arena.h"
#include "column/batch.h"

#define KPI_NONE UINT32_MAX

/* Stamps beyond +-146 years of the epoch are pulled in, so that differences cannot overflow. */
#define KPI_TIME_SANE ((kp_time)1 << 62)
static inline kp_time kpi_time_sane(kp_time t)
{
    return t > KPI_TIME_SANE ? KPI_TIME_SANE : t < -KPI_TIME_SANE ? -KPI_TIME_SANE : t;
}
/* t + d, at most the ends of time. */
static inline kp_time kpi_time_add(kp_time t, kp_dur d)
{
    kp_time sum = 0;
    if (__builtin_add_overflow(t, d, &sum))
        return d < 0 ? KP_TIME_MIN : KP_TIME_MAX;
    return sum;
}

#define KPI_LIST_PAGE  KP_VECTOR_ROWS
#define KPI_LIST_SPARE 256 /* bytes of the largest item */

/* Paged growing list in an arena. Out of memory sets `failed` and hands out a spare item, so that
 * writers need no checks; whoever owns the list checks once at the end. */
struct kpi_list {
    struct kp_arena *arena;
    void **pages;
    uint32_t pages_capacity;
    uint32_t item_bytes;
    uint32_t count;
    bool failed;
    _Alignas(16) char spare[KPI_LIST_SPARE];
};

void kpi_list_init(struct kpi_list *list, struct kp_arena *arena, uint32_t item_bytes);
/* A zeroed new item. */
void *kpi_list_add(struct kpi_list *list);
static inline void *kpi_list_at(const struct kpi_list *list, uint32_t i)
{
    return (char *)list->pages[i / KPI_LIST_PAGE] + (size_t)(i % KPI_LIST_PAGE) * list->item_bytes;
}
/* All items in one array (NULL when empty or out of memory: then failed is set). */
void *kpi_list_flat(struct kpi_list *list);
/* printf into the arena; "" when out of memory. */
struct kp_str kpi_text(struct kp_arena *arena, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

#endif
