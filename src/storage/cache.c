/* SPDX-License-Identifier: Apache-2.0
 *
 * Pages in memory. A causal walk scans the same few pages hundreds of times, for one thread after
 * the other; decoding a column once and keeping it turns each of those scans into a walk over
 * memory. Least recently used pages go when the cache is over its size and nobody holds them.
 *
 * A page that must be read again would have been worth its room: its cost is added to the size, up
 * to a bound. So who reads much once, which is most questions over everything, works in little
 * memory that stays in the processor's cache; who asks again finds room.
 */
#include "storage/page.h"

#include <stdlib.h>

#include "base/assert.h"
#include "base/big.h"
#include "storage/filter.h"
#include "storage/joined.h"
#include "storage/spine_rows.h"

kp_status kpi_page_new(const struct kp_stream *stream, struct kpi_page **out)
{
    struct kpi_page *page = calloc(1, sizeof(*page));
    if (page == NULL)
        return KP_NO_MEMORY;
    if (pthread_mutex_init(&page->lock, NULL) != 0) {
        free(page);
        return KP_NO_MEMORY;
    }
    page->stream = stream;
    page->ts_min = KP_TIME_MAX;
    page->ts_max = KP_TIME_MIN;
    kp_arena_init(&page->arena, 0);
    page->arena.columns = true;
    *out = page;
    return KP_OK;
}

void kpi_page_free(struct kpi_page *page)
{
    if (page == NULL)
        return;
    pthread_mutex_destroy(&page->lock);
    kp_arena_deinit(&page->arena);
    free(page->parts);
    free(page);
}

kp_status kpi_page_add(struct kpi_page *page, const struct kpi_block *block, const void *joined,
                       size_t joined_size)
{
    if (page->parts_count == page->parts_capacity) {
        uint32_t capacity = page->parts_capacity == 0 ? 1 : page->parts_capacity * 2;
        struct kpi_part *more = realloc(page->parts, capacity * sizeof(*more));
        if (more == NULL)
            return KP_NO_MEMORY;
        page->parts = more;
        page->parts_capacity = capacity;
    }
    page->parts[page->parts_count++] = (struct kpi_part){.block = *block,
                                                         .joined = joined,
                                                         .joined_size = (uint32_t)joined_size,
                                                         .first_row = page->rows,
                                                         .first_actor = page->actors};
    page->rows += block->info.rows;
    page->actors += block->actors;
    page->size += block->info.size;
    page->ts_min = KP_MIN(page->ts_min, block->info.ts_min);
    page->ts_max = KP_MAX(page->ts_max, block->info.ts_max);
    return KP_OK;
}

/* ---------- the cache; callers hold the snapshot's lock ---------- */

static struct kpi_page **slot_of(struct kp_snapshot *snapshot, uint32_t segment, uint32_t number)
{
    uint64_t hash = kp_hash_mix((uint64_t)segment << 32 | number);
    return &snapshot->slots[hash % KPI_CACHE_SLOTS];
}

static void list_remove(struct kp_snapshot *snapshot, struct kpi_page *page)
{
    *(page->newer != NULL ? &page->newer->older : &snapshot->newest) = page->older;
    *(page->older != NULL ? &page->older->newer : &snapshot->oldest) = page->newer;
    page->newer = page->older = NULL;
    page->listed = false;
}

static void list_add(struct kp_snapshot *snapshot, struct kpi_page *page)
{
    page->older = snapshot->newest;
    *(page->older != NULL ? &page->older->newer : &snapshot->oldest) = page;
    snapshot->newest = page;
    page->listed = true;
}

/* A log page cannot be read again: only what was decoded goes. */
static void cache_forget(struct kp_snapshot *snapshot, struct kpi_page *page)
{
    list_remove(snapshot, page);
    snapshot->cache_bytes -= page->cost;
    page->cost = 0;
    kp_arena_deinit(&page->arena);
    page->decoded = 0;
    for (uint32_t i = 0; i < page->parts_count; i++)
        page->parts[i].block.spine = NULL;
    page->ids = NULL;
    memset(page->attrs, 0, sizeof(page->attrs));
    page->order = NULL;
    memset(page->threads, 0, sizeof(page->threads));
    page->sorted = false;
}

/* A spine stays while pages are bound to it. */
static void page_discard(struct kpi_page *page)
{
    if (page->bound != NULL)
        page->bound->refs--;
    kpi_page_free(page);
}

static void cache_drop(struct kp_snapshot *snapshot, struct kpi_page *page)
{
    struct kpi_page **link = slot_of(snapshot, page->segment, page->number);
    while (*link != page)
        link = &(*link)->chain;
    *link = page->chain;
    list_remove(snapshot, page);
    snapshot->cache_bytes -= page->cost;
    page_discard(page);
}

/* One way from the oldest to the newest; true when a page went. */
static bool cache_sweep(struct kp_snapshot *snapshot)
{
    bool dropped = false;
    struct kpi_page *page = snapshot->oldest;
    while (page != NULL && snapshot->cache_bytes > snapshot->cache_limit) {
        struct kpi_page *newer = page->newer;
        if (page->refs == 0 && page->from_log) {
            cache_forget(snapshot, page);
        } else if (page->refs == 0) {
            cache_drop(snapshot, page);
            dropped = true;
        }
        page = newer;
    }
    return dropped;
}

/* Spines are free to go only when the pages bound to them went. */
static void cache_trim(struct kp_snapshot *snapshot)
{
    while (snapshot->cache_bytes > snapshot->cache_limit && cache_sweep(snapshot))
        continue;
}

static struct kpi_page *chain_find(struct kp_snapshot *snapshot, uint32_t segment, uint32_t number)
{
    struct kpi_page *page = *slot_of(snapshot, segment, number);
    while (page != NULL && (page->segment != segment || page->number != number))
        page = page->chain;
    return page;
}

static struct kpi_page *cache_find(struct kp_snapshot *snapshot, uint32_t segment, uint32_t number)
{
    struct kpi_page *page = chain_find(snapshot, segment, number);
    if (page == NULL)
        return NULL;
    page->refs++;
    list_remove(snapshot, page);
    list_add(snapshot, page);
    return page;
}

static void cache_charge(struct kp_snapshot *snapshot, struct kpi_page *page, size_t bytes)
{
    page->cost += bytes;
    snapshot->cache_bytes += bytes;
    if (page->again && snapshot->cache_limit < snapshot->cache_max)
        snapshot->cache_limit = KP_MIN(snapshot->cache_limit + bytes, snapshot->cache_max);
}

/* True when the block was read before. Without memory for that it is always the first time. */
static bool block_seen(struct kp_snapshot *snapshot, uint32_t segment, uint32_t number)
{
    struct kpi_snapshot_segment *from = &snapshot->segments[segment];
    if (from->seen == NULL)
        from->seen = kp_arena_zalloc(&snapshot->arena, from->segment.footer.blocks_count,
                                     sizeof(*from->seen));
    bool seen = from->seen != NULL && from->seen[number];
    if (from->seen != NULL)
        from->seen[number] = true;
    return seen;
}

static void cache_add(struct kp_snapshot *snapshot, struct kpi_page *page)
{
    struct kpi_page **slot = slot_of(snapshot, page->segment, page->number);
    page->chain = *slot;
    *slot = page;
    page->refs = 1;
    list_add(snapshot, page);
    page->again = block_seen(snapshot, page->segment, page->number);
    cache_charge(snapshot, page, sizeof(*page) + page->arena.used_bytes);
    cache_trim(snapshot);
}

/* ---------- getting pages ---------- */

struct kpi_page *kpi_page_cached(struct kp_snapshot *snapshot, uint32_t segment, uint32_t number)
{
    pthread_mutex_lock(&snapshot->lock);
    struct kpi_page *page = cache_find(snapshot, segment, number);
    pthread_mutex_unlock(&snapshot->lock);
    return page;
}

bool kpi_page_there(struct kp_snapshot *snapshot, uint32_t segment, uint32_t number)
{
    pthread_mutex_lock(&snapshot->lock);
    bool there = chain_find(snapshot, segment, number) != NULL;
    pthread_mutex_unlock(&snapshot->lock);
    return there;
}

bool kpi_page_seen(struct kp_snapshot *snapshot, uint32_t segment, uint32_t number)
{
    pthread_mutex_lock(&snapshot->lock);
    const bool *blocks = snapshot->segments[segment].seen;
    bool seen = blocks != NULL && blocks[number];
    pthread_mutex_unlock(&snapshot->lock);
    return seen;
}

void kpi_page_hold(struct kp_snapshot *snapshot, struct kpi_page *page)
{
    pthread_mutex_lock(&snapshot->lock);
    page->refs++;
    if (page->listed)
        list_remove(snapshot, page);
    list_add(snapshot, page);
    pthread_mutex_unlock(&snapshot->lock);
}

void kpi_page_release(struct kp_snapshot *snapshot, struct kpi_page *page)
{
    pthread_mutex_lock(&snapshot->lock);
    kp_assert(page->refs > 0);
    page->refs--;
    cache_trim(snapshot);
    pthread_mutex_unlock(&snapshot->lock);
}

static void damage_ref(struct kp_snapshot *snapshot, const char *file,
                       const struct kpi_block_ref *ref, kp_status status)
{
    struct kp_damage damage = {.file = file,
                               .offset = ref->offset,
                               .size = ref->size,
                               .from = ref->ts_min,
                               .to = ref->ts_max,
                               .rows = ref->stream == &kpi_spine_stream ? 0 : ref->rows,
                               .what = status == KP_VERSION ? "block was written by a newer program"
                                       : status == KP_CORRUPT ? "block does not match its sum"
                                                              : "block could not be read"};
    kpi_snapshot_add_damage(snapshot, &damage);
}

/* The spine of the block's page is shared by all streams of that page. */
static kp_status spine_bind(struct kp_snapshot *snapshot, struct kp_io_queue *queue,
                            const struct kpi_block_ref *ref, struct kpi_page *page,
                            struct kpi_block *block)
{
    const struct kpi_segment *segment = &snapshot->segments[page->segment].segment;
    const struct kpi_block_ref *spine_ref = kpi_segment_spine(segment, ref);
    if (spine_ref == NULL)
        return KP_CORRUPT;
    uint32_t number = (uint32_t)(spine_ref - segment->footer.blocks);
    kp_status status = KP_OK;
    page->bound = kpi_page_cached(snapshot, page->segment, number);
    if (page->bound == NULL)
        status = kpi_page_read(snapshot, queue, page->segment, number, &page->bound);
    return status == KP_OK ? kpi_spine_bind(page->bound->spine, &page->arena, block) : status;
}

static kp_status page_load(struct kp_snapshot *snapshot, struct kp_io_queue *queue, uint32_t number,
                           struct kpi_page *page)
{
    const struct kpi_snapshot_segment *from = &snapshot->segments[page->segment];
    const struct kpi_block_ref *ref = &from->segment.footer.blocks[number];
    struct kpi_block block;
    page->bytes = kp_arena_alloc(&page->arena, ref->size);
    if (page->bytes == NULL)
        return KP_NO_MEMORY;
    page->file = from->path;
    page->offset = ref->offset;
    page->number = number;
    kp_status status = kpi_segment_read(&from->segment, queue, ref, page->bytes, &block);
    if (status == KP_OK && block.info.stream == &kpi_spine_stream)
        status = kpi_spine_open(&block, &page->arena, &page->spine);
    else if (status == KP_OK && block.paged)
        status = spine_bind(snapshot, queue, ref, page, &block);
    return status == KP_OK ? kpi_page_add(page, &block, NULL, 0) : status;
}

kp_status kpi_page_read(struct kp_snapshot *snapshot, struct kp_io_queue *queue, uint32_t segment,
                        uint32_t number, struct kpi_page **out)
{
    const struct kpi_snapshot_segment *from = &snapshot->segments[segment];
    struct kpi_page *page;
    kp_status status = kpi_page_new(from->segment.footer.blocks[number].stream, &page);
    if (status != KP_OK)
        return status;
    page->segment = segment;
    status = page_load(snapshot, queue, number, page);
    if (status != KP_OK) {
        pthread_mutex_lock(&snapshot->lock);
        page_discard(page);
        pthread_mutex_unlock(&snapshot->lock);
        if (status == KP_NO_MEMORY)
            return status;
        damage_ref(snapshot, from->path, &from->segment.footer.blocks[number], status);
        return KP_CORRUPT;
    }
    pthread_mutex_lock(&snapshot->lock);
    struct kpi_page *other = cache_find(snapshot, segment, number);
    if (other == NULL)
        cache_add(snapshot, page);
    else /* another scan was faster */
        page_discard(page);
    pthread_mutex_unlock(&snapshot->lock);
    *out = other != NULL ? other : page;
    return KP_OK;
}

/* ---------- columns; callers hold the page's lock ---------- */

static kp_status part_actors(struct kp_snapshot *snapshot, const struct kpi_part *part,
                             kp_actor_id *ids)
{
    struct kp_arena scratch = {0};
    struct kp_actor *table;
    kp_status status = kpi_block_actors(&part->block, &scratch, &table);
    pthread_mutex_lock(&snapshot->lock);
    for (uint32_t i = 1; status == KP_OK && i <= part->block.actors; i++) {
        ids[part->first_actor + i] = kp_actors_intern(snapshot->actors, &table[i]);
        if (ids[part->first_actor + i] == KP_ACTOR_UNKNOWN)
            status = KP_NO_MEMORY;
    }
    pthread_mutex_unlock(&snapshot->lock);
    kp_arena_deinit(&scratch);
    return status;
}

/* The cost of what was decoded counts at once; pages go when the next one is released. */
void kpi_page_charge(struct kp_snapshot *snapshot, struct kpi_page *page, size_t before)
{
    pthread_mutex_lock(&snapshot->lock);
    cache_charge(snapshot, page, page->arena.used_bytes - before);
    pthread_mutex_unlock(&snapshot->lock);
}

static kp_status own_actors(struct kp_snapshot *snapshot, struct kpi_page *page)
{
    kp_actor_id *ids = kp_arena_zalloc(&page->arena, (size_t)page->actors + 1, sizeof(*ids));
    kp_status status = ids == NULL ? KP_NO_MEMORY : KP_OK;
    for (uint32_t i = 0; status == KP_OK && i < page->parts_count; i++)
        status = part_actors(snapshot, &page->parts[i], ids);
    if (status == KP_OK)
        page->ids = ids;
    return status;
}

/* Pages that are bound to one spine have its actors. */
static kp_status page_actors(struct kp_snapshot *snapshot, struct kpi_page *page)
{
    struct kpi_page *spine = page->bound;
    if (spine == NULL)
        return own_actors(snapshot, page);
    pthread_mutex_lock(&spine->lock);
    size_t before = spine->arena.used_bytes;
    kp_status status = spine->ids == NULL ? own_actors(snapshot, spine) : KP_OK;
    kpi_page_charge(snapshot, spine, before);
    page->ids = spine->ids;
    pthread_mutex_unlock(&spine->lock);
    return status;
}

/* What the column takes from the spine is there afterwards, and stays as it is. */
static kp_status spine_need(struct kp_snapshot *snapshot, struct kpi_page *page, uint32_t column)
{
    struct kpi_page *spine = page->bound;
    if (spine == NULL || kp_type_phys(page->stream->stored[column].type) == KP_PHYS_STR)
        return KP_OK;
    pthread_mutex_lock(&spine->lock);
    size_t before = spine->arena.used_bytes;
    kp_status status = kpi_spine_need(spine->spine, page->stream, column);
    kpi_page_charge(snapshot, spine, before);
    pthread_mutex_unlock(&spine->lock);
    return status;
}

static void page_damage(struct kp_snapshot *snapshot, struct kpi_page *page)
{
    struct kp_damage damage = {.file = page->file,
                               .offset = page->offset,
                               .size = page->size,
                               .from = page->ts_min,
                               .to = page->ts_max,
                               .rows = page->spine != NULL ? 0 : page->rows,
                               .what = "a column does not decode"};
    page->bad = true;
    kpi_snapshot_add_damage(snapshot, &damage);
}

/* Puts a part's column into its place in the page's. */
static void part_place(const struct kpi_part *part, const struct kp_vec *from, struct kp_vec *to)
{
    for (uint32_t i = 0; i < part->block.info.rows; i++) {
        uint32_t row = part->first_row + i;
        if (kp_type_phys(to->type) == KP_PHYS_STR)
            to->strs[row] = kp_vec_str(from, i);
        else if (to->type == KP_TYPE_ACTOR && from->i64[i] != 0)
            to->i64[row] = from->i64[i] + part->first_actor;
        else
            to->i64[row] = from->i64[i];
    }
}

static kp_status parts_join(struct kpi_page *page, uint32_t column, struct kp_vec *joined)
{
    bool is_str = kp_type_phys(joined->type) == KP_PHYS_STR;
    kp_status status = KP_OK;
    for (uint32_t i = 0; status == KP_OK && i < page->parts_count; i++) {
        struct kp_arena scratch = {0};
        struct kp_vec vec;
        /* strings stay where they are decoded, and so does what a spine keeps for other columns */
        bool stays = is_str || page->parts[i].joined != NULL;
        status =
            kpi_block_column(&page->parts[i].block, column, stays ? &page->arena : &scratch, &vec);
        if (status == KP_OK)
            part_place(&page->parts[i], &vec, joined);
        kp_arena_deinit(&scratch);
    }
    return status;
}

/* Opens the joined blocks that parts of a log page lie in, with spines of the page's own. */
static kp_status parts_open(struct kpi_page *page)
{
    kp_status status = KP_OK;
    for (uint32_t i = 0; i < page->parts_count && status == KP_OK; i++) {
        struct kpi_part *part = &page->parts[i];
        struct kpi_block joined, *parts;
        uint32_t count = 0;
        if (part->joined == NULL || part->block.spine != NULL)
            continue;
        status = kpi_block_open(part->joined, part->joined_size, &joined);
        if (status == KP_OK)
            status = kpi_joined_open(&joined, &page->arena, &parts, &count);
        for (uint32_t p = 0; p < count && status == KP_OK; p++)
            if (parts[p].info.stream == page->stream)
                part->block = parts[p];
    }
    return status;
}

static kp_status numbers_decode(struct kpi_page *page, uint32_t column, int64_t *out)
{
    struct kp_vec joined = {.type = page->stream->stored[column].type, .i64 = out};
    return page->parts_count > 1
               ? parts_join(page, column, &joined)
               : kpi_block_numbers(&page->parts[0].block, column, &page->arena, out);
}

static kp_status packed_decode(struct kpi_page *page, uint32_t column)
{
    int64_t *numbers = kp_big_alloc(page->rows * sizeof(*numbers));
    kp_status status = numbers == NULL ? KP_NO_MEMORY : numbers_decode(page, column, numbers);
    if (status == KP_OK)
        status = kpi_pack(numbers, page->rows, &page->arena, &page->packed[column]);
    kp_big_free(numbers);
    return status;
}

static kp_status vec_decode(struct kpi_page *page, uint32_t column)
{
    struct kp_vec joined = {.type = page->stream->stored[column].type};
    bool is_str = kp_type_phys(joined.type) == KP_PHYS_STR;
    if (page->parts_count == 1)
        return kpi_block_column(&page->parts[0].block, column, &page->arena, &page->cols[column]);
    joined.i64 = kp_arena_zalloc(&page->arena, page->rows,
                                 is_str ? sizeof(*joined.strs) : sizeof(*joined.i64));
    kp_status status = joined.i64 == NULL ? KP_NO_MEMORY : parts_join(page, column, &joined);
    if (status == KP_OK)
        page->cols[column] = joined;
    return status;
}

static kp_status column_decode(struct kp_snapshot *snapshot, struct kpi_page *page, uint32_t column)
{
    size_t before = page->arena.used_bytes;
    bool is_actor = page->stream->stored[column].type == KP_TYPE_ACTOR;
    kp_status status = parts_open(page);
    if (status == KP_OK)
        status = spine_need(snapshot, page, column);
    if (status == KP_OK)
        status = kpi_page_packs(page->stream, column) ? packed_decode(page, column)
                                                      : vec_decode(page, column);
    if (status == KP_OK && is_actor && page->ids == NULL)
        status = page_actors(snapshot, page);
    kpi_page_charge(snapshot, page, before);
    if (status == KP_OK)
        page->decoded |= 1u << column;
    else if (status == KP_CORRUPT)
        page_damage(snapshot, page);
    return status;
}

kp_status kpi_page_decode(struct kp_snapshot *snapshot, struct kpi_page *page, uint32_t column)
{
    pthread_mutex_lock(&page->lock);
    kp_status status = page->bad ? KP_CORRUPT : KP_OK;
    if (status == KP_OK && (page->decoded >> column & 1) == 0)
        status = column_decode(snapshot, page, column);
    pthread_mutex_unlock(&page->lock);
    return status;
}

kp_status kpi_page_times(struct kp_snapshot *snapshot, struct kpi_page *page, const int64_t **out)
{
    kp_status status = kpi_page_decode(snapshot, page, KP_COL_TS);
    if (status == KP_OK)
        *out = page->cols[KP_COL_TS].i64;
    return status;
}

kp_status kpi_page_common(struct kp_snapshot *snapshot, struct kpi_page *page, uint32_t columns)
{
    pthread_mutex_lock(&page->lock);
    size_t before = page->arena.used_bytes;
    kp_status status = page->bad ? KP_CORRUPT : kpi_spine_decode(page->spine, columns);
    if (status == KP_OK && (columns >> KP_COL_ACTOR & 1) != 0 && page->ids == NULL)
        status = own_actors(snapshot, page);
    kpi_page_charge(snapshot, page, before);
    if (status == KP_CORRUPT && !page->bad)
        page_damage(snapshot, page);
    pthread_mutex_unlock(&page->lock);
    return status;
}

static kp_status lying_decode(struct kp_snapshot *snapshot, struct kpi_page *page, uint32_t column)
{
    size_t before = page->arena.used_bytes;
    const struct kpi_block *block = &page->parts[0].block;
    bool in_spine = column < block->columns && block->chunks[column].size == 0;
    kp_status status = in_spine ? spine_need(snapshot, page, column) : KP_OK;
    if (status == KP_OK)
        status = kpi_block_lying(block, column, &page->arena, &page->lying[column]);
    kpi_page_charge(snapshot, page, before);
    if (status == KP_OK)
        page->lying_decoded |= 1u << column;
    else if (status == KP_CORRUPT)
        page_damage(snapshot, page);
    return status;
}

kp_status kpi_page_lying(struct kp_snapshot *snapshot, struct kpi_page *page, uint32_t column,
                         const struct kp_vec **out)
{
    pthread_mutex_lock(&page->lock);
    kp_status status = page->bad ? KP_CORRUPT : KP_OK;
    if (status == KP_OK && (page->lying_decoded >> column & 1) == 0)
        status = lying_decode(snapshot, page, column);
    pthread_mutex_unlock(&page->lock);
    if (status == KP_OK)
        *out = &page->lying[column];
    return status;
}

/* ---------- attributes of actors ---------- */

static void *attr_make(const struct kp_actors *actors, struct kpi_page *page, enum kp_attr attr)
{
    bool is_number = attr == KP_ATTR_TID || attr == KP_ATTR_PID;
    size_t item = is_number ? sizeof(int64_t) : sizeof(struct kp_str);
    void *table = kp_arena_alloc(&page->arena, ((size_t)page->actors + 1) * item);
    for (uint32_t i = 0; table != NULL && i <= page->actors; i++) {
        const struct kp_actor *actor = kp_actors_get(actors, page->ids[i]);
        if (is_number)
            ((int64_t *)table)[i] = attr == KP_ATTR_TID ? actor->tid : actor->pid;
        else
            ((struct kp_str *)table)[i] = kpi_actor_text(actor, attr);
    }
    return table;
}

const void *kpi_page_attr(struct kp_snapshot *snapshot, struct kpi_page *page, enum kp_attr attr)
{
    struct kpi_page *owner = page->bound != NULL ? page->bound : page;
    pthread_mutex_lock(&owner->lock);
    size_t before = owner->arena.used_bytes;
    if (owner->attrs[attr] == NULL)
        owner->attrs[attr] = attr_make(snapshot->actors, owner, attr);
    kpi_page_charge(snapshot, owner, before);
    const void *table = owner->attrs[attr];
    pthread_mutex_unlock(&owner->lock);
    return table;
}

/* ---------- order of log blocks ---------- */

kp_status kpi_page_ties(struct kp_snapshot *snapshot, struct kpi_page *page)
{
    kp_status status = kpi_page_decode(snapshot, page, KP_COL_SEQ);
    if (status == KP_OK)
        status = kpi_page_decode(snapshot, page, KP_COL_CPU);
    return status == KP_OK ? kpi_page_decode(snapshot, page, KP_COL_ACTOR) : status;
}

struct kpi_row_key kpi_page_key(const struct kpi_page *page, const int64_t *ts, uint32_t row)
{
    const struct kpi_packed *packed = page->packed;
    return (struct kpi_row_key){
        .ts = ts[row],
        .seq = (uint64_t)kpi_packed_at(&packed[KP_COL_SEQ], row),
        .cpu = (uint32_t)kpi_packed_at(&packed[KP_COL_CPU], row),
        .actor = page->ids[kpi_packed_at(&packed[KP_COL_ACTOR], row)],
    };
}

struct sorter {
    const struct kp_actors *actors;
    const struct kpi_page *page;
    const int64_t *ts;
};

static struct kpi_row_key sorter_key(const struct sorter *sorter, uint32_t row)
{
    return kpi_page_key(sorter->page, sorter->ts, row);
}

static int compare_rows(const void *a, const void *b, void *ctx)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    struct kpi_row_key key_x = sorter_key(ctx, x), key_y = sorter_key(ctx, y);
    int order = kpi_row_compare(((const struct sorter *)ctx)->actors, &key_x, &key_y);
    return order != 0 ? order : x < y ? -1 : x > y;
}

static kp_status order_make(struct kpi_page *page, struct sorter *sorter)
{
    uint32_t rows = page->rows, at = 1;
    for (; at < rows; at++)
        if (compare_rows(&(uint32_t){at - 1}, &(uint32_t){at}, sorter) > 0)
            break;
    if (at >= rows)
        return KP_OK;
    uint32_t *order = kp_arena_alloc(&page->arena, rows * sizeof(*order));
    if (order == NULL)
        return KP_NO_MEMORY;
    for (uint32_t i = 0; i < rows; i++)
        order[i] = i;
    qsort_r(order, rows, sizeof(*order), compare_rows, sorter);
    page->order = order;
    return KP_OK;
}

static bool times_ascend(const int64_t *ts, uint32_t rows)
{
    for (uint32_t i = 1; i < rows; i++)
        if (ts[i - 1] >= ts[i])
            return false;
    return true;
}

static kp_status page_sort(struct kp_snapshot *snapshot, struct kpi_page *page)
{
    struct sorter sorter = {.actors = snapshot->actors, .page = page};
    kp_status status = kpi_page_times(snapshot, page, &sorter.ts);
    if (status == KP_OK && times_ascend(sorter.ts, page->rows))
        return KP_OK; /* nearly always; nothing else need be decoded */
    if (status == KP_OK)
        status = kpi_page_ties(snapshot, page);
    if (status != KP_OK)
        return status;
    pthread_mutex_lock(&page->lock);
    size_t before = page->arena.used_bytes;
    status = page->order == NULL ? order_make(page, &sorter) : KP_OK;
    kpi_page_charge(snapshot, page, before);
    pthread_mutex_unlock(&page->lock);
    return status;
}

kp_status kpi_page_sort(struct kp_snapshot *snapshot, struct kpi_page *page)
{
    pthread_mutex_lock(&page->lock);
    bool sorted = page->sorted;
    pthread_mutex_unlock(&page->lock);
    if (sorted)
        return KP_OK;
    kp_status status = page_sort(snapshot, page);
    pthread_mutex_lock(&page->lock);
    page->sorted = status == KP_OK;
    pthread_mutex_unlock(&page->lock);
    return status;
}
