/* SPDX-License-Identifier: Apache-2.0
 *
 * The recorder: two threads between the source and the store, feed.c and house.c. Here it starts,
 * stops and answers for itself.
 */
#include "ingest/recorder_int.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/log.h"

#define ROWS_MAX       4096               /* of a builder: rows per append */
#define HELD_BYTES_MAX ((size_t)64 << 20) /* waiting for their turn in order.c */
#define CPUS_MAX       4096

static kp_status start_parts(struct kp_recorder *recorder, struct kp_error *err);
static kp_status start_threads(struct kp_recorder *recorder, struct kp_error *err);
static void recorder_free(struct kp_recorder *recorder);
static void account_rings(struct kp_recorder *recorder);

kp_status kp_recorder_start(struct kp_store *store, const struct kp_recorder_opts *opts,
                            struct kp_recorder **out, struct kp_error *err)
{
    struct kp_recorder *recorder = calloc(1, sizeof(*recorder));
    if (recorder == NULL)
        return kp_error_set(err, KP_NO_MEMORY, "no memory for the recorder");
    recorder->store = store;
    recorder->opts =
        opts != NULL ? *opts
                     : (struct kp_recorder_opts){.syscall_min = -1, .lock_min = -1, .irq_min = -1};
    pthread_mutex_init(&recorder->lock, NULL);
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&recorder->wake, &attr);
    pthread_condattr_destroy(&attr);
    kp_status status = KP_OK;
    if (recorder->opts.kinds == 0)
        status = kp_kinds_parse(KP_STR("default"), &recorder->opts.kinds, err);
    if (status == KP_OK)
        status = start_parts(recorder, err);
    if (status == KP_OK)
        status = start_threads(recorder, err);
    if (status != KP_OK) {
        recorder_free(recorder);
        return status;
    }
    *out = recorder;
    return KP_OK;
}

static void recorder_free(struct kp_recorder *recorder)
{
    kpi_threads_publish(NULL, NULL, NULL);
    kp_source_close(recorder->source);
    kpi_decoder_deinit(recorder->decoder);
    kpi_order_deinit(recorder->order);
    kpi_threads_deinit(recorder->threads);
    kpi_cgroups_deinit(recorder->cgroups);
    kpi_rows_deinit(recorder->rows);
    free(recorder->quotas.cgroups);
    free(recorder->quotas.dirs);
    free(recorder->quotas.paths);
    free(recorder->kinds);
    pthread_cond_destroy(&recorder->wake);
    pthread_mutex_destroy(&recorder->lock);
    free(recorder);
}

void kpi_recorder_failed(struct kp_recorder *recorder, kp_status status, const char *what)
{
    if (status == KP_OK)
        return;
    pthread_mutex_lock(&recorder->lock);
    if (recorder->health.code == KP_OK)
        kp_error_set(&recorder->health, status, "%s: %s", what, kp_status_text(status));
    pthread_mutex_unlock(&recorder->lock);
    kp_log(KP_LOG_WARN, "recorder", "%s: %s", what, kp_status_text(status));
}

/* --- start --- */

static void on_gap(void *ctx, const struct kpi_gap *gap)
{
    struct kp_recorder *recorder = ctx;
    kpi_rows_gap(recorder->rows, gap);
}

static kp_status make_parts(struct kp_recorder *recorder)
{
    struct kpi_anchor first = kpi_clock_read();
    kpi_clock_begin(&recorder->clock, &first);
    recorder->begin = recorder->accounted_at = first.mono;
    kp_status status = kpi_cgroups_init(&recorder->cgroups);
    if (status == KP_OK)
        status = kpi_threads_init(recorder->store, recorder->cgroups, &recorder->threads);
    if (status == KP_OK)
        status = kpi_order_init(HELD_BYTES_MAX, &recorder->order);
    struct kpi_decoder_opts opts = {.store = recorder->store,
                                    .threads = recorder->threads,
                                    .cgroups = recorder->cgroups,
                                    .offset = recorder->clock.offset,
                                    .begin = recorder->begin,
                                    .rows_max = ROWS_MAX,
                                    .gap = on_gap,
                                    .ctx = recorder};
    if (status == KP_OK)
        status = kpi_decoder_init(&opts, &recorder->decoder);
    return status;
}

/* The start scan: the table knows every thread before the first event is decoded; the rows take
 * their place in time like any others. */
static void on_scan(void *ctx, const void *record, size_t size_bytes)
{
    struct kp_recorder *recorder = ctx;
    struct kpi_task task;
    if (!kpi_task_read(record, size_bytes, &task))
        return;
    kpi_threads_task(recorder->threads, &task);
    kpi_recorder_failed(recorder, kpi_feed_push(recorder, record, size_bytes), "start scan");
}

static void scan(struct kp_recorder *recorder)
{
    struct kp_error err = {0};
    /* unknown paths show as "/", unknown threads are looked up one by one */
    kpi_recorder_failed(recorder, kpi_cgroups_scan(recorder->cgroups, NULL),
                        "scan of control groups");
    kpi_threads_lock(recorder->threads);
    kp_status status = kp_source_scan(recorder->source, on_scan, recorder, &err);
    kpi_threads_unlock(recorder->threads);
    kpi_recorder_failed(recorder, status, "scan of threads");
}

static const struct kp_kind_state *kind_of(const struct kp_recorder *recorder, uint32_t number)
{
    for (uint32_t i = 0; i < recorder->kinds_count; i++)
        if (recorder->kinds[i].stream->number == number)
            return &recorder->kinds[i];
    return NULL;
}

/* The kinds of the source and, last, the samples that are ours. */
static kp_status copy_kinds(struct kp_recorder *recorder)
{
    const struct kp_kind_state *kinds;
    uint32_t count = kp_source_kinds(recorder->source, &kinds);
    recorder->kinds = calloc(count + 1, sizeof(*kinds));
    if (recorder->kinds == NULL)
        return KP_NO_MEMORY;
    memcpy(recorder->kinds, kinds, count * sizeof(*kinds));
    struct kp_kind_state *ours = &recorder->kinds[count];
    ours->stream = kp_stream_by_number(KP_S_CGROUP_STAT);
    ours->on = (recorder->opts.kinds >> KP_S_CGROUP_STAT & 1) != 0;
    snprintf(ours->why, sizeof(ours->why),
             ours->on ? "files of the control groups, each second" : "switched off");
    recorder->kinds_count = count + 1;
    return KP_OK;
}

static void say_kinds(struct kp_recorder *recorder)
{
    struct kpi_capture start = {
        .op = KPI_CAPTURE_START, .state = KPI_STATE_ON, .stream = "", .why = "recording begins"};
    kpi_rows_capture(recorder->rows, &start);
    for (uint32_t i = 0; i < recorder->kinds_count; i++) {
        const struct kp_kind_state *kind = &recorder->kinds[i];
        bool wanted = (recorder->opts.kinds >> kind->stream->number & 1) != 0;
        struct kpi_capture row = {.op = KPI_CAPTURE_KIND,
                                  .state = kind->on ? KPI_STATE_ON
                                           : wanted ? KPI_STATE_UNAVAILABLE
                                                    : KPI_STATE_OFF,
                                  .stream = kind->stream->name,
                                  .why = kind->why};
        kpi_rows_capture(recorder->rows, &row);
    }
}

static void say_cgroups(struct kp_recorder *recorder)
{
    const struct kp_kind_state *kind = kind_of(recorder, KP_S_CGROUP);
    if (kind == NULL || !kind->on)
        return;
    for (uint32_t i = 0; i < kpi_cgroups_count(recorder->cgroups); i++)
        kpi_rows_cgroup(recorder->rows, kpi_cgroups_at(recorder->cgroups, i));
}

static kp_status start_parts(struct kp_recorder *recorder, struct kp_error *err)
{
    kp_status status = make_parts(recorder);
    if (status != KP_OK)
        return kp_error_set(err, status, "the recorder could not start: %s",
                            kp_status_text(status));
    status = kp_source_open(&recorder->opts, &recorder->source, err);
    if (status != KP_OK)
        return status;
    scan(recorder);
    kpi_threads_publish(recorder->threads, kpi_house_watch, recorder);
    kp_actor_id self = KP_ACTOR_UNKNOWN;
    kpi_threads_bind(recorder->store, (uint32_t)getpid(), 0, KP_TIME_MAX, &self);
    status = kpi_rows_init(recorder->store, self, recorder->clock.offset, &recorder->rows);
    if (status == KP_OK)
        status = copy_kinds(recorder);
    if (status != KP_OK)
        return kp_error_set(err, status, "the recorder could not start: %s",
                            kp_status_text(status));
    say_kinds(recorder);
    say_cgroups(recorder);
    kpi_rows_clock(recorder->rows, &recorder->clock.last);
    kpi_recorder_failed(recorder, kpi_rows_flush(recorder->rows), "first rows");
    return KP_OK;
}

static kp_status start_threads(struct kp_recorder *recorder, struct kp_error *err)
{
    int failed = pthread_create(&recorder->ingest, NULL, kpi_feed_main, recorder);
    recorder->ingest_runs = failed == 0;
    if (failed == 0) {
        pthread_setname_np(recorder->ingest, "kp-ingest");
        failed = pthread_create(&recorder->house, NULL, kpi_house_main, recorder);
        recorder->house_runs = failed == 0;
    }
    if (failed == 0) {
        pthread_setname_np(recorder->house, "kp-house");
        return KP_OK;
    }
    if (recorder->ingest_runs) {
        kp_source_stop(recorder->source);
        pthread_join(recorder->ingest, NULL);
    }
    return kp_error_os(err, KP_LIMIT, failed, "the recorder's threads could not start");
}

/* --- stop and state --- */

/* Losses after the last record of a CPU: no record tells of them. */
static void account_rings(struct kp_recorder *recorder)
{
    struct kp_source_loss *losses = calloc(CPUS_MAX, sizeof(*losses));
    if (losses == NULL)
        return;
    uint32_t cpus = KP_MIN(kp_source_lost(recorder->source, losses, CPUS_MAX), (uint32_t)CPUS_MAX);
    int64_t now = kp_time_monotonic();
    for (uint32_t cpu = 0; cpu < cpus; cpu++)
        kpi_decoder_lost(recorder->decoder, cpu, (uint32_t)losses[cpu].records, now);
    free(losses);
}

kp_status kp_recorder_stop(struct kp_recorder *recorder, struct kp_recorder_stat *out_stat,
                           struct kp_error *err)
{
    kp_source_stop(recorder->source);
    pthread_join(recorder->ingest, NULL);
    pthread_mutex_lock(&recorder->lock);
    recorder->stopping = true;
    pthread_cond_signal(&recorder->wake);
    pthread_mutex_unlock(&recorder->lock);
    pthread_join(recorder->house, NULL);
    account_rings(recorder);
    kpi_house_account(recorder, kp_time_monotonic());
    struct kpi_anchor last = kpi_clock_read();
    last.step = (last.real - last.mono) - (recorder->clock.last.real - recorder->clock.last.mono);
    kpi_rows_clock(recorder->rows, &last);
    struct kpi_capture stop = {
        .op = KPI_CAPTURE_STOP, .state = KPI_STATE_OFF, .stream = "", .why = "recording ends"};
    kpi_rows_capture(recorder->rows, &stop);
    kpi_recorder_failed(recorder, kpi_rows_flush(recorder->rows), "last rows");
    if (out_stat != NULL)
        kp_recorder_stat(recorder, out_stat);
    kp_status status = kp_recorder_health(recorder, err);
    recorder_free(recorder);
    return status;
}

void kp_recorder_stat(struct kp_recorder *recorder, struct kp_recorder_stat *out)
{
    struct kp_source_stat stat;
    kp_source_stat(recorder->source, &stat);
    *out = (struct kp_recorder_stat){
        .records = stat.records,
        .rows = kpi_rows_stored(recorder->rows),
        .lost = stat.lost,
        .rejected = atomic_load_explicit(&recorder->rejected_total, memory_order_relaxed),
        .bytes = stat.bytes,
        .lag_ns = stat.lag_ns,
        .drains = stat.drains,
        .budget_overruns = stat.budget_overruns,
        .drain_cpu = stat.drain_cpu};
}

uint32_t kp_recorder_kinds(struct kp_recorder *recorder, const struct kp_kind_state **out)
{
    *out = recorder->kinds;
    return recorder->kinds_count;
}

kp_status kp_recorder_health(struct kp_recorder *recorder, struct kp_error *err)
{
    pthread_mutex_lock(&recorder->lock);
    kp_status status = recorder->health.code;
    if (status != KP_OK && err != NULL)
        *err = recorder->health;
    pthread_mutex_unlock(&recorder->lock);
    return status;
}
