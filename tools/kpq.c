/* SPDX-License-Identifier: Apache-2.0
 *
 * kpq: the shell and the one-shot tool. main picks a subcommand; what is none is a data directory
 * or a URL to query.
 */
#include <locale.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "base/assert.h"
#include "cmd.h"
#include "opts.h"

static const struct {
    const char *name;
    int (*run)(int argc, char **argv);
    const char *what;
} commands[] = {
    {"record", kp_cmd_record, "record this machine's kernel events into a data directory"},
    {"import", kp_cmd_import, "take in a file of OpenTelemetry spans (OTLP JSON lines)"},
    {"verify", kp_cmd_verify, "re-read a data directory and check every sum"},
    {"inspect", kp_cmd_inspect, "describe one file of a data directory, damaged ones too"},
    {"hold", kp_cmd_hold, "keep a time or a transaction from retention: add, list, release"},
    {"bench-disk", kp_cmd_bench_disk, "measure how fast a disk makes writes durable"},
    {"demo", kp_cmd_demo, "record a small payments stack and explain its slow payment"},
};

static int print_help(FILE *out)
{
    fputs("kpq asks a kprobe recording why something was slow.\n\n"
          "  sudo kpq record --data /tmp/rec --for 10s      record 10 seconds\n"
          "  kpq /tmp/rec                                   look at it in a shell\n"
          "  kpq /tmp/rec -c 'CAUSES OF txn 98721 WITHIN 2s'\n"
          "  kpq /tmp/rec -c 'sched_switch | take 5' --format json\n"
          "  kpq http://127.0.0.1:7433                      ask a running kpd\n\n"
          "usage: kpq DIR|URL [-c QUERY | -f FILE] [flags]      (URL: http://... or unix:PATH)\n"
          "       kpq COMMAND ...                               (kpq COMMAND --help)\n\n",
          out);
    for (size_t i = 0; i < KP_ARRAY_LEN(commands); i++)
        fprintf(out, "  %-10s %s\n", commands[i].name, commands[i].what);
    fputs("\nflags of a query:\n", out);
    kpi_opts_list(out, KPI_QUERY);
    fputs("\nexit: 0 done, 1 not found, 2 usage, 3 query text, 4 connection or missing right,\n"
          "      5 damaged data, 6 limit, 7 not supported here, 130 interrupted\n",
          out);
    return out == stdout ? 0 : 2;
}

int main(int argc, char **argv)
{
    setlocale(LC_CTYPE, "");
    signal(SIGPIPE, SIG_IGN);
    if (argc < 2)
        return print_help(stderr);
    for (size_t i = 0; i < KP_ARRAY_LEN(commands); i++)
        if (strcmp(argv[1], commands[i].name) == 0)
            return commands[i].run(argc - 1, argv + 1);
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0 ||
        strcmp(argv[1], "help") == 0)
        return print_help(stdout);
    return kp_cmd_query(argc, argv);
}
