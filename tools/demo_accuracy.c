/* SPDX-License-Identifier: Apache-2.0
 *
 * How often is the answer right? Each run is a recording of its own with CPU, load, timing and
 * length of the batch job drawn from a seed. A run counts when the root row names the pid of the
 * batch job and the rows add up to the payment's wall time. The controls are the same runs without
 * the batch job, two of three slow by the application's own doing: they count when no root blames
 * the kernel.
 *
 * Beside the answer stands what the kernel itself counted (schedstat), which the answer never saw.
 */
#include "demo.h"

#include <stdio.h>
#include <string.h>

#include "base/str.h"

static void say_plan(uint32_t run, uint32_t runs, const struct kpi_demo_plan *plan,
                     const struct kpi_demo_result *result)
{
    printf("run %2u of %u: cpu %u, %u x %u %% load, ", run + 1, runs, plan->cpu, plan->neighbours,
           plan->duty);
    if (plan->batch) {
        printf("batch %s %u ms after %lld ms; ", result->batch_policy, plan->batch_ms,
               (long long)(plan->batch_after / KP_MS));
    } else if (plan->last_hold_ms > 0) {
        printf("no batch, sleeps %u ms; ", plan->last_hold_ms);
    } else if (plan->last_legs > plan->legs) {
        printf("no batch, %u times the work; ", plan->last_legs / plan->legs);
    } else {
        printf("no batch; ");
    }
}

static void say_answer(const struct kpi_demo_result *result, const struct kpi_demo_answer *answer,
                       const char *verdict)
{
    char wall[KP_DUR_TEXT_MAX], dur[KP_DUR_TEXT_MAX], waited[KP_DUR_TEXT_MAX];
    char ran[KP_DUR_TEXT_MAX], blamed[KP_DUR_TEXT_MAX];
    kp_dur_format(answer->wall, wall);
    kp_dur_format(answer->dur, dur);
    kp_dur_format(answer->blamed, blamed);
    kp_dur_format(result->waited.longest, waited);
    kp_dur_format(result->batch_ran, ran);
    printf("%s in %s; ", result->paid.state, wall);
    if (answer->has_root) {
        printf("root %s %s of %s by %s pid %lld; ", answer->kind, dur, blamed, answer->culprit_comm,
               (long long)answer->culprit_pid);
    } else {
        printf("no root; ");
    }
    printf("schedstat %s, batch ran %s%s: %s\n", waited, ran,
           answer->sum == answer->wall ? "" : "; SUM IS NOT WALL", verdict);
    fflush(stdout);
}

/* Whether the run is what it was meant to be, by the kernel's count and the batch job's own. On a
 * machine with other work a burst at nice -20 may get little of its CPU, and the threads of a
 * control may together wait for their CPU most of the time: then naming others is right, and the
 * run proves nothing either way. */
static bool is_valid(const struct kpi_demo_plan *plan, const struct kpi_demo_result *result)
{
    return plan->batch ? result->batch_ran > result->waited.longest / 2
                       : result->waited.sum < result->paid.wall / 2;
}

/* RIGHT and WRONG count; VOID: the injected fault did not happen; FAILED: see *out_status. */
enum verdict { RIGHT, WRONG, VOID, FAILED };
static const char *const verdict_text[] = {"right", "WRONG", "void: others had the CPU", "failed"};

static enum verdict judge(const struct kpi_demo_plan *plan, const struct kpi_demo_result *result,
                          const struct kpi_demo_answer *answer)
{
    bool root_right = plan->batch ? answer->has_root && answer->culprit_pid == result->batch_pid
                                  : !kpi_demo_kernel_root(answer);
    if (!is_valid(plan, result))
        return VOID;
    return root_right && answer->wall > 0 && answer->sum == answer->wall ? RIGHT : WRONG;
}

static enum verdict one_run(const struct kpi_demo_plan *plan, uint32_t run, uint32_t runs,
                            kp_status *out_status)
{
    struct kpi_demo_result result = {0};
    struct kpi_demo_answer answer = {0};
    struct kp_error err = {0};
    char work[KPI_DEMO_PATH_MAX] = "";
    kp_status status = kpi_demo_make_dir(work, &err);
    if (status == KP_OK) {
        snprintf(result.dir, sizeof(result.dir), "%.490s/data", work);
        status = kpi_demo_record(plan, work, &result, &err);
        status = status == KP_OK ? kpi_demo_ask(result.dir, &answer, &err) : status;
    }
    if (status != KP_OK) {
        if (work[0] != '\0')
            kpi_demo_remove_dir(work);
        printf("run %2u of %u: failed: %s\n", run + 1, runs, err.text);
        *out_status = status;
        return FAILED;
    }
    enum verdict verdict = judge(plan, &result, &answer);
    say_plan(run, runs, plan, &result);
    say_answer(&result, &answer, verdict_text[verdict]);
    if (verdict == WRONG)
        printf("    kept to be looked at: kpq %s\n", result.dir);
    else
        kpi_demo_remove_dir(work);
    return verdict;
}

/* How many of the runs were right. Void runs are made again under other draws, at most as many
 * times as there are runs. *out_status is not OK when it makes no sense to go on. */
static uint32_t series(uint64_t seed, uint32_t runs, bool batch, kp_status *out_status)
{
    uint32_t right = 0, voids = 0;
    for (uint32_t run = 0; run < runs;) {
        struct kpi_demo_plan plan;
        kp_status status = KP_OK;
        kpi_demo_plan_draw(seed, run + voids * runs, batch, &plan);
        enum verdict verdict = one_run(&plan, run, runs, &status);
        if (status == KP_CANCELLED || status == KP_DENIED || status == KP_UNSUPPORTED) {
            *out_status = status;
            break;
        }
        if (verdict == VOID && voids < runs) {
            voids++;
            continue;
        }
        right += verdict == RIGHT;
        run++;
    }
    if (voids > 0)
        printf("%u void runs were made again\n", voids);
    return right;
}

int kpi_demo_accuracy(const struct kpi_accuracy_opts *opts)
{
    kp_status status = KP_OK;
    uint32_t named = 0, clean = 0;
    printf("seed %llu\n", (unsigned long long)opts->seed);
    if (opts->runs > 0) {
        named = series(opts->seed, opts->runs, true, &status);
        printf("the root row names the batch job: %u of %u\n", named, opts->runs);
    }
    if (status == KP_OK && opts->control_runs > 0) {
        clean = series(opts->seed, opts->control_runs, false, &status);
        printf("without the batch job no root blames the kernel: %u of %u\n", clean,
               opts->control_runs);
    }
    if (status != KP_OK)
        return kp_status_exit(status);
    return named * 100 >= opts->runs * 95 && clean == opts->control_runs ? 0 : 1;
}
