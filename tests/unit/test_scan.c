/* SPDX-License-Identifier: Apache-2.0
 *
 * Scans against a brute-force oracle: random rows over several streams, some sealed and some still
 * in the log, with late rows and equal times; random requests must give exactly the rows, in
 * exactly the order, that looking at every row gives, with pruning and without.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/assert.h"
#include "folder.h"
#include "rows.h"
#include "storage/filter.h"
#include "storage/order.h"
#include "storage/spine.h"

#define STREAMS 4

static const char *const stream_names[STREAMS] = {"sched_switch", "syscall", "spans", "irq"};

/* One stream as the oracle holds it: all rows, in order. */
struct oracle {
    const struct kp_stream *stream;
    struct kp_batch *batches;
    uint32_t batches_count;
    struct oracle_row {
        uint32_t batch, row;
    } * rows;
    uint32_t rows_count;
};

struct fixture {
    char dir[FOLDER_PATH];
    const struct kp_io *io;
    struct rows_gen gen;
    struct kp_arena arena;
    struct oracle oracles[STREAMS];
    struct kp_buf runs[3]; /* two segments and the log */
    struct kpi_segment_meta metas[2];
    struct kp_snapshot *snapshot;
};

/* ---------- making the data ---------- */

static void add_batch(struct fixture *fix, uint32_t s, uint32_t run, uint32_t rows)
{
    struct oracle *oracle = &fix->oracles[s];
    struct kp_builder builder;
    assert_int_equal(kp_builder_init(&builder, oracle->stream, fix->gen.actors, rows), KP_OK);
    rows_fill(&fix->gen, &builder, rows);
    size_t at = fix->runs[run].size;
    assert_int_equal(kpi_block_encode(kp_builder_batch(&builder), KPI_LEVEL_HOT, &fix->runs[run]),
                     KP_OK);
    kp_builder_deinit(&builder);
    oracle->batches =
        realloc(oracle->batches, (oracle->batches_count + 1) * sizeof(*oracle->batches));
    assert_int_equal(kpi_block_decode(fix->runs[run].data + at, fix->runs[run].size - at,
                                      UINT64_MAX, fix->gen.actors, &fix->arena,
                                      &oracle->batches[oracle->batches_count]),
                     KP_OK);
    oracle->rows = realloc(oracle->rows, (oracle->rows_count + rows) * sizeof(*oracle->rows));
    for (uint32_t i = 0; i < rows; i++)
        oracle->rows[oracle->rows_count++] = (struct oracle_row){oracle->batches_count, i};
    oracle->batches_count++;
}

static struct kpi_row_key oracle_key(const struct oracle *oracle, const struct oracle_row *at)
{
    const struct kp_vec *cols = oracle->batches[at->batch].cols;
    return (struct kpi_row_key){.ts = cols[KP_COL_TS].i64[at->row],
                                .seq = (uint64_t)cols[KP_COL_SEQ].i64[at->row],
                                .cpu = (uint32_t)cols[KP_COL_CPU].i64[at->row],
                                .actor = (kp_actor_id)cols[KP_COL_ACTOR].i64[at->row]};
}

static int compare_oracle(const void *a, const void *b, void *ctx)
{
    const struct oracle *oracle = ctx;
    struct kpi_row_key x = oracle_key(oracle, a), y = oracle_key(oracle, b);
    return kpi_row_compare(oracle->batches[0].actors, &x, &y);
}

static void make_rows(struct fixture *fix)
{
    for (uint32_t run = 0; run < 3; run++)
        for (uint32_t i = 0; i < (run == 0 ? 30 : 10); i++) {
            add_batch(fix, 0, run, 2000 + (uint32_t)rows_below(&fix->gen, 1500));
            add_batch(fix, 1, run, 300);
            add_batch(fix, 2, run, 1 + (uint32_t)rows_below(&fix->gen, 900));
            if (i % 3 == 0)
                add_batch(fix, 3, run, 2);
        }
    for (uint32_t s = 0; s < STREAMS; s++)
        qsort_r(fix->oracles[s].rows, fix->oracles[s].rows_count, sizeof(struct oracle_row),
                compare_oracle, &fix->oracles[s]);
}

static void open_snapshot(struct fixture *fix)
{
    struct kpi_manifest manifest = {.segments = fix->metas, .count = 2};
    struct kpi_wal_record record = {.sequence = 1,
                                    .payload = fix->runs[2].data,
                                    .payload_size = (uint32_t)fix->runs[2].size,
                                    .file = "wal/test"};
    assert_int_equal(kpi_snapshot_new(fix->io, &fix->snapshot), KP_OK);
    assert_int_equal(kpi_snapshot_take_segments(fix->snapshot, fix->dir, &manifest), KP_OK);
    assert_int_equal(kpi_snapshot_take_record(fix->snapshot, &record), KP_OK);
}

static int setup(void **state)
{
    struct fixture *fix = calloc(1, sizeof(*fix));
    fix->io = kp_io_threads();
    fix->gen = (struct rows_gen){.seed = 42,
                                 .now = 1700000000ll * KP_SEC,
                                 .cpus = 4,
                                 .threads = 60,
                                 .names = 400,
                                 .late_every = 100};
    folder_make("scan", fix->dir);
    char seg[80];
    snprintf(seg, sizeof(seg), "%s/seg", fix->dir);
    assert_int_equal(fix->io->mkdir(fix->io, seg), 0);
    kp_arena_init(&fix->arena, 0);
    assert_int_equal(kp_actors_init(&fix->gen.actors), KP_OK);
    for (uint32_t s = 0; s < STREAMS; s++)
        fix->oracles[s].stream = kp_stream_by_name(kp_str_from(stream_names[s]));
    make_rows(fix);
    for (uint32_t i = 0; i < 2; i++) {
        struct kpi_block_run run = {fix->runs[i].data, fix->runs[i].size};
        struct kp_error err;
        assert_int_equal(kpi_segment_write(fix->io, fix->dir, i + 1, &run, 1, &fix->metas[i], &err),
                         KP_OK);
    }
    open_snapshot(fix);
    *state = fix;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *fix = *state;
    kp_snapshot_close(fix->snapshot);
    for (uint32_t s = 0; s < STREAMS; s++) {
        free(fix->oracles[s].batches);
        free(fix->oracles[s].rows);
    }
    for (uint32_t i = 0; i < 3; i++)
        kp_buf_deinit(&fix->runs[i]);
    kp_actors_deinit(fix->gen.actors);
    kp_arena_deinit(&fix->arena);
    assert_int_equal(folder_remove(fix->dir), 0);
    free(fix);
    return 0;
}

/* ---------- the oracle ---------- */

struct cell {
    bool is_str;
    int64_t number; /* ACTOR SELF: id in the oracle's registry */
    struct kp_str str;
};

static struct cell actor_cell(const struct kp_actor *actor, enum kp_attr attr)
{
    switch (attr) {
    case KP_ATTR_TID:
        return (struct cell){.number = actor->tid};
    case KP_ATTR_PID:
        return (struct cell){.number = actor->pid};
    case KP_ATTR_HOST:
        return (struct cell){true, 0, actor->host};
    case KP_ATTR_COMM:
        return (struct cell){true, 0, actor->comm};
    default:
        return (struct cell){true, 0, actor->cgroup};
    }
}

static struct cell oracle_cell(const struct oracle *oracle, const struct oracle_row *at,
                               struct kp_colref ref)
{
    const struct kp_batch *batch = &oracle->batches[at->batch];
    const struct kp_vec *vec = &batch->cols[ref.stored];
    if (ref.attr == KP_ATTR_KIND)
        return (struct cell){true, 0, kp_str_from(oracle->stream->name)};
    if (kp_type_phys(vec->type) == KP_PHYS_STR)
        return (struct cell){true, 0, kp_vec_str(vec, at->row)};
    if (ref.attr == KP_ATTR_SELF)
        return (struct cell){.number = vec->i64[at->row]};
    if (ref.attr == KP_ATTR_START)
        return (struct cell){
            .number = kpi_start_of(batch->cols[KP_COL_TS].i64[at->row], vec->i64[at->row])};
    return actor_cell(kp_actors_get(batch->actors, (kp_actor_id)vec->i64[at->row]),
                      (enum kp_attr)ref.attr);
}

static bool oracle_passes(const struct oracle *oracle, const struct oracle_row *at,
                          const struct kp_scan_req *req)
{
    kp_time ts = oracle_key(oracle, at).ts;
    if (ts < req->from || ts > req->to)
        return false;
    for (uint32_t k = 0; k < req->keys_count; k++) {
        const struct kp_scan_key *key = &req->keys[k];
        struct cell cell = oracle_cell(oracle, at, key->column);
        bool pass = key->count == 0;
        for (uint32_t i = 0; i < key->count && !pass; i++)
            pass =
                cell.is_str ? kp_str_equal(cell.str, key->strs[i]) : cell.number == key->numbers[i];
        if (!pass)
            return false;
    }
    return true;
}

static bool cell_matches(const struct cell *want, struct kp_colref ref,
                         const struct kp_batch *batch, uint32_t column, uint32_t row,
                         const struct kp_actors *actors)
{
    const struct kp_vec *vec = &batch->cols[column];
    if (want->is_str)
        return kp_str_equal(want->str, kp_vec_str(vec, row));
    if (vec->type != KP_TYPE_ACTOR || ref.attr != KP_ATTR_SELF)
        return want->number == vec->i64[row];
    const struct kp_actor *a = kp_actors_get(actors, (kp_actor_id)want->number);
    const struct kp_actor *b = kp_actors_get(batch->actors, (kp_actor_id)vec->i64[row]);
    return a->tid == b->tid && a->start == b->start && kp_str_equal(a->host, b->host) &&
           kp_str_equal(a->comm, b->comm) && kp_str_equal(a->cgroup, b->cgroup);
}

/* Every row of a stream. */
static struct kp_scan_req whole(const struct kp_stream *stream, const struct kp_colref *cols,
                                uint32_t cols_count)
{
    return (struct kp_scan_req){.stream = stream,
                                .from = KP_TIME_MIN,
                                .to = KP_TIME_MAX,
                                .cols = cols,
                                .cols_count = cols_count};
}

/* Runs the request and compares every cell. Returns how many rows came. */
static uint32_t check_request(struct fixture *fix, const struct oracle *oracle,
                              const struct kp_scan_req *req, struct kp_scan_stat *out_stat)
{
    struct kp_scan *scan;
    struct kp_error err;
    const struct kp_batch *batch = NULL;
    uint32_t at_batch = 0, matched = 0;
    assert_int_equal(kp_scan_open(fix->snapshot, req, &scan, &err), KP_OK);
    for (uint32_t i = 0; i < oracle->rows_count; i++) {
        const struct oracle_row *at =
            &oracle->rows[req->descending ? oracle->rows_count - 1 - i : i];
        if (!oracle_passes(oracle, at, req))
            continue;
        if (batch == NULL || at_batch == batch->rows) {
            assert_int_equal(kp_scan_next(scan, &batch, &err), KP_OK);
            assert_true(batch->rows > 0 && batch->rows <= KP_VECTOR_ROWS && batch->sel == NULL);
            at_batch = 0;
        }
        for (uint32_t c = 0; c < req->cols_count; c++) {
            struct cell want = oracle_cell(oracle, at, req->cols[c]);
            assert_true(
                cell_matches(&want, req->cols[c], batch, c, at_batch, oracle->batches[0].actors));
        }
        at_batch++;
        matched++;
    }
    assert_true(batch == NULL || at_batch == batch->rows);
    assert_int_equal(kp_scan_next(scan, &batch, &err), KP_END);
    kp_scan_stat(scan, out_stat);
    assert_int_equal(out_stat->rows_out, matched);
    kp_scan_close(scan);
    return matched;
}

/* ---------- random requests ---------- */

struct request {
    struct kp_scan_req req;
    struct kp_colref cols[12];
    int64_t numbers[KP_SCAN_KEYS_MAX][3];
    struct kp_str strs[KP_SCAN_KEYS_MAX][3];
};

static struct kp_colref random_ref(struct fixture *fix, const struct kp_stream *stream)
{
    uint64_t pick = rows_below(&fix->gen, stream->columns_count + 2);
    if (pick < stream->columns_count)
        return stream->columns[pick].ref;
    if (pick == stream->columns_count)
        return (struct kp_colref){KP_COL_TS, KP_ATTR_KIND};
    return (struct kp_colref){KP_COL_ACTOR, KP_ATTR_SELF};
}

/* A key with up to three values, taken from rows that exist so that it selects something. */
static void random_key(struct fixture *fix, const struct oracle *oracle, struct request *out)
{
    struct kp_scan_key *key = &out->req.keys[out->req.keys_count];
    do
        key->column = random_ref(fix, oracle->stream);
    while (oracle->stream->stored[key->column.stored].type == KP_TYPE_ACTOR &&
           key->column.attr == KP_ATTR_SELF); /* ids differ between registries */
    key->count = (uint32_t)rows_below(&fix->gen, 4);
    for (uint32_t i = 0; i < key->count; i++) {
        const struct oracle_row *row = &oracle->rows[rows_below(&fix->gen, oracle->rows_count)];
        struct cell cell = oracle_cell(oracle, row, key->column);
        out->numbers[out->req.keys_count][i] = cell.number;
        out->strs[out->req.keys_count][i] = cell.str;
        if (cell.is_str)
            key->strs = out->strs[out->req.keys_count];
        else
            key->numbers = out->numbers[out->req.keys_count];
    }
    out->req.keys_count++;
}

static void random_request(struct fixture *fix, const struct oracle *oracle, struct request *out)
{
    memset(out, 0, sizeof(*out));
    out->req.stream = oracle->stream;
    out->req.from = KP_TIME_MIN;
    out->req.to = KP_TIME_MAX;
    const struct oracle_row *one = &oracle->rows[rows_below(&fix->gen, oracle->rows_count)];
    const struct oracle_row *two = &oracle->rows[rows_below(&fix->gen, oracle->rows_count)];
    if (rows_below(&fix->gen, 4) != 0)
        out->req.from = oracle_key(oracle, one).ts;
    if (rows_below(&fix->gen, 4) != 0)
        out->req.to = oracle_key(oracle, two).ts;
    out->req.cols = out->cols;
    out->req.cols_count = (uint32_t)rows_below(&fix->gen, KP_ARRAY_LEN(out->cols) + 1);
    for (uint32_t i = 0; i < out->req.cols_count; i++)
        out->cols[i] = random_ref(fix, oracle->stream);
    for (uint64_t n = rows_below(&fix->gen, 3); n > 0; n--)
        random_key(fix, oracle, out);
    out->req.descending = rows_below(&fix->gen, 2) == 0;
}

static void random_requests_match(struct fixture *fix, uint32_t rounds)
{
    uint64_t rows = 0, pruned = 0;
    for (uint32_t round = 0; round < rounds; round++) {
        const struct oracle *oracle = &fix->oracles[round % STREAMS];
        struct request request;
        struct kp_scan_stat pruning, reading;
        random_request(fix, oracle, &request);
        request.req.ahead = round % 2 == 0;
        uint32_t matched = check_request(fix, oracle, &request.req, &pruning);
        request.req.no_prune = true;
        assert_int_equal(check_request(fix, oracle, &request.req, &reading), matched);
        assert_true(pruning.rows_read <= reading.rows_read);
        rows += matched;
        pruned += pruning.pages_pruned;
    }
    assert_true(rows > 400 * rounds);
    assert_true(pruned > rounds / 12);
}

static void random_requests_match_the_oracle(void **state)
{
    random_requests_match(*state, 240);
}

/* Adds up over rows what their cells hash to: the same in any order. */
static uint64_t rows_digest(struct fixture *fix, const struct kp_scan_req *req, uint64_t *out_rows)
{
    struct kp_scan *scan;
    const struct kp_batch *batch;
    uint64_t sum = 0;
    *out_rows = 0;
    assert_int_equal(kp_scan_open(fix->snapshot, req, &scan, NULL), KP_OK);
    while (kp_scan_next(scan, &batch, NULL) == KP_OK) {
        *out_rows += batch->rows;
        for (uint32_t row = 0; row < batch->rows; row++) {
            uint64_t hash = 0;
            for (uint32_t c = 0; c < batch->cols_count; c++) {
                bool is_str = kp_type_phys(batch->cols[c].type) == KP_PHYS_STR;
                struct kp_str text = is_str ? kp_vec_str(&batch->cols[c], row) : KP_STR("");
                uint64_t cell =
                    is_str ? kp_hash64(text.ptr, text.len, 1) : (uint64_t)batch->cols[c].i64[row];
                hash = kp_hash_mix(hash ^ cell);
            }
            sum += hash;
        }
    }
    kp_scan_close(scan);
    return sum;
}

/* Keeps what can be read as it lies, so that whole pages are. */
static void keep_lying(struct fixture *fix, struct request *request)
{
    const struct kp_stream *stream = request->req.stream;
    request->req.keys_count = 0;
    request->req.cols_count = 0;
    for (uint32_t c = 0; c < stream->stored_count; c++)
        if (kpi_block_lies(stream, c) && rows_below(&fix->gen, 2) == 0 &&
            request->req.cols_count < KP_ARRAY_LEN(request->cols))
            request->cols[request->req.cols_count++] = (struct kp_colref){.stored = (uint8_t)c};
}

/* The thread that reads ahead is stopped wherever it is. */
static void scans_that_read_ahead_end_early(void **state)
{
    struct fixture *fix = *state;
    for (uint32_t round = 0; round < 60; round++) {
        struct request request;
        struct kp_scan *scan;
        struct kp_scan_stat stat;
        const struct kp_batch *batch;
        random_request(fix, &fix->oracles[round % STREAMS], &request);
        request.req.from = KP_TIME_MIN;
        request.req.to = KP_TIME_MAX;
        request.req.ahead = true;
        assert_int_equal(kp_scan_open(fix->snapshot, &request.req, &scan, NULL), KP_OK);
        for (uint64_t i = rows_below(&fix->gen, 6); i > 0; i--)
            if (kp_scan_next(scan, &batch, NULL) != KP_OK)
                break;
        kp_scan_stat(scan, &stat);
        kp_scan_close(scan);
    }
}

static void any_order_has_the_same_rows(void **state)
{
    struct fixture *fix = *state;
    for (uint32_t round = 0; round < 80; round++) {
        struct request request;
        uint64_t rows, any_rows;
        random_request(fix, &fix->oracles[round % STREAMS], &request);
        if (round / STREAMS % 2 == 0)
            keep_lying(fix, &request);
        uint64_t digest = rows_digest(fix, &request.req, &rows);
        request.req.any_order = true;
        assert_true(rows_digest(fix, &request.req, &any_rows) == digest);
        assert_int_equal(any_rows, rows);
    }
}

/* With no room at all every page goes as soon as nobody holds it. */
static void a_full_cache_changes_nothing(void **state)
{
    struct fixture *fix = *state;
    fix->snapshot->cache_limit = fix->snapshot->cache_max = 0;
    random_requests_match(fix, 60);
    assert_true(fix->snapshot->cache_bytes == 0 && fix->snapshot->newest == NULL);
    fix->snapshot->cache_limit = fix->snapshot->cache_max = KPI_CACHE_BYTES;
}

static void equal_times_keep_their_order(void **state)
{
    struct fixture *fix = *state;
    static const struct kp_colref cols[] = {{KP_COL_TS, KP_ATTR_SELF}, {KP_COL_SEQ, KP_ATTR_SELF}};
    struct kp_scan_req req = whole(fix->oracles[0].stream, cols, 2);
    struct kp_scan_stat stat;
    assert_int_equal(check_request(fix, &fix->oracles[0], &req, &stat),
                     kp_snapshot_rows(fix->snapshot, req.stream));
    assert_true(stat.segments == 2 && stat.wal_blocks == 10 && stat.pages > 2);
    req.descending = true;
    assert_int_equal(check_request(fix, &fix->oracles[0], &req, &stat), fix->oracles[0].rows_count);
}

/* ---------- pruning ---------- */

static void an_exact_key_reads_only_its_pages(void **state)
{
    struct fixture *fix = *state;
    const struct oracle *oracle = &fix->oracles[2];
    struct kp_colref txn = {(uint8_t)kp_stream_stored(oracle->stream, "txn"), KP_ATTR_SELF};
    for (uint32_t i = 0; i < oracle->rows_count; i += 1009) {
        struct kp_str value = oracle_cell(oracle, &oracle->rows[i], txn).str;
        struct kp_scan_req req = whole(oracle->stream, &txn, 1);
        req.keys[0] = (struct kp_scan_key){.column = txn, .strs = &value, .count = 1};
        req.keys_count = 1;
        struct kp_scan_stat stat;
        uint32_t rows = check_request(fix, oracle, &req, &stat);
        assert_true(rows > 0);
        if (value.len == 16) /* random text: it occurs once */
            assert_true(rows == 1 && stat.pages <= 1);
    }
}

static void an_absent_thread_reads_nothing(void **state)
{
    struct fixture *fix = *state;
    int64_t nobody = 4000000;
    struct kp_colref next = {(uint8_t)kp_stream_stored(fix->oracles[0].stream, "next"),
                             KP_ATTR_TID};
    struct kp_scan_req req = whole(fix->oracles[0].stream, &next, 1);
    req.keys[0] = (struct kp_scan_key){.column = next, .numbers = &nobody, .count = 1};
    req.keys_count = 1;
    struct kp_scan_stat stat;
    assert_int_equal(check_request(fix, &fix->oracles[0], &req, &stat), 0);
    assert_int_equal(stat.pages, 0);
    assert_true(stat.pages_pruned > 2);
}

/* A row by its number: pages that cannot have it are left alone. */
static void a_number_reads_its_page(void **state)
{
    struct fixture *fix = *state;
    struct oracle *oracle = &fix->oracles[0];
    struct kp_colref seq = {KP_COL_SEQ, KP_ATTR_SELF};
    uint32_t pages = 0, pruned = 0;
    for (uint32_t i = 0; i < oracle->rows_count; i += 1009) {
        int64_t number = oracle_cell(oracle, &oracle->rows[i], seq).number;
        struct kp_scan_req req = whole(oracle->stream, &seq, 1);
        req.keys[0] = (struct kp_scan_key){.column = seq, .numbers = &number, .count = 1};
        req.keys_count = 1;
        struct kp_scan_stat stat;
        assert_true(check_request(fix, oracle, &req, &stat) > 0);
        pages += stat.pages;
        pruned += stat.pages_pruned;
    }
    assert_true(pruned > pages);
}

/* What rare keys pass is given out page by page: who takes one row reads no second page. */
static void found_rows_do_not_wait_for_more(void **state)
{
    struct fixture *fix = *state;
    const struct oracle *oracle = &fix->oracles[0];
    struct kp_colref next = {(uint8_t)kp_stream_stored(oracle->stream, "next"), KP_ATTR_TID};
    struct kp_colref cpu = {KP_COL_CPU, KP_ATTR_SELF};
    uint32_t tried = 0;
    for (uint32_t i = 0; i < oracle->rows_count; i += 499) {
        int64_t tid = oracle_cell(oracle, &oracle->rows[i], next).number;
        int64_t where = oracle_cell(oracle, &oracle->rows[i], cpu).number;
        struct kp_scan_req req = whole(oracle->stream, &next, 1);
        req.keys[0] = (struct kp_scan_key){.column = next, .numbers = &tid, .count = 1};
        req.keys[1] = (struct kp_scan_key){.column = cpu, .numbers = &where, .count = 1};
        req.keys_count = 2;
        req.descending = i % 2 == 1;
        struct kp_scan *scan;
        const struct kp_batch *batch;
        struct kp_scan_stat first, all;
        if (check_request(fix, oracle, &req, &all) >= KP_VECTOR_ROWS || all.pages < 2)
            continue;
        assert_int_equal(kp_scan_open(fix->snapshot, &req, &scan, NULL), KP_OK);
        assert_int_equal(kp_scan_next(scan, &batch, NULL), KP_OK);
        kp_scan_stat(scan, &first);
        kp_scan_close(scan);
        assert_true(first.rows_read < all.rows_read);
        tried++;
    }
    assert_true(tried > 2);
}

static void wrong_requests_are_refused(void **state)
{
    struct fixture *fix = *state;
    struct kp_scan *scan;
    struct kp_error err;
    struct kp_colref bad = {KP_COL_TS, KP_ATTR_COMM};
    struct kp_scan_req req = {.stream = fix->oracles[3].stream, .cols = &bad, .cols_count = 1};
    assert_int_equal(kp_scan_open(fix->snapshot, &req, &scan, &err), KP_INVALID);
    req.cols_count = 0;
    req.keys_count = 1;
    req.keys[0].column = (struct kp_colref){KP_COL_CPU, KP_ATTR_SELF};
    req.keys[0].strs = &(struct kp_str){"1", 1};
    req.keys[0].count = 1;
    assert_int_equal(kp_scan_open(fix->snapshot, &req, &scan, &err), KP_INVALID);
}

/* ---------- threads ---------- */

struct worker {
    struct fixture *fix;
    uint64_t rows;
};

static void *count_rows(void *ctx)
{
    struct worker *worker = ctx;
    static const struct kp_colref cols[] = {{KP_COL_ACTOR, KP_ATTR_COMM}};
    for (uint32_t s = 0; s < STREAMS; s++) {
        struct kp_scan_req req = whole(worker->fix->oracles[s].stream, cols, 1);
        struct kp_scan *scan;
        const struct kp_batch *batch;
        if (kp_scan_open(worker->fix->snapshot, &req, &scan, NULL) != KP_OK)
            return NULL;
        while (kp_scan_next(scan, &batch, NULL) == KP_OK)
            worker->rows += batch->rows;
        kp_scan_close(scan);
    }
    return NULL;
}

static void scans_of_one_snapshot_run_side_by_side(void **state)
{
    struct fixture *fix = *state;
    uint64_t rows = 0;
    for (uint32_t s = 0; s < STREAMS; s++)
        rows += fix->oracles[s].rows_count;
    kp_snapshot_close(fix->snapshot);
    open_snapshot(fix); /* nothing cached: the workers meet at every step */
    struct worker workers[4];
    pthread_t threads[4];
    for (uint32_t i = 0; i < 4; i++) {
        workers[i] = (struct worker){.fix = fix};
        assert_int_equal(pthread_create(&threads[i], NULL, count_rows, &workers[i]), 0);
    }
    for (uint32_t i = 0; i < 4; i++) {
        pthread_join(threads[i], NULL);
        assert_int_equal(workers[i].rows, rows);
    }
}

/* ---------- damage ---------- */

static void flip_byte(struct fixture *fix, uint64_t segment, uint64_t offset)
{
    struct kp_buf path = {0};
    kpi_segment_path(fix->dir, segment, &path);
    file_flip(kp_buf_cstr(&path), (long)offset, 0x10);
    kp_buf_deinit(&path);
    kp_snapshot_close(fix->snapshot);
    open_snapshot(fix);
}

static uint64_t rows_answered(struct fixture *fix, const struct kp_scan_req *req,
                              struct kp_scan_stat *out_stat)
{
    struct kp_scan *scan;
    const struct kp_batch *batch;
    uint64_t rows = 0;
    assert_int_equal(kp_scan_open(fix->snapshot, req, &scan, NULL), KP_OK);
    while (kp_scan_next(scan, &batch, NULL) == KP_OK)
        rows += batch->rows;
    kp_scan_stat(scan, out_stat);
    kp_scan_close(scan);
    return rows;
}

static uint64_t rows_of_scan(struct fixture *fix, uint32_t s)
{
    struct kp_colref ts = {.stored = KP_COL_TS};
    struct kp_scan_stat stat;
    struct kp_scan_req req = whole(fix->oracles[s].stream, &ts, 1);
    return rows_answered(fix, &req, &stat);
}

static kp_time oracle_ts(const struct oracle *oracle, uint32_t row)
{
    const struct oracle_row *at = &oracle->rows[row];
    return oracle->batches[at->batch].cols[KP_COL_TS].i64[at->row];
}

/* Pages inside the window are counted by what the footer says; those at its ends are looked into.
 */
static void rows_are_counted_without_reading(void **state)
{
    struct fixture *fix = *state;
    for (uint32_t s = 0; s < STREAMS; s++) {
        const struct oracle *oracle = &fix->oracles[s];
        struct kp_scan_stat stat;
        kp_time first = oracle_ts(oracle, 0), last = oracle_ts(oracle, oracle->rows_count - 1);
        struct kp_scan_req req = {.stream = oracle->stream, .from = KP_TIME_MIN, .to = KP_TIME_MAX};
        assert_int_equal(rows_answered(fix, &req, &stat), oracle->rows_count);
        assert_int_equal(stat.rows_read, 0);
        assert_true(stat.pages_counted >= stat.pages && stat.pages_counted > 0);
        req.from = first + (last - first) / 3;
        req.to = last - (last - first) / 3;
        uint64_t inside = 0;
        for (uint32_t i = 0; i < oracle->rows_count; i++)
            inside += oracle_ts(oracle, i) >= req.from && oracle_ts(oracle, i) <= req.to;
        assert_int_equal(rows_answered(fix, &req, &stat), inside);
        req.descending = true;
        assert_int_equal(rows_answered(fix, &req, &stat), inside);
        req.no_prune = true;
        assert_int_equal(rows_answered(fix, &req, &stat), inside);
        assert_int_equal(stat.pages_counted, 0);
    }
}

/* Windows follow each other, none has much more to read than its part, and together they answer
 * everything once. */
static void parts_make_the_whole(void **state)
{
    struct fixture *fix = *state;
    for (uint32_t s = 0; s < STREAMS; s++)
        for (uint32_t parts = 1; parts <= 9; parts += 2) {
            struct kp_colref ts = {.stored = KP_COL_TS};
            struct kp_scan_req req = whole(fix->oracles[s].stream, &ts, 1);
            struct kp_scan_stat stat;
            kp_time from[9];
            uint32_t count = 0;
            uint64_t rows = 0;
            assert_int_equal(kp_scan_split(fix->snapshot, &req, parts, from, &count, NULL), KP_OK);
            assert_true(count >= 1 && count <= parts && from[0] == KP_TIME_MIN);
            assert_true(parts == 1 || count > 1);
            for (uint32_t i = 0; i < count; i++) {
                req.from = from[i];
                req.to = i + 1 < count ? from[i + 1] - 1 : KP_TIME_MAX;
                assert_true(req.from <= req.to);
                rows += rows_answered(fix, &req, &stat);
            }
            assert_int_equal(rows, fix->oracles[s].rows_count);
        }
}

/* Middle of the first spine (or of the first block behind it) of segment 1. */
static uint64_t offset_inside(const struct fixture *fix, bool spine)
{
    struct kp_buf path = {0};
    struct kpi_segment segment;
    struct kp_io_queue *queue;
    const struct kp_io *io = kp_io_threads();
    kpi_segment_path(fix->dir, 1, &path);
    assert_int_equal(io->queue_open(io, 2, &queue), KP_OK);
    assert_int_equal(kpi_segment_open(io, queue, kp_buf_cstr(&path), 1, &segment, NULL), KP_OK);
    const struct kpi_block_ref *ref = &segment.footer.blocks[spine ? 0 : 1];
    assert_int_equal(ref->stream == &kpi_spine_stream, spine);
    uint64_t offset = ref->offset + ref->size / 2;
    kpi_segment_close(&segment);
    io->queue_close(queue);
    kp_buf_deinit(&path);
    return offset;
}

/* What is missing from all streams is what the damage names, however often it is met. */
static void check_damage(struct fixture *fix, uint64_t offset, uint32_t places)
{
    flip_byte(fix, 1, offset);
    uint64_t rows = 0, all = 0, lost = 0;
    for (int again = 0; again < 2; again++)
        for (uint32_t s = 0; s < STREAMS; s++) {
            rows += rows_of_scan(fix, s);
            all += fix->oracles[s].rows_count;
        }
    const struct kp_damage *damage;
    assert_int_equal(kp_snapshot_damage(fix->snapshot, &damage), places);
    for (uint32_t i = 0; i < places; i++)
        lost += (uint64_t)damage[i].rows;
    assert_int_equal(rows, all - 2 * lost);
    if (places == 1)
        assert_true(damage[0].offset <= offset && offset < damage[0].offset + damage[0].size);
    flip_byte(fix, 1, offset);
    assert_int_equal(rows_of_scan(fix, 0), fix->oracles[0].rows_count);
}

static void a_damaged_block_is_missed_and_named(void **state)
{
    check_damage(*state, offset_inside(*state, false), 1);
}

static void a_damaged_spine_is_missed_in_all_its_streams(void **state)
{
    struct fixture *fix = *state;
    uint32_t kernel = 0;
    for (uint32_t s = 0; s < STREAMS; s++)
        kernel += fix->oracles[s].stream->family == KP_FAMILY_KERNEL;
    check_damage(fix, offset_inside(fix, true), kernel + 1); /* and the spine itself */
}

static void a_segment_without_footer_is_missed_and_named(void **state)
{
    struct fixture *fix = *state;
    flip_byte(fix, 2, fix->metas[1].bytes - 100);
    uint8_t number = fix->oracles[0].stream->number;
    assert_int_equal(rows_of_scan(fix, 0),
                     fix->oracles[0].rows_count - fix->metas[1].rows_by_stream[number]);
    const struct kp_damage *damage;
    assert_int_equal(kp_snapshot_damage(fix->snapshot, &damage), 1);
    assert_int_equal(damage[0].rows, fix->metas[1].rows);
    flip_byte(fix, 2, fix->metas[1].bytes - 100);
    assert_int_equal(kp_snapshot_damage(fix->snapshot, &damage), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(equal_times_keep_their_order),
        cmocka_unit_test(random_requests_match_the_oracle),
        cmocka_unit_test(scans_that_read_ahead_end_early),
        cmocka_unit_test(a_full_cache_changes_nothing),
        cmocka_unit_test(an_exact_key_reads_only_its_pages),
        cmocka_unit_test(an_absent_thread_reads_nothing),
        cmocka_unit_test(a_number_reads_its_page),
        cmocka_unit_test(rows_are_counted_without_reading),
        cmocka_unit_test(any_order_has_the_same_rows),
        cmocka_unit_test(parts_make_the_whole),
        cmocka_unit_test(found_rows_do_not_wait_for_more),
        cmocka_unit_test(wrong_requests_are_refused),
        cmocka_unit_test(scans_of_one_snapshot_run_side_by_side),
        cmocka_unit_test(a_damaged_block_is_missed_and_named),
        cmocka_unit_test(a_damaged_spine_is_missed_in_all_its_streams),
        cmocka_unit_test(a_segment_without_footer_is_missed_and_named),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
