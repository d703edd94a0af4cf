/* SPDX-License-Identifier: Apache-2.0
 *
 * `kpq hold`: keeps a time range, or the time of a transaction, from retention. A running kpd is
 * asked through the socket in its data directory, which only those who may write there can open;
 * without one the directory is opened for writing for a moment. Beside another writer (kpq record)
 * neither works, and that is said.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/assert.h"
#include "client.h"
#include "cmd.h"
#include "storage/storage.h"

static const char help[] =
    "usage: kpq hold add DIR --from TIME --to TIME --reason TEXT\n"
    "       kpq hold add DIR --txn ID [--margin D] --reason TEXT\n"
    "       kpq hold list DIR\n"
    "       kpq hold release DIR NUMBER\n\n"
    "  kpq hold add /var/lib/kprobe --txn 98721 --reason 'case 4711'\n\n"
    "Data under a hold is not dropped by --retain-age and --retain-bytes. Works beside a running\n"
    "kpd; what was dropped before stays dropped.\n\n";

/* ---------- where the transaction was ---------- */

static kp_status spans_range(struct kp_scan *scan, kp_time *from, kp_time *to, struct kp_error *err)
{
    const struct kp_batch *batch;
    kp_status status;
    while ((status = kp_scan_next(scan, &batch, err)) == KP_OK)
        for (uint32_t row = 0; row < batch->rows; row++) {
            kp_time end = batch->cols[0].i64[row], begin;
            if (__builtin_sub_overflow(end, batch->cols[1].i64[row], &begin))
                begin = KP_TIME_MIN;
            *from = KP_MIN(*from, begin);
            *to = KP_MAX(*to, end);
        }
    return status == KP_END ? KP_OK : status;
}

/* Time of all spans that carry the id, from > to: there are none. */
static kp_status txn_scan(struct kp_snapshot *snapshot, struct kp_str id, kp_time *from,
                          kp_time *to, struct kp_error *err)
{
    const struct kp_stream *spans = kp_stream_by_number(KP_S_SPANS);
    struct kp_colref cols[] = {{.stored = KP_COL_TS},
                               {.stored = (uint8_t)kp_stream_stored(spans, "dur")}};
    struct kp_scan_req req = {.stream = spans,
                              .from = KP_TIME_MIN,
                              .to = KP_TIME_MAX,
                              .cols = cols,
                              .cols_count = KP_ARRAY_LEN(cols),
                              .keys_count = 1};
    req.keys[0].column.stored = (uint8_t)kp_stream_stored(spans, "txn");
    req.keys[0].strs = &id;
    req.keys[0].count = 1;
    struct kp_scan *scan = NULL;
    *from = KP_TIME_MAX, *to = KP_TIME_MIN;
    kp_status status = kp_scan_open(snapshot, &req, &scan, err);
    if (status == KP_OK)
        status = spans_range(scan, from, to, err);
    kp_scan_close(scan);
    return status;
}

static kp_status txn_range(const char *dir, const char *id, kp_dur margin, struct kp_hold *out,
                           struct kp_error *err)
{
    struct kp_snapshot *snapshot = NULL;
    kp_status status = kp_snapshot_open(dir, NULL, &snapshot, err);
    if (status != KP_OK)
        return status;
    status = txn_scan(snapshot, kp_str_from(id), &out->from, &out->to, err);
    kp_snapshot_close(snapshot);
    if (status != KP_OK)
        return status;
    if (out->from > out->to)
        return kp_error_set(err, KP_NOT_FOUND, "no span of transaction %s is in %s", id, dir);
    if (__builtin_sub_overflow(out->from, margin, &out->from))
        out->from = KP_TIME_MIN;
    if (__builtin_add_overflow(out->to, margin, &out->to))
        out->to = KP_TIME_MAX;
    return KP_OK;
}

static kp_status read_time(const struct kpi_opts *opts, enum kpi_opt_id id, kp_time *out,
                           struct kp_error *err)
{
    const char *value = opts->value[id];
    if (value != NULL && kp_time_parse(kp_str_from(value), out))
        return KP_OK;
    kp_error_set(err, KP_USAGE, value == NULL ? "--%s TIME is missing" : "--%s: '%s' is not a time",
                 kpi_opt_table[id].name, value);
    kp_error_hint(err, "RFC 3339, as 2026-11-23T03:47:00Z; or --txn ID");
    return KP_USAGE;
}

static kp_status read_range(const struct kpi_opts *opts, struct kp_hold *out, struct kp_error *err)
{
    const char *txn = opts->value[KPI_OPT_TXN], *dir = opts->args[1];
    kp_dur margin;
    if (txn != NULL && (opts->value[KPI_OPT_FROM] != NULL || opts->value[KPI_OPT_TO] != NULL))
        return kp_error_set(err, KP_USAGE, "either --txn, or --from and --to");
    kp_status status = kpi_opts_dur(opts, KPI_OPT_MARGIN, KP_MIN_NS, &margin, err);
    if (status != KP_OK)
        return status;
    if (txn != NULL)
        return txn_range(dir, txn, margin, out, err);
    status = read_time(opts, KPI_OPT_FROM, &out->from, err);
    return status == KP_OK ? read_time(opts, KPI_OPT_TO, &out->to, err) : status;
}

/* ---------- two ways to the manifest ---------- */

static kp_status change_here(const char *dir, struct kp_hold *hold, struct kp_error *err)
{
    struct kp_store_opts how = {.read_only_ok = true};
    struct kp_store *store = NULL;
    struct kp_error closing;
    kp_status status = kp_store_open(dir, &how, &store, err);
    if (status == KP_BUSY)
        kp_error_hint(err, "that process takes no holds (a kpd would): wait until it ends");
    if (status != KP_OK)
        return status;
    if (hold->id == 0)
        status = kp_store_hold_add(store, hold->from, hold->to, kp_str_from(hold->reason),
                                   &hold->id, err);
    else
        status = kp_store_hold_release(store, hold->id, err);
    if (kp_store_close(store, &closing) != KP_OK)
        fprintf(stderr, "kpq: %s\n", closing.text);
    return status;
}

static kp_status change_there(const char *url, struct kp_hold *hold, struct kp_error *err)
{
    char from[24], to[24], id[24];
    struct kp_buf answer = {0};
    snprintf(from, sizeof(from), "%" PRId64, hold->from);
    snprintf(to, sizeof(to), "%" PRId64, hold->to);
    snprintf(id, sizeof(id), "%" PRIu64, hold->id);
    const struct kpi_param add[] = {{"from", kp_str_from(from)},
                                    {"to", kp_str_from(to)},
                                    {"reason", kp_str_from(hold->reason)}};
    const struct kpi_param release[] = {{"release", kp_str_from(id)}};
    bool adds = hold->id == 0;
    kp_status status =
        kpi_client_post(url, "/api/hold", adds ? add : release,
                        adds ? KP_ARRAY_LEN(add) : KP_ARRAY_LEN(release), &answer, err);
    if (status == KP_OK && adds)
        hold->id = strtoull(kp_buf_cstr(&answer), NULL, 10);
    kp_buf_deinit(&answer);
    return status;
}

/* A kpd that runs is the writer; a socket that nobody answers is one that was left behind. */
static kp_status change(const char *dir, struct kp_hold *hold, struct kp_error *err)
{
    struct kp_buf url = {0};
    kp_buf_printf(&url, "unix:%s/kpd.sock", dir);
    kp_status status = KP_CONNECT;
    if (!url.failed && access(kp_buf_cstr(&url) + strlen("unix:"), F_OK) == 0)
        status = change_there(kp_buf_cstr(&url), hold, err);
    kp_buf_deinit(&url);
    return status == KP_CONNECT ? change_here(dir, hold, err) : status;
}

/* ---------- the three verbs ---------- */

static kp_status hold_add(const struct kpi_opts *opts, struct kp_error *err)
{
    struct kp_hold hold = {0};
    const char *reason = opts->value[KPI_OPT_REASON];
    char from[KP_TIME_TEXT_MAX], to[KP_TIME_TEXT_MAX];
    if (reason == NULL || reason[0] == '\0' || strlen(reason) >= sizeof(hold.reason))
        return kp_error_set(err, KP_USAGE, "--reason TEXT is missing, or over %zu bytes",
                            sizeof(hold.reason) - 1);
    memcpy(hold.reason, reason, strlen(reason));
    kp_status status = read_range(opts, &hold, err);
    if (status == KP_OK && hold.from > hold.to)
        status = kp_error_set(err, KP_USAGE, "--to lies before --from");
    if (status == KP_OK)
        status = change(opts->args[1], &hold, err);
    if (status != KP_OK)
        return status;
    kp_time_format(hold.from, from);
    kp_time_format(hold.to, to);
    printf("hold %" PRIu64 ": %s .. %s\n", hold.id, from, to);
    return KP_OK;
}

static void show_hold(void *ctx, const struct kp_hold *hold)
{
    char from[KP_TIME_TEXT_MAX], to[KP_TIME_TEXT_MAX], at[KP_TIME_TEXT_MAX];
    ++*(uint32_t *)ctx;
    kp_time_format(hold->from, from);
    kp_time_format(hold->to, to);
    kp_time_format(hold->released != 0 ? hold->released : hold->added, at);
    printf("hold %" PRIu64 ": %s .. %s, %s %s, %s\n", hold->id, from, to,
           hold->released != 0 ? "released" : "in force since", at, hold->reason);
}

static kp_status hold_list(const struct kpi_opts *opts, struct kp_error *err)
{
    uint32_t count = 0;
    kp_status status = kp_holds_read(opts->args[1], NULL, show_hold, &count, err);
    if (status == KP_OK && count == 0)
        printf("no holds\n");
    return status;
}

static kp_status hold_release(const struct kpi_opts *opts, struct kp_error *err)
{
    char *end;
    struct kp_hold hold = {.id = strtoull(opts->args[2], &end, 10)};
    if (*end != '\0' || hold.id == 0)
        return kp_error_set(err, KP_USAGE, "'%s' is not the number of a hold", opts->args[2]);
    kp_status status = change(opts->args[1], &hold, err);
    if (status == KP_OK)
        printf("hold %" PRIu64 " is released\n", hold.id);
    return status;
}

static const struct {
    const char *name;
    int args; /* with the verb itself */
    kp_status (*run)(const struct kpi_opts *opts, struct kp_error *err);
} verbs[] = {
    {"add", 2, hold_add},
    {"list", 2, hold_list},
    {"release", 3, hold_release},
};

static kp_status hold(const struct kpi_opts *opts, struct kp_error *err)
{
    for (size_t i = 0; i < KP_ARRAY_LEN(verbs); i++)
        if (opts->args_count == verbs[i].args && strcmp(opts->args[0], verbs[i].name) == 0)
            return verbs[i].run(opts, err);
    kp_error_set(err, KP_USAGE, "hold add, list or release, please");
    kp_error_hint(err, "kpq hold --help shows the three forms");
    return KP_USAGE;
}

int kp_cmd_hold(int argc, char **argv)
{
    struct kpi_opts opts = {0};
    struct kp_error err = {0};
    kp_status status = kpi_opts_parse(argc, argv, KPI_HOLD, &opts, &err);
    if (status == KP_OK && kpi_opts_answered(&opts, help))
        return 0;
    if (status == KP_OK)
        status = hold(&opts, &err);
    err.code = status;
    return status == KP_OK ? 0 : kpi_tool_fail(&err, (struct kp_str){NULL, 0});
}
