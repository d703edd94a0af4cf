/* SPDX-License-Identifier: Apache-2.0
 *
 * `kpq import`: a file of OTLP JSON documents, one a line, into a data directory that no kpd holds.
 */
#include <string.h>

#include "base/assert.h"
#include "cmd.h"
#include "ingest/ingest.h"
#include "progress.h"
#include "session.h"
#include "txn_keys.h"

static const char help[] = "usage: kpq import FILE --data DIR [--txn-keys A,B]\n\n"
                           "  kpq import spans.jsonl --data /tmp/rec\n\n"
                           "FILE holds OTLP JSON, one document a line, as the OpenTelemetry "
                           "Collector's file\nexporter writes it. A running kpd takes spans at "
                           "http://127.0.0.1:4318/v1/traces.\n\n";

static void on_progress(void *ctx, uint64_t done, uint64_t total)
{
    kpi_progress_bytes(ctx, "importing", done, total);
}

static void tell_summary(const struct kp_otlp_result *result, kp_dur elapsed)
{
    struct kp_buf text = {0};
    kp_buf_text(&text, "imported ");
    kp_text_count(&text, (int64_t)result->spans);
    kp_buf_printf(&text, " spans in %lld.%lld s, ", (long long)(elapsed / KP_SEC),
                  (long long)(elapsed % KP_SEC / (KP_SEC / 10)));
    kp_text_count(&text, (int64_t)result->rejected);
    kp_buf_text(&text, " rejected");
    fprintf(stderr, "%s\n", kp_buf_cstr(&text));
    if (result->rejected > 0)
        fprintf(stderr, "kpq: note: rejected: %s\n", result->message);
    kp_buf_deinit(&text);
}

static kp_status import(const struct kpi_opts *opts, struct kp_error *err)
{
    struct kpi_txn_keys keys;
    struct kpi_progress progress;
    struct kp_otlp_result result = {0};
    struct kp_store *store = NULL;
    struct kp_error closing = {0};
    struct kp_span_opts spans = {0};
    kp_status status = kpi_txn_keys_parse(opts->value[KPI_OPT_TXN_KEYS], &keys, err);
    if (status != KP_OK)
        return status;
    spans.txn_keys = keys.names;
    spans.txn_keys_count = keys.count;
    status = kp_store_open(opts->value[KPI_OPT_DATA], NULL, &store, err);
    if (status != KP_OK)
        return status;
    kpi_progress_begin(&progress);
    status =
        kp_import_otlp_lines(store, &spans, opts->args[0], on_progress, &progress, &result, err);
    if (status == KP_OK && result.ticket != 0)
        status = kp_store_wait_all(store, result.ticket_first, result.ticket, err);
    kp_dur elapsed = kpi_progress_end(&progress);
    kp_status closed = kp_store_close(store, &closing);
    if (status == KP_OK || result.spans > 0)
        tell_summary(&result, elapsed);
    if (status == KP_OK && closed != KP_OK) {
        *err = closing;
        return closed;
    }
    return status;
}

int kp_cmd_import(int argc, char **argv)
{
    struct kpi_opts opts = {0};
    struct kp_error err = {0};
    kp_status status = kpi_opts_parse(argc, argv, KPI_IMPORT, &opts, &err);
    if (status == KP_OK && kpi_opts_answered(&opts, help))
        return 0;
    if (status == KP_OK && (opts.args_count != 1 || opts.value[KPI_OPT_DATA] == NULL)) {
        status = kp_error_set(&err, KP_USAGE,
                              opts.args_count != 1 ? "one file to import, please"
                                                   : "where to? --data DIR is missing");
        kp_error_hint(&err, "kpq import FILE --data DIR");
    }
    if (status == KP_OK)
        status = import(&opts, &err);
    err.code = status;
    return status == KP_OK ? 0 : kpi_tool_fail(&err, (struct kp_str){NULL, 0});
}
