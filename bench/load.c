/* SPDX-License-Identifier: Apache-2.0
 *
 * ClickHouse reads the flat rows itself (default table, and one with codecs and bloom filters
 * chosen for such data); DuckDB reads a Parquet file that ClickHouse wrote, its fastest door. Side
 * tables in another order, for questions that want it, and a table of few rows to warm up on come
 * after the load was measured.
 */
#include "bench/load.h"

#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/assert.h"
#include "bench/flat.h"

#define THREADS 2u

struct work {
    char data[400], dir[400];
    enum kpi_system_kind kind;
    struct kpi_loads loads;
};

void *kpi_shared(size_t size)
{
    void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    kp_assert(memory != MAP_FAILED);
    return memory;
}

bool kpi_child(bool (*step)(void *shared), void *shared)
{
    int status = 1;
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        alarm(1800); /* a peer that hangs ends here */
        bool done = step(shared);
        fflush(stdout);
        _exit(done ? 0 : 1);
    }
    if (pid < 0 || waitpid(pid, &status, 0) != pid)
        return false;
    if (WIFSIGNALED(status))
        fprintf(stderr, "a process ended by signal %d\n", WTERMSIG(status));
    return status == 0;
}

/* ---------- files ---------- */

static uint64_t files_bytes;
static bool files_forget;

static int file_visit(const char *path, const struct stat *stat, int type, struct FTW *ftw)
{
    (void)ftw;
    if (type != FTW_F)
        return 0;
    files_bytes += (uint64_t)stat->st_size;
    int fd = files_forget ? open(path, O_RDONLY) : -1;
    if (fd >= 0) {
        posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
        close(fd);
    }
    return 0;
}

uint64_t kpi_files(const char *dir, bool forget)
{
    files_bytes = 0;
    files_forget = forget;
    nftw(dir, file_visit, 32, FTW_PHYS);
    return files_bytes;
}

/* ---------- steps ---------- */

static double cpu_seconds(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
           (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

static bool say(const char *what, const char *why)
{
    fprintf(stderr, "bench_peers: %s: %s\n", what, why);
    return false;
}

static bool names_write(const struct work *work, struct kp_buf *names)
{
    char path[420];
    snprintf(path, sizeof(path), "%s/names", work->dir);
    FILE *file = fopen(path, "w");
    return file != NULL && fputs(kp_buf_cstr(names), file) >= 0 && fclose(file) == 0;
}

static bool step_flat(void *shared)
{
    struct work *work = shared;
    struct kp_snapshot *snapshot;
    struct kp_error err;
    struct kpi_flat flat;
    char path[420];
    snprintf(path, sizeof(path), "%s/rows.bin", work->dir);
    if (kp_snapshot_open(work->data, NULL, &snapshot, &err) != KP_OK ||
        kpi_flat_write(snapshot, path, &flat, &err) != KP_OK)
        return say(work->data, err.text);
    work->loads.rows = flat.rows;
    work->loads.spans = flat.spans;
    work->loads.flat_bytes = flat.bytes;
    return names_write(work, &flat.names);
}

/* Statements one after the other; $dir stands for the folder. */
static bool run_all(struct kpi_peer *peer, const struct work *work, const char *const *sqls)
{
    for (; *sqls != NULL; sqls++) {
        struct kp_buf text = {0};
        const char *why = "", *at = strstr(*sqls, "$dir");
        kp_buf_add(&text, *sqls, at == NULL ? strlen(*sqls) : (size_t)(at - *sqls));
        if (at != NULL)
            kp_buf_printf(&text, "%s%s", work->dir, at + 4);
        bool done = kpi_peer_run(peer, kp_buf_cstr(&text), NULL, &why);
        kp_buf_deinit(&text);
        if (!done)
            return say(*sqls, why);
    }
    return true;
}

/* The statements that are measured. */
static bool run_load(struct kpi_peer *peer, struct work *work, const char *const *sqls)
{
    struct kpi_load *load = &work->loads.peers[work->kind];
    double cpu = cpu_seconds();
    int64_t start = kp_time_monotonic();
    if (!run_all(peer, work, sqls))
        return false;
    load->wall = (double)(kp_time_monotonic() - start) / 1e9;
    load->cpu = cpu_seconds() - cpu;
    snprintf(load->name, sizeof(load->name), "%s%s", kpi_peer_name(peer),
             work->kind == KPI_CLICK_TUNED ? " tuned" : "");
    return true;
}

#define KINDS_PLAIN                                                                             \
    "(ts Int64, kind UInt8, cpu UInt16, pid UInt32, tid UInt32, cgroup UInt64, "                \
    "comm LowCardinality(String), arg0 Int64, arg1 Int64, arg2 Int64, arg3 Int64, txn UInt64) " \
    "ENGINE = MergeTree ORDER BY ts"
#define Z "CODEC(ZSTD(1))"
#define KINDS_TUNED                                                                             \
    "(ts Int64 CODEC(DoubleDelta, ZSTD(1)), kind UInt8 " Z ", cpu UInt16 " Z ", pid UInt32 " Z  \
    ", tid UInt32 " Z ", cgroup UInt64 " Z ", comm LowCardinality(String) " Z ", arg0 Int64 " Z \
    ", arg1 Int64 " Z ", arg2 Int64 " Z ", arg3 Int64 " Z ", txn UInt64 " Z                     \
    ", INDEX i1 txn TYPE bloom_filter(0.01) GRANULARITY 1"                                      \
    ", INDEX i2 tid TYPE bloom_filter(0.01) GRANULARITY 1"                                      \
    ", INDEX i3 comm TYPE bloom_filter(0.01) GRANULARITY 1"                                     \
    ", INDEX i4 arg0 TYPE bloom_filter(0.01) GRANULARITY 1) ENGINE = MergeTree ORDER BY ts"

static const char *const click_make[] = {"CREATE DATABASE kp",
                                         "CREATE TABLE kp.events " KINDS_PLAIN, NULL};
static const char *const click_make_tuned[] = {"CREATE DATABASE kp",
                                               "CREATE TABLE kp.events " KINDS_TUNED, NULL};
static const char *const click_load[] = {
    "INSERT INTO kp.events SELECT * FROM file('$dir/rows.bin', 'RowBinary', '" KPI_FLAT_TYPES "')",
    NULL};
static const char *const click_more[] = {
    "OPTIMIZE TABLE kp.events FINAL",
    "CREATE TABLE kp.txns ENGINE = MergeTree ORDER BY (txn, ts) AS SELECT * FROM kp.events "
    "WHERE txn <> 0",
    "CREATE TABLE kp.wakes ENGINE = MergeTree ORDER BY (arg0, ts) AS SELECT arg0, ts, tid FROM "
    "kp.events WHERE kind = 2",
    "OPTIMIZE TABLE kp.txns FINAL",
    "OPTIMIZE TABLE kp.wakes FINAL",
    "CREATE TABLE kp.few ENGINE = MergeTree ORDER BY ts AS SELECT * FROM kp.events LIMIT 2000",
    NULL};
static const char *const click_parquet[] = {
    "INSERT INTO FUNCTION file('$dir/rows.parquet', 'Parquet') SELECT * FROM kp.events ORDER BY ts",
    NULL};

static bool step_click(void *shared)
{
    struct work *work = shared;
    char dir[400];
    const char *why = "";
    bool tuned = work->kind == KPI_CLICK_TUNED;
    kpi_system_dir(work->kind, work->data, work->dir, dir);
    struct kpi_peer *peer = kpi_peer_open(KPI_CLICKHOUSE, dir, THREADS, &why);
    if (peer == NULL)
        return say(dir, why);
    if (!run_all(peer, work, tuned ? click_make_tuned : click_make) ||
        !run_load(peer, work, click_load) || !run_all(peer, work, click_more))
        return false;
    struct kp_buf bytes = {0};
    if (!kpi_peer_run(peer,
                      "SELECT sum(bytes_on_disk) FROM system.parts WHERE active AND database = "
                      "'kp' AND table = 'events'",
                      &bytes, &why))
        return say(dir, why);
    work->loads.peers[work->kind].bytes = strtoull(kp_buf_cstr(&bytes), NULL, 10);
    kp_buf_deinit(&bytes);
    if (!tuned && !run_all(peer, work, click_parquet))
        return false;
    kpi_peer_close(peer);
    return true;
}

static const char *const duck_load[] = {
    "CREATE TABLE events (ts BIGINT, kind UTINYINT, cpu USMALLINT, pid UINTEGER, tid UINTEGER, "
    "cgroup UBIGINT, comm VARCHAR, arg0 BIGINT, arg1 BIGINT, arg2 BIGINT, arg3 BIGINT, "
    "txn UBIGINT)",
    "COPY events FROM '$dir/rows.parquet' (FORMAT parquet)", "CHECKPOINT", NULL};
static const char *const duck_more[] = {
    "CREATE TABLE txns AS SELECT * FROM events WHERE txn <> 0 ORDER BY txn, ts",
    "CREATE TABLE wakes AS SELECT arg0, ts, tid FROM events WHERE kind = 2 ORDER BY arg0, ts",
    "CREATE TABLE few AS SELECT * FROM events LIMIT 2000",
    "CHECKPOINT",
    "COPY events TO '$dir/v2.parquet' (FORMAT parquet, COMPRESSION zstd, PARQUET_VERSION v2)",
    NULL};

static bool step_duck(void *shared)
{
    struct work *work = shared;
    char dir[400], path[420];
    const char *why = "";
    kpi_system_dir(KPI_DUCK, work->data, work->dir, dir);
    mkdir(dir, 0755);
    struct kpi_peer *peer = kpi_peer_open(KPI_DUCKDB, dir, THREADS, &why);
    if (peer == NULL)
        return say(dir, why);
    if (!run_load(peer, work, duck_load))
        return false;
    work->loads.peers[KPI_DUCK].bytes = kpi_files(dir, false);
    if (!run_all(peer, work, duck_more))
        return false;
    kpi_peer_close(peer);
    snprintf(path, sizeof(path), "%s/v2.parquet", work->dir);
    work->loads.parquet_bytes = kpi_files(path, false);
    return true;
}

/* ---------- all of it ---------- */

static bool figures_file(const struct work *work, struct kpi_loads *loads, const char *mode)
{
    char path[420];
    snprintf(path, sizeof(path), "%s/loaded", work->dir);
    FILE *file = fopen(path, mode);
    if (file == NULL)
        return false;
    size_t items = mode[0] == 'r' ? fread(loads, sizeof(*loads), 1, file)
                                  : fwrite(loads, sizeof(*loads), 1, file);
    return fclose(file) == 0 && items == 1;
}

static uint64_t ours_bytes(const char *data)
{
    static const char *const parts[] = {"seg", "txn"};
    uint64_t bytes = 0;
    char path[420];
    for (size_t i = 0; i < KP_ARRAY_LEN(parts); i++) {
        snprintf(path, sizeof(path), "%s/%s", data, parts[i]);
        bytes += kpi_files(path, false);
    }
    return bytes;
}

static bool load_all(struct work *work)
{
    struct kpi_loads *loads = &work->loads;
    loads->ours_bytes = ours_bytes(work->data);
    if (!kpi_child(step_flat, work))
        return false;
    for (work->kind = KPI_CLICK; work->kind <= KPI_CLICK_TUNED; work->kind++)
        if (!kpi_child(step_click, work))
            return false;
    work->kind = KPI_DUCK;
    return kpi_child(step_duck, work);
}

bool kpi_load(const char *data, const char *work_dir, struct kpi_loads *out)
{
    struct work *work = kpi_shared(sizeof(*work));
    struct kpi_loads before;
    snprintf(work->data, sizeof(work->data), "%s", data);
    snprintf(work->dir, sizeof(work->dir), "%s", work_dir);
    bool done = figures_file(work, &before, "r") && before.ours_bytes == ours_bytes(data);
    if (done) {
        *out = before;
    } else if (access(work_dir, F_OK) == 0) {
        say(work_dir, "holds another load or half of one; remove it to load again");
    } else {
        mkdir(work_dir, 0755);
        done = load_all(work) && figures_file(work, &work->loads, "w");
        *out = work->loads;
        sync();
    }
    munmap(work, sizeof(*work));
    return done;
}
