/* SPDX-License-Identifier: Apache-2.0
 *
 * The power goes after every single operation of a workload, many times over: each time another
 * subset of what was not synced survives, whole sectors or torn at any byte, and another part of
 * the unsynced names. After each, the store opens and invariants 1 to 6, 10, 13, 17 and 19 of
 * docs/format.md hold; the same seed writes the same bytes (11). One workload in sixteen is sealed.
 *
 * KP_COUNT: crash states; `make soak-crash` asks for many more.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "base/assert.h"
#include "trial.h"

#define STATES        200000
#define TWICE         200 /* of so many states one seed is run twice: 1,000 */
#define STEPS         40
#define STATES_PER_OP 8

static bool sealed(uint64_t seed)
{
    return seed % 16 == 0;
}

static void power_off(void *ctx, struct kp_sim *sim)
{
    trial_crashes(ctx, sim, STATES_PER_OP);
}

/* Gives the hash of all names and bytes that are there in the end. */
static uint64_t workload_run(uint64_t seed, bool crashes, uint64_t *states)
{
    struct trial t;
    trial_begin(&t, seed, sealed(seed));
    if (crashes)
        kp_sim_watch(t.sim, power_off, &t);
    for (int i = 0; i < STEPS; i++)
        trial_step_random(&t);
    uint64_t hash = kp_sim_hash(t.sim);
    *states += t.states;
    trial_end(&t);
    return hash;
}

static void power_may_go_at_any_moment(void **state)
{
    (void)state;
    uint64_t states = 0, wanted = trial_count(STATES), seed = trial_seed();
    int64_t start = kp_time_monotonic();
    for (; states < wanted; seed++)
        workload_run(seed, true, &states);
    int64_t took = kp_time_monotonic() - start;
    print_message("%llu crash states of %llu workloads in %lld ms\n", (unsigned long long)states,
                  (unsigned long long)(seed - trial_seed()), (long long)(took / KP_MS));
}

static void the_same_seed_writes_the_same_bytes(void **state)
{
    (void)state;
    uint64_t none = 0, first = trial_seed(), same = 0;
    uint64_t seeds = KP_MAX(trial_count(STATES) / TWICE, 1);
    for (uint64_t seed = first; seed < first + seeds; seed++) {
        uint64_t hash = workload_run(seed, false, &none);
        if (hash != workload_run(seed, false, &none))
            fail_msg("KP_SEED=%llu: two runs, different bytes", (unsigned long long)seed);
        same += hash == workload_run(seed + 1, false, &none);
    }
    assert_int_equal(same, 0); /* the hash tells workloads apart */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(power_may_go_at_any_moment),
        cmocka_unit_test(the_same_seed_writes_the_same_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
