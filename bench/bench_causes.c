/* SPDX-License-Identifier: Apache-2.0
 *
 * What one question costs while the store grows. Repeats the recording of demo/ one after the other
 * until there are so many events, each time with ids of its own, and asks for the causes of
 * transactions spread over it, one after the other, and then of all of them again, twice. Prints
 * the first question, median and 99th percentile by the clock and on the CPU of the thread that
 * asks (what is left of it when others use the machine too), and what a question read: rows, pages
 * from files and from memory, beside those the store has. No limits are asserted: times of one
 * machine say little.
 *
 *   bench_causes [EVENTS [DIR]]     1,000,000 by default; DIR: keep the store there and use it
 * again
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/time.h"
#include "causal/causal.h"

#define PAUSE     (5 * KP_SEC) /* between two repetitions */
#define ASKED_MAX 400
#define TURNS     3 /* pages get room to stay in the second */
#define ACTORS    65536

static void must(kp_status status, const char *what, const struct kp_error *err)
{
    if (status == KP_OK || status == KP_END)
        return;
    fprintf(stderr, "bench_causes: %s: %s\n", what, err == NULL ? "failed" : err->text);
    exit(1);
}

/* ---------- the store ---------- */

struct copy {
    struct kp_snapshot *from;
    struct kp_store *to;
    kp_actor_id *actors; /* of the recording -> of the store */
    uint64_t round;
    kp_dur shift;
    uint64_t rows;
};

static kp_actor_id actor_copy(struct copy *copy, kp_actor_id id)
{
    if (id == KP_ACTOR_UNKNOWN || id >= ACTORS)
        return KP_ACTOR_UNKNOWN;
    if (copy->actors[id] == KP_ACTOR_UNKNOWN)
        copy->actors[id] =
            kp_store_actor(copy->to, kp_actors_get(kp_snapshot_actors(copy->from), id));
    return copy->actors[id];
}

/* Ids that name one thing of one repetition. */
static bool is_id(const char *name)
{
    static const char *const ids[] = {"txn", "trace_id", "span_id", "parent_id"};
    for (size_t i = 0; i < KP_ARRAY_LEN(ids); i++)
        if (strcmp(name, ids[i]) == 0)
            return true;
    return false;
}

static void cell_copy(struct copy *copy, const struct kp_batch *batch, uint32_t column,
                      uint32_t row, struct kp_builder *builder)
{
    const struct kp_stream *stream = builder->batch.stream;
    const struct kp_vec *vec = &batch->cols[column];
    char text[80];
    if (kp_type_phys(vec->type) != KP_PHYS_STR) {
        int64_t value = vec->i64[row];
        if (vec->type == KP_TYPE_ACTOR)
            value = actor_copy(copy, (kp_actor_id)value);
        else if (vec->type == KP_TYPE_TIME)
            value += copy->shift;
        kp_builder_i64(builder, column, value);
        return;
    }
    struct kp_str value = kp_vec_str(vec, row);
    if (copy->round > 0 && value.len > 0 && is_id(stream->stored[column].name)) {
        int length = snprintf(text, sizeof(text), "%.*s-%llu", (int)KP_MIN(value.len, 50u),
                              value.ptr, (unsigned long long)copy->round);
        value = (struct kp_str){text, (uint32_t)length};
    }
    must(kp_builder_str(builder, column, value), "builder", NULL);
}

static void batch_copy(struct copy *copy, const struct kp_batch *batch, struct kp_builder *builder)
{
    kp_status status;
    for (uint32_t i = 0; i < kp_batch_count(batch); i++) {
        uint32_t row = kp_batch_row(batch, i);
        kp_builder_row(builder, batch->cols[KP_COL_TS].i64[row] + copy->shift,
                       kp_store_seq(copy->to, 1), (uint32_t)batch->cols[KP_COL_CPU].i64[row],
                       actor_copy(copy, (kp_actor_id)batch->cols[KP_COL_ACTOR].i64[row]));
        for (uint32_t c = KP_COL_FIRST; c < batch->cols_count; c++)
            cell_copy(copy, batch, c, row, builder);
    }
    while ((status = kp_store_append(copy->to, kp_builder_batch(builder), NULL)) == KP_LIMIT)
        usleep(1000);
    must(status, "append", NULL);
    copy->rows += kp_batch_count(batch);
    kp_builder_reset(builder);
}

static void stream_copy(struct copy *copy, const struct kp_stream *stream)
{
    struct kp_colref cols[64];
    struct kp_scan_req req = {
        .stream = stream, .from = KP_TIME_MIN, .to = KP_TIME_MAX, .cols = cols};
    struct kp_scan *scan;
    struct kp_builder builder;
    struct kp_error err;
    const struct kp_batch *batch;
    for (; req.cols_count < stream->stored_count; req.cols_count++)
        cols[req.cols_count] = (struct kp_colref){(uint8_t)req.cols_count, KP_ATTR_SELF};
    must(kp_scan_open(copy->from, &req, &scan, &err), stream->name, &err);
    must(kp_builder_init(&builder, stream, kp_store_actors(copy->to), KP_VECTOR_ROWS), "builder",
         NULL);
    while (kp_scan_next(scan, &batch, &err) == KP_OK)
        batch_copy(copy, batch, &builder);
    kp_builder_deinit(&builder);
    kp_scan_close(scan);
}

static void store_make(const char *recording, const char *dir, uint64_t events)
{
    struct copy copy = {.actors = calloc(ACTORS, sizeof(*copy.actors))};
    struct kp_error err;
    kp_time from, to;
    kp_assert(copy.actors != NULL);
    must(kp_snapshot_open(recording, NULL, &copy.from, &err), recording, &err);
    must(kp_store_open(dir, NULL, &copy.to, &err), dir, &err);
    kp_snapshot_range(copy.from, &from, &to);
    for (; copy.rows < events; copy.round++) {
        copy.shift = (kp_dur)copy.round * (to - from + PAUSE);
        for (uint32_t i = 0; i < KP_STREAM_MAX; i++)
            if (kp_stream_by_number(i) != NULL)
                stream_copy(&copy, kp_stream_by_number(i));
    }
    must(kp_store_tick(copy.to, 0, true), "seal", NULL);
    must(kp_store_close(copy.to, &err), "close", &err);
    kp_snapshot_close(copy.from);
    free(copy.actors);
}

/* ---------- questions ---------- */

struct cost {
    int64_t ns[ASKED_MAX], cpu[ASKED_MAX];
    uint32_t count;
    int64_t first;
    struct kp_scan_stat stat; /* of all */
};

static void stat_add(struct kp_scan_stat *sum, const struct kp_scan_stat *one)
{
    sum->rows_read += one->rows_read;
    sum->pages += one->pages;
    sum->pages_pruned += one->pages_pruned;
    sum->pages_read += one->pages_read;
    sum->pages_cached += one->pages_cached;
}

static int64_t cpu_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return now.tv_sec * KP_SEC + now.tv_nsec;
}

static void ask(struct kp_snapshot *snapshot, struct kp_str txn, bool alone, bool eager,
                struct cost *cost)
{
    struct kp_causes_req req = {.txn = txn,
                                .within = -1,
                                .at = KP_TIME_MIN,
                                .baseline_none = alone,
                                .from = 1,
                                .eager = eager};
    struct kp_arena arena;
    struct kp_rows *rows;
    struct kp_error err;
    kp_arena_init(&arena, 0);
    int64_t since = kp_time_monotonic(), cpu = cpu_now();
    must(kp_causes_open(snapshot, &req, &arena, &rows, &err), "CAUSES", &err);
    cost->cpu[cost->count] = cpu_now() - cpu;
    cost->ns[cost->count++] = kp_time_monotonic() - since;
    if (cost->count == 1)
        cost->first = cost->ns[0];
    struct kp_scan_stat read;
    kp_rows_stat(rows, &read);
    stat_add(&cost->stat, &read);
    kp_arena_deinit(&arena);
}

static int compare(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return x < y ? -1 : x > y;
}

static void report(struct cost *cost, const char *how)
{
    uint32_t count = cost->count, slow = count - 1 - count / 100;
    qsort(cost->ns, count, sizeof(cost->ns[0]), compare);
    qsort(cost->cpu, count, sizeof(cost->cpu[0]), compare);
    printf("%-36s first %7.3f p50 %7.3f p99 %8.3f ms, CPU p50 %7.3f p99 %8.3f max %8.3f ms, ", how,
           cost->first / 1e6, cost->ns[count / 2] / 1e6, cost->ns[slow] / 1e6,
           cost->cpu[count / 2] / 1e6, cost->cpu[slow] / 1e6, cost->cpu[count - 1] / 1e6);
    const struct kp_scan_stat *stat = &cost->stat;
    printf("a question: %7llu rows, pages %5.1f from files %5.1f from memory of %u\n",
           (unsigned long long)stat->rows_read / count, (double)stat->pages_read / count,
           (double)stat->pages_cached / count, (stat->pages + stat->pages_pruned) / count);
}

static void measure(struct kp_snapshot *snapshot, const struct kp_str *txns, uint32_t count,
                    bool alone, bool eager)
{
    static struct cost cost;
    char how[64];
    for (int turn = 0; turn < TURNS; turn++) {
        cost.count = 0;
        cost.stat = (struct kp_scan_stat){0};
        for (uint32_t i = 0; i < count; i++)
            ask(snapshot, txns[i], alone, eager, &cost);
        snprintf(how, sizeof(how), "%s%s, %s", eager ? "all first" : "on demand",
                 alone ? ", no baseline" : "",
                 turn == 0   ? "one by one"
                 : turn == 1 ? "again"
                             : "and again");
        report(&cost, how);
    }
}

/* Ids of transactions spread over the store. */
static uint32_t txns_find(struct kp_snapshot *snapshot, struct kp_arena *arena, struct kp_str *out)
{
    struct kp_rows *rows;
    struct kp_error err;
    const struct kp_batch *batch;
    uint32_t count = 0, seen = 0, column = 0, every = 1;
    while (!kp_str_equal(kp_txn_schema()->fields[column].name, KP_STR("txn")))
        column++;
    must(kp_txn_open(snapshot, KP_TIME_MIN + KP_TIME_MAX / 2, KP_TIME_MAX / 2, arena, &rows, &err),
         "txn", &err);
    uint64_t spans = kp_snapshot_rows(snapshot, kp_stream_by_name(KP_STR("spans")));
    every = (uint32_t)(spans / 5 / ASKED_MAX) + 1;
    while (kp_rows_next(rows, &batch) == KP_OK)
        for (uint32_t i = 0; i < kp_batch_count(batch); i++)
            if (seen++ % every == 0 && count < ASKED_MAX)
                out[count++] =
                    kp_arena_str(arena, kp_vec_str(&batch->cols[column], kp_batch_row(batch, i)));
    return count;
}

int main(int argc, char **argv)
{
    uint64_t events = argc > 1 ? strtoull(argv[1], NULL, 10) : 1000000;
    char made[] = "/tmp/kp-causes-XXXXXX", command[256];
    const char *dir = argc > 2 ? argv[2] : mkdtemp(made);
    struct kp_snapshot *snapshot;
    struct kp_arena arena;
    struct kp_error err;
    static struct kp_str txns[ASKED_MAX];
    if (dir == NULL || kp_time_monotonic() == 0)
        return 1;
    if (argc < 3 || access(argv[2], F_OK) != 0)
        store_make(argc > 3 ? argv[3] : "demo/recording/data", dir, events);
    must(kp_snapshot_open(dir, NULL, &snapshot, &err), dir, &err);
    kp_arena_init(&arena, 0);
    uint32_t count = txns_find(snapshot, &arena, txns);
    uint64_t rows = 0;
    for (uint32_t i = 0; i < KP_STREAM_MAX; i++)
        if (kp_stream_by_number(i) != NULL)
            rows += kp_snapshot_rows(snapshot, kp_stream_by_number(i));
    printf("%llu events, %u transactions asked\n", (unsigned long long)rows, count);
    for (int way = 0; way < 4; way++)
        measure(snapshot, txns, count, way / 2 == 0, way % 2 == 1);
    kp_arena_deinit(&arena);
    kp_snapshot_close(snapshot);
    snprintf(command, sizeof(command), "rm -rf %s", made);
    return argc > 2 || system(command) == 0 ? 0 : 1;
}
