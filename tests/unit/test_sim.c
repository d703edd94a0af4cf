/* SPDX-License-Identifier: Apache-2.0
 *
 * Answers over simulated worlds whose true causes are known for every nanosecond. With everything
 * recorded they must be right, and next to never certain and wrong; with rows lost and clocks wrong
 * they may know less, and must say so. What has nothing to do with a transaction must not change
 * its answer.
 *
 * KP_SIM_SEEDS=n (make truth-sim N=n) is the number of worlds of each curve; KP_SIM_SEED=n prints
 * where the answer to world n differs from the truth.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "asked.h"
#include "base/assert.h"
#include "sim/sim.h"

#define APART      (4 * KP_HOUR)
#define SEEDS      40
#define MAYBE      0.02 /* a curve may go up by so much: few worlds */
#define FALSE_MOST 0.01 /* certain and wrong, of all time */

static struct sim sim;
static struct world w;

static uint64_t number(const char *name, uint64_t otherwise)
{
    const char *text = getenv(name);
    return text == NULL ? otherwise : strtoull(text, NULL, 10);
}

/* One store for all worlds, hours apart: further than anything is looked back. */
static void world_next(uint64_t seed, const struct sim_view *view)
{
    static uint64_t count;
    w.zero = WORLD_ZERO + (kp_dur)(++count) * APART;
    sim_run(&sim, seed, count);
    sim_emit(&sim, view, &w);
}

static void score_seed(uint64_t seed, const struct sim_view *view, struct sim_score *sum, bool told)
{
    world_next(seed, view);
    sim_score(&sim, &w, sum, told);
    sim_free(&sim);
}

static double share(kp_dur part, const struct sim_score *sum)
{
    return (double)part / (double)sum->wall;
}

static void print_score(const char *name, const struct sim_score *sum)
{
    print_message("%-14s %7.2f%% %7.2f%% %7.2f%% %7.2f%% %7.3f%%\n", name,
                  100 * share(sum->right, sum), 100 * share(sum->wrong, sum),
                  100 * share(sum->unknown, sum), 100 * share(sum->strong, sum),
                  100 * share(sum->strong_wrong, sum));
}

static struct sim_score score(const char *name, const struct sim_view *view)
{
    struct sim_score sum = {0};
    uint64_t seeds = number("KP_SIM_SEEDS", SEEDS);
    for (uint64_t seed = 0; seed < seeds; seed++)
        score_seed(seed, view, &sum, false);
    print_score(name, &sum);
    return sum;
}

static void print_head(const char *of)
{
    print_message("%-14s %8s %8s %8s %8s %8s\n", of, "right", "wrong", "unknown", "strong",
                  "false");
}

/* ---------- accuracy ---------- */

static void told_of_one(void **state)
{
    struct sim_score sum = {0};
    struct sim_view view = {0};
    uint64_t seed = number("KP_SIM_SEED", UINT64_MAX);
    (void)state;
    if (seed == UINT64_MAX)
        return;
    score_seed(seed, &view, &sum, true);
    print_score("this world", &sum);
}

static void everything_recorded_is_right(void **state)
{
    struct sim_view view = {0};
    (void)state;
    print_head("all recorded");
    struct sim_score sum = score("", &view);
    assert_true(share(sum.wrong - sum.quota_end, &sum) < 0.0001);
    assert_true(share(sum.quota_end, &sum) < FALSE_MOST / 2);
    assert_true(share(sum.skipped, &sum) < 0.01);
    assert_true(share(sum.strong, &sum) > 0.98);
    assert_int_equal(sum.unknown, 0); /* nothing was withheld */
}

/* ---------- less evidence ---------- */

static void losses_are_told(void **state)
{
    static const double losses[] = {0, 0.001, 0.01, 0.05, 0.2};
    static const char *const names[] = {"0 %", "0.1 %", "1 %", "5 %", "20 %"};
    double strong = 1;
    (void)state;
    print_head("rows lost");
    for (size_t i = 0; i < KP_ARRAY_LEN(losses); i++) {
        struct sim_view view = {.loss = losses[i]};
        struct sim_score sum = score(names[i], &view);
        assert_true(share(sum.strong, &sum) <= strong + MAYBE);
        assert_true(share(sum.strong_wrong, &sum) < FALSE_MOST);
        strong = share(sum.strong, &sum);
    }
    assert_true(strong < 0.5);
}

static void wrong_clocks_are_told(void **state)
{
    static const kp_dur skews[] = {0, 10 * KP_US, KP_MS};
    static const char *const names[] = {"0", "10 us", "1 ms"};
    double strong = 1;
    (void)state;
    print_head("clock wrong by");
    for (size_t i = 0; i < KP_ARRAY_LEN(skews); i++) {
        struct sim_view view = {.skew = skews[i]};
        struct sim_score sum = score(names[i], &view);
        assert_true(share(sum.strong, &sum) <= strong + MAYBE);
        assert_true(share(sum.strong_wrong, &sum) < FALSE_MOST);
        strong = share(sum.strong, &sum);
    }
}

static void tids_used_again_are_told_apart(void **state)
{
    struct sim_view view = {.reuse = true};
    (void)state;
    print_head("tids reused");
    struct sim_score sum = score("", &view);
    assert_true(share(sum.right, &sum) > 0.99);
    assert_true(share(sum.strong_wrong, &sum) < FALSE_MOST / 2);
}

/* ---------- what must not matter ---------- */

#define TOLD_SEEDS 12

static char *told(uint64_t seed, const struct sim_view *view)
{
    world_next(seed, view);
    char *text = sim_answer_text(&sim, &w);
    sim_free(&sim);
    return text;
}

/* Names, times and threads are told as if nothing had been changed. */
static void same_answer(const struct sim_view *view)
{
    const struct sim_view plain = {0};
    for (uint64_t seed = 0; seed < TOLD_SEEDS; seed++) {
        char *expected = told(seed, &plain), *text = told(seed, view);
        if (strcmp(expected, text) != 0)
            fail_msg("seed %llu:\n%s-- and --\n%s", (unsigned long long)seed, expected, text);
        free(expected);
        free(text);
    }
}

static void other_pids(void **state)
{
    struct sim_view view = {.pid_shift = 3333};
    (void)state;
    same_answer(&view);
}

static void another_time(void **state)
{
    struct sim_view view = {.shift = 2 * KP_HOUR + 12345};
    (void)state;
    same_answer(&view);
}

static void hosts_exchanged(void **state)
{
    struct sim_view view = {.swap_hosts = true};
    (void)state;
    same_answer(&view);
}

static void in_pieces(void **state)
{
    struct sim_view view = {.commits = 7};
    (void)state;
    same_answer(&view);
}

static void unrelated_work_beside(void **state)
{
    struct sim_view view = {.unrelated = true};
    (void)state;
    same_answer(&view);
}

static void bystanders_at_interrupts(void **state)
{
    struct sim_view view = {.bystander = true};
    (void)state;
    same_answer(&view);
}

static void former_lives(void **state)
{
    struct sim_view view = {.reuse = true};
    (void)state;
    same_answer(&view);
}

static void calls_begun_again_by_programs(void **state)
{
    struct sim_view view = {.retried = true};
    (void)state;
    same_answer(&view);
}

/* The template with the transaction's id for each @. */
static void question_make(const char *template, char *out, size_t size)
{
    size_t used = 0;
    for (; *template != '\0' && used < size; template ++)
        used += (size_t)(*template == '@' ? snprintf(out + used, size - used, "%s", sim.txn)
                                          : snprintf(out + used, size - used, "%c", *template));
    assert_true(used < size);
}

/* Asked as a shell asks, by so many threads and in so small slices that each has work. */
static char *asked(const char *question, uint32_t threads)
{
    const struct kp_query_opts opts = {.threads = threads, .slice_rows = 100};
    struct kp_buf out = {0};
    struct kp_error err = {0};
    if (asked_text(w.snapshot, question, &opts, &out, NULL, &err) != KP_END)
        fail_msg("%s: %s", question, err.text);
    char *text = strdup(kp_buf_cstr(&out));
    kp_buf_deinit(&out);
    return text;
}

static void any_number_of_threads(void **state)
{
    static const char *const questions[] = {
        "CAUSES OF txn @",
        "CAUSES OF txn @ PARTS",
        "CAUSES OF txn @ | summarize sum(dur), max(start) by kind, strength",
        "EVIDENCE OF txn @ | summarize count() by stream, host",
        "CULPRITS OF (txn | where txn == '@') VS (txn | where txn != '@' | top 5 by start)",
        "events | summarize count(), min(ts), max(seq) by kind, comm",
    };
    const struct sim_view view = {.commits = 7};
    (void)state;
    for (uint64_t seed = 0; seed < TOLD_SEEDS / 2; seed++) {
        world_next(seed, &view);
        for (size_t i = 0; i < KP_ARRAY_LEN(questions); i++) {
            char question[256];
            question_make(questions[i], question, sizeof(question));
            char *alone = asked(question, 1);
            assert_true(alone[0] != '\0');
            for (uint32_t threads = 2; threads <= 5; threads++) {
                char *text = asked(question, threads);
                if (strcmp(alone, text) != 0)
                    fail_msg("%s\n%s-- with %u threads --\n%s", question, alone, threads, text);
                free(text);
            }
            free(alone);
        }
        sim_free(&sim);
    }
}

static int set_up(void **state)
{
    (void)state;
    world_open(&w);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    world_close(&w);
    return 0;
}

int main(void)
{
    if (access("/dev/shm", W_OK) == 0) /* many small stores, none of which is kept */
        setenv("TMPDIR", "/dev/shm", 0);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(told_of_one),
        cmocka_unit_test(everything_recorded_is_right),
        cmocka_unit_test(losses_are_told),
        cmocka_unit_test(wrong_clocks_are_told),
        cmocka_unit_test(tids_used_again_are_told_apart),
        cmocka_unit_test(other_pids),
        cmocka_unit_test(another_time),
        cmocka_unit_test(hosts_exchanged),
        cmocka_unit_test(in_pieces),
        cmocka_unit_test(unrelated_work_beside),
        cmocka_unit_test(bystanders_at_interrupts),
        cmocka_unit_test(former_lives),
        cmocka_unit_test(calls_begun_again_by_programs),
        cmocka_unit_test(any_number_of_threads),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
