/* SPDX-License-Identifier: Apache-2.0
 *
 * One recording: kpd with capture on a fresh data directory, the stack, normal payments, payment
 * 98721, and everything stopped again in the order that loses nothing: first the services, whose
 * last spans kpd acknowledges, then kpd, which drains the kernel's rings and closes the store.
 */
#include "demo.h"

#include <arpa/inet.h>
#include <errno.h>
#include <ftw.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "base/assert.h"

#define READY_LIMIT    (30 * KP_SEC)
#define KPD_STOP_LIMIT (20 * KP_SEC)
#define PAYMENTS_MAX   1000
#define PAUSE          (2 * KP_MS) /* between two payments */

/* --- directories --- */

kp_status kpi_demo_make_dir(char out[KPI_DEMO_PATH_MAX], struct kp_error *err)
{
    const char *tmp = getenv("TMPDIR");
    char path[KPI_DEMO_PATH_MAX];
    if (snprintf(path, sizeof(path), "%s/kprobe-demo-XXXXXX", tmp == NULL ? "/tmp" : tmp) >=
        (int)sizeof(path))
        return kp_error_set(err, KP_LIMIT, "TMPDIR is too long");
    if (mkdtemp(path) == NULL)
        return kp_error_os(err, kp_status_from_errno(errno), errno, "cannot make %s", path);
    memcpy(out, path, sizeof(path));
    return KP_OK;
}

static int remove_one(const char *path, const struct stat *stat, int type, struct FTW *ftw)
{
    (void)stat;
    (void)type;
    (void)ftw;
    return remove(path);
}

void kpi_demo_remove_dir(const char *dir)
{
    (void)nftw(dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

/* --- kpd --- */

static struct sockaddr_in loopback(uint16_t port)
{
    return (struct sockaddr_in){
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
}

/* A port nobody listens on now. */
static kp_status free_port(uint16_t *out, struct kp_error *err)
{
    struct sockaddr_in addr = loopback(0);
    socklen_t size = sizeof(addr);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool ok = fd >= 0 && bind(fd, (struct sockaddr *)&addr, sizeof(addr)) == 0 &&
              getsockname(fd, (struct sockaddr *)&addr, &size) == 0;
    int bind_errno = errno;
    if (fd >= 0)
        close(fd);
    if (!ok)
        return kp_error_os(err, KP_CONNECT, bind_errno, "no free port on 127.0.0.1");
    *out = ntohs(addr.sin_port);
    return KP_OK;
}

/* Whether GET /readyz answers 200. */
static bool is_ready(uint16_t port)
{
    static const char request[] = "GET /readyz HTTP/1.0\r\n\r\n";
    struct sockaddr_in addr = loopback(port);
    struct timeval limit = {2, 0};
    char answer[64] = "";
    int status = 0;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return false;
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
    if (connect(fd, (struct sockaddr *)&addr, sizeof(addr)) == 0 &&
        send(fd, request, sizeof(request) - 1, MSG_NOSIGNAL) > 0 &&
        recv(fd, answer, sizeof(answer) - 1, 0) > 0)
        (void)sscanf(answer, "HTTP/%*s %d", &status);
    close(fd);
    return status == 200;
}

/* The last line kpd wrote that says why it left, not what to do about it. */
static void last_words(const char *log, char *out, size_t size)
{
    char line[400];
    FILE *file = fopen(log, "re");
    snprintf(out, size, "no message");
    while (file != NULL && fgets(line, sizeof(line), file) != NULL) {
        line[strcspn(line, "\n")] = '\0';
        if (line[0] != '\0' && strstr(line, "hint:") == NULL)
            snprintf(out, size, "%s", line);
    }
    if (file != NULL)
        fclose(file);
}

/* kpd ended by itself: DENIED and UNSUPPORTED are facts about this machine, the rest are faults. */
static kp_status explain_exit(int code, const char *log, struct kp_error *err)
{
    char words[KP_ERROR_TEXT_MAX - 64];
    last_words(log, words, sizeof(words));
    kp_status status = code == kp_status_exit(KP_DENIED)        ? KP_DENIED
                       : code == kp_status_exit(KP_UNSUPPORTED) ? KP_UNSUPPORTED
                                                                : KP_IO;
    return kp_error_set(err, status, "kpd ended with exit code %d: %s", code, words);
}

static kp_status wait_ready(struct kpi_proc *kpd, uint16_t port, const char *log,
                            struct kp_error *err)
{
    int64_t end = kp_time_monotonic() + READY_LIMIT;
    int code;
    while (kp_time_monotonic() < end) {
        if (!kpi_proc_running(kpd, &code))
            return explain_exit(code, log, err);
        if (is_ready(port))
            return KP_OK;
        if (kpi_demo_sleep(20 * KP_MS) != KP_OK)
            return kp_error_set(err, KP_CANCELLED, "cancelled");
    }
    char words[KP_ERROR_TEXT_MAX - 64];
    last_words(log, words, sizeof(words));
    return kp_error_set(err, KP_LIMIT, "kpd was not ready after 30 s: %s", words);
}

static kp_status start_kpd(struct kpi_proc *kpd, const struct kpi_demo_plan *plan, const char *dir,
                           const char *log, uint16_t *out_otlp, struct kp_error *err)
{
    char path[KPI_DEMO_PATH_MAX], listen[32], otlp_listen[32];
    uint16_t port, otlp;
    kp_status status = kpi_demo_program("kpd", path, err);
    status = status == KP_OK ? free_port(&port, err) : status;
    status = status == KP_OK ? free_port(&otlp, err) : status;
    if (status != KP_OK)
        return status;
    snprintf(listen, sizeof(listen), "127.0.0.1:%u", port);
    snprintf(otlp_listen, sizeof(otlp_listen), "127.0.0.1:%u", otlp);
    const char *argv[] = {
        path,        "--data",        dir,         "--capture=on",   "--listen", listen, "--kinds",
        plan->kinds, "--otlp-listen", otlp_listen, "--query-listen", "off",      NULL};
    if (plan->kinds == NULL)
        argv[7] = "default";
    status = kpi_proc_start(kpd, "kpd", argv, log, err);
    status = status == KP_OK ? wait_ready(kpd, port, log, err) : status;
    if (status == KP_OK)
        *out_otlp = otlp;
    return status;
}

/* --- payments --- */

static void show_progress(const struct kpi_demo_plan *plan, uint32_t done)
{
    bool terminal = isatty(STDERR_FILENO) != 0;
    if (plan->quiet || (!terminal && done % 50 != 0))
        return;
    fprintf(stderr, "%spayment %u of %u%s", terminal ? "\r" : "", done, plan->payments,
            terminal && done < plan->payments ? "" : "\n");
}

/* Amounts of a shop's day: they differ, the work does not. */
static int64_t amount_of(uint32_t number)
{
    return 100000 + (int64_t)(number * UINT32_C(2654435761) % 9000000);
}

static int compare_durs(const void *a, const void *b)
{
    kp_dur x = *(const kp_dur *)a, y = *(const kp_dur *)b;
    return (x > y) - (x < y);
}

static kp_status pay_normal(struct kpi_demo_stack *stack, const struct kpi_demo_plan *plan,
                            kp_dur *out_median, struct kp_error *err)
{
    kp_dur walls[PAYMENTS_MAX];
    kp_status status = KP_OK;
    uint32_t count = KP_MIN(plan->payments, (uint32_t)PAYMENTS_MAX);
    for (uint32_t i = 0; i < count && status == KP_OK; i++) {
        struct kpi_paid paid;
        char txn[16];
        uint32_t number = 98721 - count + i;
        snprintf(txn, sizeof(txn), "%u", number);
        status = kpi_stack_pay(stack, txn, amount_of(number), plan->legs, &paid, err);
        if (status == KP_OK) {
            walls[i] = paid.wall;
            show_progress(plan, i + 1);
            status = kpi_demo_sleep(PAUSE);
        }
    }
    if (status == KP_OK && count > 0) {
        qsort(walls, count, sizeof(walls[0]), compare_durs);
        *out_median = walls[count / 2];
    }
    return status;
}

static kp_status run_stack(const struct kpi_demo_plan *plan, const char *work, uint16_t otlp,
                           struct kpi_demo_result *result, struct kp_error *err)
{
    struct kpi_demo_stack stack;
    kp_status status = kpi_stack_start(&stack, plan, work, otlp, err);
    if (status != KP_OK)
        return status;
    result->batch_pid = stack.batch.pid;
    memcpy(result->batch_policy, stack.batch_policy, sizeof(result->batch_policy));
    status = pay_normal(&stack, plan, &result->normal_median, err);
    if (status == KP_OK && !plan->quiet) {
        fprintf(stderr, "payment " KPI_DEMO_TXN "%s\n",
                plan->batch ? ", and the batch job wakes up on its CPU" : "");
    }
    if (status == KP_OK) {
        status = kpi_stack_pay_last(&stack, plan, work, &result->paid, &result->waited,
                                    &result->batch_ran, err);
    }
    kpi_stack_stop(&stack);
    return status;
}

kp_status kpi_demo_record(const struct kpi_demo_plan *plan, const char *work,
                          struct kpi_demo_result *result, struct kp_error *err)
{
    struct kpi_proc kpd = {0};
    char log[KPI_DEMO_PATH_MAX + 16];
    uint16_t otlp = 0;
    snprintf(log, sizeof(log), "%s/kpd.log", work);
    int64_t start = kp_time_monotonic();
    kp_status status = start_kpd(&kpd, plan, result->dir, log, &otlp, err);
    result->capture_start = kp_time_monotonic() - start;
    if (status == KP_OK && !plan->quiet) {
        fprintf(stderr, "kpd records the kernel (ready after %lld ms)\n",
                (long long)(result->capture_start / KP_MS));
    }
    if (status == KP_OK)
        status = run_stack(plan, work, otlp, result, err);
    int code = kpi_proc_stop(&kpd, KPD_STOP_LIMIT);
    if (status == KP_OK && code != 0)
        status = explain_exit(code, log, err);
    return status;
}
