/* SPDX-License-Identifier: Apache-2.0
 *
 * The power goes again and again while a store starts after a crash: after each thing that the
 * start does to the disk, and after each that the start after that does, three deep. Every start
 * is held to invariants 1 to 6, 13, 17 and 19 of docs/format.md, and does a bounded number of
 * things however often the ones before it were cut off.
 *
 * KP_COUNT: crash states; `make soak-restart` asks for many more.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "base/assert.h"
#include "trial.h"

#define STATES  50000
#define DEEP    3
#define OPS_MAX 100 /* that one start may do to the disk of such a store */

struct start {
    struct trial *trial;
    unsigned depth;   /* crashes that came before */
    uint64_t ops;     /* of this start */
    uint64_t ops_max; /* of any start so far */
};

static void start_run(struct start *start, struct kp_sim *sim);

/* One operation more: the power goes; what is left is checked on a copy and started on another. */
static void power_off(void *ctx, struct kp_sim *sim)
{
    static const enum kp_sim_crash policies[] = {KP_SIM_DROP, KP_SIM_KEEP, KP_SIM_SOME,
                                                 KP_SIM_TEAR};
    struct start *start = ctx;
    struct trial *t = start->trial;
    struct start next = {.trial = t, .depth = start->depth + 1, .ops_max = start->ops_max};
    start->ops++;
    struct kp_sim *copy = kp_sim_clone(sim, trial_random(t, UINT64_MAX));
    kp_sim_crash(copy, policies[trial_random(t, KP_ARRAY_LEN(policies))]);
    if (next.depth < DEEP) {
        struct kp_sim *again = kp_sim_clone(copy, 1);
        start_run(&next, again);
        kp_sim_close(again);
    }
    trial_check(t, copy, start->ops);
    kp_sim_close(copy);
    start->ops_max = KP_MAX(start->ops_max, next.ops_max);
}

/* Starts, loses power at each operation of that, and stops in an orderly way at last. */
static void start_run(struct start *start, struct kp_sim *sim)
{
    kp_sim_watch(sim, power_off, start);
    struct kp_store *store = trial_open(sim, start->trial->sealed);
    kp_sim_watch(sim, NULL, NULL);
    assert_int_equal(kp_store_close(store, NULL), KP_OK);
    start->ops_max = KP_MAX(start->ops_max, start->ops);
}

struct cut {
    struct start start;
    uint64_t left; /* operations until the power goes for the first time */
};

static void first_power_off(void *ctx, struct kp_sim *sim)
{
    struct cut *cut = ctx;
    if (--cut->left != 0)
        return;
    struct kp_sim *copy = kp_sim_clone(sim, cut->start.trial->seed);
    kp_sim_crash(copy, KP_SIM_SOME);
    start_run(&cut->start, copy);
    kp_sim_close(copy);
}

/* Loses power somewhere, and the starts that follow too. Gives the longest start. */
static uint64_t workload_run(uint64_t seed, uint64_t *states)
{
    struct trial t;
    trial_begin(&t, seed, seed % 8 == 0);
    struct cut cut = {.start.trial = &t, .left = 1 + trial_random(&t, 100)};
    kp_sim_watch(t.sim, first_power_off, &cut);
    while (t.states == 0 && strlen(t.steps) < TRIAL_STEPS_MAX)
        trial_step_random(&t);
    kp_sim_watch(t.sim, NULL, NULL);
    *states += t.states;
    trial_end(&t);
    return cut.start.ops_max;
}

static void power_may_go_again_and_again(void **state)
{
    (void)state;
    uint64_t states = 0, ops = 0, seed = trial_seed(), wanted = trial_count(STATES);
    for (; states < wanted; seed++) {
        uint64_t most = workload_run(seed, &states);
        if (most > OPS_MAX)
            fail_msg("KP_SEED=%llu: a start of %llu operations", (unsigned long long)seed,
                     (unsigned long long)most);
        ops = KP_MAX(ops, most);
    }
    print_message("%llu crash states of %llu workloads, no start longer than %llu operations\n",
                  (unsigned long long)states, (unsigned long long)(seed - trial_seed()),
                  (unsigned long long)ops);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(power_may_go_again_and_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
