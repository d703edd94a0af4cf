/* SPDX-License-Identifier: Apache-2.0
 *
 * The payments stack as the driver sees it: five services and some neighbours, started in the order
 * of who calls whom, each telling on its first line at which port it listens.
 *
 * The truth about a run does not come from what is being tested: /proc/TID/schedstat counts how
 * long the kernel left each service thread on a run queue, and the batch job reports how long it
 * ran.
 */
#include "demo.h"

#include <dirent.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ARGV_MAX      16
#define READY_LIMIT   (5 * KP_SEC)
#define STOP_LIMIT    (4 * KP_SEC)
#define PAYMENT_LIMIT (20 * KP_SEC)

/* Options of one service; 0 = not given. */
struct service {
    const char *program;
    uint16_t otlp_port, next_port;
    uint32_t limit_ms, duty;
    int64_t cpu; /* -1 = not pinned */
    const char *policy;
    const char *file;
};

struct arguments {
    const char *argv[ARGV_MAX];
    char text[ARGV_MAX][24];
    uint32_t count;
};

static void add(struct arguments *args, const char *name, const char *value)
{
    args->argv[args->count++] = name;
    args->argv[args->count++] = value;
}

static void add_number(struct arguments *args, const char *name, int64_t value)
{
    char *text = args->text[args->count];
    snprintf(text, sizeof(args->text[0]), "%lld", (long long)value);
    add(args, name, text);
}

static void add_service(struct arguments *args, const struct service *service)
{
    if (service->otlp_port != 0)
        add_number(args, "--otlp", service->otlp_port);
    if (service->next_port != 0)
        add_number(args, "--next", service->next_port);
    if (service->limit_ms != 0)
        add_number(args, "--limit-ms", service->limit_ms);
    if (service->cpu >= 0)
        add_number(args, "--cpu", service->cpu);
    if (service->duty != 0)
        add_number(args, "--duty", service->duty);
    if (service->policy != NULL)
        add(args, "--policy", service->policy);
    if (service->file != NULL)
        add(args, "--file", service->file);
}

/* Starts it and reads its first line, "ready WORD". */
static kp_status start(struct kpi_proc *proc, const struct service *service, const char *dir,
                       char *out_word, size_t size, struct kp_error *err)
{
    struct arguments args = {.count = 1};
    char path[KPI_DEMO_PATH_MAX], log[KPI_DEMO_PATH_MAX + 16], line[64];
    kp_status status = kpi_demo_program(service->program, path, err);
    if (status != KP_OK)
        return status;
    args.argv[0] = path;
    add_service(&args, service);
    snprintf(log, sizeof(log), "%s/stack.log", dir);
    status = kpi_proc_start(proc, service->program, args.argv, log, err);
    if (status == KP_OK)
        status = kpi_proc_line(proc, READY_LIMIT, line, sizeof(line), err);
    if (status == KP_OK && strncmp(line, "ready ", 6) != 0)
        status = kp_error_set(err, KP_CONNECT, "%s said: %s", service->program, line);
    if (status == KP_OK)
        snprintf(out_word, size, "%.15s", line + 6);
    return status;
}

static kp_status start_listening(struct kpi_proc *proc, const struct service *service,
                                 const char *dir, uint16_t *out_port, struct kp_error *err)
{
    char word[16];
    kp_status status = start(proc, service, dir, word, sizeof(word), err);
    if (status == KP_OK)
        *out_port = (uint16_t)strtoul(word, NULL, 10);
    return status;
}

/* ledger <- settlement-svc <- payment-handler <- client */
static kp_status start_services(struct kpi_demo_stack *stack, const struct kpi_demo_plan *plan,
                                const char *dir, uint16_t otlp_port, struct kp_error *err)
{
    char file[KPI_DEMO_PATH_MAX + 16];
    uint16_t port = 0;
    snprintf(file, sizeof(file), "%s/ledger.txt", dir);
    struct service ledger = {
        .program = "kp-demo-ledger", .otlp_port = otlp_port, .cpu = plan->cpu, .file = file};
    kp_status status = start_listening(&stack->ledger, &ledger, dir, &port, err);
    if (status == KP_OK) {
        struct service settlement = {.program = "kp-demo-settlement",
                                     .otlp_port = otlp_port,
                                     .next_port = port,
                                     .cpu = plan->cpu};
        status = start_listening(&stack->settlement, &settlement, dir, &port, err);
    }
    if (status == KP_OK) {
        struct service handler = {.program = "kp-demo-handler",
                                  .otlp_port = otlp_port,
                                  .next_port = port,
                                  .limit_ms = KPI_DEMO_LIMIT_MS,
                                  .cpu = -1};
        status = start_listening(&stack->handler, &handler, dir, &port, err);
    }
    if (status == KP_OK) {
        struct service client = {
            .program = "kp-demo-client", .otlp_port = otlp_port, .next_port = port, .cpu = -1};
        uint16_t none;
        status = start_listening(&stack->client, &client, dir, &none, err);
    }
    return status;
}

/* The batch job and the neighbours. */
static kp_status start_others(struct kpi_demo_stack *stack, const struct kpi_demo_plan *plan,
                              const char *dir, struct kp_error *err)
{
    kp_status status = KP_OK;
    char word[16];
    if (plan->batch) {
        struct service batch = {
            .program = "kp-demo-batch", .cpu = plan->cpu, .policy = plan->policy};
        status = start(&stack->batch, &batch, dir, stack->batch_policy, sizeof(stack->batch_policy),
                       err);
    }
    for (uint32_t i = 0; i < plan->neighbours && i < KPI_DEMO_LOADS && status == KP_OK; i++) {
        struct service load = {.program = "kp-demo-load", .cpu = -1, .duty = plan->duty};
        status = start(&stack->load[i], &load, dir, word, sizeof(word), err);
    }
    return status;
}

kp_status kpi_stack_start(struct kpi_demo_stack *stack, const struct kpi_demo_plan *plan,
                          const char *dir, uint16_t otlp_port, struct kp_error *err)
{
    *stack = (struct kpi_demo_stack){0};
    kp_status status = start_services(stack, plan, dir, otlp_port, err);
    if (status == KP_OK)
        status = start_others(stack, plan, dir, err);
    if (status != KP_OK)
        kpi_stack_stop(stack);
    return status;
}

void kpi_stack_stop(struct kpi_demo_stack *stack)
{
    /* after Ctrl-C nobody wants the last spans */
    kp_dur limit = kpi_demo_cancelled() ? 100 * KP_MS : STOP_LIMIT;
    for (uint32_t i = 0; i < KPI_DEMO_LOADS; i++)
        (void)kpi_proc_stop(&stack->load[i], limit);
    (void)kpi_proc_stop(&stack->batch, limit);
    (void)kpi_proc_stop(&stack->client, limit);
    (void)kpi_proc_stop(&stack->handler, limit);
    (void)kpi_proc_stop(&stack->settlement, limit);
    (void)kpi_proc_stop(&stack->ledger, limit);
}

/* --- payments --- */

static kp_status send_payment(struct kpi_demo_stack *stack, const char *txn, int64_t amount,
                              uint32_t legs, uint32_t hold_ms, struct kp_error *err)
{
    char line[96];
    snprintf(line, sizeof(line), "pay %s %lld %u %u\n", txn, (long long)amount, legs, hold_ms);
    return kpi_proc_send(&stack->client, line, err);
}

static kp_status read_payment(struct kpi_demo_stack *stack, struct kpi_paid *out,
                              struct kp_error *err)
{
    char line[96];
    long long wall;
    kp_status status = kpi_proc_line(&stack->client, PAYMENT_LIMIT, line, sizeof(line), err);
    if (status != KP_OK)
        return status;
    if (sscanf(line, "paid %*s %15s %d %lld", out->state, &out->http_status, &wall) != 3)
        return kp_error_set(err, KP_CONNECT, "the client said: %s", line);
    out->wall = wall;
    return KP_OK;
}

kp_status kpi_stack_pay(struct kpi_demo_stack *stack, const char *txn, int64_t amount,
                        uint32_t legs, struct kpi_paid *out, struct kp_error *err)
{
    kp_status status = send_payment(stack, txn, amount, legs, 0, err);
    return status == KP_OK ? read_payment(stack, out, err) : status;
}

/* --- what the kernel itself counted --- */

#define THREADS_MAX 64

struct thread_wait {
    pid_t tid;
    kp_dur waited;
    char comm[16];
};

static bool read_wait(pid_t pid, pid_t tid, struct thread_wait *out)
{
    char path[64];
    long long waited = 0;
    bool ok = false;
    snprintf(path, sizeof(path), "/proc/%d/task/%d/schedstat", pid, tid);
    FILE *file = fopen(path, "re");
    if (file != NULL) {
        ok = fscanf(file, "%*u %lld", &waited) == 1;
        fclose(file);
    }
    snprintf(path, sizeof(path), "/proc/%d/task/%d/comm", pid, tid);
    file = ok ? fopen(path, "re") : NULL;
    if (file != NULL) {
        ok = fscanf(file, "%15s", out->comm) == 1;
        fclose(file);
    }
    out->tid = tid;
    out->waited = waited;
    return ok && file != NULL;
}

/* Appends the threads of a process that serve payments: all but the exporter of spans. */
static uint32_t read_waits(pid_t pid, struct thread_wait *out, uint32_t count)
{
    char path[64];
    struct dirent *entry;
    snprintf(path, sizeof(path), "/proc/%d/task", pid);
    DIR *dir = opendir(path);
    while (dir != NULL && count < THREADS_MAX && (entry = readdir(dir)) != NULL) {
        pid_t tid = (pid_t)strtol(entry->d_name, NULL, 10);
        if (tid > 0 && read_wait(pid, tid, &out[count]) &&
            strcmp(out[count].comm, "otlp-export") != 0)
            count++;
    }
    if (dir != NULL)
        closedir(dir);
    return count;
}

static uint32_t read_stack_waits(const struct kpi_demo_stack *stack, struct thread_wait *out)
{
    uint32_t count = read_waits(stack->settlement.pid, out, 0);
    return read_waits(stack->ledger.pid, out, count);
}

static void subtract_waits(const struct thread_wait *before, uint32_t before_count,
                           const struct thread_wait *after, uint32_t after_count,
                           struct kpi_waited *out)
{
    *out = (struct kpi_waited){0};
    for (uint32_t i = 0; i < after_count; i++) {
        kp_dur waited = after[i].waited;
        for (uint32_t k = 0; k < before_count; k++)
            waited -= before[k].tid == after[i].tid ? before[k].waited : 0;
        out->sum += waited;
        if (waited > out->longest) {
            out->longest = waited;
            memcpy(out->comm, after[i].comm, sizeof(out->comm));
        }
    }
}

/* --- payment 98721 --- */

/* Entries of 98721 in the ledger's file. */
static uint32_t count_booked(const char *dir)
{
    char path[KPI_DEMO_PATH_MAX + 16], line[128];
    uint32_t count = 0;
    snprintf(path, sizeof(path), "%s/ledger.txt", dir);
    FILE *file = fopen(path, "re");
    while (file != NULL && fgets(line, sizeof(line), file) != NULL)
        count += strncmp(line, KPI_DEMO_TXN " ", sizeof(KPI_DEMO_TXN)) == 0;
    if (file != NULL)
        fclose(file);
    return count;
}

/* The settlement goes on after the handler gave up; its span is complete soon after the last entry.
 */
static kp_status wait_booked(const char *dir, uint32_t legs)
{
    kp_status status = KP_OK;
    for (int i = 0; i < 500 && status == KP_OK && count_booked(dir) < legs; i++)
        status = kpi_demo_sleep(20 * KP_MS);
    return status == KP_OK ? kpi_demo_sleep(50 * KP_MS) : status;
}

static kp_status run_batch(struct kpi_demo_stack *stack, const struct kpi_demo_plan *plan,
                           struct kp_error *err)
{
    char line[32];
    kp_status status = kpi_demo_sleep(plan->batch_after);
    if (status != KP_OK)
        return kp_error_set(err, status, "cancelled");
    snprintf(line, sizeof(line), "run %u\n", plan->batch_ms);
    return kpi_proc_send(&stack->batch, line, err);
}

static kp_status read_batch(struct kpi_demo_stack *stack, kp_dur *out, struct kp_error *err)
{
    char line[64];
    long long wall, cpu;
    kp_status status = kpi_proc_line(&stack->batch, PAYMENT_LIMIT, line, sizeof(line), err);
    if (status == KP_OK && sscanf(line, "ran %lld %lld", &wall, &cpu) != 2)
        status = kp_error_set(err, KP_CONNECT, "the batch job said: %s", line);
    if (status == KP_OK)
        *out = cpu;
    return status;
}

/* The driver itself must not be what takes the CPU from the payment: it stays off that CPU while it
 * wakes the batch job. */
static void leave_cpu(uint32_t cpu, cpu_set_t *out_before)
{
    CPU_ZERO(out_before);
    (void)sched_getaffinity(0, sizeof(*out_before), out_before);
    cpu_set_t others = *out_before;
    CPU_CLR(cpu, &others);
    if (CPU_COUNT(&others) > 0)
        (void)sched_setaffinity(0, sizeof(others), &others);
}

kp_status kpi_stack_pay_last(struct kpi_demo_stack *stack, const struct kpi_demo_plan *plan,
                             const char *dir, struct kpi_paid *out, struct kpi_waited *out_waited,
                             kp_dur *out_batch, struct kp_error *err)
{
    struct thread_wait before[THREADS_MAX], after[THREADS_MAX];
    uint32_t before_count = read_stack_waits(stack, before);
    kp_dur batch = 0;
    cpu_set_t cpus;
    leave_cpu(plan->cpu, &cpus);
    kp_status status = send_payment(stack, KPI_DEMO_TXN, KPI_DEMO_AMOUNT, plan->last_legs,
                                    plan->last_hold_ms, err);
    if (status == KP_OK && plan->batch)
        status = run_batch(stack, plan, err);
    status = status == KP_OK ? read_payment(stack, out, err) : status;
    if (status == KP_OK && plan->batch)
        status = read_batch(stack, &batch, err);
    if (status == KP_OK && (status = wait_booked(dir, plan->last_legs)) != KP_OK)
        status = kp_error_set(err, status, "cancelled");
    if (status == KP_OK) {
        uint32_t after_count = read_stack_waits(stack, after);
        subtract_waits(before, before_count, after, after_count, out_waited);
        *out_batch = batch;
    }
    (void)sched_setaffinity(0, sizeof(cpus), &cpus);
    return status;
}
