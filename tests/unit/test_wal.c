/* SPDX-License-Identifier: Apache-2.0
 *
 * The log by itself: what is committed is read, files turn over and are recycled, a failed file is
 * left for another, and damage is told from a torn tail.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "storage/io_sim.h"
#include "storage/wal.h"

#define FILE_BYTES  (64u << 10)
#define DATA_BLOCKS 14u /* of a file: header and one table block before them */
#define DIR         "/s"

static const uint8_t store_id[KPI_ID_SIZE] = "fifteen bytes..";

struct bench {
    struct kp_sim *sim;
    const struct kp_io *io;
    struct kp_io_queue *queue;
    struct kpi_wal *wal;
    uint8_t *bytes;
};

static kp_status wal_open(struct bench *b, const struct kpi_wal_end *end)
{
    struct kpi_wal_opts opts = {
        .io = b->io, .dir = DIR, .store_id = store_id, .file_bytes = FILE_BYTES};
    return kpi_wal_open(&opts, end, &b->wal);
}

static int setup(void **state)
{
    struct bench *b = calloc(1, sizeof(*b));
    struct kpi_wal_end nothing = {0};
    assert_int_equal(kp_sim_open(3, &b->sim), KP_OK);
    b->io = kp_sim_io(b->sim);
    assert_int_equal(b->io->mkdir(b->io, DIR), 0);
    assert_int_equal(b->io->mkdir(b->io, DIR "/wal"), 0);
    assert_int_equal(b->io->queue_open(b->io, 4, &b->queue), KP_OK);
    b->bytes = aligned_alloc(KPI_BLOCK, FILE_BYTES);
    assert_int_equal(wal_open(b, &nothing), KP_OK);
    *state = b;
    return 0;
}

static int teardown(void **state)
{
    struct bench *b = *state;
    kpi_wal_close(b->wal);
    b->io->queue_close(b->queue);
    kp_sim_close(b->sim);
    free(b->bytes);
    free(b);
    return 0;
}

/* Record k: payload of k and k+100 bytes of it, k rows, times 10k..10k+5. */
static kp_status commit(struct bench *b, uint32_t k)
{
    memset(b->bytes + sizeof(struct kpi_wal_header), (int)k, k + 100);
    struct kpi_wal_entry entry = {.bytes = b->bytes,
                                  .payload_size = k + 100,
                                  .rows = k,
                                  .ts_min = 10 * (kp_time)k,
                                  .ts_max = 10 * (kp_time)k + 5,
                                  .seq_next = 1000 + k};
    return kpi_wal_commit(b->wal, b->queue, &entry);
}

struct found {
    uint32_t numbers[256];
    uint32_t count, stop_after;
    struct kp_damage damage[8];
    uint32_t damaged;
    struct kpi_wal_end end;
};

static bool found_each(void *ctx, const struct kpi_wal_record *record)
{
    struct found *found = ctx;
    uint32_t k = record->rows;
    assert_int_equal(record->payload_size, k + 100);
    for (uint32_t i = 0; i < record->payload_size; i++)
        assert_int_equal(((const uint8_t *)record->payload)[i], (uint8_t)k);
    assert_int_equal(record->seq_next, 1000 + k);
    assert_int_equal(record->ts_max, 10 * (kp_time)k + 5);
    found->numbers[found->count++] = k;
    return found->count != found->stop_after;
}

static void found_damage(void *ctx, const struct kp_damage *damage)
{
    struct found *found = ctx;
    kp_assert(found->damaged < 8);
    found->damage[found->damaged++] = *damage;
}

static struct found scan(struct bench *b, uint64_t after)
{
    struct found found = {0};
    struct kpi_wal_scan request = {.io = b->io,
                                   .dir = DIR,
                                   .store_id = store_id,
                                   .after = after,
                                   .each = found_each,
                                   .damage = found_damage,
                                   .ctx = &found};
    assert_int_equal(kpi_wal_scan(&request, &found.end, NULL), KP_OK);
    kpi_wal_end_deinit(&found.end);
    return found;
}

static void assert_found(const struct found *found, uint32_t first, uint32_t last)
{
    assert_int_equal(found->count, last - first + 1);
    for (uint32_t i = 0; i < found->count; i++)
        assert_int_equal(found->numbers[i], first + i);
}

/* A new life: the writer goes on after what a scan finds. */
static void reopen(struct bench *b, uint64_t after)
{
    struct kpi_wal_end end;
    struct kpi_wal_scan request = {.io = b->io, .dir = DIR, .store_id = store_id, .after = after};
    assert_int_equal(kpi_wal_scan(&request, &end, NULL), KP_OK);
    kpi_wal_close(b->wal);
    b->wal = NULL;
    assert_int_equal(wal_open(b, &end), KP_OK);
    kpi_wal_end_deinit(&end);
}

static uint8_t *file_bytes(struct bench *b, uint64_t id)
{
    char path[64];
    size_t size = 0;
    kpi_wal_path(path, sizeof(path), DIR, id);
    uint8_t *bytes = kp_sim_file(b->sim, path, &size);
    if (bytes != NULL)
        assert_int_equal(size, FILE_BYTES);
    return bytes;
}

static void commit_all(struct bench *b, uint32_t first, uint32_t last)
{
    for (uint32_t k = first; k <= last; k++)
        assert_int_equal(commit(b, k), KP_OK);
}

static void records_come_back_in_order(void **state)
{
    struct bench *b = *state;
    struct found none = scan(b, 0);
    assert_int_equal(none.count + none.damaged + none.end.sequence, 0);
    commit_all(b, 1, 40);
    struct found all = scan(b, 0);
    assert_found(&all, 1, 40);
    assert_int_equal(all.damaged, 0);
    assert_int_equal(all.end.sequence, 40);
    assert_int_equal(all.end.seq_next, 1040);
    assert_int_equal(all.end.ts_max, 405);
    struct found later = scan(b, 33);
    assert_found(&later, 34, 40);
    struct kp_hash128 hash = kpi_wal_hash(b->wal);
    assert_true(kpi_hash_equal(all.end.hash, hash) && kpi_hash_equal(later.end.hash, hash));
    assert_int_equal(kpi_wal_sequence(b->wal), 40);
    assert_int_equal(scan(b, 40).count, 0);
}

static void a_new_life_goes_on_in_a_new_file(void **state)
{
    struct bench *b = *state;
    commit_all(b, 1, 3);
    reopen(b, 0);
    commit_all(b, 4, 5);
    reopen(b, 0);
    commit_all(b, 6, 20);
    struct found all = scan(b, 0);
    assert_found(&all, 1, 20);
    assert_int_equal(all.damaged, 0);
    assert_non_null(file_bytes(b, 3));
}

static void released_files_are_recycled(void **state)
{
    struct bench *b = *state;
    uint64_t ops = 0;
    for (uint32_t k = 1; k <= 5 * DATA_BLOCKS; k++) {
        if (k == 3 * DATA_BLOCKS) /* two files are spare by now: no more zeros are written */
            ops = kp_sim_ops(b->sim);
        assert_int_equal(commit(b, k), KP_OK);
        kpi_wal_release(b->wal, k - 1);
        assert_true(kpi_wal_bytes(b->wal) <= 2 * FILE_BYTES);
    }
    uint64_t per_commit = 3, per_file = 3; /* write, sync, copy; rename, directory */
    assert_true(kp_sim_ops(b->sim) - ops < (2 * DATA_BLOCKS + 2) * per_commit + 3 * per_file);
    struct found last = scan(b, 5 * DATA_BLOCKS - 3);
    assert_found(&last, 5 * DATA_BLOCKS - 2, 5 * DATA_BLOCKS);
    assert_int_equal(last.damaged, 0);
    assert_null(file_bytes(b, 1));
}

static void damage_in_a_payload_is_told_exactly(void **state)
{
    struct bench *b = *state;
    commit_all(b, 1, 5);
    file_bytes(b, 1)[(2 + 2) * KPI_BLOCK + 150] ^= 1; /* record 3 */
    struct found found = scan(b, 0);
    assert_int_equal(found.count, 4);
    assert_int_equal(found.damaged, 1);
    assert_int_equal(found.damage[0].rows, 3);
    assert_int_equal(found.damage[0].offset, 4 * KPI_BLOCK);
    assert_int_equal(found.damage[0].from, 30);
    assert_int_equal(found.damage[0].to, 35);
    assert_int_equal(found.end.sequence, 5);
}

static void a_damaged_header_is_read_by_its_copy(void **state)
{
    struct bench *b = *state;
    commit_all(b, 1, 5);
    memset(file_bytes(b, 1) + 3 * KPI_BLOCK, 0, sizeof(struct kpi_wal_header)); /* record 2 */
    struct found found = scan(b, 0);
    assert_found(&found, 1, 5);
    assert_int_equal(found.damaged, 1);
    assert_int_equal(found.damage[0].rows, 0); /* nothing is missing */
}

static void a_lost_copy_changes_nothing(void **state)
{
    struct bench *b = *state;
    commit_all(b, 1, 5);
    memset(file_bytes(b, 1) + KPI_BLOCK, 0xff, KPI_BLOCK);
    struct found found = scan(b, 0);
    assert_found(&found, 1, 5);
    assert_int_equal(found.damaged, 0);
}

/* With header and copy gone, the successor's chain still shows that something is missing. */
static void a_hole_is_seen_by_the_chain(void **state)
{
    struct bench *b = *state;
    commit_all(b, 1, 5);
    memset(file_bytes(b, 1) + KPI_BLOCK, 0, KPI_BLOCK);
    memset(file_bytes(b, 1) + 4 * KPI_BLOCK, 0, KPI_BLOCK); /* record 3 */
    struct found found = scan(b, 0);
    assert_int_equal(found.count, 4);
    assert_int_equal(found.damaged, 1);
    assert_int_equal(found.damage[0].rows, -1);
    assert_int_equal(found.damage[0].from, 25);
    assert_int_equal(found.damage[0].to, 40);
}

static void the_last_record_is_torn_or_damaged(void **state)
{
    struct bench *b = *state;
    commit_all(b, 1, 5);
    uint8_t *bytes = file_bytes(b, 1);
    bytes[6 * KPI_BLOCK + 140] ^= 4;
    struct found damaged = scan(b, 0); /* its copy says it was durable */
    assert_int_equal(damaged.damaged, 1);
    assert_int_equal(damaged.damage[0].rows, 5);
    assert_int_equal(damaged.end.sequence, 5);
    memset(bytes + KPI_BLOCK + 4 * sizeof(struct kpi_wal_header), 0, 128);
    struct found torn = scan(b, 0);
    assert_found(&torn, 1, 4);
    assert_int_equal(torn.damaged, 0);
    assert_int_equal(torn.end.sequence, 4);
}

static void a_block_of_another_place_does_not_verify(void **state)
{
    struct bench *b = *state;
    commit_all(b, 1, 5);
    uint8_t *bytes = file_bytes(b, 1);
    memcpy(bytes + 3 * KPI_BLOCK, bytes + 2 * KPI_BLOCK, KPI_BLOCK); /* record 1 over 2 */
    struct found found = scan(b, 0);
    assert_int_equal(found.count, 4);
    assert_int_equal(found.numbers[1], 3);
    assert_int_equal(found.damaged, 1);
    assert_int_equal(found.damage[0].rows, 2);
}

/* fsyncgate: after a failed sync the file is left alone and the record goes to a new one. */
static void a_failed_sync_moves_to_a_new_file(void **state)
{
    struct bench *b = *state;
    commit_all(b, 1, 3);
    struct kp_sim_fault fault = {.points = KP_SIM_SYNC, .nth = 1, .error = EIO};
    kp_sim_fault_add(b->sim, &fault);
    uint8_t *old = file_bytes(b, 1);
    assert_int_equal(commit(b, 4), KP_OK);
    uint64_t hash = kp_hash64(old, FILE_BYTES, 0);
    commit_all(b, 5, 9);
    assert_int_equal(kp_hash64(file_bytes(b, 1), FILE_BYTES, 0), hash); /* not written again */
    assert_non_null(file_bytes(b, 2));
    struct found found = scan(b, 0);
    assert_found(&found, 1, 9);
    assert_int_equal(found.damaged, 0);
    kp_sim_crash(b->sim, KP_SIM_DROP);
}

/* What failed twice is lost; its number is never in anybody's chain, even if its bytes survived. */
static void a_lost_record_stays_lost(void **state)
{
    struct bench *b = *state;
    commit_all(b, 1, 3);
    struct kp_sim_fault fault = {.points = KP_SIM_SYNC, .nth = 1, .times = 3, .error = EIO};
    kp_sim_fault_add(b->sim, &fault);
    assert_int_equal(commit(b, 4), KP_IO);
    kp_sim_fault_clear(b->sim);
    commit_all(b, 5, 6);
    struct found found = scan(b, 0);
    assert_int_equal(found.count, 5);
    assert_int_equal(found.numbers[3], 5);
    assert_int_equal(found.damaged, 0);
}

static void a_poisoned_file_is_not_recycled(void **state)
{
    struct bench *b = *state;
    struct kp_sim_fault fault = {.points = KP_SIM_WRITE, .nth = 4, .kind = KP_SIM_SHORT};
    commit_all(b, 1, 1);
    kp_sim_fault_add(b->sim, &fault);
    commit_all(b, 2, 6);
    assert_int_equal(kp_sim_hits(b->sim), 1);
    kpi_wal_release(b->wal, 6);
    assert_null(file_bytes(b, 1));
    struct found found = scan(b, 6);
    assert_int_equal(found.count + found.damaged, 0);
}

static void numbers_are_not_used_twice_after_damage(void **state)
{
    struct bench *b = *state;
    commit_all(b, 1, 5);
    struct kp_sim *copy = kp_sim_clone(b->sim, 1);
    memset(file_bytes(b, 1), 0, FILE_BYTES); /* unreadable for now */
    reopen(b, 0);
    assert_int_equal(commit(b, 7), KP_OK);
    size_t size;
    memcpy(file_bytes(b, 1), kp_sim_file(copy, DIR "/wal/0000000000000001.kpw", &size),
           FILE_BYTES); /* readable again */
    struct found found = scan(b, 0);
    assert_int_equal(found.numbers[found.count - 1], 7);
    assert_true(found.end.sequence > 5);
    kp_sim_close(copy);
}

#define UNIT(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        UNIT(records_come_back_in_order),
        UNIT(a_new_life_goes_on_in_a_new_file),
        UNIT(released_files_are_recycled),
        UNIT(damage_in_a_payload_is_told_exactly),
        UNIT(a_damaged_header_is_read_by_its_copy),
        UNIT(a_lost_copy_changes_nothing),
        UNIT(a_hole_is_seen_by_the_chain),
        UNIT(the_last_record_is_torn_or_damaged),
        UNIT(a_block_of_another_place_does_not_verify),
        UNIT(a_failed_sync_moves_to_a_new_file),
        UNIT(a_lost_record_stays_lost),
        UNIT(a_poisoned_file_is_not_recycled),
        UNIT(numbers_are_not_used_twice_after_damage),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
