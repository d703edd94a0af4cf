/* SPDX-License-Identifier: Apache-2.0
 *
 * One query of the store: a snapshot, the query over it, and the counters. The doors differ only in
 * how they are asked and how they write the answer.
 */
#include <inttypes.h>

#include "base/log.h"
#include "server/server_int.h"

#define SLOW_QUERY_NS (10 * KP_SEC)

kp_status kpi_run_open(struct kpi_run *run, struct kp_server *server, struct kp_str text,
                       kp_dur timeout, const _Atomic bool *cancel, struct kp_error *err)
{
    struct kp_query_opts opts = server->opts.query;
    *run = (struct kpi_run){.server = server};
    atomic_fetch_add(&server->queries, 1);
    opts.cancel = cancel;
    if (timeout > 0 && (opts.timeout == 0 || timeout < opts.timeout))
        opts.timeout = timeout;
    kp_status status = kpi_recent_take(&server->recent, &run->held, err);
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
    *run = (struct kpi_run){0};
}
