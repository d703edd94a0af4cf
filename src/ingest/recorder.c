/* SPDX-License-Identifier: Apache-2.0
 *
 * The recorder: two threads between the source and the store.
 *
 *   ingest thread        take a span -> order -> decode -> builders -> append, full ones at once
 * and all of them every FLUSH_EVERY housekeeping thread  clock anchors, quota samples, losses the
 * source counts, /proc look-ups, old threads and cgroups
 *
 * The ingest thread touches no file. The two share the thread table with its cgroups (its lock) and
 * the rows (their own lock). Lock order: threads before rows before the store's.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/log.h"
#include "ingest/decode.h"
#include "ingest/order.h"
#include "ingest/proc.h"
#include "ingest/rows.h"
#include "ingest/source.h"

#define ROWS_MAX       4096               /* of a builder: rows per append */
#define HELD_BYTES_MAX ((size_t)64 << 20) /* waiting for their turn in order.c */
#define FLUSH_EVERY    (20 * KP_MS)
#define TURN_RECORDS   512 /* decoded between two releases of the lock of threads */
#define HOUSE_EVERY    KP_SEC
#define SLOW_EVERY     10 /* turns of the house between full looks at quotas and processes */
#define QUOTAS_MAX     4096
#define CPUS_MAX       4096
#define WATCHED_MAX    1024 /* processes whose every system call is recorded */

/* Events that were refused or came late, summed up until they make one row of gaps. */
struct note {
    uint64_t count;
    int64_t from, to;
    int64_t reason;
    const char *detail;
};

struct quota_list {
    struct kpi_cgroup *cgroups; /* without paths */
    char (*dirs)[KPI_CGROUP_MAX];
    char (*paths)[KPI_CGROUP_MAX];
    uint32_t count;
};

struct kp_recorder {
    struct kp_store *store;
    struct kp_recorder_opts opts;
    struct kp_source *source;
    struct kpi_clock clock; /* housekeeping thread; the offset is constant */
    int64_t begin;          /* mono */
    struct kpi_cgroups *cgroups;
    struct kpi_threads *threads;
    struct kpi_order *order;
    struct kpi_decoder *decoder;
    struct kpi_rows *rows;
    struct note rejected, late, refused; /* ingest thread */
    int64_t newest;                      /* mono of the newest record decoded */
    struct kp_source_stat accounted;     /* housekeeping thread, then stop */
    int64_t accounted_at;
    struct quota_list quotas;
    uint32_t cgroups_seen; /* when the list of quotas was made */
    struct kp_kind_state *kinds;
    uint32_t kinds_count;
    pthread_t ingest, house;
    bool ingest_runs, house_runs;
    pthread_mutex_t lock; /* of what follows */
    pthread_cond_t wake;
    bool stopping, heal;
    uint32_t watched[WATCHED_MAX]; /* pids */
    uint32_t watched_count;
    struct kp_error health;
    _Atomic uint64_t rejected_total;
};

static kp_status start_parts(struct kp_recorder *recorder, struct kp_error *err);
static kp_status start_threads(struct kp_recorder *recorder, struct kp_error *err);
static void recorder_free(struct kp_recorder *recorder);
static void *ingest_main(void *arg);
static void *house_main(void *arg);
static void account_source(struct kp_recorder *recorder, int64_t now);
static void account_rings(struct kp_recorder *recorder);
static void decode_all(struct kp_recorder *recorder);
static void flush_rows(struct kp_recorder *recorder);

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

/* Keeps the first failure. */
static void note_failure(struct kp_recorder *recorder, kp_status status, const char *what)
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

static kp_status push_record(struct kp_recorder *recorder, const void *record, size_t size_bytes)
{
    int64_t mono;
    uint32_t cpu;
    if (!kpi_record_stamp(record, size_bytes, &mono, &cpu))
        return KP_INVALID;
    return kpi_order_push(recorder->order, mono, cpu, record, size_bytes);
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
    note_failure(recorder, push_record(recorder, record, size_bytes), "start scan");
}

static void scan(struct kp_recorder *recorder)
{
    struct kp_error err = {0};
    /* unknown paths show as "/", unknown threads are looked up one by one */
    note_failure(recorder, kpi_cgroups_scan(recorder->cgroups, NULL), "scan of control groups");
    kpi_threads_lock(recorder->threads);
    kp_status status = kp_source_scan(recorder->source, on_scan, recorder, &err);
    kpi_threads_unlock(recorder->threads);
    note_failure(recorder, status, "scan of threads");
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

/* A process that works on transactions: its short system calls count too. */
static void on_watch(void *ctx, uint32_t pid)
{
    struct kp_recorder *recorder = ctx;
    bool known = false;
    pthread_mutex_lock(&recorder->lock);
    for (uint32_t i = 0; !known && i < recorder->watched_count; i++)
        known = recorder->watched[i] == pid;
    if (!known && recorder->watched_count < WATCHED_MAX &&
        kp_source_bind(recorder->source, pid, true) == KP_OK)
        recorder->watched[recorder->watched_count++] = pid;
    pthread_mutex_unlock(&recorder->lock);
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
    kpi_threads_publish(recorder->threads, on_watch, recorder);
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
    note_failure(recorder, kpi_rows_flush(recorder->rows), "first rows");
    return KP_OK;
}

static kp_status start_threads(struct kp_recorder *recorder, struct kp_error *err)
{
    int failed = pthread_create(&recorder->ingest, NULL, ingest_main, recorder);
    recorder->ingest_runs = failed == 0;
    if (failed == 0) {
        pthread_setname_np(recorder->ingest, "kp-ingest");
        failed = pthread_create(&recorder->house, NULL, house_main, recorder);
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

/* --- the ingest thread --- */

static void take_note(struct note *note, int64_t reason, const char *detail, int64_t mono)
{
    if (note->count++ == 0) {
        note->from = note->to = mono;
        note->reason = reason;
        note->detail = detail;
    }
    note->from = KP_MIN(note->from, mono);
    note->to = KP_MAX(note->to, mono);
}

static void say_note(struct kp_recorder *recorder, struct note *note)
{
    if (note->count == 0)
        return;
    struct kpi_gap gap = {.from = note->from,
                          .to = note->to,
                          .count = (int64_t)note->count,
                          .reason = note->reason,
                          .stream = "",
                          .detail = note->detail};
    kpi_rows_gap(recorder->rows, &gap);
    note->count = 0;
}

static void reject(struct kp_recorder *recorder, const char *why)
{
    atomic_fetch_add_explicit(&recorder->rejected_total, 1, memory_order_relaxed);
    take_note(&recorder->rejected, KPI_GAP_REJECTED, why,
              recorder->newest != 0 ? recorder->newest : recorder->begin);
}

/* Every whole frame of a span into order; what cannot be a frame ends the span. */
static void push_span(struct kp_recorder *recorder, const struct kp_source_span *span)
{
    const uint8_t *bytes = span->bytes;
    size_t left = span->size_bytes;
    while (left > 0) {
        struct kp_source_frame frame;
        if (left < sizeof(frame))
            break;
        memcpy(&frame, bytes, sizeof(frame));
        size_t step = KP_SOURCE_STEP(frame.size);
        if (step > left)
            break;
        kp_status status = push_record(recorder, bytes + sizeof(frame), frame.size);
        if (status == KP_INVALID)
            reject(recorder, "record of an impossible size, stamp or CPU");
        else if (status != KP_OK)
            take_note(&recorder->refused, KPI_GAP_BATCH_DROPPED, kp_status_text(status),
                      kp_time_monotonic());
        bytes += step;
        left -= step;
    }
    if (left > 0)
        reject(recorder, "bytes that are no record");
}

static void append_builder(struct kp_recorder *recorder, struct kp_builder *builder)
{
    kp_status status = kpi_rows_append(recorder->rows, kp_builder_batch(builder));
    note_failure(recorder, status, "rows could not be stored");
    kp_builder_reset(builder);
}

static void flush_builders(struct kp_recorder *recorder)
{
    for (uint32_t i = 0; i < KPI_KERNEL_STREAMS; i++) {
        struct kp_builder *builder = kpi_decoder_builder(recorder->decoder, i);
        if (builder != NULL && builder->batch.rows > 0)
            append_builder(recorder, builder);
    }
}

/* Decodes one record; true when its builder is full. */
static bool decode_one(struct kp_recorder *recorder, const struct kpi_ordered *next,
                       uint32_t *out_stream)
{
    const char *why = "";
    kp_status status =
        kpi_decoder_add(recorder->decoder, next->record, next->size_bytes, out_stream, &why);
    if (status != KP_OK) {
        if (status == KP_INVALID)
            reject(recorder, why);
        else
            take_note(&recorder->refused, KPI_GAP_BATCH_DROPPED, kp_status_text(status),
                      recorder->newest);
        return false;
    }
    struct kp_builder *builder = kpi_decoder_builder(recorder->decoder, *out_stream);
    int64_t mono = builder->cols[KP_COL_TS].i64[builder->batch.rows - 1] - recorder->clock.offset;
    if (next->late)
        take_note(&recorder->late, KPI_GAP_LATE, "stored after younger events", mono);
    recorder->newest = KP_MAX(recorder->newest, mono);
    return kp_builder_full(builder);
}

/* Up to TURN_RECORDS under the lock; a full builder is appended without it. False: none left. */
static bool decode_turn(struct kp_recorder *recorder)
{
    struct kpi_ordered next;
    uint32_t full = 0, pending;
    bool more = true, is_full = false;
    kpi_threads_lock(recorder->threads);
    for (int i = 0; more && !is_full && i < TURN_RECORDS; i++) {
        more = kpi_order_pop(recorder->order, &next);
        is_full = more && decode_one(recorder, &next, &full);
    }
    pending = kpi_threads_pending(recorder->threads);
    kpi_threads_unlock(recorder->threads);
    if (is_full)
        append_builder(recorder, kpi_decoder_builder(recorder->decoder, full));
    if (pending > 0) {
        pthread_mutex_lock(&recorder->lock);
        recorder->heal = true;
        pthread_cond_signal(&recorder->wake);
        pthread_mutex_unlock(&recorder->lock);
    }
    return more;
}

static void decode_all(struct kp_recorder *recorder)
{
    while (decode_turn(recorder))
        ;
}

static void flush_rows(struct kp_recorder *recorder)
{
    flush_builders(recorder);
    note_failure(recorder, kpi_rows_flush(recorder->rows), "rows could not be stored");
}

static void say_notes(struct kp_recorder *recorder)
{
    say_note(recorder, &recorder->rejected);
    say_note(recorder, &recorder->late);
    say_note(recorder, &recorder->refused);
}

static void *ingest_main(void *arg)
{
    struct kp_recorder *recorder = arg;
    struct kp_source_span span;
    int64_t flushed = 0, noted = 0;
    while (kp_source_take(recorder->source, FLUSH_EVERY, &span) == KP_OK) {
        push_span(recorder, &span);
        kp_source_release(recorder->source, span.size_bytes);
        kpi_order_complete(recorder->order, span.complete);
        decode_all(recorder);
        int64_t now = kp_time_monotonic();
        if (now - noted >= KP_SEC) {
            say_notes(recorder);
            noted = now;
        }
        if (now - flushed >= FLUSH_EVERY) {
            flush_rows(recorder);
            flushed = now;
        }
    }
    kpi_order_complete(recorder->order, INT64_MAX);
    decode_all(recorder);
    say_notes(recorder);
    flush_rows(recorder);
    return NULL;
}

/* --- the housekeeping thread --- */

static void keep_clock(struct kp_recorder *recorder)
{
    struct kpi_anchor now = kpi_clock_read();
    if (kpi_clock_update(&recorder->clock, &now))
        kpi_rows_clock(recorder->rows, &now);
}

/* A scan into a table of its own, then learnt under the lock: files are read without it. */
static void rescan_cgroups(struct kp_recorder *recorder)
{
    struct kpi_cgroups *fresh;
    if (kpi_cgroups_init(&fresh) != KP_OK)
        return;
    kp_status status = kpi_cgroups_scan(fresh, NULL);
    kpi_threads_lock(recorder->threads);
    for (uint32_t i = 0; status == KP_OK && i < kpi_cgroups_count(fresh); i++)
        status = kpi_cgroups_set(recorder->cgroups, kpi_cgroups_at(fresh, i));
    kpi_threads_unlock(recorder->threads);
    note_failure(recorder, status, "scan of control groups");
    kpi_cgroups_deinit(fresh);
}

static bool quotas_room(struct quota_list *list)
{
    if (list->cgroups != NULL)
        return true;
    list->cgroups = calloc(QUOTAS_MAX, sizeof(*list->cgroups));
    list->dirs = calloc(QUOTAS_MAX, sizeof(*list->dirs));
    list->paths = calloc(QUOTAS_MAX, sizeof(*list->paths));
    return list->cgroups != NULL && list->dirs != NULL && list->paths != NULL;
}

/* All groups with a cpu controller; the sample then drops those without a quota. */
static void list_quotas(struct kp_recorder *recorder)
{
    struct quota_list *list = &recorder->quotas;
    list->count = 0;
    if (!quotas_room(list))
        return;
    kpi_threads_lock(recorder->threads);
    recorder->cgroups_seen = kpi_cgroups_count(recorder->cgroups);
    for (uint32_t i = 0; i < recorder->cgroups_seen && list->count < QUOTAS_MAX; i++) {
        const struct kpi_cgroup *cgroup = kpi_cgroups_at(recorder->cgroups, i);
        if (!(cgroup->controllers & KPI_CONTROLLER_CPU) || cgroup->level == 0 ||
            cgroup->path.len >= KPI_CGROUP_MAX ||
            !kpi_cgroups_dir(recorder->cgroups, cgroup, list->dirs[list->count], KPI_CGROUP_MAX))
            continue;
        list->cgroups[list->count] = *cgroup;
        snprintf(list->paths[list->count++], KPI_CGROUP_MAX, "%.*s", (int)cgroup->path.len,
                 cgroup->path.ptr);
    }
    kpi_threads_unlock(recorder->threads);
}

static void sample_quotas(struct kp_recorder *recorder)
{
    struct quota_list *list = &recorder->quotas;
    uint32_t kept = 0;
    for (uint32_t i = 0; i < list->count; i++) {
        struct kpi_quota quota = {.cgroup = list->cgroups[i]};
        if (!kpi_cgroup_quota(list->dirs[i], quota.cgroup.hierarchy == 0, &quota))
            continue;
        quota.cgroup.path = kp_str_from(list->paths[i]);
        kpi_rows_quota(recorder->rows, &quota);
        list->cgroups[kept] = list->cgroups[i];
        memmove(list->dirs[kept], list->dirs[i], KPI_CGROUP_MAX);
        memmove(list->paths[kept++], list->paths[i], KPI_CGROUP_MAX);
    }
    list->count = kept;
}

static void keep_quotas(struct kp_recorder *recorder, bool slow)
{
    if (!(recorder->opts.kinds >> KP_S_CGROUP_STAT & 1))
        return;
    kpi_threads_lock(recorder->threads);
    bool changed = kpi_cgroups_count(recorder->cgroups) != recorder->cgroups_seen;
    kpi_threads_unlock(recorder->threads);
    if (slow || changed)
        list_quotas(recorder);
    sample_quotas(recorder);
}

static void keep_tables(struct kp_recorder *recorder)
{
    kpi_threads_lock(recorder->threads);
    kpi_threads_sweep(recorder->threads, kp_time_monotonic());
    bool missed = kpi_cgroups_missed(recorder->cgroups);
    kpi_threads_unlock(recorder->threads);
    if (missed)
        rescan_cgroups(recorder);
}

static void keep_watched(struct kp_recorder *recorder)
{
    pthread_mutex_lock(&recorder->lock);
    for (uint32_t i = 0; i < recorder->watched_count;) {
        uint32_t pid = recorder->watched[i];
        if (kpi_proc_has_thread(pid, pid)) {
            i++;
            continue;
        }
        /* a pid that cannot be unbound costs a few records more, nothing else */
        kp_status status = kp_source_bind(recorder->source, pid, false);
        (void)status;
        recorder->watched[i] = recorder->watched[--recorder->watched_count];
    }
    pthread_mutex_unlock(&recorder->lock);
}

static void heal_threads(struct kp_recorder *recorder)
{
    uint32_t pending;
    do {
        kpi_threads_heal(recorder->threads);
        kpi_threads_lock(recorder->threads);
        pending = kpi_threads_pending(recorder->threads);
        kpi_threads_unlock(recorder->threads);
    } while (pending > 0);
}

/* What the source counts beside full rings, since the last time. */
static void account_source(struct kp_recorder *recorder, int64_t now)
{
    struct kp_source_stat stat;
    kp_source_stat(recorder->source, &stat);
    const struct {
        uint64_t more;
        int64_t reason;
        const char *detail;
    } losses[] = {
        {stat.joins_lost - recorder->accounted.joins_lost, KPI_GAP_JOIN_LOST,
         "ends of intervals whose begin was not seen"},
        {stat.missed - recorder->accounted.missed, KPI_GAP_REJECTED,
         "runs of programs that the kernel refused because they nested"},
    };
    for (size_t i = 0; i < KP_ARRAY_LEN(losses); i++) {
        struct kpi_gap gap = {.from = recorder->accounted_at,
                              .to = now,
                              .count = (int64_t)losses[i].more,
                              .reason = losses[i].reason,
                              .stream = "",
                              .detail = losses[i].detail};
        if (losses[i].more > 0)
            kpi_rows_gap(recorder->rows, &gap);
    }
    recorder->accounted = stat;
    recorder->accounted_at = now;
}

/* Sleeps until the next turn, healing threads meanwhile; false when it is time to end. */
static bool house_sleep(struct kp_recorder *recorder, int64_t until)
{
    struct timespec at = {.tv_sec = until / KP_SEC, .tv_nsec = until % KP_SEC};
    pthread_mutex_lock(&recorder->lock);
    int timed_out = 0;
    while (!recorder->stopping && timed_out == 0) {
        if (recorder->heal) {
            recorder->heal = false;
            pthread_mutex_unlock(&recorder->lock);
            heal_threads(recorder);
            pthread_mutex_lock(&recorder->lock);
            continue;
        }
        timed_out = pthread_cond_timedwait(&recorder->wake, &recorder->lock, &at);
    }
    bool more = !recorder->stopping;
    pthread_mutex_unlock(&recorder->lock);
    return more;
}

static void *house_main(void *arg)
{
    struct kp_recorder *recorder = arg;
    int64_t next = kp_time_monotonic();
    uint32_t turn = 0;
    do {
        bool slow = turn++ % SLOW_EVERY == 0;
        keep_clock(recorder);
        keep_quotas(recorder, slow);
        keep_tables(recorder);
        account_source(recorder, kp_time_monotonic());
        if (slow)
            keep_watched(recorder);
        next = KP_MAX(next + HOUSE_EVERY, kp_time_monotonic());
    } while (house_sleep(recorder, next));
    return NULL;
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
    account_source(recorder, kp_time_monotonic());
    struct kpi_anchor last = kpi_clock_read();
    last.step = (last.real - last.mono) - (recorder->clock.last.real - recorder->clock.last.mono);
    kpi_rows_clock(recorder->rows, &last);
    struct kpi_capture stop = {
        .op = KPI_CAPTURE_STOP, .state = KPI_STATE_OFF, .stream = "", .why = "recording ends"};
    kpi_rows_capture(recorder->rows, &stop);
    note_failure(recorder, kpi_rows_flush(recorder->rows), "last rows");
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
