/* SPDX-License-Identifier: Apache-2.0
 *
 * Every sequence of up to four operations of append, commit, seal, compact, retain and reopen; the
 * power goes after each thing the last of them does to the disk, in four ways. What a prefix does
 * is the last operation of a shorter sequence, so every crash point is met once. The same from a
 * store that holds two segments and a log, and with seals, up to three operations.
 *
 * Each state is held to invariants 1 to 6, 13, 17 and 19 of docs/format.md.
 *
 * KP_COUNT: how many operations; `make soak-steps` asks for six.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "base/assert.h"
#include "trial.h"

#define STEPS 4

struct course {
    bool sealed;
    const char *before; /* operations without a crash, as digits */
    uint64_t seed, sequences, states;
};

static void power_off(void *ctx, struct kp_sim *sim)
{
    trial_crashes(ctx, sim, 4);
}

static void sequence_run(struct course *course, const enum trial_op *ops, uint64_t count)
{
    struct trial t;
    trial_begin(&t, course->seed, course->sealed);
    for (const char *op = course->before; *op != '\0'; op++)
        trial_step(&t, (enum trial_op)(*op - '0'));
    for (uint64_t i = 0; i < count; i++) {
        if (i + 1 == count)
            kp_sim_watch(t.sim, power_off, &t);
        trial_step(&t, ops[i]);
    }
    kp_sim_watch(t.sim, NULL, NULL);
    course->states += t.states;
    course->sequences++;
    trial_end(&t);
}

/* Counts through all sequences of this many operations. */
static void sequences_run(struct course *course, uint64_t count)
{
    enum trial_op ops[16] = {0};
    assert_true(count <= KP_ARRAY_LEN(ops));
    for (uint64_t place = 0; place < count;) {
        sequence_run(course, ops, count);
        for (place = 0; place < count && ++ops[place] == TRIAL_OPS; place++)
            ops[place] = 0;
    }
}

static void course_run(struct course course, uint64_t count)
{
    course.seed = trial_seed();
    for (uint64_t n = 1; n <= count; n++)
        sequences_run(&course, n);
    print_message("%llu sequences, %llu crash states\n", (unsigned long long)course.sequences,
                  (unsigned long long)course.states);
    assert_true(course.states > course.sequences);
}

static uint64_t steps_wanted(void)
{
    return KP_MAX(trial_count(STEPS), 2);
}

static void from_nothing(void **state)
{
    (void)state;
    course_run((struct course){.before = ""}, steps_wanted());
}

static void from_segments_and_a_log(void **state)
{
    (void)state;
    course_run((struct course){.before = "02020"}, steps_wanted() - 1);
}

static void with_seals(void **state)
{
    (void)state;
    course_run((struct course){.before = "020", .sealed = true}, steps_wanted() - 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(from_nothing),
        cmocka_unit_test(from_segments_and_a_log),
        cmocka_unit_test(with_seals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
