/* SPDX-License-Identifier: Apache-2.0
 *
 * Remarks: what an answer must say about itself. Losses that lie in the time it looked at, kinds of
 * events that were not recorded, and files that could not be read.
 */
#include <inttypes.h>
#include <stdio.h>

#include "query/plan.h"

/* A short scan of one of the store's own streams. Ends silently on an error: the query's own answer
 * is already complete, and damage is remarked on below. */
struct remarks {
    struct kp_scan *scan;
    const struct kp_batch *batch;
    const struct kp_stream *stream;
};

static bool remarks_open(struct kpi_run *run, const char *stream, const char *const *names,
                         uint32_t count, kp_time from, struct remarks *out)
{
    struct kp_colref cols[8];
    *out = (struct remarks){.stream = kp_stream_by_name(kp_str_from(stream))};
    for (uint32_t i = 0; i < count; i++)
        cols[i] = kp_stream_column(out->stream, kp_str_from(names[i]))->ref;
    struct kp_scan_req req = {
        .stream = out->stream, .from = from, .to = KP_TIME_MAX, .cols = cols, .cols_count = count};
    return kp_scan_open(run->snapshot, &req, &out->scan, NULL) == KP_OK;
}

static bool remarks_next(struct remarks *remarks)
{
    return kp_scan_next(remarks->scan, &remarks->batch, NULL) == KP_OK;
}

static struct kp_str text_at(const struct remarks *remarks, uint32_t col, const char *name,
                             uint32_t row)
{
    const struct kp_vec *vec = &remarks->batch->cols[col];
    if (vec->dict != NULL || kp_type_phys(vec->type) == KP_PHYS_STR)
        return kp_vec_str(vec, row);
    int stored = kp_stream_stored(remarks->stream, name);
    return kp_enum_name(&remarks->stream->stored[stored], vec->i64[row]);
}

/* --- gaps --- */

struct gap_sum {
    uint64_t gaps, events;
    bool unknown;
    kp_time from, to;
    bool known, matters; /* what the last gap's stream came to, within one batch */
    struct kp_str stream;
};

/* Whether the query reads what the gap is in. Neighbours mostly name the same stream. */
static bool gap_matters(const struct kpi_run *run, struct kp_str stream, struct gap_sum *sum)
{
    bool same = stream.ptr == sum->stream.ptr && stream.len == sum->stream.len; /* of one dict */
    if (sum->known && (same || kp_str_equal(stream, sum->stream)))
        return sum->matters;
    const struct kp_stream *lost = kp_stream_by_name(stream);
    sum->known = true;
    sum->stream = stream;
    return sum->matters = stream.len == 0 || lost == NULL || run->streams[lost->number];
}

static void sum_gap(struct kpi_run *run, const struct remarks *remarks, uint32_t row,
                    struct gap_sum *sum)
{
    kp_time end = remarks->batch->cols[0].i64[row];
    int64_t count = remarks->batch->cols[2].i64[row];
    kp_time start = end;
    if (__builtin_sub_overflow(end, remarks->batch->cols[1].i64[row], &start))
        start = KP_TIME_MIN;
    if (start > run->to || !gap_matters(run, text_at(remarks, 3, "stream", row), sum))
        return;
    sum->from = sum->gaps == 0 ? start : KP_MIN(sum->from, start);
    sum->to = sum->gaps == 0 ? end : KP_MAX(sum->to, end);
    sum->gaps++;
    sum->unknown |= count < 0;
    sum->events += count > 0 ? (uint64_t)count : 0;
}

static void note_gaps(struct kpi_run *run)
{
    static const char *const names[] = {"ts", "dur", "count", "stream"};
    struct gap_sum sum = {0};
    struct remarks remarks;
    if (!remarks_open(run, "gaps", names, KP_ARRAY_LEN(names), run->from, &remarks))
        return;
    while (remarks_next(&remarks)) {
        sum.known = false; /* its text was the batch's */
        for (uint32_t i = 0; i < kp_batch_count(remarks.batch); i++)
            sum_gap(run, &remarks, kp_batch_row(remarks.batch, i), &sum);
    }
    kp_scan_close(remarks.scan);
    if (sum.gaps == 0)
        return;
    char from[KP_TIME_TEXT_MAX], to[KP_TIME_TEXT_MAX];
    kp_time_format(sum.from, from);
    kp_time_format(sum.to, to);
    char events[64] = "an unknown number of";
    if (sum.events > 0)
        snprintf(events, sizeof(events), "%s%" PRIu64, sum.unknown ? "more than " : "", sum.events);
    kpi_note(run, "%" PRIu64 " gap%s: %s events lost between %s and %s", sum.gaps,
             sum.gaps == 1 ? "" : "s", events, from, to);
}

/* --- kinds that were off --- */

struct kind_state {
    bool seen, off;
    struct kp_str state, why;
};

static void read_kind(struct kpi_run *run, const struct remarks *remarks, uint32_t row,
                      struct kind_state *states)
{
    const struct kp_stream *kind = kp_stream_by_name(text_at(remarks, 2, "stream", row));
    if (remarks->batch->cols[0].i64[row] > run->to || kind == NULL ||
        !kp_str_equal(text_at(remarks, 1, "op", row), KP_STR("kind")))
        return;
    struct kind_state *state = &states[kind->number];
    struct kp_str text = text_at(remarks, 3, "state", row);
    bool off = !kp_str_equal(text, KP_STR("on"));
    if (off)
        state->why = kp_arena_str(&run->arena, text_at(remarks, 4, "why", row));
    if (off)
        state->state = kp_arena_str(&run->arena, text);
    state->off = off;
    state->seen = true;
}

static void note_kinds(struct kpi_run *run)
{
    static const char *const names[] = {"ts", "op", "stream", "state", "why"};
    struct kind_state states[KP_STREAM_MAX] = {0};
    struct remarks remarks;
    if (!remarks_open(run, "capture", names, KP_ARRAY_LEN(names), KP_TIME_MIN, &remarks))
        return;
    while (remarks_next(&remarks))
        for (uint32_t i = 0; i < kp_batch_count(remarks.batch); i++)
            read_kind(run, &remarks, kp_batch_row(remarks.batch, i), states);
    kp_scan_close(remarks.scan);
    for (uint32_t n = 0; n < KP_STREAM_MAX; n++) {
        if (!run->streams[n] || !states[n].seen || !states[n].off)
            continue;
        kpi_note(run, "%s was not recorded: %.*s%s%.*s", kp_stream_by_number(n)->name,
                 (int)states[n].state.len, states[n].state.ptr, states[n].why.len > 0 ? ", " : "",
                 (int)states[n].why.len, states[n].why.ptr);
    }
}

/* --- damage --- */

static void note_damage(struct kpi_run *run)
{
    const struct kp_damage *damage;
    uint32_t count = kp_snapshot_damage(run->snapshot, &damage);
    if (count == 0)
        return;
    kpi_note(run, "damage was skipped in %u place%s, first in %s at byte %" PRIu64 ": %s", count,
             count == 1 ? "" : "s", damage[0].file, damage[0].offset, damage[0].what);
}

void kpi_answer_notes(struct kpi_run *run)
{
    if (run->snapshot == NULL)
        return;
    bool reads = false;
    for (uint32_t n = 0; n < KP_STREAM_MAX; n++)
        reads |= run->streams[n];
    if (reads && run->from <= run->to) {
        note_gaps(run);
        note_kinds(run);
    }
    note_damage(run);
}
