/* SPDX-License-Identifier: Apache-2.0
 *
 * /metrics in the Prometheus text format: store, recorder, doors. Durations are in seconds there,
 * as that format wants them, printed exactly from integer nanoseconds.
 */
#include <inttypes.h>

#include "base/version.h"
#include "server/server_int.h"

static void head(struct kp_buf *out, const char *name, const char *type, const char *help)
{
    kp_buf_printf(out, "# HELP kprobe_%s %s\n# TYPE kprobe_%s %s\n", name, help, name, type);
}

static void counter(struct kp_buf *out, const char *name, const char *help, uint64_t value)
{
    head(out, name, "counter", help);
    kp_buf_printf(out, "kprobe_%s %" PRIu64 "\n", name, value);
}

static void gauge(struct kp_buf *out, const char *name, const char *help, uint64_t value)
{
    head(out, name, "gauge", help);
    kp_buf_printf(out, "kprobe_%s %" PRIu64 "\n", name, value);
}

static void seconds(struct kp_buf *out, const char *name, const char *type, const char *help,
                    kp_dur value)
{
    head(out, name, type, help);
    kp_buf_printf(out, "kprobe_%s %" PRId64 ".%09" PRId64 "\n", name, value / KP_SEC,
                  value % KP_SEC);
}

static void store_metrics(struct kp_server *server, struct kp_buf *out)
{
    struct kp_store_stat stat;
    kp_store_stat(server->store, &stat);
    counter(out, "store_rows_appended_total", "Rows given to the store.", stat.rows_appended);
    counter(out, "store_rows_durable_total", "Rows that survive a crash.", stat.rows_durable);
    counter(out, "store_rows_refused_total", "Rows the store could not take.", stat.rows_refused);
    counter(out, "store_commits_total", "Group commits.", stat.commits);
    counter(out, "store_commit_bytes_total", "Bytes written by commits.", stat.commit_bytes);
    counter(out, "store_gaps_total", "Losses the store itself recorded.", stat.gaps);
    gauge(out, "store_segments", "Sealed segments.", stat.segments);
    gauge(out, "store_segments_bytes", "Bytes of sealed segments.", stat.segments_bytes);
    counter(out, "store_dropped_segments_total", "Segments that retention dropped.",
            stat.dropped_segments);
    counter(out, "store_dropped_rows_total", "Rows in them.", stat.dropped_rows);
    counter(out, "store_dropped_bytes_total", "Bytes of them.", stat.dropped_bytes);
    gauge(out, "store_holds", "Legal holds in force.", stat.holds);
    counter(out, "store_scrub_bytes_total", "Bytes of sealed segments read again.",
            stat.scrub_bytes);
    counter(out, "store_scrub_damaged_total", "Damaged places that this found, see gaps.",
            stat.scrub_damaged);
    gauge(out, "store_retention_blocked", "1 when a hold keeps what is too old.",
          stat.retention_blocked);
    gauge(out, "store_wal_bytes", "Bytes of the write-ahead log files, made ahead.",
          stat.wal_bytes);
    gauge(out, "store_memory_bytes", "Buffers of the store, fixed at start.", stat.memory_bytes);
    seconds(out, "store_sync_max_seconds", "gauge", "Slowest sync so far.", stat.sync_max);
}

static void recorder_metrics(struct kp_server *server, struct kp_buf *out)
{
    struct kp_recorder_stat stat;
    const struct kp_kind_state *kinds = NULL;
    if (server->opts.recorder == NULL)
        return;
    kp_recorder_stat(server->opts.recorder, &stat);
    counter(out, "capture_records_total", "Records read from the kernel.", stat.records);
    counter(out, "capture_rows_total", "Rows made of them.", stat.rows);
    counter(out, "capture_lost_total", "Records the kernel could not deliver.", stat.lost);
    counter(out, "capture_rejected_total", "Records that made no sense.", stat.rejected);
    counter(out, "capture_bytes_total", "Bytes read from the kernel.", stat.bytes);
    counter(out, "capture_drains_total", "Turns of the drain.", stat.drains);
    counter(out, "capture_budget_overruns_total", "Turns over their CPU budget.",
            stat.budget_overruns);
    seconds(out, "capture_lag_seconds", "gauge", "Age of the newest record when drained.",
            (kp_dur)stat.lag_ns);
    seconds(out, "capture_cpu_seconds_total", "counter", "CPU time of the drain.", stat.drain_cpu);
    head(out, "capture_kind_on", "gauge", "1 when this kind of event is recorded.");
    uint32_t count = kp_recorder_kinds(server->opts.recorder, &kinds);
    for (uint32_t i = 0; i < count; i++)
        kp_buf_printf(out, "kprobe_capture_kind_on{kind=\"%s\"} %d\n", kinds[i].stream->name,
                      kinds[i].on);
}

static void port_metrics(struct kpi_port_stat *stat, struct kp_buf *out)
{
    gauge(out, "text_clients", "Clients of the text protocol now.",
          atomic_load(&stat->clients_now));
    counter(out, "text_clients_total", "Clients of the text protocol.",
            atomic_load(&stat->clients));
    counter(out, "text_refused_total", "Connections to the query port refused for lack of room.",
            atomic_load(&stat->refused));
    counter(out, "text_queries_total", "Queries asked as text.", atomic_load(&stat->queries));
    counter(out, "text_cancelled_total", "Of these cancelled, or left by their client.",
            atomic_load(&stat->cancelled));
    counter(out, "text_slow_total", "Clients let go because they read nothing.",
            atomic_load(&stat->slow));
}

static void door_metrics(struct kp_server *server, struct kp_buf *out)
{
    counter(out, "http_requests_total", "HTTP requests.", atomic_load(&server->http.requests));
    counter(out, "http_refused_total", "Requests refused for their size or for lack of room.",
            atomic_load(&server->http.refused));
    counter(out, "denied_total", "Requests and sessions without the right token.",
            atomic_load(&server->http.denied));
    counter(out, "http_body_bytes_total", "Bytes of request bodies.",
            atomic_load(&server->http.body_bytes));
    counter(out, "http_disconnects_total", "Clients that left before their answer.",
            atomic_load(&server->http.disconnects));
    counter(out, "queries_total", "Queries asked.", atomic_load(&server->queries));
    counter(out, "query_errors_total", "Queries that failed.", atomic_load(&server->query_errors));
    counter(out, "query_rows_total", "Rows answered.", atomic_load(&server->query_rows));
    counter(out, "otlp_spans_total", "Spans stored.", atomic_load(&server->otlp_spans));
    counter(out, "otlp_rejected_spans_total", "Spans rejected.",
            atomic_load(&server->otlp_rejected));
    counter(out, "otlp_errors_total", "OTLP requests that failed.",
            atomic_load(&server->otlp_errors));
    seconds(out, "uptime_seconds", "gauge", "Time since start.",
            kp_time_monotonic() - server->started);
    head(out, "build_info", "gauge", "The version in a label.");
    kp_buf_printf(out, "kprobe_build_info{version=\"%s\"} 1\n", kp_version());
}

void kpi_metrics_text(struct kp_server *server, struct kp_buf *out)
{
    store_metrics(server, out);
    recorder_metrics(server, out);
    door_metrics(server, out);
    port_metrics(&server->port_stat, out);
}
