/* SPDX-License-Identifier: Apache-2.0 */
#include "watch.h"

#include <inttypes.h>
#include <signal.h>
#include <string.h>

#include "base/assert.h"
#include "render/render.h"

#define PATIENCE KP_SEC /* shorter queries are not spoken of */

static const char *const words[] = {
    [KPI_WATCH_AUTO] = "auto", [KPI_WATCH_NEVER] = "never", [KPI_WATCH_ALWAYS] = "always"};

const char *kpi_watch_name(enum kpi_watch_when when)
{
    return words[when];
}

kp_status kpi_watch_parse(const char *word, enum kpi_watch_when *out, struct kp_error *err)
{
    for (size_t i = 0; i < KP_ARRAY_LEN(words); i++) {
        if (strcmp(word, words[i]) != 0)
            continue;
        *out = (enum kpi_watch_when)i;
        return KP_OK;
    }
    kp_error_set(err, KP_USAGE, "--progress: '%s' is not a choice", word);
    kp_error_hint(err, "auto, never or always");
    return KP_USAGE;
}

static uint64_t per_second(uint64_t count, kp_dur elapsed)
{
    return (uint64_t)((unsigned __int128)count * (uint64_t)KP_SEC / (uint64_t)KP_MAX(elapsed, 1));
}

void kpi_watch_text(struct kp_buf *out, uint64_t rows, uint64_t bytes, kp_dur elapsed)
{
    if (rows == 0) { /* nothing yet, or a server reads them */
        kp_buf_printf(out, "working for %" PRId64 " s", elapsed / KP_SEC);
        return;
    }
    kp_text_count(out, (int64_t)rows);
    kp_buf_text(out, " rows read, ");
    kp_text_count(out, (int64_t)per_second(rows, elapsed));
    kp_buf_text(out, " rows/s");
    if (bytes == 0)
        return;
    kp_buf_text(out, ", ");
    kpi_text_bytes(out, per_second(bytes, elapsed));
    kp_buf_text(out, "/s");
}

/* Under the lock. */
static void show(struct kpi_watch *watch)
{
    uint64_t rows = 0, bytes = 0;
    kp_dur elapsed = kp_time_monotonic() - watch->progress.begin;
    if (elapsed < PATIENCE || !kpi_progress_due(&watch->progress))
        return;
    if (watch->snapshot != NULL)
        kp_snapshot_read(watch->snapshot, &rows, &bytes);
    struct kp_buf text = {0};
    kpi_watch_text(&text, rows, bytes, elapsed);
    kpi_progress_line(&watch->progress, &text);
    kp_buf_deinit(&text);
}

static void *watch_main(void *ctx)
{
    struct kpi_watch *watch = ctx;
    pthread_mutex_lock(&watch->lock);
    while (!watch->over) {
        struct timespec until;
        clock_gettime(CLOCK_REALTIME, &until);
        until.tv_nsec += 100 * KP_MS;
        until.tv_sec += until.tv_nsec / KP_SEC;
        until.tv_nsec %= KP_SEC;
        pthread_cond_timedwait(&watch->wake, &watch->lock, &until);
        if (!watch->over)
            show(watch);
    }
    pthread_mutex_unlock(&watch->lock);
    return NULL;
}

void kpi_watch_begin(struct kpi_watch *watch, enum kpi_watch_when when)
{
    sigset_t all, before;
    memset(watch, 0, sizeof(*watch));
    kpi_progress_begin(&watch->progress);
    if (when == KPI_WATCH_NEVER || (when == KPI_WATCH_AUTO && !watch->progress.on))
        return;
    watch->progress.on = true;
    pthread_mutex_init(&watch->lock, NULL);
    pthread_cond_init(&watch->wake, NULL);
    sigfillset(&all); /* Ctrl-C is for the thread that runs the query */
    pthread_sigmask(SIG_SETMASK, &all, &before);
    watch->running = pthread_create(&watch->thread, NULL, watch_main, watch) == 0;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
}

void kpi_watch_snapshot(struct kpi_watch *watch, const struct kp_snapshot *snapshot)
{
    if (!watch->running)
        return;
    pthread_mutex_lock(&watch->lock);
    watch->snapshot = snapshot;
    pthread_mutex_unlock(&watch->lock);
}

void kpi_watch_end(struct kpi_watch *watch)
{
    if (!watch->running)
        return;
    pthread_mutex_lock(&watch->lock);
    watch->over = true;
    pthread_cond_signal(&watch->wake);
    pthread_mutex_unlock(&watch->lock);
    pthread_join(watch->thread, NULL);
    kpi_progress_end(&watch->progress);
    pthread_cond_destroy(&watch->wake);
    pthread_mutex_destroy(&watch->lock);
    watch->running = false;
}
