/* SPDX-License-Identifier: Apache-2.0
 *
 * The manifest by itself: records come back, a failed file is replaced, a torn tail is no damage
 * and damage is no torn tail.
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
#include "storage/manifest.h"

#define DIR "/s"

struct bench {
    struct kp_sim *sim;
    const struct kp_io *io;
    struct kp_io_queue *queue;
    struct kpi_manifest_log *log;
};

static int setup(void **state)
{
    struct bench *b = calloc(1, sizeof(*b));
    struct kpi_manifest fresh = {.store_id = "an id"};
    assert_int_equal(kp_sim_open(3, &b->sim), KP_OK);
    b->io = kp_sim_io(b->sim);
    assert_int_equal(b->io->mkdir(b->io, DIR), 0);
    assert_int_equal(b->io->sync_dir(b->io, "/"), 0);
    assert_int_equal(b->io->queue_open(b->io, 4, &b->queue), KP_OK);
    assert_int_equal(kpi_manifest_open(b->io, b->queue, DIR, &fresh, &b->log, NULL), KP_OK);
    *state = b;
    return 0;
}

static int teardown(void **state)
{
    struct bench *b = *state;
    kpi_manifest_close(b->log);
    b->io->queue_close(b->queue);
    kp_sim_close(b->sim);
    free(b);
    return 0;
}

static struct kpi_segment_meta segment(uint64_t id)
{
    struct kpi_segment_meta meta = {.id = id,
                                    .wal_first = id * 10 - 9,
                                    .wal_last = id * 10,
                                    .ts_min = (kp_time)id,
                                    .ts_max = (kp_time)id + 5,
                                    .rows = id * 100,
                                    .bytes = id * 1000,
                                    .footer_hash = {id, ~id}};
    meta.rows_by_stream[1] = id * 60;
    meta.rows_by_stream[KP_STREAM_MAX - 1] = id * 40;
    return meta;
}

static kp_status add(struct bench *b, uint64_t id)
{
    struct kpi_segment_meta meta = segment(id);
    return kpi_manifest_add(b->log, b->queue, &meta, id * 1000 + 7, (struct kp_hash128){id, 1},
                            NULL);
}

static void count_damage(void *ctx, const struct kp_damage *damage)
{
    assert_non_null(damage->file);
    ++*(unsigned *)ctx;
}

static kp_status read_back(struct bench *b, struct kpi_manifest *out, unsigned *damaged)
{
    *damaged = 0;
    return kpi_manifest_read(b->io, DIR, out, count_damage, damaged, NULL);
}

static void assert_segments(struct bench *b, uint64_t count, unsigned damage_expected)
{
    struct kpi_manifest m;
    unsigned damaged;
    assert_int_equal(read_back(b, &m, &damaged), KP_OK);
    assert_int_equal(damaged, damage_expected);
    assert_int_equal(m.count, count);
    for (uint64_t i = 0; i < count; i++) {
        struct kpi_segment_meta expected = segment(i + 1);
        assert_memory_equal(&m.segments[i], &expected, sizeof(expected));
    }
    if (count > 0) {
        assert_int_equal(m.sealed_through, count * 10);
        assert_int_equal(m.seq_next, count * 1000 + 7);
        assert_true(m.wal_hash.lo == count && m.wal_hash.hi == 1);
    }
    assert_memory_equal(m.store_id, "an id", 6);
    kpi_manifest_deinit(&m);
}

static void reopen(struct bench *b)
{
    struct kpi_manifest m;
    unsigned damaged;
    assert_int_equal(read_back(b, &m, &damaged), KP_OK);
    kpi_manifest_close(b->log);
    b->log = NULL;
    assert_int_equal(kpi_manifest_open(b->io, b->queue, DIR, &m, &b->log, NULL), KP_OK);
    kpi_manifest_deinit(&m);
}

static void segments_come_back(void **state)
{
    struct bench *b = *state;
    assert_segments(b, 0, 0);
    uint64_t version = kpi_manifest_state(b->log)->version;
    for (uint64_t id = 1; id <= 40; id++) {
        assert_int_equal(add(b, id), KP_OK);
        assert_true(kpi_manifest_state(b->log)->version > version);
        version = kpi_manifest_state(b->log)->version;
        if (id % 13 == 0)
            reopen(b);
    }
    assert_segments(b, 40, 0);
    uint8_t id[KPI_ID_SIZE];
    assert_int_equal(kpi_manifest_store_id(b->io, DIR, id, NULL), KP_OK);
    assert_memory_equal(id, "an id", 6);
}

static void what_was_added_survives_power_loss(void **state)
{
    struct bench *b = *state;
    for (uint64_t id = 1; id <= 5; id++)
        assert_int_equal(add(b, id), KP_OK);
    kp_sim_crash(b->sim, KP_SIM_DROP);
    assert_segments(b, 5, 0);
}

static void no_store_is_not_found(void **state)
{
    struct bench *b = *state;
    struct kpi_manifest m;
    struct kp_error err;
    assert_int_equal(kpi_manifest_read(b->io, "/nowhere", &m, NULL, NULL, &err), KP_NOT_FOUND);
    assert_non_null(strstr(err.text, "/nowhere"));
}

static void failing_writes_are_made_good(void **state)
{
    struct bench *b = *state;
    uint32_t points[] = {KP_SIM_WRITE, KP_SIM_SYNC};
    uint64_t id = 1;
    for (size_t p = 0; p < KP_ARRAY_LEN(points); p++) {
        for (uint64_t nth = 1; nth <= 2; nth++) { /* the record, then the superblock */
            struct kp_sim_fault fault = {.points = points[p], .nth = nth, .error = EIO};
            kp_sim_fault_add(b->sim, &fault);
            assert_int_equal(add(b, id++), KP_OK);
        }
    }
    assert_int_equal(kp_sim_hits(b->sim), 4);
    assert_segments(b, id - 1, 0);
    kp_sim_crash(b->sim, KP_SIM_DROP);
    assert_segments(b, id - 1, 0);
}

/* A dead disk: the caller is told, and later the same segment can be added again. */
static void a_dead_disk_is_told_of(void **state)
{
    struct bench *b = *state;
    assert_int_equal(add(b, 1), KP_OK);
    struct kp_sim_fault fault = {
        .points = KP_SIM_WRITE | KP_SIM_CREATE, .nth = 1, .times = UINT64_MAX, .error = ENOSPC};
    kp_sim_fault_add(b->sim, &fault);
    assert_int_equal(add(b, 2), KP_NO_SPACE);
    assert_int_equal(kpi_manifest_state(b->log)->count, 1);
    assert_int_equal(kpi_manifest_state(b->log)->sealed_through, 10);
    kp_sim_fault_clear(b->sim);
    assert_int_equal(add(b, 2), KP_OK);
    assert_segments(b, 2, 0);
}

static uint8_t *manifest_bytes(struct bench *b, size_t *size)
{
    char path[64];
    snprintf(path, sizeof(path), DIR "/manifest.%08x", (unsigned)kpi_manifest_file_no(b->log));
    uint8_t *bytes = kp_sim_file(b->sim, path, size);
    assert_non_null(bytes);
    return bytes;
}

static void a_damaged_record_is_not_a_tail(void **state)
{
    struct bench *b = *state;
    size_t size;
    for (uint64_t id = 1; id <= 4; id++)
        assert_int_equal(add(b, id), KP_OK);
    manifest_bytes(b, &size)[KPI_SECTOR * 2 + 100] ^= 1; /* base, 1, 2 */
    struct kpi_manifest m;
    unsigned damaged;
    assert_int_equal(read_back(b, &m, &damaged), KP_OK);
    assert_int_equal(damaged, 1);
    assert_int_equal(m.count, 3);
    assert_int_equal(m.segments[1].id, 3);
    assert_int_equal(m.sealed_through, 40);
    kpi_manifest_deinit(&m);
    /* the last record too: the superblock says how much there was */
    manifest_bytes(b, &size)[KPI_SECTOR * 4 + 100] ^= 1;
    assert_int_equal(read_back(b, &m, &damaged), KP_OK);
    assert_int_equal(damaged, 2);
    assert_int_equal(m.count, 2);
    kpi_manifest_deinit(&m);
}

static void a_torn_tail_is_no_damage(void **state)
{
    struct bench *b = *state;
    assert_int_equal(add(b, 1), KP_OK);
    /* half a record behind what the superblock knows */
    size_t size;
    char path[64];
    uint8_t half[300];
    memcpy(half, manifest_bytes(b, &size) + KPI_SECTOR, sizeof(half));
    snprintf(path, sizeof(path), DIR "/manifest.%08x", (unsigned)kpi_manifest_file_no(b->log));
    struct kp_io_file *file = NULL;
    assert_int_equal(b->io->open(b->io, path, KP_IO_RDWR, &file), 0);
    assert_int_equal(kp_io_once(b->io, b->queue, KP_IO_WRITE, file, half, sizeof(half), size), 300);
    b->io->close(b->io, file);
    assert_segments(b, 1, 0);
}

static void superblocks_back_each_other(void **state)
{
    struct bench *b = *state;
    size_t size;
    for (uint64_t id = 1; id <= 3; id++)
        assert_int_equal(add(b, id), KP_OK);
    for (int slot = 0; slot < 2; slot++) {
        uint8_t *super = kp_sim_file(b->sim, DIR "/super", &size);
        super[slot * 4096 + 20] ^= 1;
        assert_segments(b, 3, 0);
        super[slot * 4096 + 20] ^= 1;
    }
    kp_sim_file(b->sim, DIR "/super", &size)[20] ^= 1;
    kp_sim_file(b->sim, DIR "/super", &size)[4096 + 20] ^= 1;
    assert_segments(b, 3, 1); /* the newest whole manifest file, and told of */
    assert_int_equal(b->io->unlink(b->io, DIR "/super"), 0);
    assert_segments(b, 3, 1);
    reopen(b);
    assert_segments(b, 3, 0);
}

static void a_newer_version_is_refused(void **state)
{
    struct bench *b = *state;
    size_t size;
    uint8_t *bytes = kp_sim_file(b->sim, DIR "/super", &size);
    for (int slot = 0; slot < 2; slot++) {
        struct kpi_super super;
        memcpy(&super, bytes + slot * 4096, sizeof(super));
        super.version = KPI_MANIFEST_VERSION + 1;
        super.hash = kp_hash128(&super, offsetof(struct kpi_super, hash), 0);
        memcpy(bytes + slot * 4096, &super, sizeof(super));
    }
    struct kpi_manifest m;
    unsigned damaged;
    assert_int_equal(read_back(b, &m, &damaged), KP_VERSION);
}

static void only_manifest_names_are_taken(void **state)
{
    (void)state;
    uint64_t no;
    assert_true(kpi_manifest_name("manifest.0000002a", &no));
    assert_int_equal(no, 42);
    assert_false(kpi_manifest_name("manifest.2a", &no));
    assert_false(kpi_manifest_name("manifest.0000002a.tmp", &no));
    assert_false(kpi_manifest_name("manifest.0000002g", &no));
    assert_false(kpi_manifest_name("manifest", &no));
}

#define UNIT(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        UNIT(segments_come_back),         UNIT(what_was_added_survives_power_loss),
        UNIT(no_store_is_not_found),      UNIT(failing_writes_are_made_good),
        UNIT(a_dead_disk_is_told_of),     UNIT(a_damaged_record_is_not_a_tail),
        UNIT(a_torn_tail_is_no_damage),   UNIT(superblocks_back_each_other),
        UNIT(a_newer_version_is_refused), UNIT(only_manifest_names_are_taken),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
