/* SPDX-License-Identifier: Apache-2.0
 *
 * The housekeeping thread: once a second clock anchors, quota samples, losses that only the source
 * counts, old threads; every SLOW_EVERY seconds what costs more; and at once the /proc look-ups the
 * ingest thread asks for.
 */
#include "ingest/recorder_int.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/assert.h"

#define HOUSE_EVERY KP_SEC
#define SLOW_EVERY  10 /* turns between full looks at quotas and processes */
#define QUOTAS_MAX  4096

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
    kpi_recorder_failed(recorder, status, "scan of control groups");
    kpi_cgroups_deinit(fresh);
}

static bool quotas_room(struct kpi_quota_list *list)
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
    struct kpi_quota_list *list = &recorder->quotas;
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
    struct kpi_quota_list *list = &recorder->quotas;
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

/* --- processes that work on transactions --- */

void kpi_house_watch(void *ctx, uint32_t pid)
{
    struct kp_recorder *recorder = ctx;
    bool known = false;
    pthread_mutex_lock(&recorder->lock);
    for (uint32_t i = 0; !known && i < recorder->watched_count; i++)
        known = recorder->watched[i] == pid;
    if (!known && recorder->watched_count < KPI_WATCHED_MAX &&
        kp_source_bind(recorder->source, pid, true) == KP_OK)
        recorder->watched[recorder->watched_count++] = pid;
    pthread_mutex_unlock(&recorder->lock);
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

/* The streams of intervals, whose rows are made of two events: "syscall,lock,...". */
static void joined_streams(char *out, size_t size)
{
    uint32_t count;
    const struct kp_stream *streams = kp_streams(&count);
    size_t used = 0;
    for (uint32_t i = 0; i < count; i++) {
        int dur = kp_stream_stored(&streams[i], "dur");
        if (dur < 0 || streams[i].stored[dur].wire_size == 0 || used >= size)
            continue;
        used += (size_t)snprintf(out + used, size - used, "%s%s", used ? "," : "", streams[i].name);
    }
}

/* What the source counts beside full rings, since the last time. */
void kpi_house_account(struct kp_recorder *recorder, int64_t now)
{
    struct kp_source_stat stat;
    char joined[256];
    joined_streams(joined, sizeof(joined));
    kp_source_stat(recorder->source, &stat);
    const struct {
        uint64_t more;
        int64_t reason;
        const char *streams; /* that may lack rows */
        const char *detail;
    } losses[] = {
        {stat.joins_lost - recorder->accounted.joins_lost, KPI_GAP_JOIN_LOST, joined,
         "ends of intervals whose begin was not seen"},
        {stat.missed - recorder->accounted.missed, KPI_GAP_REJECTED, "",
         "runs of programs that the kernel refused because they nested"},
    };
    for (size_t i = 0; i < KP_ARRAY_LEN(losses); i++) {
        struct kpi_gap gap = {.from = recorder->accounted_at,
                              .to = now,
                              .count = (int64_t)losses[i].more,
                              .reason = losses[i].reason,
                              .stream = losses[i].streams,
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

void *kpi_house_main(void *arg)
{
    struct kp_recorder *recorder = arg;
    int64_t next = kp_time_monotonic();
    uint32_t turn = 0;
    do {
        bool slow = turn++ % SLOW_EVERY == 0;
        keep_clock(recorder);
        keep_quotas(recorder, slow);
        keep_tables(recorder);
        kpi_house_account(recorder, kp_time_monotonic());
        if (slow)
            keep_watched(recorder);
        next = KP_MAX(next + HOUSE_EVERY, kp_time_monotonic());
    } while (house_sleep(recorder, next));
    return NULL;
}
