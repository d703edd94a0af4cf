/* SPDX-License-Identifier: Apache-2.0
 *
 * The subcommands of kpq. Each gets its own words (argv[0] is the subcommand) and returns the exit
 * code of the process.
 */
#ifndef KP_TOOLS_CMD_H
#define KP_TOOLS_CMD_H

#include <stdint.h>

int kp_cmd_query(int argc, char **argv);
int kp_cmd_record(int argc, char **argv);
int kp_cmd_import(int argc, char **argv);
int kp_cmd_verify(int argc, char **argv);
int kp_cmd_inspect(int argc, char **argv);
int kp_cmd_checkpoint(int argc, char **argv);
int kp_cmd_compact(int argc, char **argv);
int kp_cmd_hold(int argc, char **argv);
int kp_cmd_bench_disk(int argc, char **argv);
int kp_cmd_demo(int argc, char **argv);
int kp_cmd_completions(int argc, char **argv);

/* Every subcommand, in the order of --help. */
struct kpi_command {
    const char *name;
    int (*run)(int argc, char **argv);
    unsigned bits; /* of opts.def; 0 = reads its words itself */
    const char *what;
};
extern const struct kpi_command kpi_commands[];
extern const uint32_t kpi_commands_count;

#endif
