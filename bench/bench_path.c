/* SPDX-License-Identifier: Apache-2.0
 *
 * The way of a row through the store, step by step, on made-up scheduler rows: append until
 * durable, seal, scan, count. Each step is printed in ns per row and as a ratio to a floor measured
 * in the same run (copying the same plain columns in memory), because times of one machine say
 * little.
 */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/time.h"
#include "query/query.h"
#include "storage/storage.h"

#define ROWS    2000000u
#define THREADS 200u
#define CPUS    8u

static const struct kp_stream *stream;
static double floor_ns; /* per row */

static void fail(const char *what, const struct kp_error *err)
{
    fprintf(stderr, "bench_path: %s: %s\n", what, err->text);
    exit(1);
}

static void report(const char *step, int64_t since)
{
    double ns = (double)(kp_time_monotonic() - since) / ROWS;
    if (floor_ns == 0)
        floor_ns = ns;
    printf("%-28s %8.1f ns/row %8.1f x floor\n", step, ns, ns / floor_ns);
}

/* The floor: every stored value moved once, 8 bytes each, in pieces that fit the cache. */
static void measure_floor(void)
{
    size_t bytes = (size_t)KP_VECTOR_ROWS * stream->stored_count * 8;
    char *from = calloc(1, bytes), *to = calloc(1, bytes);
    kp_assert(from != NULL && to != NULL);
    int64_t since = kp_time_monotonic();
    for (uint32_t done = 0; done < ROWS; done += KP_VECTOR_ROWS) {
        memcpy(to, from, bytes);
        __asm__ volatile("" : : "r"(to) : "memory");
    }
    report("copy the columns (floor)", since);
    free(from);
    free(to);
}

static void make_actors(struct kp_store *store, kp_actor_id *actors)
{
    for (uint32_t i = 0; i < THREADS; i++) {
        char comm[16];
        snprintf(comm, sizeof(comm), "worker-%u", i % 12);
        struct kp_actor actor = {.host = KP_STR("bench"),
                                 .tid = 1000 + i,
                                 .pid = 1000 + i / 4 * 4,
                                 .start = 1000 + i,
                                 .comm = kp_str_from(comm),
                                 .cgroup = KP_STR("/bench")};
        actors[i] = kp_store_actor(store, &actor);
    }
}

/* One batch of switches: a small generator keeps threads and states as uneven as real ones. */
static void fill(struct kp_builder *builder, struct kp_store *store, const kp_actor_id *actors,
                 uint64_t *random, kp_time *ts)
{
    static kp_actor_id running[CPUS];
    int next = kp_stream_stored(stream, "next"), state = kp_stream_stored(stream, "prev_state");
    uint64_t seq = kp_store_seq(store, KP_BATCH_ROWS_MAX);
    kp_builder_reset(builder);
    for (uint32_t i = 0; i < KP_BATCH_ROWS_MAX; i++) {
        *random = *random * 6364136223846793005ull + 1442695040888963407ull;
        uint32_t cpu = (uint32_t)(*random >> 60) % CPUS;
        uint32_t thread = (uint32_t)((*random >> 33) % THREADS * (*random >> 50) >> 14);
        *ts += 500 + (int64_t)(*random >> 52);
        kp_builder_row(builder, *ts, seq + i, cpu, running[cpu]);
        kp_builder_i64(builder, (uint32_t)next, actors[thread]);
        kp_builder_i64(builder, (uint32_t)state, (*random >> 40 & 3) == 0 ? 0 : 1);
        running[cpu] = actors[thread];
    }
}

static void measure_append(const char *dir)
{
    struct kp_store_opts opts = {.segment_bytes_max = 1u << 30};
    struct kp_store *store = NULL;
    struct kp_builder builder;
    struct kp_error err;
    kp_actor_id actors[THREADS];
    uint64_t random = 1, ticket = 0;
    kp_time ts = 1700000000 * KP_SEC;
    if (kp_store_open(dir, &opts, &store, &err) != KP_OK)
        fail("open", &err);
    make_actors(store, actors);
    if (kp_builder_init(&builder, stream, kp_store_actors(store), KP_BATCH_ROWS_MAX) != KP_OK)
        fail("builder", &err);
    int64_t since = kp_time_monotonic();
    for (uint32_t done = 0; done < ROWS; done += KP_BATCH_ROWS_MAX) {
        fill(&builder, store, actors, &random, &ts);
        while (kp_store_append(store, kp_builder_batch(&builder), &ticket) == KP_LIMIT)
            usleep(200);
    }
    if (kp_store_wait(store, ticket, &err) != KP_OK)
        fail("wait", &err);
    report("append until durable", since);
    struct kp_store_stat stat;
    kp_store_stat(store, &stat);
    printf("%-28s %8.2f bytes/row\n", "log", (double)stat.commit_bytes / ROWS);
    since = kp_time_monotonic();
    if (kp_store_close(store, &err) != KP_OK)
        fail("close", &err);
    report("seal", since);
    kp_builder_deinit(&builder);
}

static void measure_query(const char *dir, const char *step, const char *text)
{
    struct kp_snapshot *snapshot = NULL;
    struct kp_query *query = NULL;
    struct kp_error err;
    const struct kp_batch *batch;
    struct kp_query_opts opts = {0};
    if (kp_snapshot_open(dir, NULL, &snapshot, &err) != KP_OK)
        fail("snapshot", &err);
    int64_t since = kp_time_monotonic();
    if (kp_query_open(snapshot, kp_str_from(text), &opts, &query, &err) != KP_OK)
        fail(text, &err);
    kp_status status;
    while ((status = kp_query_next(query, &batch, &err)) == KP_OK)
        continue;
    if (status != KP_END)
        fail(text, &err);
    report(step, since);
    kp_query_close(query);
    kp_snapshot_close(snapshot);
}

int main(void)
{
    char dir[] = "/tmp/kp-bench-XXXXXX", command[64];
    stream = kp_stream_by_name(KP_STR("sched_switch"));
    if (mkdtemp(dir) == NULL)
        return 1;
    printf("%u made-up rows of sched_switch\n", ROWS);
    measure_floor();
    measure_append(dir);
    measure_query(dir, "count", "sched_switch | count");
    measure_query(dir, "group by thread", "sched_switch | summarize count() by next_tid");
    measure_query(dir, "filter one thread", "sched_switch | where next_tid == 1003 | count");
    measure_query(dir, "one window of 10 ms",
                  "sched_switch | where ts between (datetime(2023-11-14T22:13:21) .. "
                  "datetime(2023-11-14T22:13:21.010)) | summarize count() by comm");
    snprintf(command, sizeof(command), "rm -rf %s", dir);
    return system(command) == 0 ? 0 : 1;
}
