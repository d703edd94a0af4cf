/* SPDX-License-Identifier: Apache-2.0
 *
 * The driver of the demo: starts kpd and the payments stack of demo/, makes one payment go wrong
 * and asks the store why.
 *
 *   demo_proc.c      child processes: start, talk, end by pid
 *   demo_stack.c     the stack, one payment, how long the kernel says its threads waited
 *   demo_record.c    one recording: data directory, kpd, normal payments, payment 98721
 *   demo_plan.c      what to run: the story, or drawn from a seed
 *   demo_answer.c    CAUSES OF txn 98721 as figures that can be checked
 *   demo_truth.c     what a run knew of itself, kept beside a recording
 *   demo_show.c      the screen
 *   demo_accuracy.c  many recordings with known culprits
 *   cmd_demo.c       options
 *
 * Everything started is ended by its pid, on success, on failure and on Ctrl-C. One thread.
 */
#ifndef KP_TOOLS_DEMO_H
#define KP_TOOLS_DEMO_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/status.h"
#include "base/time.h"

#define KPI_DEMO_TXN      "98721"
#define KPI_DEMO_CAUSES   "CAUSES OF txn " KPI_DEMO_TXN " WITHIN 2s"
#define KPI_DEMO_EVIDENCE "EVIDENCE OF txn " KPI_DEMO_TXN " ROW 1"
#define KPI_DEMO_TIMELINE KPI_DEMO_CAUSES " | where dur >= 50us | sort by start asc"
/* The screen has room for the first rows and the columns that tell the story. */
#define KPI_DEMO_CAUSES_SHOWN                                                                      \
    KPI_DEMO_CAUSES " | where rank <= 6 | project root, kind, dur, excess_ns, share, span, comm, " \
                    "pid, culprit_comm, culprit_pid, strength"
#define KPI_DEMO_ROWS_SHOWN 6
#define KPI_DEMO_AMOUNT     INT64_C(5000000) /* paise: INR 50,000.00 */
#define KPI_DEMO_LIMIT_MS   750
#define KPI_DEMO_LEGS       8
#define KPI_DEMO_PATH_MAX   512

/* --- demo_proc.c --- */

struct kpi_proc {
    const char *name; /* program, for messages; NULL = not running */
    pid_t pid;
    int in;         /* its standard input, -1 = none */
    int out;        /* its standard output */
    char text[256]; /* read from it and not yet taken */
    size_t text_size;
};

/* Ctrl-C and SIGTERM set a flag that every wait below answers with CANCELLED. */
void kpi_demo_catch_signals(void);
bool kpi_demo_cancelled(void);
/* Sleeps; CANCELLED when a signal came. */
kp_status kpi_demo_sleep(kp_dur dur) KP_MUST;
/* Path of a program installed beside the running one. */
kp_status kpi_demo_program(const char *name, char out[KPI_DEMO_PATH_MAX],
                           struct kp_error *err) KP_MUST;
/* Starts a program (argv[0] is its path). log: file its standard error is appended to, NULL = ours.
 * It gets SIGTERM when this process dies. */
kp_status kpi_proc_start(struct kpi_proc *proc, const char *name, const char *const *argv,
                         const char *log, struct kp_error *err) KP_MUST;
kp_status kpi_proc_send(struct kpi_proc *proc, const char *line, struct kp_error *err) KP_MUST;
/* Next line of its output without the newline. CONNECT when it ended, LIMIT after the time. */
kp_status kpi_proc_line(struct kpi_proc *proc, kp_dur limit, char *out, size_t size,
                        struct kp_error *err) KP_MUST;
/* Whether it still runs; else *out_exit is its exit code (128 + signal). */
bool kpi_proc_running(struct kpi_proc *proc, int *out_exit);
/* Closes its input, sends SIGTERM, waits up to the limit, then SIGKILL. A stopped one is legal.
 * Returns the exit code. */
int kpi_proc_stop(struct kpi_proc *proc, kp_dur limit);

/* --- demo_stack.c --- */

/* What to run: the same for the one demo and each run of the accuracy test. */
struct kpi_demo_plan {
    uint32_t payments;     /* normal ones before 98721 */
    uint32_t cpu;          /* of settlement-svc, ledger and the batch job */
    uint32_t legs;         /* of a normal payment */
    uint32_t last_legs;    /* of payment 98721 */
    uint32_t last_hold_ms; /* sleep of settlement-svc in payment 98721 */
    bool batch;            /* run the batch job */
    const char *policy;    /* fifo or nice */
    kp_dur batch_after;    /* from sending 98721 to waking the batch job */
    uint32_t batch_ms;
    uint32_t neighbours; /* background load processes, at most KPI_DEMO_LOADS */
    uint32_t duty;       /* percent of a CPU each */
    const char *kinds;   /* for kpd; NULL = its default */
    bool quiet;          /* no progress */
};

#define KPI_DEMO_LOADS 2

struct kpi_paid {
    char state[16]; /* settled, limbo, failed */
    int http_status;
    kp_dur wall; /* as the payer saw it */
};

/* Run-queue time counted by the kernel (/proc/TID/schedstat) for the threads that serve. */
struct kpi_waited {
    kp_dur longest; /* of one thread */
    kp_dur sum;
    char comm[16]; /* of that thread */
};

struct kpi_demo_stack {
    struct kpi_proc ledger, settlement, handler, client, batch, load[KPI_DEMO_LOADS];
    char batch_policy[16]; /* what the batch job obtained */
};

/* Starts all services, exporting to otlp_port; files go to dir. */
kp_status kpi_stack_start(struct kpi_demo_stack *stack, const struct kpi_demo_plan *plan,
                          const char *dir, uint16_t otlp_port, struct kp_error *err) KP_MUST;
/* Ends them in the order that lets every span be delivered. A zeroed stack is legal. */
void kpi_stack_stop(struct kpi_demo_stack *stack);
kp_status kpi_stack_pay(struct kpi_demo_stack *stack, const char *txn, int64_t amount,
                        uint32_t legs, struct kpi_paid *out, struct kp_error *err) KP_MUST;
/* Payment 98721 with what the plan has in store for it. *out_batch: how long the batch job really
 * ran, 0 without it. Returns when the late settlement is over as well. */
kp_status kpi_stack_pay_last(struct kpi_demo_stack *stack, const struct kpi_demo_plan *plan,
                             const char *dir, struct kpi_paid *out, struct kpi_waited *out_waited,
                             kp_dur *out_batch, struct kp_error *err) KP_MUST;

/* --- demo_record.c --- */

struct kpi_demo_result {
    char dir[KPI_DEMO_PATH_MAX]; /* the data directory */
    struct kpi_paid paid;
    struct kpi_waited waited;
    kp_dur batch_ran;
    pid_t batch_pid; /* 0 = none */
    char batch_policy[16];
    kp_dur normal_median;
    kp_dur capture_start; /* from starting kpd until it was ready */
};

/* Records plan into result->dir, which the caller has made; logs go to `work`. UNSUPPORTED or
 * DENIED: this machine cannot be recorded, err says why. */
kp_status kpi_demo_record(const struct kpi_demo_plan *plan, const char *work,
                          struct kpi_demo_result *result, struct kp_error *err) KP_MUST;
/* mkdtemp under $TMPDIR or /tmp. */
kp_status kpi_demo_make_dir(char out[KPI_DEMO_PATH_MAX], struct kp_error *err) KP_MUST;
void kpi_demo_remove_dir(const char *dir);

/* --- demo_answer.c --- */

struct kpi_demo_answer {
    uint32_t spans; /* of the payment */
    kp_dur wall;    /* of its root span, 0 = no such span */
    kp_dur settle;  /* of the settlement, which may end after the payer was answered */
    uint32_t rows;  /* of CAUSES */
    kp_dur sum;     /* of their dur */
    bool has_root;
    char kind[32]; /* of the root row */
    char comm[24]; /* its victim */
    char culprit_comm[24];
    int64_t culprit_pid;
    kp_dur dur;
    kp_dur blamed; /* of all rows with that culprit, whatever the victim and its span */
    char strength[16];
};

kp_status kpi_demo_ask(const char *dir, struct kpi_demo_answer *out, struct kp_error *err) KP_MUST;
/* True when the root row blames the kernel's part of the machine and not the application itself. */
bool kpi_demo_kernel_root(const struct kpi_demo_answer *answer);

/* --- demo_plan.c --- */

/* CPUs this process may use. Returns how many are in out. */
#define KPI_DEMO_CPUS_MAX 256
uint32_t kpi_demo_cpus(uint32_t out[KPI_DEMO_CPUS_MAX]);
/* The demo of the story: 200 payments, then the batch job for long enough to pass the limit. */
void kpi_demo_plan_story(struct kpi_demo_plan *out);
/* Run number `run` of the accuracy test drawn from seed: with a batch job or as a control. */
void kpi_demo_plan_draw(uint64_t seed, uint32_t run, bool batch, struct kpi_demo_plan *out);

/* --- demo_truth.c --- */

/* The figures of a result, but its directory and times, in the file `truth` of dir. */
kp_status kpi_demo_truth_write(const char *dir, const struct kpi_demo_result *result,
                               struct kp_error *err) KP_MUST;
kp_status kpi_demo_truth_read(const char *dir, struct kpi_demo_result *result,
                              struct kp_error *err) KP_MUST;

/* --- demo_show.c --- */

/* The payment's fate, the answers and the checks on standard output. stays: the data directory will
 * be there afterwards. start: monotonic, when the demo began. *out_ok: every check passed. */
kp_status kpi_demo_show(const struct kpi_demo_result *result, bool stays, int64_t start,
                        bool *out_ok, struct kp_error *err) KP_MUST;

/* --- demo_accuracy.c --- */

struct kpi_accuracy_opts {
    uint32_t runs;
    uint32_t control_runs; /* without the batch job */
    uint64_t seed;
};

/* Returns the exit code: 0 when at least 95 % name the batch job and no control names the kernel.
 */
int kpi_demo_accuracy(const struct kpi_accuracy_opts *opts);

#endif
