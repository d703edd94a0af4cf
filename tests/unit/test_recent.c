/* SPDX-License-Identifier: Apache-2.0
 *
 * Snapshots shared by queries: the same one while it is recent, never one that lacks what was
 * acknowledged, and none held for nobody.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "folder.h"
#include "seen.h"
#include "server/recent.h"

struct place {
    char dir[FOLDER_PATH];
    struct kp_store *store;
    struct feed feed;
    struct kpi_recent recent;
};

static int setup(void **state)
{
    struct place *place = calloc(1, sizeof(*place));
    const struct kp_store_opts opts = {.commit_after = KP_MS};
    folder_make("recent", place->dir);
    assert_int_equal(kp_store_open(place->dir, &opts, &place->store, NULL), KP_OK);
    feed_init(&place->feed, place->store);
    kpi_recent_init(&place->recent, place->store);
    *state = place;
    return 0;
}

static int teardown(void **state)
{
    struct place *place = *state;
    kpi_recent_deinit(&place->recent);
    feed_deinit(&place->feed);
    assert_int_equal(kp_store_close(place->store, NULL), KP_OK);
    assert_int_equal(folder_remove(place->dir), 0);
    free(place);
    return 0;
}

static struct kpi_recent_snapshot *take(struct place *place)
{
    struct kpi_recent_snapshot *held = NULL;
    struct kp_error err = {0};
    if (kpi_recent_take(&place->recent, &held, &err) != KP_OK)
        fail_msg("%s", err.text);
    return held;
}

static uint64_t rows_of(const struct kpi_recent_snapshot *held)
{
    return kp_snapshot_rows(kpi_recent_of(held), kp_stream_by_number(KP_S_SYSCALL));
}

/* Rows that are committed, and acknowledged to somebody or not. */
static void add_rows(struct place *place, uint32_t rows, bool acknowledged)
{
    struct kp_store_stat before, now;
    uint64_t first, ticket;
    kp_store_stat(place->store, &before);
    assert_int_equal(feed_append(&place->feed, rows, &first, &ticket), KP_OK);
    if (acknowledged)
        assert_int_equal(kp_store_wait(place->store, ticket, NULL), KP_OK);
    for (int i = 0; i < 5000; i++) {
        kp_store_stat(place->store, &now);
        if (now.commits > before.commits)
            return;
        usleep(1000);
    }
    fail_msg("nothing was committed");
}

static void queries_close_together_share_one(void **state)
{
    struct place *place = *state;
    struct kpi_recent_snapshot *a = take(place), *b = take(place);
    assert_ptr_equal(a, b);
    kpi_recent_give(&place->recent, a);
    struct kpi_recent_snapshot *c = take(place);
    assert_ptr_equal(c, b);
    kpi_recent_give(&place->recent, b);
    kpi_recent_give(&place->recent, c);
}

static void what_was_acknowledged_is_seen(void **state)
{
    struct place *place = *state;
    for (uint32_t i = 0; i < 50; i++) {
        struct kpi_recent_snapshot *old = take(place);
        assert_int_equal(rows_of(old), i * 10);
        add_rows(place, 10, true);
        struct kpi_recent_snapshot *fresh = take(place);
        assert_int_equal(rows_of(fresh), i * 10 + 10);
        assert_int_equal(rows_of(old), i * 10); /* it stays what it was */
        kpi_recent_give(&place->recent, old);
        kpi_recent_give(&place->recent, fresh);
    }
}

static void committed_rows_come_soon(void **state)
{
    struct place *place = *state;
    kpi_recent_give(&place->recent, take(place));
    add_rows(place, 10, false);
    uint64_t rows = 0;
    for (int i = 0; i < 500 && rows == 0; i++) {
        struct kpi_recent_snapshot *held = take(place);
        rows = rows_of(held);
        kpi_recent_give(&place->recent, held);
        usleep(10000);
    }
    assert_int_equal(rows, 10);
}

static void nothing_is_held_for_nobody(void **state)
{
    struct place *place = *state;
    struct kpi_recent_snapshot *held = take(place);
    kpi_recent_tick(&place->recent);
    assert_ptr_equal(place->recent.newest, held); /* another query may come */
    add_rows(place, 10, true);
    kpi_recent_tick(&place->recent);
    assert_null(place->recent.newest);
    assert_int_equal(rows_of(held), 0); /* whoever has it keeps it */
    kpi_recent_give(&place->recent, held);
}

#define T_(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T_(queries_close_together_share_one),
        T_(what_was_acknowledged_is_seen),
        T_(committed_rows_come_soon),
        T_(nothing_is_held_for_nobody),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
