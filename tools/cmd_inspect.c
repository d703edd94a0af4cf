/* SPDX-License-Identifier: Apache-2.0
 *
 * `kpq inspect`: one file of a data directory as text. Never writes; of a damaged file it shows
 * what can be read and where it is damaged.
 */
#include "cmd.h"
#include "session.h"
#include "sink.h"
#include "storage/storage.h"

static const char help[] = "usage: kpq inspect FILE\n\n"
                           "  kpq inspect /tmp/rec/MANIFEST\n\n"
                           "Describes a file of a data directory, also a damaged one.\n\n";

static kp_status inspect(const char *path, struct kp_error *err)
{
    struct kp_buf text = {0};
    struct kpi_sink sink;
    struct kp_error written = {0};
    kp_status status = kp_inspect(path, &text, err);
    kpi_sink_begin(&sink, NULL, true, NULL);
    if (text.size > 0)
        kpi_sink_write(&sink, text.data, text.size);
    kp_status shown = kpi_sink_end(&sink, &written);
    kp_buf_deinit(&text);
    if (status == KP_OK && shown != KP_OK) {
        *err = written;
        return shown;
    }
    return status;
}

int kp_cmd_inspect(int argc, char **argv)
{
    struct kpi_opts opts = {0};
    struct kp_error err = {0};
    kp_status status = kpi_opts_parse(argc, argv, KPI_INSPECT, &opts, &err);
    if (status == KP_OK && kpi_opts_answered(&opts, help))
        return 0;
    if (status == KP_OK && opts.args_count != 1)
        status = kp_error_set(&err, KP_USAGE, "one file to inspect, please");
    if (status == KP_OK)
        status = inspect(opts.args[0], &err);
    err.code = status;
    return status == KP_OK ? 0 : kpi_tool_fail(&err, (struct kp_str){NULL, 0});
}
