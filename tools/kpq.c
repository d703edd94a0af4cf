/* SPDX-License-Identifier: Apache-2.0
 *
 * kpq: the shell and the one-shot tool. main picks a subcommand; what is none is a data directory
 * or a URL to query.
 */
#include <locale.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "cmd.h"
#include "opts.h"

static int print_help(void)
{
    fputs("kpq asks a kprobe recording why something was slow.\n\n"
          "  sudo kpq record --data /tmp/rec --for 10s      record 10 seconds\n"
          "  kpq /tmp/rec                                   look at it in a shell\n"
          "  kpq /tmp/rec -c 'CAUSES OF txn 98721 WITHIN 2s'\n"
          "  kpq /tmp/rec -c 'sched_switch | take 5' --format json\n"
          "  kpq                                            ask the kpd of this machine\n\n"
          "usage: kpq [DIR|URL] [-c QUERY | -f FILE] [flags]    (URL: http://... or unix:PATH)\n"
          "       kpq COMMAND ...                               (kpq COMMAND --help)\n\n",
          stdout);
    for (uint32_t i = 0; i < kpi_commands_count; i++)
        printf("  %-11s %s\n", kpi_commands[i].name, kpi_commands[i].what);
    fputs("\nflags of a query:\n", stdout);
    kpi_opts_list(stdout, KPI_QUERY);
    fputs("\nexit: 0 done, 1 not found, 2 usage, 3 query text, 4 connection or missing right,\n"
          "      5 damaged data, 6 limit, 7 not supported here, 130 interrupted\n",
          stdout);
    return 0;
}

int main(int argc, char **argv)
{
    setlocale(LC_CTYPE, "");
    signal(SIGPIPE, SIG_IGN);
    for (uint32_t i = 0; argc > 1 && i < kpi_commands_count; i++)
        if (strcmp(argv[1], kpi_commands[i].name) == 0)
            return kpi_commands[i].run(argc - 1, argv + 1);
    if (argc > 1 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0 ||
                     strcmp(argv[1], "help") == 0))
        return print_help();
    return kp_cmd_query(argc, argv);
}
