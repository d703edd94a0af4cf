/* SPDX-License-Identifier: Apache-2.0
 *
 * The command line: one flag table (opts.def) for every program and subcommand.
 */
#ifndef KP_TOOLS_OPTS_H
#define KP_TOOLS_OPTS_H

#include <stdio.h>

#include "base/status.h"
#include "base/time.h"
#include "storage/storage.h"

enum kpi_command_bits {
    KPI_QUERY = 1,
    KPI_RECORD = 2,
    KPI_IMPORT = 4,
    KPI_VERIFY = 8,
    KPI_INSPECT = 16,
    KPI_KPD = 32,
    KPI_HOLD = 64,
    KPI_BENCH_DISK = 128,
    KPI_COMPLETIONS = 256,
    KPI_CHECKPOINT = 512,
    KPI_COMPACT = 1024,
    KPI_ALL = 2047
};

enum kpi_opt_id {
#define KPI_OPT(ID, name, letter, arg, commands, dflt, help) KPI_OPT_##ID,
#include "opts.def"
#undef KPI_OPT
    KPI_OPT_COUNT
};

#define KPI_ARGS_MAX 4

struct kpi_opts {
    unsigned command;                 /* one of kpi_command_bits */
    const char *value[KPI_OPT_COUNT]; /* NULL = not given, "" = a switch that was */
    const char *args[KPI_ARGS_MAX];   /* what is not a flag */
    int args_count;
    char **rest; /* after "--", ended by NULL; NULL = no "--" */
};

/* What is known of one flag. */
struct kpi_opt {
    const char *name;
    char letter;
    const char *arg;
    unsigned commands;
    const char *dflt;
    const char *help;
};
extern const struct kpi_opt kpi_opt_table[KPI_OPT_COUNT];

/* Reads argv[1..] for one command. USAGE names the word and suggests a flag. Values point into
 * argv. */
kp_status kpi_opts_parse(int argc, char **argv, unsigned command, struct kpi_opts *out,
                         struct kp_error *err) KP_MUST;
/* The flag of a command by its long name, or KPI_OPT_COUNT; then the hint of err names the nearest,
 * with prefix ("--" or "") before it. */
enum kpi_opt_id kpi_opts_find(unsigned command, const char *prefix, struct kp_str name,
                              struct kp_error *err);
/* The flags of a command, for --help. */
void kpi_opts_list(FILE *out, unsigned command);
/* True when --help or --version was asked for and answered. */
bool kpi_opts_answered(const struct kpi_opts *opts, const char *help);
/* The value of a flag or its default, read as a duration or a size ("256M", "1GiB"). */
kp_status kpi_opts_dur(const struct kpi_opts *opts, enum kpi_opt_id id, kp_dur unset, kp_dur *out,
                       struct kp_error *err) KP_MUST;
kp_status kpi_opts_bytes(const struct kpi_opts *opts, enum kpi_opt_id id, uint64_t *out,
                         struct kp_error *err) KP_MUST;
/* --threads; not given: 0, one for each processor. */
kp_status kpi_opts_threads(const struct kpi_opts *opts, uint32_t *out,
                           struct kp_error *err) KP_MUST;
/* --retain-age and --retain-bytes (not given: 0, keep everything), --seal-every, --commit-after and
 * -bytes. */
kp_status kpi_opts_store(const struct kpi_opts *opts, struct kp_store_opts *out,
                         struct kp_error *err) KP_MUST;

#endif
