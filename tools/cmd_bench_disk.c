/* SPDX-License-Identifier: Apache-2.0
 *
 * `kpq bench-disk`: what a durable write costs on the disk under a directory, and the group commit
 * that follows from it.
 */
#include <stdio.h>

#include "cmd.h"
#include "session.h"
#include "storage/storage.h"

#define WRITES 1000
#define LIMIT  (3 * KP_SEC) /* per row */

static const char help[] =
    "usage: kpq bench-disk DIR\n\n"
    "  kpq bench-disk /var/lib/kprobe\n\n"
    "Writes and syncs 4 KiB, 64 KiB and 1 MiB, one at a time, into a file of 16 MiB in DIR that\n"
    "was written before and is removed afterwards, through each I/O backend. Some 20 seconds at\n"
    "most. The last line is for the command line of kpd or kpq record.\n\n";

static void show(const struct kp_disk_report *report)
{
    char p50[KP_DUR_TEXT_MAX], p99[KP_DUR_TEXT_MAX], max[KP_DUR_TEXT_MAX];
    printf("%-9s %9s %7s %11s %11s %11s\n", "backend", "bytes", "writes", "sync p50", "sync p99",
           "max");
    for (uint32_t i = 0; i < report->rows_count; i++) {
        const struct kp_disk_row *row = &report->rows[i];
        kp_dur_format(row->p50, p50);
        kp_dur_format(row->p99, p99);
        kp_dur_format(row->max, max);
        printf("%-9s %9u %7u %11s %11s %11s\n", row->backend, row->bytes, row->writes, p50, p99,
               max);
    }
    printf("this disk suits --commit-after %lldus --commit-bytes %uK\n",
           (long long)(report->commit_after / KP_US), report->commit_bytes / 1024);
}

int kp_cmd_bench_disk(int argc, char **argv)
{
    struct kpi_opts opts = {0};
    struct kp_error err = {0};
    struct kp_disk_report report;
    kp_status status = kpi_opts_parse(argc, argv, KPI_BENCH_DISK, &opts, &err);
    if (status == KP_OK && kpi_opts_answered(&opts, help))
        return 0;
    if (status == KP_OK && opts.args_count != 1)
        status = kp_error_set(&err, KP_USAGE, "one directory on the disk to measure, please");
    if (status == KP_OK)
        status = kp_disk_measure(opts.args[0], NULL, WRITES, LIMIT, &report, &err);
    if (status == KP_OK)
        show(&report);
    err.code = status;
    return status == KP_OK ? 0 : kpi_tool_fail(&err, (struct kp_str){NULL, 0});
}
