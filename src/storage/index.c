/* SPDX-License-Identifier: Apache-2.0
 *
 * The footer of a segment: what a reader must know to read only what it needs. Thread sets are
 * exact lists (about one byte a thread and block), not bit sets: they cost the same, never
 * saturate, and never send a reader to a page in vain.
 *
 *   footer = u32 pages, u32 blocks, u32 exact indexes, u32 sections
 *            blocks:  72 bytes
 *            indexes: see exact.h
 *            sections: u8 kind, 7 x 0, u64 offset, u64 size, u64 sum
 *   sets   = a section: block by block, per set: u8 column, u32 count, chunk of tids (before format
 *            5: in the footer, behind each block)
 */
#include <stdlib.h>

#include "base/assert.h"
#include "storage/segment.h"
#include "storage/spine.h"

#define FOOTER_HEAD 16u

/* ---------- building: thread sets ---------- */

static int compare_numbers(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return x < y ? -1 : x > y;
}

static uint32_t sort_unique(int64_t *values, uint32_t count)
{
    qsort(values, count, sizeof(*values), compare_numbers);
    uint32_t kept = 0;
    for (uint32_t i = 0; i < count; i++)
        if (kept == 0 || values[kept - 1] != values[i])
            values[kept++] = values[i];
    return kept;
}

/* Distinct tids of an ACTOR column: few among many rows, so they are found before they are sorted.
 * seen: a byte per actor of the registry, all 0. */
static uint32_t distinct_tids(const struct kp_batch *batch, uint32_t column, uint8_t *seen,
                              int64_t *out)
{
    const int64_t *ids = batch->cols[column].i64;
    uint32_t count = 0;
    for (uint32_t i = 0; i < batch->rows; i++) {
        if (seen[ids[i]] == 0)
            out[count++] = kp_actors_get(batch->actors, (kp_actor_id)ids[i])->tid;
        seen[ids[i]] = 1;
    }
    return sort_unique(out, count);
}

static kp_status set_add(const struct kp_batch *batch, uint32_t column, struct kp_buf *out)
{
    int64_t *tids = malloc((size_t)batch->rows * sizeof(*tids));
    uint8_t *seen = calloc(kp_actors_count(batch->actors), 1);
    struct kp_buf chunk = {0};
    if (tids == NULL || seen == NULL) {
        free(tids);
        free(seen);
        return KP_NO_MEMORY;
    }
    uint32_t count = distinct_tids(batch, column, seen, tids);
    free(seen);
    kp_status status = kpi_ints_encode(tids, count, KPI_LEVEL_HOT, &chunk);
    uint8_t head[5] = {(uint8_t)column};
    kp_store_u32(head + 1, count);
    kp_buf_add(out, head, sizeof(head));
    kpi_str_add(out, (struct kp_str){chunk.data, (uint32_t)chunk.size});
    kp_buf_deinit(&chunk);
    free(tids);
    return status;
}

static bool column_has_set(const struct kp_stream *stream, uint32_t column)
{
    return column == KP_COL_ACTOR || stream->stored[column].index == KP_INDEX_POSTING;
}

/* ---------- building: exact indexes ---------- */

static struct kp_buf *exact_buf(struct kpi_footer_builder *builder, uint32_t stream,
                                uint32_t column)
{
    for (uint32_t i = 0; i < builder->exact_count; i++)
        if (builder->exact_of[i].stream == stream && builder->exact_of[i].column == column)
            return &builder->exact[i];
    kp_assert(builder->exact_count < KPI_EXACT_MAX);
    builder->exact_of[builder->exact_count] =
        (struct kpi_exact){.stream = (uint8_t)stream, .column = (uint8_t)column};
    return &builder->exact[builder->exact_count++];
}

/* By hash, then block, then row: the order of the file. */
static int compare_entries(const void *a, const void *b)
{
    uint64_t x = kp_load_u64(a), y = kp_load_u64(b);
    if (x != y)
        return x < y ? -1 : 1;
    for (uint32_t at = 8; at < KPI_EXACT_ENTRY; at += 4) {
        uint32_t p = kp_load_u32((const uint8_t *)a + at);
        uint32_t q = kp_load_u32((const uint8_t *)b + at);
        if (p != q)
            return p < q ? -1 : 1;
    }
    return 0;
}

/* One entry per value of the block, with the first row that has it; empty strings have none. */
static kp_status exact_add(struct kpi_footer_builder *builder, const struct kp_batch *batch,
                           uint32_t column)
{
    uint8_t *entries = malloc((size_t)batch->rows * KPI_EXACT_ENTRY);
    if (entries == NULL)
        return KP_NO_MEMORY;
    uint32_t count = 0;
    for (uint32_t row = 0; row < batch->rows; row++) {
        struct kp_str value = kp_vec_str(&batch->cols[column], row);
        if (value.len == 0)
            continue;
        uint8_t *entry = entries + (size_t)count++ * KPI_EXACT_ENTRY;
        kp_store_u64(entry, kpi_exact_hash(batch->stream->number, column, value));
        kp_store_u32(entry + 8, builder->blocks_count);
        kp_store_u32(entry + 12, row);
    }
    qsort(entries, count, KPI_EXACT_ENTRY, compare_entries);
    struct kp_buf *out = exact_buf(builder, batch->stream->number, column);
    for (uint32_t i = 0; i < count; i++) {
        const uint8_t *entry = entries + (size_t)i * KPI_EXACT_ENTRY;
        if (i == 0 || kp_load_u64(entry) != kp_load_u64(entry - KPI_EXACT_ENTRY))
            kp_buf_add(out, entry, KPI_EXACT_ENTRY);
    }
    free(entries);
    return out->failed ? KP_NO_MEMORY : KP_OK;
}

/* ---------- building: the whole ---------- */

void kpi_footer_builder_deinit(struct kpi_footer_builder *builder)
{
    kp_buf_deinit(&builder->blocks);
    kp_buf_deinit(&builder->sets);
    for (uint32_t i = 0; i < builder->exact_count; i++) {
        kp_buf_deinit(&builder->exact[i]);
        kp_buf_deinit(&builder->fences[i]);
    }
    builder->exact_count = 0;
    kpi_rollup_builder_deinit(&builder->rollup);
}

static void ref_add(const struct kpi_block_ref *ref, uint32_t sets, struct kp_buf *out)
{
    uint8_t fixed[KPI_REF_BYTES] = {0};
    kp_store_u64(fixed + KPI_REF_AT_OFFSET, ref->offset);
    kp_store_u64(fixed + KPI_REF_AT_SUM, ref->sum);
    kp_store_u64(fixed + KPI_REF_AT_TS_MIN, (uint64_t)ref->ts_min);
    kp_store_u64(fixed + KPI_REF_AT_TS_MAX, (uint64_t)ref->ts_max);
    kp_store_u64(fixed + KPI_REF_AT_SEQ_MIN, ref->seq_min);
    kp_store_u64(fixed + KPI_REF_AT_SEQ_MAX, ref->seq_max);
    kp_store_u32(fixed + KPI_REF_AT_SIZE, ref->size);
    kp_store_u32(fixed + KPI_REF_AT_ROWS, ref->rows);
    kp_store_u32(fixed + KPI_REF_AT_PAGE, ref->page);
    fixed[KPI_REF_AT_STREAM] = ref->stream->number;
    fixed[KPI_REF_AT_SETS] = (uint8_t)sets;
    kp_buf_add(out, fixed, sizeof(fixed));
}

kp_status kpi_footer_add(struct kpi_footer_builder *builder, const struct kpi_block_ref *ref,
                         const struct kp_batch *batch)
{
    const struct kp_stream *stream = ref->stream;
    uint32_t sets = 0, columns = batch == NULL ? 0 : stream->stored_count;
    for (uint32_t c = 0; c < columns; c++)
        sets += column_has_set(stream, c);
    ref_add(ref, sets, &builder->blocks);
    for (uint32_t c = 0; c < columns; c++) {
        kp_status status = KP_OK;
        if (column_has_set(stream, c))
            status = set_add(batch, c, &builder->sets);
        else if (stream->stored[c].index == KP_INDEX_EXACT)
            status = exact_add(builder, batch, c);
        if (status != KP_OK)
            return status;
    }
    if (batch != NULL) {
        kp_status status = kpi_rollup_add(&builder->rollup, batch);
        if (status != KP_OK)
            return status;
    }
    builder->blocks_count++;
    builder->pages = ref->page + 1;
    return builder->blocks.failed || builder->sets.failed ? KP_NO_MEMORY : KP_OK;
}

kp_status kpi_footer_sets(struct kpi_footer_builder *builder, uint64_t id, uint64_t offset,
                          struct kp_buf *out)
{
    const struct kp_buf *sets = &builder->sets;
    builder->sets_section = (struct kpi_section){
        .offset = offset + out->size,
        .size = sets->size,
        .sum = kpi_section_sum(sets->data, sets->size, id, offset + out->size)};
    kp_buf_add(out, sets->data, sets->size);
    return out->failed ? KP_NO_MEMORY : KP_OK;
}

kp_status kpi_footer_indexes(struct kpi_footer_builder *builder, uint64_t id, uint64_t offset,
                             struct kp_buf *out)
{
    kp_status status = KP_OK;
    for (uint32_t i = 0; i < builder->exact_count && status == KP_OK; i++) {
        struct kp_buf *entries = &builder->exact[i];
        uint32_t count = (uint32_t)(entries->size / KPI_EXACT_ENTRY);
        if (count > 0)
            qsort(entries->data, count, KPI_EXACT_ENTRY, compare_entries);
        status = kpi_exact_pack((const uint8_t *)entries->data, count, id, offset + out->size,
                                &builder->exact_of[i], &builder->fences[i], out);
    }
    return status;
}

static void section_add(const struct kpi_section *section, uint8_t kind, struct kp_buf *out)
{
    uint8_t entry[KPI_SECTION_BYTES] = {kind};
    kp_store_u64(entry + 8, section->offset);
    kp_store_u64(entry + 16, section->size);
    kp_store_u64(entry + 24, section->sum);
    if (section->size > 0)
        kp_buf_add(out, entry, sizeof(entry));
}

kp_status kpi_footer_encode(struct kpi_footer_builder *builder, struct kp_buf *out)
{
    uint8_t head[FOOTER_HEAD] = {0};
    kp_store_u32(head, builder->pages);
    kp_store_u32(head + 4, builder->blocks_count);
    kp_store_u32(head + 8, builder->exact_count);
    kp_store_u32(head + 12, (builder->section.size > 0) + (builder->sets_section.size > 0));
    kp_buf_add(out, head, sizeof(head));
    kp_buf_add(out, builder->blocks.data, builder->blocks.size);
    for (uint32_t i = 0; i < builder->exact_count; i++)
        kpi_exact_head_add(&builder->exact_of[i], &builder->fences[i], out);
    section_add(&builder->section, KPI_SECTION_ROLLUP, out);
    section_add(&builder->sets_section, KPI_SECTION_SETS, out);
    if (out->size > KPI_SEGMENT_FOOTER_MAX)
        return KP_LIMIT;
    return out->failed ? KP_NO_MEMORY : KP_OK;
}

/* ---------- parsing ---------- */

static kp_status set_parse(struct kp_reader *in, struct kp_arena *arena, struct kpi_tid_set *out)
{
    out->column = kp_read_u8(in);
    out->count = kp_read_u32(in);
    struct kp_str chunk = kpi_str_read(in);
    if (in->bad || out->count == 0 || out->count > KPI_BLOCK_ROWS_MAX)
        return KP_CORRUPT;
    int64_t *tids = kp_arena_alloc(arena, out->count * sizeof(*tids));
    if (tids == NULL)
        return KP_NO_MEMORY;
    out->tids = tids;
    return kpi_ints_decode(chunk.ptr, chunk.len, out->count, tids);
}

static bool ref_is_sane(const struct kpi_block_ref *ref, uint64_t data_end, uint32_t pages)
{
    return ref->offset >= KPI_SEGMENT_HEADER && ref->size >= KPI_BLOCK_HEADER &&
           ref->offset <= data_end && ref->size <= data_end - ref->offset && ref->rows > 0 &&
           ref->rows <= KPI_BLOCK_ROWS_MAX && ref->page < pages && ref->ts_min <= ref->ts_max;
}

static kp_status sets_parse(struct kp_reader *in, struct kpi_footer *footer,
                            struct kpi_block_ref *ref)
{
    struct kpi_tid_set *sets = kp_arena_zalloc(&footer->arena, ref->sets_stored, sizeof(*sets));
    if (sets == NULL)
        return KP_NO_MEMORY;
    for (uint32_t i = 0; i < ref->sets_stored; i++) {
        kp_status status = set_parse(in, &footer->arena, &sets[i]);
        if (status != KP_OK)
            return status;
    }
    ref->sets = sets;
    ref->sets_count = ref->sets_stored;
    return KP_OK;
}

static kp_status ref_parse(struct kp_reader *in, uint32_t version, uint64_t data_end,
                           struct kpi_footer *footer, struct kpi_block_ref *out)
{
    const uint8_t *at = kp_read_bytes(in, KPI_REF_BYTES);
    if (at == NULL)
        return KP_CORRUPT;
    *out = (struct kpi_block_ref){
        .stream = kpi_stream_by_number(at[KPI_REF_AT_STREAM]),
        .offset = kp_load_u64(at + KPI_REF_AT_OFFSET),
        .sum = kp_load_u64(at + KPI_REF_AT_SUM),
        .ts_min = (kp_time)kp_load_u64(at + KPI_REF_AT_TS_MIN),
        .ts_max = (kp_time)kp_load_u64(at + KPI_REF_AT_TS_MAX),
        .seq_min = kp_load_u64(at + KPI_REF_AT_SEQ_MIN),
        .seq_max = kp_load_u64(at + KPI_REF_AT_SEQ_MAX),
        .size = kp_load_u32(at + KPI_REF_AT_SIZE),
        .rows = kp_load_u32(at + KPI_REF_AT_ROWS),
        .page = kp_load_u32(at + KPI_REF_AT_PAGE),
        .sets_stored = at[KPI_REF_AT_SETS],
    };
    if (!ref_is_sane(out, data_end, footer->pages))
        return KP_CORRUPT;
    return version < KPI_SEGMENT_VERSION_SETS ? sets_parse(in, footer, out) : KP_OK;
}

static kp_status refs_parse(struct kp_reader *in, uint32_t version, uint64_t data_end,
                            struct kpi_footer *footer)
{
    if (footer->blocks_count > kp_reader_left(in) / KPI_REF_BYTES)
        return KP_CORRUPT;
    struct kpi_block_ref *refs =
        kp_arena_zalloc(&footer->arena, footer->blocks_count, sizeof(*refs));
    if (refs == NULL)
        return KP_NO_MEMORY;
    footer->blocks = refs;
    for (uint32_t i = 0; i < footer->blocks_count; i++) {
        kp_status status = ref_parse(in, version, data_end, footer, &refs[i]);
        if (status != KP_OK)
            return status;
    }
    return KP_OK;
}

static kp_status indexes_parse(struct kp_reader *in, uint32_t version, uint64_t data_end,
                               struct kpi_footer *footer)
{
    if (footer->exact_count > KPI_EXACT_MAX)
        return KP_CORRUPT;
    struct kpi_exact *exact = kp_arena_zalloc(&footer->arena, footer->exact_count, sizeof(*exact));
    if (exact == NULL)
        return KP_NO_MEMORY;
    footer->exact = exact;
    for (uint32_t i = 0; i < footer->exact_count; i++) {
        kp_status status = kpi_exact_parse(in, version, data_end, &exact[i]);
        if (status != KP_OK)
            return status;
    }
    return in->bad ? KP_CORRUPT : KP_OK;
}

/* Sections of kinds that are not known are for newer programs. */
static kp_status sections_parse(struct kp_reader *in, uint64_t data_end, uint32_t count,
                                struct kpi_footer *footer)
{
    for (uint32_t i = 0; i < count; i++) {
        const uint8_t *at = kp_read_bytes(in, KPI_SECTION_BYTES);
        if (at == NULL)
            return KP_CORRUPT;
        struct kpi_section section = {.offset = kp_load_u64(at + 8),
                                      .size = kp_load_u64(at + 16),
                                      .sum = kp_load_u64(at + 24)};
        if (section.offset < KPI_SEGMENT_HEADER || section.offset > data_end ||
            section.size > data_end - section.offset || section.size == 0 ||
            section.size > KPI_SEGMENT_FOOTER_MAX)
            return KP_CORRUPT;
        if (at[0] == KPI_SECTION_ROLLUP)
            footer->rollup = section;
        else if (at[0] == KPI_SECTION_SETS)
            footer->sets = section;
    }
    return KP_OK;
}

kp_status kpi_footer_parse(const void *bytes, size_t size, uint32_t version, uint64_t data_end,
                           struct kpi_footer *out)
{
    struct kp_reader in = kp_reader_init(bytes, size);
    struct kpi_footer footer = {0};
    kp_arena_init(&footer.arena, 0);
    footer.pages = kp_read_u32(&in);
    footer.blocks_count = kp_read_u32(&in);
    footer.exact_count = kp_read_u32(&in);
    uint32_t sections = kp_read_u32(&in); /* 0 before version 3 */
    kp_status status = in.bad ? KP_CORRUPT : refs_parse(&in, version, data_end, &footer);
    if (status == KP_OK)
        status = indexes_parse(&in, version, data_end, &footer);
    if (status == KP_OK)
        status = sections_parse(&in, data_end, sections, &footer);
    if (status == KP_OK && kp_reader_left(&in) != 0)
        status = KP_CORRUPT;
    if (status != KP_OK) {
        kp_arena_deinit(&footer.arena);
        return status;
    }
    *out = footer;
    return KP_OK;
}

kp_status kpi_footer_sets_parse(struct kpi_footer *footer, const void *bytes, size_t size)
{
    struct kp_reader in = kp_reader_init(bytes, size);
    kp_status status = KP_OK;
    for (uint32_t i = 0; i < footer->blocks_count && status == KP_OK; i++)
        status = sets_parse(&in, footer, &footer->blocks[i]);
    if (status == KP_OK && kp_reader_left(&in) != 0)
        status = KP_CORRUPT;
    for (uint32_t i = 0; i < footer->blocks_count && status != KP_OK; i++)
        footer->blocks[i].sets_count = 0;
    return status;
}

void kpi_footer_deinit(struct kpi_footer *footer)
{
    kp_arena_deinit(&footer->arena);
    memset(footer, 0, sizeof(*footer));
}

/* ---------- looking up ---------- */

static bool tids_have(const int64_t *tids, uint32_t count, int64_t tid)
{
    uint32_t low = 0, high = count;
    while (low < high) {
        uint32_t mid = low + (high - low) / 2;
        if (tids[mid] < tid)
            low = mid + 1;
        else
            high = mid;
    }
    return low < count && tids[low] == tid;
}

/* Of two ascending lists each of the shorter one is looked up in the longer. */
static bool tids_meet(const int64_t *few, uint32_t few_count, const int64_t *many,
                      uint32_t many_count)
{
    if (few_count > many_count)
        return tids_meet(many, many_count, few, few_count);
    for (uint32_t i = 0; i < few_count; i++)
        if (tids_have(many, many_count, few[i]))
            return true;
    return false;
}

bool kpi_block_ref_has_tid(const struct kpi_block_ref *ref, uint32_t column, const int64_t *tids,
                           uint32_t count)
{
    for (uint32_t s = 0; s < ref->sets_count; s++)
        if (ref->sets[s].column == column)
            return tids_meet(tids, count, ref->sets[s].tids, ref->sets[s].count);
    return true; /* no set for this column: anything is possible */
}
