/* SPDX-License-Identifier: Apache-2.0
 *
 * `kpq compact`: makes all sealed segments of a directory cold now, for a recording that goes to an
 * archive. A running kpd does this by itself, by age.
 */
#include <inttypes.h>
#include <stdio.h>

#include "cmd.h"
#include "session.h"
#include "storage/storage.h"

static const char help[] =
    "usage: kpq compact DIR [--cold]\n\n"
    "  kpq compact /var/lib/kprobe\n\n"
    "Seals what is in the log, then rewrites all sealed segments in the strongest coding,\n"
    "neighbours joined; what is under a hold stays as it is. Needs the directory for itself:\n"
    "a running kpd does the same by age, see --cold-after.\n\n";

static kp_status compact(const char *dir, struct kp_error *err)
{
    struct kp_store_opts opts = {.read_only_ok = true};
    struct kp_store *store = NULL;
    struct kp_store_stat before, after;
    kp_status status = kp_store_open(dir, &opts, &store, err);
    if (status != KP_OK)
        return status;
    status = kp_store_tick(store, kp_time_monotonic(), true);
    if (status != KP_OK)
        kp_error_set(err, status, "cannot seal the log of %s: %s", dir, kp_status_text(status));
    kp_store_stat(store, &before);
    if (status == KP_OK)
        status = kp_store_compact(store, err);
    kp_store_stat(store, &after);
    kp_status closed = kp_store_close(store, status == KP_OK ? err : NULL);
    status = status == KP_OK ? closed : status;
    printf("%s: %" PRIu64 " segments, %" PRIu64 " bytes; now %" PRIu64 " segments, %" PRIu64
           " bytes\n",
           dir, before.segments, before.segments_bytes, after.segments, after.segments_bytes);
    return status;
}

int kp_cmd_compact(int argc, char **argv)
{
    struct kpi_opts opts = {0};
    struct kp_error err = {0};
    kp_status status = kpi_opts_parse(argc, argv, KPI_COMPACT, &opts, &err);
    if (status == KP_OK && kpi_opts_answered(&opts, help))
        return 0;
    if (status == KP_OK && opts.args_count != 1)
        status = kp_error_set(&err, KP_USAGE, "one data directory, please");
    if (status == KP_OK)
        status = compact(opts.args[0], &err);
    return status == KP_OK ? 0 : kpi_tool_fail(&err, (struct kp_str){NULL, 0});
}
