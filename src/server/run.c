/* SPDX-License-Identifier: Apache-2.0
 *
 * One query of the store: a snapshot, the query over it, and the counters. The doors differ only in
 * how they are asked and how they write the answer.
 */
#include <inttypes.h>
#include <stdio.h>
#include <time.h>

#include "base/log.h"
#include "server/run.h"
#include "server/server_int.h"

#define SLOW_QUERY_NS (10 * KP_SEC)
#define CANCEL_EVERY  (20 * KP_MS) /* looks whether it is still wanted while it waits */

/* Counts one query more, when there is room for it in time. */
static kp_status admit(struct kpi_run *run, const _Atomic bool *cancel, struct kp_error *err)
{
    struct kp_server *server = run->server;
    int64_t until = kp_time_monotonic() + KPI_QUERY_PATIENCE;
    bool given_up = false;
    pthread_mutex_lock(&server->run_lock);
    while (server->runs >= KPI_QUERIES_MAX && !given_up) {
        int64_t wake = kp_time_monotonic() + CANCEL_EVERY;
        struct timespec at = {.tv_sec = wake / KP_SEC, .tv_nsec = wake % KP_SEC};
        pthread_cond_timedwait(&server->run_ended, &server->run_lock, &at);
        given_up = wake > until || (cancel != NULL && atomic_load(cancel));
    }
    run->admitted = !given_up;
    server->runs += run->admitted;
    pthread_mutex_unlock(&server->run_lock);
    if (run->admitted)
        return KP_OK;
    if (cancel != NULL && atomic_load(cancel))
        return kp_error_set(err, KP_CANCELLED, "the query was cancelled before it began");
    return kp_error_set(err, KP_BUSY, "%d queries run at once and none ended; try again",
                        KPI_QUERIES_MAX);
}

static void leave(struct kpi_run *run)
{
    if (!run->admitted)
        return;
    pthread_mutex_lock(&run->server->run_lock);
    run->server->runs--;
    pthread_cond_signal(&run->server->run_ended);
    pthread_mutex_unlock(&run->server->run_lock);
}

kp_status kpi_run_open(struct kpi_run *run, struct kp_server *server, struct kp_str text,
                       const struct kpi_wish *wish, struct kp_error *err)
{
    struct kp_query_opts opts = server->opts.query;
    *run = (struct kpi_run){.server = server};
    atomic_fetch_add(&server->queries, 1);
    opts.cancel = wish->cancel;
    opts.default_window = wish->since;
    if (wish->timeout > 0 && (opts.timeout == 0 || wish->timeout < opts.timeout))
        opts.timeout = wish->timeout;
    kp_status status = admit(run, wish->cancel, err);
    if (status == KP_OK)
        status = kpi_recent_take(&server->recent, &run->held, err);
    if (status != KP_OK)
        return status;
    run->snapshot = kpi_recent_of(run->held);
    status = kp_query_open(run->snapshot, text, &opts, &run->query, err);
    if (status != KP_OK)
        return status;
    status = kp_query_next(run->query, &run->batch, err);
    run->over = status == KP_END;
    if (status != KP_OK)
        run->batch = NULL;
    return run->over ? KP_OK : status;
}

kp_status kpi_run_next(struct kpi_run *run, const struct kp_batch **out, struct kp_error *err)
{
    if (run->over)
        return KP_END;
    *out = run->batch;
    run->batch = NULL;
    kp_status status = *out != NULL ? KP_OK : kp_query_next(run->query, out, err);
    run->over = status != KP_OK;
    return status;
}

static void remark_damage(const struct kpi_run *run, void (*each)(void *ctx, struct kp_str remark),
                          void *ctx)
{
    const struct kp_damage *damage = NULL;
    struct kp_buf text = {0};
    uint32_t count = kp_snapshot_damage(run->snapshot, &damage);
    if (count == 0)
        return;
    kp_buf_printf(&text, "damaged: %s at byte %" PRIu64, damage[0].file, damage[0].offset);
    if (count > 1)
        kp_buf_printf(&text, ", and %u places more", count - 1);
    each(ctx, (struct kp_str){kp_buf_cstr(&text), (uint32_t)text.size});
    kp_buf_deinit(&text);
}

void kpi_run_remarks(const struct kpi_run *run, struct kp_str text,
                     void (*each)(void *ctx, struct kp_str remark), void *ctx)
{
    const struct kp_str *notes = NULL;
    char name[KP_RENDERING_MAX], remark[KP_RENDERING_MAX + 80];
    uint32_t count = kp_query_notes(run->query, &notes);
    for (uint32_t i = 0; i < count; i++)
        each(ctx, notes[i]);
    remark_damage(run, each, ctx);
    if (kp_query_rendering(text, name)) {
        snprintf(remark, sizeof(remark), "render %s: drawn by kpq only; here its rows are given",
                 name);
        each(ctx, kp_str_from(remark));
    }
}

void kpi_run_finish(struct kpi_run *run, struct kp_query_stat *out)
{
    kp_query_stat(run->query, out);
    atomic_fetch_add(&run->server->query_rows, out->rows_out);
    if (out->elapsed > SLOW_QUERY_NS)
        kp_log(KP_LOG_WARN, "query", "slow: %" PRIu64 " rows read in %" PRId64 " ms",
               out->rows_read, out->elapsed / KP_MS);
}

void kpi_run_close(struct kpi_run *run)
{
    if (run->query != NULL)
        kp_query_close(run->query);
    if (run->held != NULL)
        kpi_recent_give(&run->server->recent, run->held);
    leave(run);
    *run = (struct kpi_run){0};
}
