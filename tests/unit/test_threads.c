/* SPDX-License-Identifier: Apache-2.0
 *
 * The thread table: one actor per state of a thread, never one actor for two threads.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <unistd.h>

#include "fake_store.h"
#include "ingest/ingest.h"
#include "ingest/proc.h"
#include "ingest/threads.h"

enum { SCAN, FORK, EXEC, EXIT, RENAME };

struct bed {
    struct kp_store *store;
    struct kpi_cgroups *cgroups;
    struct kpi_threads *threads;
};

static int set_up(void **state)
{
    static struct bed bed;
    bed.store = fake_open();
    assert_int_equal(kpi_cgroups_init(&bed.cgroups), KP_OK);
    assert_int_equal(kpi_threads_init(bed.store, bed.cgroups, &bed.threads), KP_OK);
    *state = &bed;
    return 0;
}

static int tear_down(void **state)
{
    struct bed *bed = *state;
    kpi_threads_deinit(bed->threads);
    kpi_cgroups_deinit(bed->cgroups);
    fake_close(bed->store);
    return 0;
}

static void task(struct bed *bed, int64_t mono, uint32_t tid, int64_t start, int op,
                 const char *comm)
{
    struct kpi_task record = {
        .mono = mono, .tid = tid, .pid = 100, .start = start, .op = op, .comm = kp_str_from(comm)};
    kpi_threads_task(bed->threads, &record);
}

static const struct kp_actor *actor(struct bed *bed, uint32_t tid, uint32_t pid, int64_t mono)
{
    kp_actor_id id = kpi_threads_actor(bed->threads, tid, pid, mono);
    assert_int_not_equal(id, KP_ACTOR_UNKNOWN);
    return kp_actors_get(bed->store->actors, id);
}

static void an_actor_is_made_only_on_change(void **state)
{
    struct bed *bed = *state;
    task(bed, 10, 7, 5, SCAN, "worker");
    kp_actor_id first = kpi_threads_actor(bed->threads, 7, 100, 20);
    task(bed, 30, 7, 5, RENAME, "worker");
    assert_int_equal(kpi_threads_actor(bed->threads, 7, 0, 40), first);
    task(bed, 50, 7, 5, RENAME, "other");
    kp_actor_id second = kpi_threads_actor(bed->threads, 7, 100, 60);
    assert_int_not_equal(second, first);
    const struct kp_actor *a = kp_actors_get(bed->store->actors, first);
    const struct kp_actor *b = kp_actors_get(bed->store->actors, second);
    assert_true(kp_actor_same_thread(a, b));
    assert_true(kp_str_equal(b->comm, KP_STR("other")));
    assert_true(kp_str_equal(b->host, kp_str_from(kp_host_name())));
    assert_int_equal(b->pid, 100);
    assert_int_equal(b->start, 5);
    assert_int_equal(kp_actors_count(bed->store->actors), 3);
}

static void a_tid_used_again_is_another_thread(void **state)
{
    struct bed *bed = *state;
    task(bed, 10, 7, 5, FORK, "first");
    const struct kp_actor *first = actor(bed, 7, 100, 20);
    task(bed, 30, 7, 5, EXIT, "first");
    assert_ptr_equal(actor(bed, 7, 100, 31), first); /* its last switch */
    task(bed, 40, 7, 38, FORK, "second");
    const struct kp_actor *second = actor(bed, 7, 100, 41);
    assert_false(kp_actor_same_thread(first, second));
    assert_int_equal(second->start, 38);
    /* a record of the first that comes late changes nothing */
    task(bed, 29, 7, 5, RENAME, "ghost");
    assert_ptr_equal(actor(bed, 7, 100, 42), second);
}

static void a_lost_exit_or_fork_joins_nothing(void **state)
{
    struct bed *bed = *state;
    task(bed, 10, 7, 5, FORK, "first");
    const struct kp_actor *first = actor(bed, 7, 100, 20);
    const struct kp_actor *stranger = actor(bed, 7, 200, 30); /* another process has the tid now */
    assert_int_equal(stranger->pid, 200);
    assert_int_equal(stranger->comm.len, 0);
    assert_int_equal(stranger->start, KP_ACTOR_START_UNKNOWN);
    assert_ptr_not_equal(stranger, first);
    const struct kp_actor *late = actor(bed, 7, 100, 15); /* the first, out of order */
    assert_int_equal(late->pid, 100);
    assert_ptr_equal(actor(bed, 7, 200, 31), stranger);
    task(bed, 50, 8, 45, FORK, "dies");
    task(bed, 60, 8, 45, EXIT, "dies");
    assert_int_equal(actor(bed, 8, 100, 60 + KPI_THREAD_GRACE)->start, 45);
    assert_int_equal(actor(bed, 8, 100, 61 + KPI_THREAD_GRACE)->start, KP_ACTOR_START_UNKNOWN);
}

static void exec_revives_the_leader(void **state)
{
    struct bed *bed = *state;
    task(bed, 10, 100, 5, SCAN, "old");
    task(bed, 20, 100, 5, EXIT, "old"); /* another thread of the process executes a file */
    task(bed, 21, 100, 5, EXEC, "new");
    const struct kp_actor *now = actor(bed, 100, 100, 30 + 2 * KPI_THREAD_GRACE);
    assert_int_equal(now->start, 5);
    assert_true(kp_str_equal(now->comm, KP_STR("new")));
}

static void dead_threads_leave(void **state)
{
    struct bed *bed = *state;
    for (uint32_t tid = 1; tid <= 5000; tid++) {
        task(bed, tid, tid, tid, FORK, "short");
        if (tid % 2 == 0)
            task(bed, tid + 1, tid, tid, EXIT, "short");
    }
    assert_int_equal(kpi_threads_count(bed->threads), 5000);
    kpi_threads_sweep(bed->threads, 6000);
    assert_int_equal(kpi_threads_count(bed->threads), 5000);
    kpi_threads_sweep(bed->threads, 6000 + KP_MIN_NS);
    assert_int_equal(kpi_threads_count(bed->threads), 2500);
    for (uint32_t tid = 1; tid <= 5000; tid += 2)
        assert_int_equal(actor(bed, tid, 100, 6000)->start, tid);
    assert_int_equal(kpi_threads_count(bed->threads), 2500);
}

static void idle_threads_are_one_per_cpu(void **state)
{
    struct bed *bed = *state;
    kp_actor_id zero = kpi_threads_idle(bed->threads, 0), three = kpi_threads_idle(bed->threads, 3);
    assert_int_not_equal(zero, three);
    assert_int_equal(kpi_threads_idle(bed->threads, 3), three);
    const struct kp_actor *idle = kp_actors_get(bed->store->actors, three);
    assert_int_equal(idle->tid, 0);
    assert_int_equal(idle->pid, 0);
    assert_true(kp_str_equal(idle->comm, KP_STR("swapper/3")));
    assert_int_equal(kpi_threads_idle(bed->threads, 1u << 30), KP_ACTOR_UNKNOWN);
}

static void cgroups_show_as_soon_as_they_are_known(void **state)
{
    struct bed *bed = *state;
    task(bed, 10, 7, 5, SCAN, "worker");
    assert_true(kp_str_equal(actor(bed, 7, 100, 11)->cgroup, KP_STR("/")));
    kpi_threads_attach(bed->threads, 7, true, 42);
    assert_true(kp_str_equal(actor(bed, 7, 100, 12)->cgroup, KP_STR("/"))); /* not yet known */
    assert_true(kpi_cgroups_missed(bed->cgroups));
    assert_false(kpi_cgroups_missed(bed->cgroups));
    struct kpi_cgroup cgroup = {.id = 42, .path = KP_STR("/pay")};
    assert_int_equal(kpi_cgroups_set(bed->cgroups, &cgroup), KP_OK);
    assert_true(kp_str_equal(actor(bed, 7, 100, 13)->cgroup, KP_STR("/pay")));
    cgroup.path = KP_STR("/renamed");
    assert_int_equal(kpi_cgroups_set(bed->cgroups, &cgroup), KP_OK);
    assert_true(kp_str_equal(actor(bed, 7, 100, 14)->cgroup, KP_STR("/renamed")));
}

static void strangers_are_looked_up(void **state)
{
    struct bed *bed = *state;
    uint32_t self = (uint32_t)getpid();
    const struct kp_actor *before = actor(bed, self, self, 10);
    assert_int_equal(before->comm.len, 0);
    assert_int_equal(actor(bed, self, self, 11)->comm.len, 0);
    assert_int_equal(kpi_threads_pending(bed->threads), 1);
    kpi_threads_heal(bed->threads);
    assert_int_equal(kpi_threads_pending(bed->threads), 0);
    const struct kp_actor *after = actor(bed, self, self, 12);
    assert_true(after->comm.len > 0);
    assert_true(kp_actor_same_thread(before, after));
    /* the exact start comes with the next TASK record and stays the same thread */
    task(bed, 20, self, 1234, RENAME, "x");
    assert_true(kp_actor_same_thread(after, actor(bed, self, 100, 21)));
}

static void strangers_that_are_gone_leave(void **state)
{
    struct bed *bed = *state;
    uint32_t self = (uint32_t)getpid();
    int64_t now = kp_time_monotonic();
    actor(bed, 1u << 30, 0, now);    /* no such thread */
    actor(bed, self, self + 1, now); /* its tid belongs to another process */
    kpi_threads_heal(bed->threads);
    assert_int_equal(actor(bed, self, self + 1, now)->comm.len, 0);
    kpi_threads_sweep(bed->threads, now);
    assert_int_equal(kpi_threads_count(bed->threads), 2);
    kpi_threads_sweep(bed->threads, now + KP_MIN_NS);
    assert_int_equal(kpi_threads_count(bed->threads), 0);
}

static void spans_get_the_actor_of_kernel_events(void **state)
{
    struct bed *bed = *state;
    uint32_t self = (uint32_t)getpid();
    kp_actor_id bound = 0, other = 0;
    assert_true(kpi_threads_bind(bed->store, self, self, KP_TIME_MAX, &bound)); /* /proc alone */
    assert_int_not_equal(kp_actors_get(bed->store->actors, bound)->start, KP_ACTOR_START_UNKNOWN);
    task(bed, 10, 7, 5, SCAN, "worker");
    kpi_threads_publish(bed->threads, NULL, NULL);
    assert_true(kpi_threads_bind(bed->store, 7, 100, KP_TIME_MAX, &bound));
    assert_int_equal(bound, kpi_threads_actor(bed->threads, 7, 100, 20));
    assert_false(kpi_threads_bind(bed->store, 7, 101, KP_TIME_MAX, &bound)); /* other process */
    assert_false(kpi_threads_bind(bed->store, 7, 100, KP_SEC, &bound)); /* began after its span */
    assert_true(kpi_threads_bind(bed->store, self, 0, KP_TIME_MAX, &bound)); /* joins the table */
    assert_int_equal(bound, kpi_threads_actor(bed->threads, self, self, 30));
    assert_false(kpi_threads_bind(bed->store, (1u << 30), 0, KP_TIME_MAX, &other));
    kpi_threads_publish(NULL, NULL, NULL);
}

static void names_are_repaired(void **state)
{
    (void)state;
    static const struct {
        const char *in, *out;
        uint64_t bad;
    } cases[] = {
        {"plain", "plain", 0},
        {"gr\xc3\xbc\xc3\x9f", "gr\xc3\xbc\xc3\x9f", 0},
        {"a\xff"
         "b",
         "a\xef\xbf\xbd"
         "b",
         1},
        {"\xc3", "\xef\xbf\xbd", 1},
        {"\xed\xa0\x80", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd", 3}, /* a surrogate */
        {"\xf0\x9f\x92\xb0", "\xf0\x9f\x92\xb0", 0},
        {"\xc0\xaf", "\xef\xbf\xbd\xef\xbf\xbd", 2}, /* overlong */
    };
    for (size_t i = 0; i < KP_ARRAY_LEN(cases); i++) {
        char out[64];
        uint64_t bad = 0;
        uint32_t len =
            kpi_utf8_repair(out, sizeof(out), cases[i].in, (uint32_t)strlen(cases[i].in), &bad);
        assert_string_equal(out, cases[i].out);
        assert_int_equal(len, strlen(out));
        assert_int_equal(bad, cases[i].bad);
    }
    char small[4];
    uint64_t bad = 0;
    assert_int_equal(kpi_utf8_repair(small, sizeof(small), "ab\xc3\xbc", 4, &bad), 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(an_actor_is_made_only_on_change, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_tid_used_again_is_another_thread, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_lost_exit_or_fork_joins_nothing, set_up, tear_down),
        cmocka_unit_test_setup_teardown(exec_revives_the_leader, set_up, tear_down),
        cmocka_unit_test_setup_teardown(dead_threads_leave, set_up, tear_down),
        cmocka_unit_test_setup_teardown(idle_threads_are_one_per_cpu, set_up, tear_down),
        cmocka_unit_test_setup_teardown(cgroups_show_as_soon_as_they_are_known, set_up, tear_down),
        cmocka_unit_test_setup_teardown(strangers_are_looked_up, set_up, tear_down),
        cmocka_unit_test_setup_teardown(strangers_that_are_gone_leave, set_up, tear_down),
        cmocka_unit_test_setup_teardown(spans_get_the_actor_of_kernel_events, set_up, tear_down),
        cmocka_unit_test(names_are_repaired),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
