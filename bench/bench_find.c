/* SPDX-License-Identifier: Apache-2.0
 *
 * What finding costs. Makes a store of so many events (switches, wakeups, system calls, one span in
 * a hundred events, two or three to a transaction) in a directory of its own and asks it: for
 * transactions by id (warm, and with a new snapshot whose files left the page cache), for the last
 * wakeup of a thread before t, and for counts and sums over everything with rollups and without.
 * No limits are asserted: times of one machine say little.
 *
 *   bench_find [EVENTS...]     10,000,000 by default; below $TMPDIR or /tmp
 *
 * Of several numbers, ascending, the store grows to each and is asked again: finding should cost
 * the same.
 */
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/hash.h"
#include "query/query.h"
#include "storage/storage.h"

#define BATCH   8192u
#define THREADS 400u
#define SAMPLES 2000u
#define COLD    50u
#define FEW     20000000ull /* rows that are added up without rollups too */

#define WALK_EVENTS 500000ull
#define BEGIN       (1700000000ll * KP_SEC)

static const char *const names[] = {"sched_switch", "sched_waking", "syscall", "spans"};
static const uint32_t shares[] = {30, 24, 45, 1}; /* of a hundred events */

static char dir[200];

static void must(kp_status status, const char *what, const struct kp_error *err)
{
    if (status == KP_OK || status == KP_END)
        return;
    fprintf(stderr, "bench_find: %s: %s\n", what, err == NULL ? "failed" : err->text);
    exit(1);
}

/* ---------- the store ---------- */

struct maker {
    struct kp_store *store;
    struct kp_builder builders[KP_ARRAY_LEN(names)];
    kp_actor_id threads[THREADS];
    uint64_t events, spans;
};

static struct kp_str txn_text(uint64_t n, char out[32])
{
    return (struct kp_str){out, (uint32_t)snprintf(out, 32, "order-%llu", (unsigned long long)n)};
}

static void columns_fill(struct maker *maker, size_t stream, uint64_t dice)
{
    struct kp_builder *builder = &maker->builders[stream];
    const struct kp_stream *s = builder->batch.stream;
    for (uint32_t c = KP_COL_FIRST; c < s->stored_count; c++) {
        if (s->stored[c].type == KP_TYPE_ACTOR)
            kp_builder_i64(builder, c, maker->threads[(dice >> 40) % THREADS]);
        else if (strcmp(s->stored[c].name, "dur") == 0)
            kp_builder_i64(builder, c, (int64_t)(dice >> 44));
    }
    if (strcmp(s->name, "spans") != 0)
        return;
    char text[48];
    uint64_t txn = maker->spans++ * 4 / 10;
    must(kp_builder_str(builder, (uint32_t)kp_stream_stored(s, "txn"), txn_text(txn, text)), "txn",
         NULL);
    struct kp_str trace = {text, (uint32_t)snprintf(text, sizeof(text), "%016llx%016llx",
                                                    (unsigned long long)kp_hash_mix(txn),
                                                    (unsigned long long)kp_hash_mix(~txn))};
    must(kp_builder_str(builder, (uint32_t)kp_stream_stored(s, "trace_id"), trace), "trace", NULL);
}

static void flush(struct maker *maker)
{
    for (size_t s = 0; s < KP_ARRAY_LEN(names); s++) {
        kp_status status;
        while ((status = kp_store_append(maker->store, kp_builder_batch(&maker->builders[s]),
                                         NULL)) == KP_LIMIT)
            usleep(1000);
        must(status, "append", NULL);
        kp_builder_reset(&maker->builders[s]);
    }
}

static void threads_make(struct maker *maker)
{
    for (uint32_t i = 0; i < THREADS; i++) {
        char comm[16], cgroup[40];
        snprintf(comm, sizeof(comm), "worker-%u", i % 37);
        snprintf(cgroup, sizeof(cgroup), "/system.slice/unit-%u.service", i % 11);
        struct kp_actor actor = {.host = KP_STR("alpha"),
                                 .tid = 1000 + i,
                                 .pid = 1000 + i / 4 * 4,
                                 .start = (int64_t)i * 1000,
                                 .comm = kp_str_from(comm),
                                 .cgroup = kp_str_from(cgroup)};
        maker->threads[i] = kp_store_actor(maker->store, &actor);
    }
}

static void store_merge(void)
{
    struct kp_store *store;
    struct kp_error err;
    must(kp_store_open(dir, NULL, &store, &err), "open", &err);
    sleep(2);
    must(kp_store_close(store, &err), "close", &err);
}

/* Rows [from, until); spans = of them before from. The number of all spans. */
static uint64_t store_grow(uint64_t from, uint64_t until, uint64_t spans)
{
    struct maker maker = {.events = from, .spans = spans};
    struct kp_error err;
    must(kp_store_open(dir, NULL, &maker.store, &err), "open", &err);
    threads_make(&maker);
    for (size_t s = 0; s < KP_ARRAY_LEN(names); s++)
        must(kp_builder_init(&maker.builders[s], kp_stream_by_name(kp_str_from(names[s])),
                             kp_store_actors(maker.store), BATCH),
             "builder", NULL);
    for (; maker.events < until; maker.events++) {
        uint64_t dice = kp_hash_mix(maker.events);
        size_t stream = 0;
        for (uint32_t at = (uint32_t)(dice % 100); at >= shares[stream]; stream++)
            at -= shares[stream];
        kp_builder_row(&maker.builders[stream], BEGIN + (kp_time)maker.events * 1000,
                       kp_store_seq(maker.store, 1), dice >> 8 & 3,
                       maker.threads[(dice >> 10) % THREADS]);
        columns_fill(&maker, stream, dice);
        if (maker.events % BATCH == BATCH - 1)
            flush(&maker);
    }
    flush(&maker);
    must(kp_store_tick(maker.store, 0, true), "seal", NULL);
    for (size_t s = 0; s < KP_ARRAY_LEN(names); s++)
        kp_builder_deinit(&maker.builders[s]);
    must(kp_store_close(maker.store, &err), "close", &err);
    store_merge();
    return maker.spans;
}

/* ---------- its files ---------- */

struct files {
    uint64_t bytes;
    bool forget, remove;
};

static void folder_walk(const char *folder, struct files *files)
{
    char path[600];
    snprintf(path, sizeof(path), "%s/%s", dir, folder);
    DIR *list = opendir(path);
    for (struct dirent *entry; list != NULL && (entry = readdir(list)) != NULL;) {
        struct stat stat;
        snprintf(path, sizeof(path), "%s/%s/%s", dir, folder, entry->d_name);
        int fd = entry->d_type == DT_REG ? open(path, O_RDONLY) : -1;
        if (fd < 0)
            continue;
        if (fstat(fd, &stat) == 0)
            files->bytes += (uint64_t)stat.st_size;
        if (files->forget)
            posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
        if (files->remove)
            unlink(path);
        close(fd);
    }
    if (list != NULL)
        closedir(list);
    snprintf(path, sizeof(path), "%s/%s", dir, folder);
    if (files->remove)
        rmdir(path);
}

static uint64_t files_walk(const char *const *folders, bool forget, bool remove)
{
    struct files files = {.forget = forget, .remove = remove};
    for (; *folders != NULL; folders++)
        folder_walk(*folders, &files);
    return files.bytes;
}

/* ---------- questions ---------- */

static int compare_times(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return x < y ? -1 : x > y;
}

static void times_print(const char *what, int64_t *times, uint32_t count)
{
    qsort(times, count, sizeof(*times), compare_times);
    printf("%-44s p50 %10.1f us   p99 %10.1f us\n", what, (double)times[count / 2] / 1e3,
           (double)times[count - 1 - count / 100] / 1e3);
}

static struct kp_snapshot *snapshot_open(void)
{
    struct kp_snapshot *snapshot;
    struct kp_error err;
    must(kp_snapshot_open(dir, NULL, &snapshot, &err), "snapshot", &err);
    return snapshot;
}

static uint64_t lookup(struct kp_snapshot *snapshot, uint64_t txn)
{
    const struct kp_stream *stream = kp_stream_by_number(KP_S_SPANS);
    char text[32];
    struct kp_str value = txn_text(txn, text);
    struct kp_colref col = {.stored = KP_COL_TS};
    struct kp_scan_req req = {
        .stream = stream,
        .from = KP_TIME_MIN,
        .to = KP_TIME_MAX,
        .cols = &col,
        .cols_count = 1,
        .keys = {{.column = {.stored = (uint8_t)kp_stream_stored(stream, "txn")},
                  .strs = &value,
                  .count = 1}},
        .keys_count = 1};
    struct kp_scan *scan;
    const struct kp_batch *batch;
    struct kp_error err;
    uint64_t rows = 0;
    must(kp_scan_open(snapshot, &req, &scan, &err), "lookup", &err);
    while (kp_scan_next(scan, &batch, &err) == KP_OK)
        rows += batch->rows;
    kp_scan_close(scan);
    return rows;
}

static void lookups(uint64_t spans)
{
    static int64_t times[SAMPLES], opens[SAMPLES];
    static const char *const all[] = {"seg", "txn", "wal", ".", NULL};
    uint64_t txns = spans * 4 / 10, found = 0;
    struct kp_snapshot *snapshot = snapshot_open();
    for (uint32_t round = 0; round < 2; round++)
        for (uint32_t i = 0; i < SAMPLES; i++) {
            int64_t start = kp_time_monotonic();
            found += lookup(snapshot, kp_hash_mix(i) % txns) > 0;
            times[i] = kp_time_monotonic() - start;
        }
    kp_snapshot_close(snapshot);
    times_print("transaction by id, warm", times, SAMPLES);
    for (uint32_t i = 0; i < COLD; i++) {
        files_walk(all, true, false);
        int64_t start = kp_time_monotonic();
        snapshot = snapshot_open();
        opens[i] = kp_time_monotonic() - start;
        found += lookup(snapshot, kp_hash_mix(i + SAMPLES) % txns) > 0;
        times[i] = kp_time_monotonic() - start - opens[i];
        kp_snapshot_close(snapshot);
    }
    times_print("opening a snapshot, cold", opens, COLD);
    times_print("transaction by id, cold", times, COLD);
    if (found != 2 * SAMPLES + COLD)
        printf("only %llu of %u transactions were found\n", (unsigned long long)found,
               2 * SAMPLES + COLD);
}

static int64_t hop_time(struct kp_hop *hop, uint32_t n, uint64_t at)
{
    const struct kp_stream *stream = kp_stream_by_name(KP_STR("sched_waking"));
    struct kp_hop_row row;
    struct kp_error err;
    struct kp_hop_req req = {.stream = stream,
                             .column = (uint32_t)kp_stream_stored(stream, "wakee"),
                             .tid = 1000 + (int64_t)(kp_hash_mix(~(uint64_t)n) % THREADS),
                             .before = BEGIN + (kp_time)at * 1000};
    int64_t start = kp_time_monotonic();
    must(kp_hop_before(hop, &req, &row, &err), "hop", &err);
    return kp_time_monotonic() - start;
}

static void hops(uint64_t events)
{
    static const char *const all[] = {"seg", "txn", "wal", ".", NULL};
    static int64_t times[SAMPLES];
    struct kp_snapshot *snapshot = snapshot_open();
    struct kp_hop *hop;
    struct kp_error err;
    must(kp_hop_open(snapshot, &hop, &err), "hop", &err);
    for (uint32_t round = 0; round < 2; round++)
        for (uint32_t i = 0; i < SAMPLES; i++) /* a walk stays in a fraction of a second */
            times[i] =
                hop_time(hop, i, events / 2 + kp_hash_mix(i) % KP_MIN(events / 2, WALK_EVENTS));
    times_print("last wakeup of a thread before t, warm", times, SAMPLES);
    kp_hop_close(hop);
    kp_snapshot_close(snapshot);
    for (uint32_t i = 0; i < COLD; i++) {
        files_walk(all, true, false);
        snapshot = snapshot_open();
        must(kp_hop_open(snapshot, &hop, &err), "hop", &err);
        times[i] = hop_time(hop, i, 1 + kp_hash_mix(i) % events);
        kp_hop_close(hop);
        kp_snapshot_close(snapshot);
    }
    times_print("last wakeup of a thread before t, cold", times, COLD);
}

static int64_t query_time(struct kp_snapshot *snapshot, const char *text, uint32_t off)
{
    const struct kp_query_opts opts = {.off = off};
    const struct kp_batch *batch;
    struct kp_query *query;
    struct kp_error err;
    kp_status status;
    int64_t start = kp_time_monotonic();
    must(kp_query_open(snapshot, kp_str_from(text), &opts, &query, &err), text, &err);
    while ((status = kp_query_next(query, &batch, &err)) == KP_OK)
        continue;
    must(status, text, &err);
    kp_query_close(query);
    return kp_time_monotonic() - start;
}

static void aggregates(uint64_t events)
{
    static const char *const texts[] = {"sched_switch | summarize count() by comm",
                                        "syscall | summarize sum(dur) by pid",
                                        "syscall | summarize count(), max(dur) by cgroup"};
    struct kp_snapshot *snapshot = snapshot_open();
    for (size_t i = 0; i < KP_ARRAY_LEN(texts); i++) {
        int64_t cold = query_time(snapshot, texts[i], 0);
        int64_t warm = query_time(snapshot, texts[i], 0);
        printf("%-48s %8.2f ms first, %8.2f ms warm", texts[i], (double)cold / 1e6,
               (double)warm / 1e6);
        if (events <= FEW)
            printf(", %8.1f ms without rollups",
                   (double)query_time(snapshot, texts[i], KP_OFF_ROLLUPS) / 1e6);
        printf("\n");
    }
    kp_snapshot_close(snapshot);
}

static void ask(uint64_t events, uint64_t spans, int64_t took)
{
    static const char *const seg[] = {"seg", NULL}, *const txn[] = {"txn", NULL};
    printf("%llu events, %llu spans; the last of them made in %.1f s; segments %.3f, runs %.4f "
           "bytes an event\n",
           (unsigned long long)events, (unsigned long long)spans, (double)took / 1e9,
           (double)files_walk(seg, false, false) / (double)events,
           (double)files_walk(txn, false, false) / (double)events);
    lookups(spans);
    hops(events);
    aggregates(events);
    fflush(stdout);
}

int main(int argc, char **argv)
{
    static const char *const all[] = {"seg", "txn", "wal", ".", NULL};
    static char usual_size[] = "10000000";
    static char *const usual[] = {NULL, usual_size, NULL};
    const char *tmp = getenv("TMPDIR");
    uint64_t made = 0, spans = 0;
    snprintf(dir, sizeof(dir), "%s/kprobe-find-XXXXXX", tmp == NULL ? "/tmp" : tmp);
    if (mkdtemp(dir) == NULL) {
        perror(dir);
        return 1;
    }
    for (char *const *arg = (argc > 1 ? argv : usual) + 1; *arg != NULL; arg++) {
        uint64_t events = KP_MAX(strtoull(*arg, NULL, 10), made + 100000);
        int64_t start = kp_time_monotonic();
        spans = store_grow(made, events, spans);
        made = events;
        ask(events, spans, kp_time_monotonic() - start);
    }
    files_walk(all, false, true);
    rmdir(dir);
    return 0;
}
