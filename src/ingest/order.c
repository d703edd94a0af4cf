/* SPDX-License-Identifier: Apache-2.0
 *
 * Lanes are rings kept sorted by insertion from the tail: a record that is in order costs one
 * comparison, a nested interrupt a few. The merge is a binary heap of the lanes by their heads, so
 * a record costs log2(CPUs) comparisons at worst and one or two while a lane keeps the lead. A heap
 * of all records was rejected: its depth grows with the time held, not with the CPUs.
 *
 * Records are copied into chunks; a chunk is reused when its last record has left. Invariant: the
 * heap holds exactly the lanes that are not empty, each at the place lane->heap_at.
 */
#include "ingest/order.h"

#include <stdlib.h>
#include <string.h>

#include "base/assert.h"

#define CHUNK_BYTES ((size_t)64 << 10)

struct chunk {
    struct chunk *next; /* in the free list */
    uint32_t used;
    uint32_t live; /* records not yet let go */
    uint8_t bytes[] __attribute__((aligned(8)));
};

struct item {
    int64_t mono;
    const uint8_t *record;
    struct chunk *chunk;
    uint32_t size;
    bool late;
};

struct lane {
    struct item *items; /* ring of capacity (a power of two) */
    uint32_t capacity, head, count;
    uint32_t cpu;
    uint32_t heap_at;
};

struct kpi_order {
    struct lane *lanes[KPI_ORDER_CPUS_MAX];
    struct lane **heap;
    uint32_t heap_count, heap_capacity;
    struct chunk *filling, *free_chunks;
    struct chunk *popped; /* holds the record given out last */
    size_t bytes_max, bytes_held;
    uint64_t records_held;
    int64_t complete, released;
};

kp_status kpi_order_init(size_t bytes_max, struct kpi_order **out)
{
    struct kpi_order *order = calloc(1, sizeof(*order));
    if (order == NULL)
        return KP_NO_MEMORY;
    order->bytes_max = bytes_max;
    order->complete = INT64_MIN;
    order->released = INT64_MIN;
    *out = order;
    return KP_OK;
}

static void chunk_let_go(struct kpi_order *order, struct chunk *chunk)
{
    if (chunk == NULL || --chunk->live > 0 || chunk == order->filling)
        return;
    chunk->next = order->free_chunks;
    order->free_chunks = chunk;
}

void kpi_order_deinit(struct kpi_order *order)
{
    if (order == NULL)
        return;
    kpi_order_complete(order, INT64_MAX);
    struct kpi_ordered dropped;
    while (kpi_order_pop(order, &dropped))
        ;
    chunk_let_go(order, order->popped);
    free(order->filling);
    while (order->free_chunks != NULL) {
        struct chunk *next = order->free_chunks->next;
        free(order->free_chunks);
        order->free_chunks = next;
    }
    for (uint32_t cpu = 0; cpu < KPI_ORDER_CPUS_MAX; cpu++) {
        if (order->lanes[cpu] != NULL)
            free(order->lanes[cpu]->items);
        free(order->lanes[cpu]);
    }
    free(order->heap);
    free(order);
}

/* --- bytes --- */

static bool chunk_ready(struct kpi_order *order, size_t size)
{
    struct chunk *chunk = order->filling;
    if (chunk != NULL && CHUNK_BYTES - chunk->used >= size)
        return true;
    if (chunk != NULL && chunk->live == 0) {
        chunk->used = 0;
        return true;
    }
    chunk = order->free_chunks;
    if (chunk != NULL)
        order->free_chunks = chunk->next;
    else
        chunk = malloc(sizeof(*chunk) + CHUNK_BYTES);
    if (chunk == NULL)
        return false;
    chunk->used = chunk->live = 0;
    order->filling = chunk;
    return true;
}

static void copy_record(struct kpi_order *order, const void *record, size_t size, struct item *item)
{
    struct chunk *chunk = order->filling;
    uint8_t *to = chunk->bytes + chunk->used;
    memcpy(to, record, size);
    chunk->used += (uint32_t)((size + 7) & ~(size_t)7);
    chunk->live++;
    item->record = to;
    item->chunk = chunk;
    item->size = (uint32_t)size;
}

/* --- lanes --- */

static struct item *lane_item(const struct lane *lane, uint32_t index)
{
    return &lane->items[(lane->head + index) & (lane->capacity - 1)];
}

static bool lane_room(struct lane *lane)
{
    if (lane->count < lane->capacity)
        return true;
    uint32_t capacity = lane->capacity == 0 ? 256 : lane->capacity * 2;
    struct item *items = malloc(capacity * sizeof(*items));
    if (items == NULL)
        return false;
    for (uint32_t i = 0; i < lane->count; i++)
        items[i] = *lane_item(lane, i);
    free(lane->items);
    lane->items = items;
    lane->capacity = capacity;
    lane->head = 0;
    return true;
}

/* Equal stamps keep their order of arrival. */
static void lane_insert(struct lane *lane, struct item item)
{
    uint32_t at = lane->count++;
    for (; at > 0 && lane_item(lane, at - 1)->mono > item.mono; at--)
        *lane_item(lane, at) = *lane_item(lane, at - 1);
    *lane_item(lane, at) = item;
}

static struct lane *lane_of(struct kpi_order *order, uint32_t cpu)
{
    if (order->lanes[cpu] != NULL)
        return order->lanes[cpu];
    struct lane *lane = calloc(1, sizeof(*lane));
    if (lane == NULL)
        return NULL;
    lane->cpu = cpu;
    order->lanes[cpu] = lane;
    return lane;
}

/* --- the heap of lane heads --- */

static bool heap_room(struct kpi_order *order)
{
    if (order->heap_count < order->heap_capacity)
        return true;
    uint32_t capacity = order->heap_capacity == 0 ? 16 : order->heap_capacity * 2;
    struct lane **heap = realloc(order->heap, capacity * sizeof(struct lane *));
    if (heap == NULL)
        return false;
    order->heap = heap;
    order->heap_capacity = capacity;
    return true;
}

static bool lane_before(const struct lane *a, const struct lane *b)
{
    int64_t mono_a = lane_item(a, 0)->mono, mono_b = lane_item(b, 0)->mono;
    return mono_a != mono_b ? mono_a < mono_b : a->cpu < b->cpu;
}

static void heap_set(struct kpi_order *order, uint32_t at, struct lane *lane)
{
    order->heap[at] = lane;
    lane->heap_at = at;
}

static void heap_up(struct kpi_order *order, uint32_t at)
{
    struct lane *lane = order->heap[at];
    for (; at > 0 && lane_before(lane, order->heap[(at - 1) / 2]); at = (at - 1) / 2)
        heap_set(order, at, order->heap[(at - 1) / 2]);
    heap_set(order, at, lane);
}

static void heap_down(struct kpi_order *order, uint32_t at)
{
    struct lane *lane = order->heap[at];
    for (uint32_t child; (child = 2 * at + 1) < order->heap_count; at = child) {
        if (child + 1 < order->heap_count &&
            lane_before(order->heap[child + 1], order->heap[child]))
            child++;
        if (!lane_before(order->heap[child], lane))
            break;
        heap_set(order, at, order->heap[child]);
    }
    heap_set(order, at, lane);
}

/* --- in and out --- */

kp_status kpi_order_push(struct kpi_order *order, int64_t mono, uint32_t cpu, const void *record,
                         size_t size_bytes)
{
    if (size_bytes == 0 || size_bytes > KPI_ORDER_RECORD_MAX || cpu >= KPI_ORDER_CPUS_MAX)
        return KP_INVALID;
    struct lane *lane = lane_of(order, cpu);
    if (lane == NULL || !lane_room(lane) || !heap_room(order) || !chunk_ready(order, size_bytes))
        return KP_NO_MEMORY;
    struct item item = {.mono = mono, .late = mono < order->released};
    copy_record(order, record, size_bytes, &item);
    lane_insert(lane, item);
    if (lane->count == 1)
        heap_set(order, order->heap_count++, lane);
    heap_up(order, lane->heap_at);
    order->bytes_held += size_bytes;
    order->records_held++;
    return KP_OK;
}

void kpi_order_complete(struct kpi_order *order, int64_t mono)
{
    order->complete = KP_MAX(order->complete, mono);
}

bool kpi_order_pop(struct kpi_order *order, struct kpi_ordered *out)
{
    if (order->heap_count == 0)
        return false;
    struct lane *lane = order->heap[0];
    struct item item = *lane_item(lane, 0);
    if (item.mono >= order->complete && order->bytes_held <= order->bytes_max)
        return false;
    lane->head = (lane->head + 1) & (lane->capacity - 1);
    if (--lane->count == 0)
        heap_set(order, 0, order->heap[--order->heap_count]);
    if (order->heap_count > 0)
        heap_down(order, 0);
    chunk_let_go(order, order->popped);
    order->popped = item.chunk;
    order->bytes_held -= item.size;
    order->records_held--;
    order->released = KP_MAX(order->released, item.mono);
    *out = (struct kpi_ordered){.record = item.record, .size_bytes = item.size, .late = item.late};
    return true;
}

uint64_t kpi_order_held(const struct kpi_order *order, size_t *out_bytes)
{
    *out_bytes = order->bytes_held;
    return order->records_held;
}
