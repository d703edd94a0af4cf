/* SPDX-License-Identifier: Apache-2.0
 *
 * One scan a stream, merged by time: the stream whose next row is the oldest gives it. Of the
 * columns of a stream the first four that are numbers go along; what a system call is, comes first.
 * Invariant: rows of the file never go back in time.
 */
#include "bench/flat.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/hash.h"

#define ARGS     4u
#define NUMBERED 65536u /* texts of each kind, at most */

enum { C_TS, C_CPU, C_PID, C_TID, C_CGROUP, C_COMM, C_ARGS, C_MAX = C_ARGS + ARGS + 1 };

/* Numbers of texts: open addressing by hash; slot 0 of a number means free. */
struct numbers {
    char letter;
    uint32_t count;
    uint64_t hashes[NUMBERED];
    uint32_t values[NUMBERED];
};

/* One stream as it is read. */
struct tap {
    const struct kp_stream *stream;
    struct kp_scan *scan;
    const struct kp_batch *batch; /* NULL at the end */
    uint32_t at;
    struct kp_colref cols[C_MAX];
    uint32_t args;      /* of them */
    int next_comm, txn; /* columns, or -1 */
    uint32_t cols_count;
};

struct writer {
    FILE *file;
    struct numbers cgroups, comms;
    struct kpi_flat *out;
};

uint64_t kpi_flat_txn(struct kp_str txn)
{
    return txn.len == 0 ? 0 : kp_hash64(txn.ptr, txn.len, 0) >> 1 | 1;
}

static uint32_t number_of(struct numbers *numbers, struct kp_str text, struct kp_buf *names)
{
    uint64_t hash = kp_hash64(text.ptr, text.len, 0);
    uint32_t slot = (uint32_t)hash % NUMBERED;
    while (numbers->values[slot] != 0) {
        if (numbers->hashes[slot] == hash)
            return numbers->values[slot];
        slot = (slot + 1) % NUMBERED;
    }
    kp_assert(numbers->count < NUMBERED / 2);
    numbers->hashes[slot] = hash;
    numbers->values[slot] = ++numbers->count;
    kp_buf_printf(names, "%c%u\t%.*s\n", numbers->letter, numbers->count, (int)text.len, text.ptr);
    return numbers->count;
}

/* ---------- reading ---------- */

static void add_col(struct tap *tap, int stored, enum kp_attr attr)
{
    tap->cols[tap->cols_count++] =
        (struct kp_colref){.stored = (uint8_t)stored, .attr = (uint8_t)attr};
}

static void add_args(struct tap *tap)
{
    const struct kp_stream *stream = tap->stream;
    int nr = stream->number == KP_S_SYSCALL ? kp_stream_stored(stream, "nr") : -1;
    uint32_t most = ARGS - (stream->number == KP_S_SCHED_SWITCH);
    if (nr >= 0)
        add_col(tap, nr, KP_ATTR_SELF);
    for (uint32_t c = KP_COL_FIRST; c < stream->stored_count; c++) {
        enum kp_type type = stream->stored[c].type;
        if (tap->cols_count - C_ARGS < most && kp_type_phys(type) == KP_PHYS_I64 && (int)c != nr)
            add_col(tap, (int)c, type == KP_TYPE_ACTOR ? KP_ATTR_TID : KP_ATTR_SELF);
    }
    tap->args = tap->cols_count - C_ARGS;
}

static kp_status tap_next(struct tap *tap, struct kp_error *err)
{
    kp_status status = kp_scan_next(tap->scan, &tap->batch, err);
    tap->at = 0;
    if (status != KP_OK)
        tap->batch = NULL;
    return status == KP_END ? KP_OK : status;
}

static kp_status tap_open(struct kp_snapshot *snapshot, const struct kp_stream *stream,
                          struct tap *tap, struct kp_error *err)
{
    static const enum kp_attr attrs[] = {KP_ATTR_PID, KP_ATTR_TID, KP_ATTR_CGROUP, KP_ATTR_COMM};
    *tap = (struct tap){.stream = stream, .next_comm = -1, .txn = -1};
    add_col(tap, KP_COL_TS, KP_ATTR_SELF);
    add_col(tap, KP_COL_CPU, KP_ATTR_SELF);
    for (size_t i = 0; i < KP_ARRAY_LEN(attrs); i++)
        add_col(tap, KP_COL_ACTOR, attrs[i]);
    add_args(tap);
    if (stream->number == KP_S_SCHED_SWITCH) {
        tap->next_comm = (int)tap->cols_count;
        add_col(tap, kp_stream_stored(stream, "next"), KP_ATTR_COMM);
    }
    if (stream->number == KP_S_SPANS) {
        tap->txn = (int)tap->cols_count;
        add_col(tap, kp_stream_stored(stream, "txn"), KP_ATTR_SELF);
    }
    struct kp_scan_req req = {.stream = stream,
                              .from = KP_TIME_MIN,
                              .to = KP_TIME_MAX,
                              .cols = tap->cols,
                              .cols_count = tap->cols_count};
    kp_status status = kp_scan_open(snapshot, &req, &tap->scan, err);
    return status == KP_OK ? tap_next(tap, err) : status;
}

/* ---------- writing ---------- */

static void put(struct writer *writer, const void *value, size_t size)
{
    fwrite_unlocked(value, 1, size, writer->file);
    writer->out->bytes += size;
}

static void put_number(struct writer *writer, int64_t value, size_t size)
{
    put(writer, &value, size); /* little endian: the low bytes come first */
}

static int64_t number_at(const struct tap *tap, uint32_t column)
{
    const struct kp_vec *vec = &tap->batch->cols[column];
    return kp_vec_null(vec, tap->at) ? 0 : vec->i64[tap->at];
}

static struct kp_str text_at(const struct tap *tap, uint32_t column)
{
    const struct kp_vec *vec = &tap->batch->cols[column];
    return kp_vec_null(vec, tap->at) ? KP_STR("") : kp_vec_str(vec, tap->at);
}

static void put_args(struct writer *writer, const struct tap *tap)
{
    for (uint32_t i = 0; i < ARGS; i++) {
        int64_t value = i < tap->args ? number_at(tap, C_ARGS + i) : 0;
        if (i == ARGS - 1 && tap->next_comm >= 0)
            value = number_of(&writer->comms, text_at(tap, (uint32_t)tap->next_comm),
                              &writer->out->names);
        put_number(writer, value, 8);
    }
}

static void put_row(struct writer *writer, const struct tap *tap)
{
    bool span = tap->stream->number == KP_S_SPANS;
    struct kp_str comm = span ? KP_STR("spans") : text_at(tap, C_COMM);
    put_number(writer, number_at(tap, C_TS), 8);
    put_number(writer, tap->stream->number, 1);
    put_number(writer, number_at(tap, C_CPU), 2);
    put_number(writer, number_at(tap, C_PID), 4);
    put_number(writer, number_at(tap, C_TID), 4);
    put_number(writer, number_of(&writer->cgroups, text_at(tap, C_CGROUP), &writer->out->names), 8);
    put_number(writer, comm.len, 1); /* below 128: one byte of LEB128 */
    put(writer, comm.ptr, comm.len);
    put_args(writer, tap);
    put_number(writer, tap->txn < 0 ? 0 : (int64_t)kpi_flat_txn(text_at(tap, (uint32_t)tap->txn)),
               8);
    writer->out->rows++;
    writer->out->spans += span;
}

static struct tap *oldest(struct tap *taps, uint32_t count)
{
    struct tap *best = NULL;
    for (uint32_t t = 0; t < count; t++)
        if (taps[t].batch != NULL && (best == NULL || taps[t].batch->cols[C_TS].i64[taps[t].at] <
                                                          best->batch->cols[C_TS].i64[best->at]))
            best = &taps[t];
    return best;
}

static kp_status merge(struct writer *writer, struct tap *taps, uint32_t count,
                       struct kp_error *err)
{
    kp_status status = KP_OK;
    struct tap *tap;
    while (status == KP_OK && (tap = oldest(taps, count)) != NULL) {
        put_row(writer, tap);
        if (++tap->at == tap->batch->rows)
            status = tap_next(tap, err);
    }
    return status;
}

/* Kernel streams and spans; what the store notes about itself stays behind. */
static bool is_event(const struct kp_stream *stream)
{
    return stream->family == KP_FAMILY_KERNEL || stream->number == KP_S_SPANS;
}

static kp_status write_rows(struct kp_snapshot *snapshot, struct writer *writer,
                            struct kp_error *err)
{
    struct tap taps[KP_STREAM_MAX];
    uint32_t count, opened = 0;
    const struct kp_stream *streams = kp_streams(&count);
    kp_status status = KP_OK;
    for (uint32_t s = 0; status == KP_OK && s < count; s++)
        if (is_event(&streams[s]) && kp_snapshot_rows(snapshot, &streams[s]) > 0)
            status = tap_open(snapshot, &streams[s], &taps[opened++], err);
    if (status == KP_OK)
        status = merge(writer, taps, opened, err);
    for (uint32_t t = 0; t < opened; t++)
        kp_scan_close(taps[t].scan);
    return status;
}

kp_status kpi_flat_write(struct kp_snapshot *snapshot, const char *path, struct kpi_flat *out,
                         struct kp_error *err)
{
    struct writer *writer = calloc(1, sizeof(*writer));
    kp_assert(writer != NULL);
    memset(out, 0, sizeof(*out));
    writer->cgroups.letter = 'g';
    writer->comms.letter = 'c';
    writer->out = out;
    writer->file = fopen(path, "w");
    kp_status status = writer->file == NULL ? KP_IO : write_rows(snapshot, writer, err);
    if (writer->file == NULL || fclose(writer->file) != 0)
        status = kp_error_set(err, KP_IO, "%s: %s", path, strerror(errno));
    free(writer);
    return status;
}
