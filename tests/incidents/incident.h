/* SPDX-License-Identifier: Apache-2.0
 *
 * Incidents with a known truth. The program plays a payment service: it handles transactions one
 * after the other, and every so often one of them is disturbed by a fault that is really made
 * (a CPU taken away, a lock held, a quota). What the fault did is measured by clocks and counters
 * of its own, never by the recording, and written down beside the spans.
 *
 *   episode = normal transactions, one with the fault, normal transactions again
 *
 * A new kind of fault is one file with one KPI_INCIDENT; the linker collects them.
 */
#ifndef TESTS_INCIDENTS_INCIDENT_H
#define TESTS_INCIDENTS_INCIDENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <time.h>

#define KPI_US INT64_C(1000)
#define KPI_MS INT64_C(1000000)

/* What is true of one disturbed transaction. */
struct kpi_truth {
    const char *kinds;  /* kinds the root may have, "a,b"; "" = there must be no root */
    int64_t pid;        /* culprit's process; 0 = none can be named */
    const char *object; /* part of the root's object; "" = any */
    int64_t ns;         /* what the fault took from the transaction */
    bool self;          /* fault of the application: rows of every process of it are its own */
    const struct kpi_truth *also; /* a second cause of like size */
};

struct kpi_run {
    uint64_t random;
    int64_t span_trace; /* number of the transaction being served */
    char txn[32];
    char root_span[17];
    int64_t size_ns; /* how large this episode's fault is */
    int cpu;         /* one of the machine's, changes with every episode */
    bool fault;      /* this transaction gets it */
    struct kpi_truth truth;
    char dir[128];
};

struct kpi_incident {
    const char *name, *about;
    int64_t size_min_ms, size_max_ms;
    void (*setup)(struct kpi_run *run);
    void (*arm)(struct kpi_run *run);    /* before a transaction, outside of its span */
    void (*serve)(struct kpi_run *run);  /* the work of one transaction */
    void (*settle)(struct kpi_run *run); /* after it: measure, undo; fills run->truth.ns */
    void (*teardown)(struct kpi_run *run);
};

#define KPI_INCIDENT(id)                                       \
    static const struct kpi_incident id;                       \
    static const struct kpi_incident *const id##_listed        \
        __attribute__((used, section("kpi_incidents"))) = &id; \
    static const struct kpi_incident id

/* Ends the program with a message; its helpers end with it. */
void kpi_die(const char *format, ...) __attribute__((noreturn, format(printf, 1, 2)));

/* Ends the program, because this machine cannot have this fault: "skip: why", exit code 77. */
void kpi_skip(const char *format, ...) __attribute__((noreturn, format(printf, 1, 2)));

/* --- time and work (work.c) --- */
int64_t kpi_now(void); /* CLOCK_MONOTONIC */
int64_t kpi_utc(void); /* CLOCK_REALTIME */
struct timespec kpi_time(int64_t at);
int64_t kpi_now_cpu(void);         /* CPU time of this thread */
int64_t kpi_now_waited(pid_t tid); /* time a thread spent on run queues, from schedstat */
void kpi_sleep(int64_t ns);
void kpi_sleep_until(int64_t at);
void kpi_burn(int64_t cpu_ns);   /* computes for so much CPU time */
void kpi_burn_until(int64_t at); /* computes until an instant */
/* Computes as much as takes so long when nothing interrupts: the same work every time, where the
 * CPU clock counts what interrupts took as the thread's. */
void kpi_labour(int64_t ns);
void kpi_pin(int cpu);       /* this thread; -1 = anywhere */
void kpi_fifo(int priority); /* this thread above all ordinary ones */
/* A control group of the cpu controller with as much weight as the service's priority: a group
 * stands beside the sessions, whatever the priority within it. */
void kpi_cpu_group_make(const char *path);
int64_t kpi_draw(struct kpi_run *run, int64_t least, int64_t most);
void kpi_write_file(const char *value, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
int64_t kpi_read_counter(const char *key, const char *format, ...)
    __attribute__((format(printf, 2, 3))); /* number after `key `; "" = the whole file */

/* --- helper processes (helper.c) --- */
struct kpi_order {
    int64_t at, ns; /* when (monotonic) and for how long */
    int64_t cpu, arg;
};
struct kpi_report {
    int64_t from, to, cpu_ns;
};
struct kpi_helper;
typedef void (*kpi_helper_fn)(const struct kpi_order *order, struct kpi_report *report);
/* A process of its own that carries out one order at a time; ends with this one. */
struct kpi_helper *kpi_helper_start(const char *comm, kpi_helper_fn fn);
pid_t kpi_helper_pid(const struct kpi_helper *helper);
void kpi_helper_order(struct kpi_helper *helper, const struct kpi_order *order);
void kpi_helper_report(struct kpi_helper *helper, struct kpi_report *out);
void kpi_helper_stop(struct kpi_helper *helper);

/* --- a job that takes the CPU, one of a program (job.c) --- */
/* What it does by default: from order->at on it burns order->ns above all ordinary threads. */
void kpi_job_run(const struct kpi_order *order, struct kpi_report *report);
void kpi_job_start(const char *comm, kpi_helper_fn fn);
/* Binds the service to the run's CPU; before a fault the job gets its order for that CPU, to act in
 * least_us to most_us, for as long as the fault is large. */
void kpi_job_arm(struct kpi_run *run, int64_t least_us, int64_t most_us, int64_t arg);
/* After a fault: the truth is what it used; also = a second cause or NULL. */
void kpi_job_settle(struct kpi_run *run, const struct kpi_truth *also);
void kpi_job_stop(struct kpi_run *run);

/* --- a process that pauses the service (pause.c) --- */
/* Its pid. It calls `pause`, and `resume` after as long as the fault is large. */
pid_t kpi_pause_start(const char *comm, void (*pause)(void), void (*resume)(void));
void kpi_pause_arm(struct kpi_run *run);   /* before a fault it gets its order, for soon */
void kpi_pause_serve(struct kpi_run *run); /* computes for longer than until then */
int64_t kpi_pause_took(void);              /* after a fault: the time between the two */
void kpi_pause_stop(void);

/* --- a second network namespace (network.c) --- */
/* Moves the caller into an empty network. */
void kpi_network_leave(void);
/* Joins this network with that of another process by a veth pair: 198.18.0.1 here, 198.18.0.2
 * there. out_device is the name of this end; the pair goes when that process does. */
void kpi_network_join(pid_t other, char out_device[16]);
/* Runs a command of the shell, dies if it fails; false when the program is not there. */
bool kpi_shell(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* --- a disk of its own (disk.c) --- */
struct kpi_disk {
    char object[32]; /* as answers name it */
    char counters[64];
};
/* Makes a block device in memory, of so many bytes and taking so many per second, with a file
 * system mounted at a folder for this process and those it starts later. It goes with the last of
 * them. */
void kpi_disk_mount(struct kpi_disk *disk, const char *folder, int64_t bytes, int64_t per_second);
int64_t kpi_disk_writes(const struct kpi_disk *disk); /* requests that are on their way now */

/* --- spans (spans.c) --- */
enum kpi_span_kind { KPI_SPAN_SERVER = 2, KPI_SPAN_CLIENT = 3 };
struct kpi_span {
    char txn[32], id[17], parent[17], name[24], service[24];
    int64_t trace, start, end; /* start, end: UTC */
    int32_t pid, tid;
    enum kpi_span_kind kind;
    bool failed;
};
/* Before any helper is started: helpers write their spans into the same memory. */
void kpi_spans_init(void);
struct kpi_span *kpi_span_begin(const char *txn, int64_t trace, const char *parent,
                                const char *service, const char *name, enum kpi_span_kind kind);
void kpi_span_end(struct kpi_span *span);
void kpi_spans_write(const char *path);

#endif
