/* SPDX-License-Identifier: Apache-2.0
 *
 * Measures what a commit costs, the way the log does it: a write into a file that was written and
 * synced before, its length checked, then a sync, one at a time. A file that grows or was only
 * allocated costs the file system a journal entry more.
 *
 * The choice. A write of n bytes takes about a + n x b: a is what 4 KiB take, b what each byte more
 * takes. At n = a / b half of the time is transfer; smaller commits waste the disk, larger ones
 * only wait. And a sync shall take at most a fifth of the time between two: what waits longer than
 * that is lost in a crash, what commits more often does little else.
 */
#include "storage/disk.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "storage/io.h"

#define FILE_BYTES      (16u << 20)
#define STEP_BYTES      (1u << 20) /* the largest write */
#define WRITES_MIN      8u
#define COMMIT_MIN      (64u << 10)
#define COMMIT_MAX      (4u << 20)
#define AFTER_MIN       (5 * KP_MS)
#define AFTER_MAX       KP_SEC
#define SYNCS_PER_AFTER 5

static const uint32_t sizes[KP_DISK_SIZES] = {4u << 10, 64u << 10, STEP_BYTES};

struct bench {
    const struct kp_io *io;
    struct kp_io_queue *queue;
    struct kp_io_file *file;
    uint8_t *buffer; /* STEP_BYTES, aligned */
    kp_dur *took;    /* KP_DISK_WRITES_MAX */
    uint32_t writes;
    kp_dur limit;
    char path[4096];
};

static int compare_durs(const void *a, const void *b)
{
    kp_dur x = *(const kp_dur *)a, y = *(const kp_dur *)b;
    return x < y ? -1 : x > y;
}

static int64_t write_sync(const struct bench *b, uint32_t bytes, uint64_t offset)
{
    int64_t done = kp_io_once(b->io, b->queue, KP_IO_WRITE, b->file, b->buffer, bytes, offset);
    if (done != (int64_t)bytes)
        return done < 0 ? done : -EIO;
    return kp_io_once(b->io, b->queue, KP_IO_SYNC, b->file, NULL, 0, 0);
}

/* Every block written, so that no later write changes what the file system must remember. */
static int64_t file_fill(struct bench *b)
{
    int64_t result = 0;
    for (uint64_t at = 0; at < FILE_BYTES && result == 0; at += STEP_BYTES)
        result = write_sync(b, STEP_BYTES, at);
    return result;
}

static int64_t row_measure(struct bench *b, uint32_t bytes, struct kp_disk_row *out)
{
    int64_t begin = kp_time_monotonic(), now = begin;
    uint32_t n = 0;
    while (n < b->writes && (n < WRITES_MIN || now - begin < b->limit)) {
        uint64_t offset = (uint64_t)n * bytes % FILE_BYTES;
        b->buffer[0] = (uint8_t)n; /* never what is there already */
        int64_t result = write_sync(b, bytes, offset);
        if (result < 0)
            return result;
        int64_t after = kp_time_monotonic();
        b->took[n++] = after - now;
        now = after;
    }
    qsort(b->took, n, sizeof(*b->took), compare_durs);
    *out = (struct kp_disk_row){.backend = b->io->name,
                                .bytes = bytes,
                                .writes = n,
                                .p50 = b->took[n / 2],
                                .p99 = b->took[(uint64_t)n * 99 / 100],
                                .max = b->took[n - 1]};
    return 0;
}

static int64_t rows_measure(struct bench *b, struct kp_disk_report *out)
{
    int64_t result =
        b->io->open(b->io, b->path, KP_IO_RDWR | KP_IO_CREATE | KP_IO_DIRECT, &b->file);
    if (result != 0)
        return result;
    result = file_fill(b);
    for (uint32_t i = 0; i < KP_DISK_SIZES && result == 0; i++) {
        result = row_measure(b, sizes[i], &out->rows[out->rows_count]);
        out->rows_count += result == 0;
    }
    b->io->close(b->io, b->file);
    b->io->unlink(b->io, b->path);
    return result;
}

static kp_status backend_measure(struct bench *b, const char *dir, struct kp_disk_report *out,
                                 struct kp_error *err)
{
    kp_status status = b->io->queue_open(b->io, 4, &b->queue);
    if (status != KP_OK)
        return kp_error_set(err, status, "no I/O queue to measure %s", dir);
    int64_t result = rows_measure(b, out);
    b->io->queue_close(b->queue);
    if (result == 0)
        return KP_OK;
    return kp_error_os(err, kp_status_from_errno((int)-result), (int)-result,
                       "cannot measure the disk under %s", dir);
}

static kp_status backends_measure(struct bench *b, const char *dir, const struct kp_io *only,
                                  struct kp_disk_report *out, struct kp_error *err)
{
    /* the one a store would use comes last: the choice looks there */
    const struct kp_io *all[] = {kp_io_threads(), kp_io_uring()};
    kp_status status = KP_OK;
    for (size_t i = 0; i < KP_ARRAY_LEN(all) && status == KP_OK; i++) {
        b->io = only != NULL ? only : all[i];
        if (b->io == NULL || (only != NULL && i > 0))
            continue;
        status = backend_measure(b, dir, out, err);
    }
    return status;
}

kp_status kp_disk_measure(const char *dir, const struct kp_io *io, uint32_t writes, kp_dur limit,
                          struct kp_disk_report *out, struct kp_error *err)
{
    static _Atomic uint32_t turns;
    struct kp_disk_report report = {0};
    struct bench b = {.writes = KP_MAX(1, KP_MIN(writes, KP_DISK_WRITES_MAX)), .limit = limit};
    int length = snprintf(b.path, sizeof(b.path), "%s/disk-%lld-%u.tmp", dir,
                          (long long)kp_time_monotonic(), turns++);
    if (length < 0 || length >= (int)sizeof(b.path))
        return kp_error_set(err, KP_INVALID, "the name of the directory is too long");
    b.buffer = aligned_alloc(4096, STEP_BYTES);
    b.took = malloc(KP_DISK_WRITES_MAX * sizeof(*b.took));
    kp_status status = KP_NO_MEMORY;
    if (b.buffer != NULL && b.took != NULL) {
        memset(b.buffer, 0x5a, STEP_BYTES);
        status = backends_measure(&b, dir, io, &report, err);
    } else {
        kp_error_set(err, status, "no memory to measure %s", dir);
    }
    free(b.buffer);
    free(b.took);
    if (status != KP_OK)
        return status;
    kp_disk_choose(&report);
    *out = report;
    return KP_OK;
}

void kp_disk_choose(struct kp_disk_report *report)
{
    kp_assert(report->rows_count >= KP_DISK_SIZES);
    const struct kp_disk_row *rows = &report->rows[report->rows_count - KP_DISK_SIZES];
    const struct kp_disk_row *small = &rows[0], *large = &rows[KP_DISK_SIZES - 1];
    uint32_t bytes = COMMIT_MIN;
    kp_dur transfer = KP_MAX(large->p50 - small->p50, 1);
    /* n x b < a, with b = transfer / (large - small) */
    while (bytes < COMMIT_MAX &&
           (__int128)bytes * transfer < (__int128)small->p50 * (large->bytes - small->bytes))
        bytes *= 2;
    report->commit_bytes = bytes;
    kp_dur after = KP_MIN(rows[1].p99, AFTER_MAX) * SYNCS_PER_AFTER;
    report->commit_after = KP_MIN(KP_MAX(after, AFTER_MIN), AFTER_MAX);
}
