/* SPDX-License-Identifier: Apache-2.0
 *
 * Gaps must survive what they tell of: rows of gaps that the store does not take stay in their
 * builder, and when that is full further ones are summed up in one (`folded`).
 */
#include "ingest/rows.h"

#include <pthread.h>
#include <stdlib.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#include "base/assert.h"
#include "ingest/proc.h"

#define ROWS_MAX   1024
#define BUSY_WAITS 50 /* of 1 ms, before a batch is dropped */

enum own { OWN_GAPS, OWN_CLOCK, OWN_CAPTURE, OWN_CGROUP, OWN_CGROUP_STAT, OWN_COUNT };
static const uint32_t own_streams[OWN_COUNT] = {KP_S_GAPS, KP_S_CLOCK, KP_S_CAPTURE, KP_S_CGROUP,
                                                KP_S_CGROUP_STAT};

struct kpi_rows {
    pthread_mutex_t lock;
    struct kp_store *store;
    kp_actor_id actor;
    int64_t offset;
    struct kp_builder builders[OWN_COUNT];
    struct kpi_gap folded; /* count 0 = none */
    uint64_t stored;
};

kp_status kpi_rows_init(struct kp_store *store, kp_actor_id actor, int64_t offset,
                        struct kpi_rows **out)
{
    struct kpi_rows *rows = calloc(1, sizeof(*rows));
    if (rows == NULL)
        return KP_NO_MEMORY;
    rows->store = store;
    rows->actor = actor;
    rows->offset = offset;
    pthread_mutex_init(&rows->lock, NULL);
    for (int i = 0; i < OWN_COUNT; i++) {
        if (kp_builder_init(&rows->builders[i], kp_stream_by_number(own_streams[i]),
                            kp_store_actors(store), ROWS_MAX) != KP_OK) {
            kpi_rows_deinit(rows);
            return KP_NO_MEMORY;
        }
    }
    *out = rows;
    return KP_OK;
}

void kpi_rows_deinit(struct kpi_rows *rows)
{
    if (rows == NULL)
        return;
    for (int i = 0; i < OWN_COUNT; i++)
        kp_builder_deinit(&rows->builders[i]);
    pthread_mutex_destroy(&rows->lock);
    free(rows);
}

static struct kpi_gap gap_of_batch(const struct kpi_rows *rows, const struct kp_batch *batch,
                                   kp_status status);
static void add_gap(struct kpi_rows *rows, const struct kpi_gap *gap);

/* --- into the store --- */

static kp_status append_patiently(struct kpi_rows *rows, const struct kp_batch *batch)
{
    kp_status status;
    for (int i = 0; (status = kp_store_append(rows->store, batch, NULL)) == KP_LIMIT; i++) {
        if (i == BUSY_WAITS)
            return status;
        nanosleep(&(struct timespec){.tv_nsec = KP_MS}, NULL);
    }
    return status;
}

/* A store in loss mode has counted the rows it refused and says so itself. */
static bool store_accounts(kp_status status)
{
    return status == KP_IO || status == KP_NO_SPACE;
}

/* Refused rows become a gap; refused gaps stay for the next try. */
static kp_status flush_one(struct kpi_rows *rows, enum own own)
{
    struct kp_builder *builder = &rows->builders[own];
    uint32_t count = builder->batch.rows;
    if (count == 0)
        return KP_OK;
    const struct kp_batch *batch = kp_builder_batch(builder);
    kp_status status = append_patiently(rows, batch);
    if (status == KP_OK) {
        rows->stored += count;
    } else if (!store_accounts(status)) {
        if (own == OWN_GAPS)
            return status;
        struct kpi_gap gap = gap_of_batch(rows, batch, status);
        add_gap(rows, &gap);
    }
    kp_builder_reset(builder);
    return status;
}

/* --- rows --- */

/* Begins a row, making room if need be; NULL when there is none. Called with the lock. */
static struct kp_builder *begin(struct kpi_rows *rows, enum own own, kp_time ts, uint32_t cpu)
{
    struct kp_builder *builder = &rows->builders[own];
    /* a viewed builder holds gaps that were refused: it takes no more rows until it is flushed */
    if (kp_builder_full(builder) || builder->viewed > 0)
        flush_one(rows, own);
    if (builder->batch.rows > 0 && (kp_builder_full(builder) || builder->viewed > 0))
        return NULL;
    kp_builder_row(builder, ts, kp_store_seq(rows->store, 1), cpu, rows->actor);
    return builder;
}

static void set_i64(struct kp_builder *builder, const char *column, int64_t value)
{
    int at = kp_stream_stored(builder->batch.stream, column);
    kp_assert(at >= 0);
    kp_builder_i64(builder, (uint32_t)at, value);
}

/* Without memory for the text the row stands with an empty one. */
static void set_str(struct kp_builder *builder, const char *column, const char *text)
{
    int at = kp_stream_stored(builder->batch.stream, column);
    kp_assert(at >= 0);
    kp_status status = kp_builder_str(builder, (uint32_t)at, kp_str_from(text));
    (void)status;
}

static void fold(struct kpi_gap *into, const struct kpi_gap *gap)
{
    if (into->count == 0) {
        *into = *gap;
        into->stream = "";
        into->detail = "several losses while the store was busy";
        return;
    }
    into->from = KP_MIN(into->from, gap->from);
    into->to = KP_MAX(into->to, gap->to);
    into->count = into->count < 0 || gap->count < 0 ? -1 : into->count + gap->count;
}

static void add_gap(struct kpi_rows *rows, const struct kpi_gap *gap)
{
    struct kp_builder *row = begin(rows, OWN_GAPS, gap->to + rows->offset, gap->cpu);
    if (row == NULL) {
        fold(&rows->folded, gap);
        return;
    }
    set_i64(row, "dur", gap->to - gap->from);
    set_i64(row, "count", gap->count);
    set_i64(row, "reason", gap->reason);
    set_str(row, "stream", gap->stream);
    set_str(row, "detail", gap->detail);
}

void kpi_rows_gap(struct kpi_rows *rows, const struct kpi_gap *gap)
{
    pthread_mutex_lock(&rows->lock);
    add_gap(rows, gap);
    pthread_mutex_unlock(&rows->lock);
}

void kpi_rows_clock(struct kpi_rows *rows, const struct kpi_anchor *anchor)
{
    pthread_mutex_lock(&rows->lock);
    struct kp_builder *row = begin(rows, OWN_CLOCK, anchor->mono + rows->offset, 0);
    if (row != NULL) {
        set_i64(row, "mono", anchor->mono);
        set_i64(row, "real", anchor->real);
        set_i64(row, "bound", anchor->bound);
        set_i64(row, "step", anchor->step);
        set_str(row, "boot", kpi_boot_id());
    }
    pthread_mutex_unlock(&rows->lock);
}

void kpi_rows_capture(struct kpi_rows *rows, const struct kpi_capture *capture)
{
    struct utsname kernel;
    pthread_mutex_lock(&rows->lock);
    struct kp_builder *row = begin(rows, OWN_CAPTURE, kp_time_monotonic() + rows->offset, 0);
    if (row != NULL) {
        set_i64(row, "op", capture->op);
        set_i64(row, "state", capture->state);
        set_i64(row, "cpus", sysconf(_SC_NPROCESSORS_ONLN));
        set_str(row, "stream", capture->stream);
        set_str(row, "why", capture->why);
        set_str(row, "boot", kpi_boot_id());
        set_str(row, "kernel", uname(&kernel) == 0 ? kernel.release : "");
    }
    pthread_mutex_unlock(&rows->lock);
}

static void set_path(struct kp_builder *row, const struct kpi_cgroup *cgroup)
{
    int at = kp_stream_stored(row->batch.stream, "path");
    kp_status status = kp_builder_str(row, (uint32_t)at, cgroup->path);
    (void)status; /* as in set_str */
    set_i64(row, "id", (int64_t)cgroup->id);
}

void kpi_rows_cgroup(struct kpi_rows *rows, const struct kpi_cgroup *cgroup)
{
    pthread_mutex_lock(&rows->lock);
    struct kp_builder *row = begin(rows, OWN_CGROUP, kp_time_monotonic() + rows->offset, 0);
    if (row != NULL) {
        set_i64(row, "hierarchy", cgroup->hierarchy);
        set_i64(row, "level", cgroup->level);
        set_i64(row, "controllers", cgroup->controllers);
        set_path(row, cgroup);
    }
    pthread_mutex_unlock(&rows->lock);
}

void kpi_rows_quota(struct kpi_rows *rows, const struct kpi_quota *quota)
{
    pthread_mutex_lock(&rows->lock);
    struct kp_builder *row = begin(rows, OWN_CGROUP_STAT, kp_time_monotonic() + rows->offset, 0);
    if (row != NULL) {
        set_i64(row, "quota", quota->quota);
        set_i64(row, "period", quota->period);
        set_i64(row, "periods", quota->periods);
        set_i64(row, "throttled", quota->throttled);
        set_i64(row, "throttled_dur", quota->throttled_dur);
        set_path(row, &quota->cgroup);
    }
    pthread_mutex_unlock(&rows->lock);
}

/* --- batches --- */

static struct kpi_gap gap_of_batch(const struct kpi_rows *rows, const struct kp_batch *batch,
                                   kp_status status)
{
    const int64_t *ts = batch->cols[KP_COL_TS].i64;
    struct kpi_gap gap = {.from = ts[0],
                          .to = ts[0],
                          .count = batch->rows,
                          .cpu = (uint32_t)batch->cols[KP_COL_CPU].i64[0],
                          .reason =
                              status == KP_LIMIT ? KPI_GAP_BATCH_DROPPED : KPI_GAP_STORE_ERROR,
                          .stream = batch->stream->name,
                          .detail = kp_status_text(status)};
    for (uint32_t i = 0; i < batch->rows; i++) {
        gap.from = KP_MIN(gap.from, ts[i]);
        gap.to = KP_MAX(gap.to, ts[i]);
    }
    gap.from -= rows->offset;
    gap.to -= rows->offset;
    return gap;
}

kp_status kpi_rows_append(struct kpi_rows *rows, const struct kp_batch *batch)
{
    kp_status status = append_patiently(rows, batch);
    pthread_mutex_lock(&rows->lock);
    if (status == KP_OK) {
        rows->stored += batch->rows;
    } else if (!store_accounts(status)) {
        struct kpi_gap gap = gap_of_batch(rows, batch, status);
        add_gap(rows, &gap);
    }
    pthread_mutex_unlock(&rows->lock);
    return status;
}

kp_status kpi_rows_flush(struct kpi_rows *rows)
{
    kp_status first = KP_OK;
    pthread_mutex_lock(&rows->lock);
    for (int own = OWN_COUNT - 1; own >= 0; own--) {
        kp_status status = flush_one(rows, (enum own)own);
        first = first == KP_OK ? status : first;
    }
    if (rows->folded.count != 0 && rows->builders[OWN_GAPS].batch.rows == 0) {
        struct kpi_gap folded = rows->folded;
        rows->folded.count = 0;
        add_gap(rows, &folded);
    }
    pthread_mutex_unlock(&rows->lock);
    return first;
}

uint64_t kpi_rows_stored(struct kpi_rows *rows)
{
    pthread_mutex_lock(&rows->lock);
    uint64_t stored = rows->stored;
    pthread_mutex_unlock(&rows->lock);
    return stored;
}
