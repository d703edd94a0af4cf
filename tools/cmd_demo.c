/* SPDX-License-Identifier: Apache-2.0
 *
 * kpq demo: records a small payments stack on this machine, lets a batch job take the CPU of one
 * payment, and shows what kprobe says about it. docs/demo.md explains the screen.
 *
 * The answers on the screen are the output of kpq itself, run as anybody would type it; the checks
 * below them read the same store through the query library and compare with what the kernel and the
 * batch job counted on their own.
 */
#include <errno.h>
#include <ftw.h>
#include <getopt.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cmd.h"
#include "demo.h"
#include "base/assert.h"

struct options {
    struct kpi_demo_plan plan;
    const char *keep;           /* data directory to keep */
    const char *make_recording; /* folder for a recording of our own */
    bool recorded;              /* do not record, show the recording */
    bool accuracy;
    struct kpi_accuracy_opts accuracy_opts;
};

static const char help_text[] =
    "usage: kpq demo [flags]\n\n"
    "Records a small payments stack on this machine, lets a batch job take the CPU from\n"
    "payment " KPI_DEMO_TXN " and asks why the payment was not settled.\n\n"
    "  --keep DIR             keep the data directory there, to look further\n"
    "  --payments N           normal payments before it (200)\n"
    "  --cpu N                CPU of settlement-svc, ledger and the batch job (the last)\n"
    "  --policy fifo|nice     how the batch job gets ahead (fifo)\n"
    "  --no-batch             without the batch job\n"
    "  --recorded             show the recording that comes with kprobe\n"
    "  --make-recording DIR   make such a recording\n"
    "  --accuracy N           N recordings with drawn CPU, load and timing: how often is the\n"
    "                         batch job named? then N without it (with --no-batch: only those)\n"
    "  --seed S               what --accuracy draws from\n\n"
    "exit: 0 the batch job was found (accuracy: in 95 of 100 runs), 1 not, 2 usage,\n"
    "      4 missing right, 7 not supported here, 130 interrupted\n";

static int fail(const struct kp_error *err)
{
    fprintf(stderr, "kpq demo: %s\n", err->text);
    if (err->hint[0] != '\0')
        fprintf(stderr, "  %s\n", err->hint);
    return kp_status_exit(err->code);
}

/* --- options --- */

static kp_status parse_number(const char *name, const char *text, uint64_t max, uint64_t *out,
                              struct kp_error *err)
{
    char *end;
    errno = 0;
    unsigned long long value = strtoull(text, &end, 10);
    if (errno != 0 || end == text || *end != '\0' || text[0] == '-' || value > max) {
        return kp_error_set(err, KP_USAGE, "--%s wants a number up to %" PRIu64 ", not '%s'", name,
                            max, text);
    }
    *out = value;
    return KP_OK;
}

static const struct option option_table[] = {
    {"keep", required_argument, NULL, 'k'},
    {"payments", required_argument, NULL, 'p'},
    {"cpu", required_argument, NULL, 'c'},
    {"policy", required_argument, NULL, 'y'},
    {"no-batch", no_argument, NULL, 'n'},
    {"recorded", no_argument, NULL, 'r'},
    {"accuracy", required_argument, NULL, 'a'},
    {"make-recording", required_argument, NULL, 'm'},
    {"seed", required_argument, NULL, 's'},
    {"help", no_argument, NULL, 'h'},
    {NULL, 0, NULL, 0},
};

static kp_status take_option(struct options *options, int c, struct kp_error *err)
{
    uint64_t value = 0;
    kp_status status = KP_OK;
    switch (c) {
    case 'k':
        options->keep = optarg;
        break;
    case 'm':
        options->make_recording = optarg;
        break;
    case 'p':
        status = parse_number("payments", optarg, 1000, &value, err);
        options->plan.payments = (uint32_t)value;
        break;
    case 'c':
        status = parse_number("cpu", optarg, KPI_DEMO_CPUS_MAX - 1, &value, err);
        options->plan.cpu = (uint32_t)value;
        break;
    case 'y':
        options->plan.policy = optarg;
        break;
    case 'n':
        options->plan.batch = false;
        break;
    case 'r':
        options->recorded = true;
        break;
    case 'a':
        status = parse_number("accuracy", optarg, 10000, &value, err);
        options->accuracy = true;
        options->accuracy_opts.runs = (uint32_t)value;
        break;
    case 's':
        status = parse_number("seed", optarg, UINT64_MAX, &options->accuracy_opts.seed, err);
        break;
    default:
        status = kp_error_set(err, KP_USAGE, "unknown or incomplete flag; see kpq demo --help");
    }
    return status;
}

static bool cpu_allowed(uint32_t cpu)
{
    uint32_t cpus[KPI_DEMO_CPUS_MAX];
    uint32_t count = kpi_demo_cpus(cpus);
    bool found = false;
    for (uint32_t i = 0; i < count; i++)
        found = found || cpus[i] == cpu;
    return found;
}

static kp_status check_options(struct options *options, struct kp_error *err)
{
    const char *policy = options->plan.policy;
    if (strcmp(policy, "fifo") != 0 && strcmp(policy, "nice") != 0)
        return kp_error_set(err, KP_USAGE, "--policy is fifo or nice, not '%s'", policy);
    if (!cpu_allowed(options->plan.cpu))
        return kp_error_set(err, KP_USAGE, "CPU %u is not there, or not for us", options->plan.cpu);
    if (options->accuracy) {
        options->accuracy_opts.control_runs = options->accuracy_opts.runs;
        options->accuracy_opts.runs = options->plan.batch ? options->accuracy_opts.runs : 0;
    }
    return KP_OK;
}

/* KP_END: --help was answered. */
static kp_status parse_options(int argc, char **argv, struct options *out, struct kp_error *err)
{
    struct options options = {.accuracy_opts.seed = (uint64_t)kp_time_now()};
    kpi_demo_plan_story(&options.plan);
    int c;
    optind = 1;
    opterr = 0;
    while ((c = getopt_long(argc, argv, "h", option_table, NULL)) != -1) {
        if (c == 'h') {
            fputs(help_text, stdout);
            return KP_END;
        }
        kp_status status = take_option(&options, c, err);
        if (status != KP_OK)
            return status;
    }
    if (optind < argc) {
        return kp_error_set(err, KP_USAGE, "'%s' is one word too many; see kpq demo --help",
                            argv[optind]);
    }
    *out = options;
    return check_options(out, err);
}

/* --- the recording that comes with kprobe --- */

/* True when folder (absolute or not) holds a recording; *out is its full path then. */
static bool has_recording(const char *folder, char out[KPI_DEMO_PATH_MAX])
{
    char full[PATH_MAX], truth[PATH_MAX + 8];
    if (realpath(folder, full) == NULL || strlen(full) >= KPI_DEMO_PATH_MAX)
        return false;
    snprintf(truth, sizeof(truth), "%s/truth", full);
    if (access(truth, R_OK) != 0)
        return false;
    memcpy(out, full, strlen(full) + 1);
    return true;
}

/* Where KP_DEMO_RECORDING says, where `make install` puts it, or in the tree we were built from. */
static kp_status find_recording(char out[KPI_DEMO_PATH_MAX], struct kp_error *err)
{
    static const char *const places[] = {"../share/kprobe/recording", "../../../demo/recording"};
    const char *given = getenv("KP_DEMO_RECORDING");
    char self[KPI_DEMO_PATH_MAX], folder[KPI_DEMO_PATH_MAX + 32];
    kp_status status = kpi_demo_program("kpq", self, err);
    if (status != KP_OK)
        return status;
    *strrchr(self, '/') = '\0';
    bool found = given != NULL && has_recording(given, out);
    for (size_t i = 0; i < KP_ARRAY_LEN(places) && !found; i++) {
        snprintf(folder, sizeof(folder), "%s/%s", self, places[i]);
        found = has_recording(folder, out);
    }
    return found ? KP_OK
                 : kp_error_set(err, KP_NOT_FOUND, "the recording of the demo is not installed");
}

/* --- the runs --- */

static kp_status set_data_dir(struct kpi_demo_result *result, const char *dir, const char *below,
                              struct kp_error *err)
{
    int n = snprintf(result->dir, sizeof(result->dir), "%s%s", dir, below);
    return n < (int)sizeof(result->dir)
               ? KP_OK
               : kp_error_set(err, KP_LIMIT, "the path of the data directory is too long");
}

static kp_status use_recording(struct kpi_demo_result *result, struct kp_error *err)
{
    char dir[KPI_DEMO_PATH_MAX];
    kp_status status = find_recording(dir, err);
    status = status == KP_OK ? kpi_demo_truth_read(dir, result, err) : status;
    status = status == KP_OK ? set_data_dir(result, dir, "/data", err) : status;
    if (status != KP_OK)
        return status;
    printf("NOT THIS MACHINE: this is a recording that the project made of its own demo.\n"
           "The stack did not run here and nothing was captured here.\n\n");
    return KP_OK;
}

static kp_status record(const struct options *options, const char *work,
                        struct kpi_demo_result *result, struct kp_error *err)
{
    kp_status status = options->keep != NULL ? set_data_dir(result, options->keep, "", err)
                                             : set_data_dir(result, work, "/data", err);
    if (status != KP_OK)
        return status;
    fprintf(stderr,
            "client -> payment-handler (gives up after %d ms) -> settlement-svc -> ledger\n"
            "settlement-svc and ledger run on CPU %u%s\n",
            KPI_DEMO_LIMIT_MS, options->plan.cpu,
            options->plan.batch ? ", where a batch job waits for its hour" : "");
    status = kpi_demo_record(&options->plan, work, result, err);
    if (status != KP_DENIED && status != KP_UNSUPPORTED)
        return status;
    fprintf(stderr, "this machine cannot be recorded: %s\n", err->text);
    return use_recording(result, err);
}

static int run(const struct options *options)
{
    struct kpi_demo_result result = {0};
    struct kp_error err = {0};
    char work[KPI_DEMO_PATH_MAX];
    bool ok = false;
    int64_t start = kp_time_monotonic();
    kp_status status = kpi_demo_make_dir(work, &err);
    if (status != KP_OK)
        return fail(&err);
    status =
        options->recorded ? use_recording(&result, &err) : record(options, work, &result, &err);
    if (status == KP_OK) {
        bool stays = strncmp(result.dir, work, strlen(work)) != 0;
        status = kpi_demo_show(&result, stays, start, &ok, &err);
    }
    kpi_demo_remove_dir(work);
    if (kpi_demo_cancelled()) {
        fprintf(stderr, "kpq demo: interrupted; everything is stopped and removed\n");
        return kp_status_exit(KP_CANCELLED);
    }
    return status != KP_OK ? fail(&err) : ok ? 0 : 1;
}

/* A closed store has everything in its segments: the log (64 MiB, recycled) can go. Its folder has
 * to stay, with a file in it that makes version control keep it. */
static kp_status drop_log(const char *dir, struct kp_error *err)
{
    char path[KPI_DEMO_PATH_MAX + 16];
    snprintf(path, sizeof(path), "%s/lock", dir);
    (void)unlink(path);
    snprintf(path, sizeof(path), "%s/wal", dir);
    kpi_demo_remove_dir(path);
    if (mkdir(path, 0755) != 0)
        return kp_error_os(err, KP_IO, errno, "cannot make %s", path);
    snprintf(path, sizeof(path), "%s/wal/README", dir);
    FILE *file = fopen(path, "we");
    if (file == NULL || fputs("The log is empty: every row is in ../seg.\n", file) < 0 ||
        fclose(file) != 0)
        return kp_error_os(err, KP_IO, errno, "cannot write %s", path);
    return KP_OK;
}

static int make_readable(const char *path, const struct stat *stat, int type, struct FTW *ftw)
{
    (void)stat;
    (void)ftw;
    return chmod(path, type == FTW_D ? 0755 : 0644);
}

/* Only an answer that is right is worth keeping. */
static kp_status check_recording(const struct kpi_demo_result *result, struct kp_error *err)
{
    struct kpi_demo_answer answer;
    kp_status status = kpi_demo_ask(result->dir, &answer, err);
    if (status == KP_OK && (answer.culprit_pid != result->batch_pid || answer.sum != answer.wall))
        status = kp_error_set(err, KP_INVALID, "its answer is wrong; look at it with kpq %s",
                              result->dir);
    return status;
}

/* Records into DIR/data and writes down what it knows in DIR/truth. Without the life of other
 * programs: whoever reads the recording has no business with what else ran here. */
static int make_recording(const struct options *options)
{
    struct kpi_demo_result result = {0};
    struct kpi_demo_plan plan = options->plan;
    struct kp_error err = {0};
    char work[KPI_DEMO_PATH_MAX];
    kp_status status = kpi_demo_make_dir(work, &err);
    if (status != KP_OK)
        return fail(&err);
    plan.kinds = "default,-task,-cgroup";
    status = set_data_dir(&result, options->make_recording, "/data", &err);
    if (status == KP_OK && mkdir(options->make_recording, 0755) != 0 && errno != EEXIST)
        status = kp_error_os(&err, KP_IO, errno, "cannot make %s", options->make_recording);
    status = status == KP_OK ? kpi_demo_record(&plan, work, &result, &err) : status;
    status = status == KP_OK ? drop_log(result.dir, &err) : status;
    if (status == KP_OK && nftw(result.dir, make_readable, 16, FTW_PHYS) != 0)
        status = kp_error_os(&err, KP_IO, errno, "cannot make %s readable", result.dir);
    status = status == KP_OK ? check_recording(&result, &err) : status;
    status =
        status == KP_OK ? kpi_demo_truth_write(options->make_recording, &result, &err) : status;
    kpi_demo_remove_dir(work);
    return status == KP_OK ? 0 : fail(&err);
}

int kp_cmd_demo(int argc, char **argv)
{
    struct options options;
    struct kp_error err = {0};
    kp_status status = parse_options(argc, argv, &options, &err);
    if (status != KP_OK)
        return status == KP_END ? 0 : fail(&err);
    kpi_demo_catch_signals();
    if (options.accuracy)
        return kpi_demo_accuracy(&options.accuracy_opts);
    return options.make_recording != NULL ? make_recording(&options) : run(&options);
}
