/* SPDX-License-Identifier: Apache-2.0
 *
 * The ingest thread: take a span -> order -> decode -> builders -> append; full builders at once,
 * all of them every FLUSH_EVERY. It touches no file, so nothing but the store can hold it up.
 */
#include "ingest/recorder_int.h"

#include "base/assert.h"

#define FLUSH_EVERY  (20 * KP_MS)
#define TURN_RECORDS 512 /* decoded between two releases of the table's lock */

kp_status kpi_feed_push(struct kp_recorder *recorder, const void *record, size_t size_bytes)
{
    int64_t mono;
    uint32_t cpu;
    if (!kpi_record_stamp(record, size_bytes, &mono, &cpu))
        return KP_INVALID;
    return kpi_order_push(recorder->order, mono, cpu, record, size_bytes);
}

static void take_note(struct kpi_note *note, int64_t reason, const char *detail, int64_t mono)
{
    if (note->count++ == 0) {
        note->from = note->to = mono;
        note->reason = reason;
        note->detail = detail;
    }
    note->from = KP_MIN(note->from, mono);
    note->to = KP_MAX(note->to, mono);
}

static void say_note(struct kp_recorder *recorder, struct kpi_note *note)
{
    if (note->count == 0)
        return;
    struct kpi_gap gap = {.from = note->from,
                          .to = note->to,
                          .count = (int64_t)note->count,
                          .reason = note->reason,
                          .stream = "",
                          .detail = note->detail};
    kpi_rows_gap(recorder->rows, &gap);
    note->count = 0;
}

static void reject(struct kp_recorder *recorder, const char *why)
{
    atomic_fetch_add_explicit(&recorder->rejected_total, 1, memory_order_relaxed);
    take_note(&recorder->rejected, KPI_GAP_REJECTED, why,
              recorder->newest != 0 ? recorder->newest : recorder->begin);
}

/* Every whole frame of a span into order; what cannot be a frame ends the span. */
static void push_span(struct kp_recorder *recorder, const struct kp_source_span *span)
{
    const uint8_t *bytes = span->bytes;
    size_t left = span->size_bytes;
    while (left > 0) {
        struct kp_source_frame frame;
        if (left < sizeof(frame))
            break;
        memcpy(&frame, bytes, sizeof(frame));
        size_t step = KP_SOURCE_STEP(frame.size);
        if (step > left)
            break;
        kp_status status = kpi_feed_push(recorder, bytes + sizeof(frame), frame.size);
        if (status == KP_INVALID)
            reject(recorder, "record of an impossible size, stamp or CPU");
        else if (status != KP_OK)
            take_note(&recorder->refused, KPI_GAP_BATCH_DROPPED, kp_status_text(status),
                      kp_time_monotonic());
        bytes += step;
        left -= step;
    }
    if (left > 0)
        reject(recorder, "bytes that are no record");
}

static void append_builder(struct kp_recorder *recorder, struct kp_builder *builder)
{
    kp_status status = kpi_rows_append(recorder->rows, kp_builder_batch(builder));
    kpi_recorder_failed(recorder, status, "rows could not be stored");
    kp_builder_reset(builder);
}

static void flush_builders(struct kp_recorder *recorder)
{
    for (uint32_t i = 0; i < KPI_KERNEL_STREAMS; i++) {
        struct kp_builder *builder = kpi_decoder_builder(recorder->decoder, i);
        if (builder != NULL && builder->batch.rows > 0)
            append_builder(recorder, builder);
    }
}

/* Decodes one record; true when its builder is full. */
static bool decode_one(struct kp_recorder *recorder, const struct kpi_ordered *next,
                       uint32_t *out_stream)
{
    const char *why = "";
    kp_status status =
        kpi_decoder_add(recorder->decoder, next->record, next->size_bytes, out_stream, &why);
    if (status != KP_OK) {
        if (status == KP_INVALID)
            reject(recorder, why);
        else
            take_note(&recorder->refused, KPI_GAP_BATCH_DROPPED, kp_status_text(status),
                      recorder->newest);
        return false;
    }
    struct kp_builder *builder = kpi_decoder_builder(recorder->decoder, *out_stream);
    int64_t mono = builder->cols[KP_COL_TS].i64[builder->batch.rows - 1] - recorder->clock.offset;
    if (next->late)
        take_note(&recorder->late, KPI_GAP_LATE, "stored after younger events", mono);
    recorder->newest = KP_MAX(recorder->newest, mono);
    return kp_builder_full(builder);
}

/* Up to TURN_RECORDS under the lock; a full builder is appended without it. False: none left. */
static bool decode_turn(struct kp_recorder *recorder)
{
    struct kpi_ordered next;
    uint32_t full = 0, pending;
    bool more = true, is_full = false;
    kpi_threads_lock(recorder->threads);
    for (int i = 0; more && !is_full && i < TURN_RECORDS; i++) {
        more = kpi_order_pop(recorder->order, &next);
        is_full = more && decode_one(recorder, &next, &full);
    }
    pending = kpi_threads_pending(recorder->threads);
    kpi_threads_unlock(recorder->threads);
    if (is_full)
        append_builder(recorder, kpi_decoder_builder(recorder->decoder, full));
    if (pending > 0) {
        pthread_mutex_lock(&recorder->lock);
        recorder->heal = true;
        pthread_cond_signal(&recorder->wake);
        pthread_mutex_unlock(&recorder->lock);
    }
    return more;
}

static void decode_all(struct kp_recorder *recorder)
{
    while (decode_turn(recorder))
        ;
}

static void flush_rows(struct kp_recorder *recorder)
{
    flush_builders(recorder);
    kpi_recorder_failed(recorder, kpi_rows_flush(recorder->rows), "rows could not be stored");
}

static void say_notes(struct kp_recorder *recorder)
{
    say_note(recorder, &recorder->rejected);
    recorder->late.from = recorder->late.to; /* nothing is missing: the row has no length */
    say_note(recorder, &recorder->late);
    say_note(recorder, &recorder->refused);
}

void *kpi_feed_main(void *arg)
{
    struct kp_recorder *recorder = arg;
    struct kp_source_span span;
    int64_t flushed = 0, noted = 0;
    while (kp_source_take(recorder->source, FLUSH_EVERY, &span) == KP_OK) {
        push_span(recorder, &span);
        kp_source_release(recorder->source, span.size_bytes);
        kpi_order_complete(recorder->order, span.complete);
        decode_all(recorder);
        int64_t now = kp_time_monotonic();
        if (now - noted >= KP_SEC) {
            say_notes(recorder);
            noted = now;
        }
        if (now - flushed >= FLUSH_EVERY) {
            flush_rows(recorder);
            flushed = now;
        }
    }
    kpi_order_complete(recorder->order, INT64_MAX);
    decode_all(recorder);
    say_notes(recorder);
    flush_rows(recorder);
    return NULL;
}
