/* SPDX-License-Identifier: Apache-2.0
 *
 * `kpq verify`: every sum and link of a data directory, read again. Findings go to stdout, one a
 * line; exit 5 when there was one.
 */
#include "cmd.h"
#include "progress.h"
#include "session.h"
#include "storage/storage.h"

static const char help[] = "usage: kpq verify DIR\n\n"
                           "  kpq verify /tmp/rec\n\n"
                           "Reads everything again and checks every sum and link; also beside a "
                           "running kpd.\n\n";

static void on_found(void *ctx, const struct kp_damage *damage)
{
    struct kpi_progress *progress = ctx;
    kpi_progress_end(progress);
    printf("damaged: %s at byte %llu, %llu bytes: %s", damage->file,
           (unsigned long long)damage->offset, (unsigned long long)damage->size, damage->what);
    if (damage->rows >= 0)
        printf(", %lld rows", (long long)damage->rows);
    if (damage->from <= damage->to) {
        char from[KP_TIME_TEXT_MAX], to[KP_TIME_TEXT_MAX];
        kp_time_format(damage->from, from);
        kp_time_format(damage->to, to);
        printf(", %s to %s", from, to);
    }
    printf("\n");
}

static void on_progress(void *ctx, uint64_t done, uint64_t total)
{
    kpi_progress_bytes(ctx, "verifying", done, total);
}

static kp_status verify(const char *dir, struct kp_error *err)
{
    struct kpi_progress progress;
    struct kp_verify_report report = {0};
    struct kp_buf text = {0};
    kpi_progress_begin(&progress);
    kp_status status = kp_verify(dir, NULL, on_found, on_progress, &progress, &report, err);
    kpi_progress_end(&progress);
    if (status != KP_OK && status != KP_CORRUPT)
        return status;
    kp_text_count(&text, (int64_t)report.rows);
    kp_buf_text(&text, " rows in ");
    kp_text_count(&text, (int64_t)report.files);
    kp_buf_text(&text, " files, ");
    kpi_text_bytes(&text, report.bytes);
    kp_buf_text(&text, ", ");
    kp_text_count(&text, (int64_t)report.damaged);
    printf("%s damaged places\n", kp_buf_cstr(&text));
    kp_buf_deinit(&text);
    return status;
}

int kp_cmd_verify(int argc, char **argv)
{
    struct kpi_opts opts = {0};
    struct kpi_session session;
    struct kp_error err = {0};
    kp_status status = kpi_opts_parse(argc, argv, KPI_VERIFY, &opts, &err);
    if (status == KP_OK && kpi_opts_answered(&opts, help))
        return 0;
    if (status == KP_OK && opts.args_count != 1)
        status = kp_error_set(&err, KP_USAGE, "one data directory to verify, please");
    if (status == KP_OK)
        status = kpi_session_init(&session, &opts, &err);
    if (status == KP_OK && session.remote)
        status = kp_error_set(&err, KP_USAGE, "verify reads a directory, not a server");
    if (status == KP_OK)
        status = verify(opts.args[0], &err);
    if (status == KP_OK)
        return 0;
    if (err.code == KP_OK)
        kp_error_set(&err, status, "'%s' is damaged; the places are listed above", opts.args[0]);
    return kpi_tool_fail(&err, (struct kp_str){NULL, 0});
}
