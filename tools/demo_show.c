/* SPDX-License-Identifier: Apache-2.0
 *
 * The screen of the demo: the fate of the payment, the answers of kpq, the checks.
 *
 * The answers are the output of kpq itself, run as anybody would type it. The checks read the same
 * store through the query library and compare with what the kernel and the batch job counted.
 */
#include "demo.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* Runs kpq as anybody would and shows the line that was typed. Its output is ours. */
static kp_status show_query(const char *dir, const char *format, const char *query,
                            struct kp_error *err)
{
    char self[KPI_DEMO_PATH_MAX];
    kp_status status = kpi_demo_program("kpq", self, err);
    if (status != KP_OK)
        return status;
    printf("\n$ kpq %s%s%s -c '%s'\n", dir, format == NULL ? "" : " --format ",
           format == NULL ? "" : format, query);
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        execl(self, "kpq", dir, "-c", query, format == NULL ? NULL : "--format", format, NULL);
        _exit(127);
    }
    int code = -1;
    while (pid > 0 && waitpid(pid, &code, 0) < 0 && errno == EINTR) {}
    return pid > 0 && code == 0 ? KP_OK : kp_error_set(err, KP_IO, "kpq failed on: %s", query);
}

static const char *dur_text(kp_dur dur, char text[KP_DUR_TEXT_MAX])
{
    kp_dur_format(dur, text);
    return text;
}

static void show_fate(const struct kpi_demo_result *result, const struct kpi_demo_answer *answer)
{
    char a[KP_DUR_TEXT_MAX], b[KP_DUR_TEXT_MAX];
    printf("payment " KPI_DEMO_TXN ", INR 50,000.00: %s\n", result->paid.state);
    printf("  the payer got HTTP %d after %s; a normal payment takes %s\n",
           result->paid.http_status, dur_text(answer->wall, a), dur_text(result->normal_median, b));
    if (strcmp(result->paid.state, "limbo") == 0) {
        kp_dur late = answer->settle - KPI_DEMO_LIMIT_MS * KP_MS;
        printf("  payment-handler gave up after its %d ms; the settlement took %s and\n",
               KPI_DEMO_LIMIT_MS, dur_text(answer->settle, a));
        printf("  is booked %s past the limit: the money is moved, the payer was told\n"
               "  that it is not\n",
               dur_text(late, b));
    }
}

/* One check: what the answer says beside what was counted without it. */
static bool check(bool ok, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static bool check(bool ok, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    printf("  %s ", ok ? "ok  " : "FAIL");
    vprintf(fmt, args);
    printf("\n");
    va_end(args);
    return ok;
}

static bool show_checks(const struct kpi_demo_result *result, const struct kpi_demo_answer *answer)
{
    char a[KP_DUR_TEXT_MAX], b[KP_DUR_TEXT_MAX];
    printf("\nchecked against what was counted elsewhere:\n");
    bool ok = check(answer->sum == answer->wall && answer->wall > 0,
                    "%u rows add up to %" PRId64 " ns; the payment took %" PRId64 " ns",
                    answer->rows, answer->sum, answer->wall);
    if (result->batch_pid == 0) {
        return check(!kpi_demo_kernel_root(answer), "no batch job ran; root: %s",
                     answer->has_root ? answer->kind : "none") &&
               ok;
    }
    ok = check(answer->has_root && answer->culprit_pid == result->batch_pid,
               "the root row names %s pid %lld; the batch job is pid %d (%s)",
               answer->has_root ? answer->culprit_comm : "nobody", (long long)answer->culprit_pid,
               result->batch_pid, result->batch_policy) &&
         ok;
    printf("       it says %s on the run queue, the kernel %s (schedstat of\n",
           dur_text(answer->blamed, a), dur_text(result->waited.longest, b));
    printf("       %s); the batch job says it ran %s\n", result->waited.comm,
           dur_text(result->batch_ran, a));
    return ok;
}

static void show_rest(const char *dir, bool stays, int64_t start)
{
    char took[KP_DUR_TEXT_MAX];
    if (stays) {
        printf("\nlook further:\n  kpq %s\n  kpq %s -c 'txn | take 5'\n", dir, dir);
        printf("  kpq %s -c 'sched_switch | summarize n = count() by comm | top 10 by n'\n", dir);
    } else {
        printf(
            "\nthe recording is removed now; to keep it and look further: kpq demo --keep DIR\n");
    }
    printf("all this took %s\n", dur_text(kp_time_monotonic() - start, took));
}

kp_status kpi_demo_show(const struct kpi_demo_result *result, bool stays, int64_t start,
                        bool *out_ok, struct kp_error *err)
{
    struct kpi_demo_answer answer;
    kp_status status = kpi_demo_ask(result->dir, &answer, err);
    if (status != KP_OK)
        return status;
    show_fate(result, &answer);
    status = show_query(result->dir, NULL, KPI_DEMO_CAUSES_SHOWN, err);
    if (status == KP_OK && answer.rows > KPI_DEMO_ROWS_SHOWN)
        printf("(%u of %u rows, largest excess over the normal payments first)\n",
               KPI_DEMO_ROWS_SHOWN, answer.rows);
    status = status == KP_OK ? show_query(result->dir, NULL, KPI_DEMO_EVIDENCE, err) : status;
    status = status == KP_OK ? show_query(result->dir, "timeline", KPI_DEMO_TIMELINE, err) : status;
    if (status == KP_OK) {
        *out_ok = show_checks(result, &answer);
        show_rest(result->dir, stays, start);
    }
    return status;
}
