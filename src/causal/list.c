/* SPDX-License-Identifier: Apache-2.0
 *
 * Paged lists: items never move, so pointers into a list stay valid while it grows, and a page of
 * a result column is a batch vector as it is. Most lists hold few items: what is not used of a page
 * is not touched, which would cost more than the items.
 */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/assert.h"
#include "causal/list.h"

void kpi_list_init(struct kpi_list *list, struct kp_arena *arena, uint32_t item_bytes)
{
    kp_assert(item_bytes <= KPI_LIST_SPARE);
    memset(list, 0, sizeof(*list));
    list->arena = arena;
    list->item_bytes = item_bytes;
}

static bool pages_grow(struct kpi_list *list)
{
    uint32_t capacity = list->pages_capacity == 0 ? 8 : list->pages_capacity * 2;
    void **pages = kp_arena_zalloc(list->arena, capacity, sizeof(*pages));
    if (pages == NULL)
        return false;
    if (list->pages_capacity > 0)
        memcpy(pages, list->pages, list->pages_capacity * sizeof(*pages));
    list->pages = pages;
    list->pages_capacity = capacity;
    return true;
}

static bool page_add(struct kpi_list *list)
{
    uint32_t page = list->count / KPI_LIST_PAGE;
    if (page >= list->pages_capacity && !pages_grow(list))
        return false;
    list->pages[page] = kp_arena_alloc(list->arena, (size_t)KPI_LIST_PAGE * list->item_bytes);
    return list->pages[page] != NULL;
}

void *kpi_list_add(struct kpi_list *list)
{
    bool full = list->count % KPI_LIST_PAGE == 0;
    if (list->failed || list->count >= KPI_NONE - 1 || (full && !page_add(list))) {
        list->failed = true;
        memset(list->spare, 0, sizeof(list->spare));
        return list->spare;
    }
    return memset(kpi_list_at(list, list->count++), 0, list->item_bytes);
}

void *kpi_list_flat(struct kpi_list *list)
{
    if (list->count == 0)
        return NULL;
    char *flat = kp_arena_alloc(list->arena, (size_t)list->count * list->item_bytes);
    if (flat == NULL) {
        list->failed = true;
        return NULL;
    }
    for (uint32_t at = 0; at < list->count; at += KPI_LIST_PAGE) {
        uint32_t rows = KP_MIN(list->count - at, (uint32_t)KPI_LIST_PAGE);
        memcpy(flat + (size_t)at * list->item_bytes, list->pages[at / KPI_LIST_PAGE],
               (size_t)rows * list->item_bytes);
    }
    return flat;
}

struct kp_str kpi_text(struct kp_arena *arena, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    int length = vsnprintf(NULL, 0, fmt, args);
    va_end(args);
    char *text = length < 0 ? NULL : kp_arena_alloc(arena, (size_t)length + 1);
    if (text == NULL)
        return KP_STR("");
    va_start(args, fmt);
    vsnprintf(text, (size_t)length + 1, fmt, args);
    va_end(args);
    return (struct kp_str){text, (uint32_t)length};
}
