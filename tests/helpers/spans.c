/* SPDX-License-Identifier: Apache-2.0 */
#include "spans.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/hash.h"

#define ROWS_MAX 4096u

struct kp_str spans_txn(uint64_t n, char out[32])
{
    int length = snprintf(out, 32, "txn-%llu", (unsigned long long)n);
    return (struct kp_str){out, (uint32_t)length};
}

struct kp_str spans_trace(uint64_t n, char out[48])
{
    int length = snprintf(out, 48, "%032llx", (unsigned long long)(n + 1));
    return (struct kp_str){out, (uint32_t)length};
}

static uint32_t column_of(const char *name)
{
    int column = kp_stream_stored(kp_stream_by_number(KP_S_SPANS), name);
    kp_assert(column >= 0);
    return (uint32_t)column;
}

kp_status spans_append(struct kp_store *store, uint32_t rows, uint64_t *out_ticket)
{
    struct kp_builder builder;
    struct kp_actor actor = {.host = KP_STR("alpha"), .tid = 7, .pid = 7, .comm = KP_STR("app")};
    kp_actor_id id = kp_store_actor(store, &actor);
    kp_status status =
        kp_builder_init(&builder, kp_stream_by_number(KP_S_SPANS), kp_store_actors(store), rows);
    if (status != KP_OK)
        return status;
    for (uint32_t i = 0; i < rows; i++) {
        char txn[32], trace[48];
        uint64_t seq = kp_store_seq(store, 1), n = kp_hash_mix(seq) % SPANS_TXNS;
        kp_builder_row(&builder, (kp_time)seq * 10, seq, 0, id);
        struct kp_str text = spans_trace(n, trace);
        kp_assert(kp_builder_str(&builder, column_of("trace_id"), text) == KP_OK);
        text = spans_txn(n, txn);
        text.len = seq % 5 == 0 ? 0 : text.len;
        kp_assert(kp_builder_str(&builder, column_of("txn"), text) == KP_OK);
    }
    status = kp_store_append(store, kp_builder_batch(&builder), out_ticket);
    kp_builder_deinit(&builder);
    return status;
}

/* Event numbers of the rows that pass, in the order of the scan; UINT32_MAX = the scan failed. */
static uint32_t rows_find(struct kp_snapshot *snapshot, const char *column, struct kp_str value,
                          bool no_prune, int64_t *out)
{
    const struct kp_stream *stream = kp_stream_by_number(KP_S_SPANS);
    struct kp_colref seq = {.stored = KP_COL_SEQ};
    struct kp_scan_req req = {
        .stream = stream,
        .from = KP_TIME_MIN,
        .to = KP_TIME_MAX,
        .cols = &seq,
        .cols_count = 1,
        .keys = {{.column = {.stored = (uint8_t)column_of(column)}, .strs = &value, .count = 1}},
        .keys_count = 1,
        .no_prune = no_prune};
    struct kp_scan *scan;
    const struct kp_batch *batch;
    uint32_t rows = 0;
    if (kp_scan_open(snapshot, &req, &scan, NULL) != KP_OK)
        return UINT32_MAX;
    kp_status status;
    while ((status = kp_scan_next(scan, &batch, NULL)) == KP_OK)
        for (uint32_t i = 0; i < batch->rows && rows < ROWS_MAX; i++)
            out[rows++] = batch->cols[0].i64[i];
    kp_scan_close(scan);
    return status == KP_END ? rows : UINT32_MAX;
}

bool spans_lookup_agrees(struct kp_snapshot *snapshot, const char *column, struct kp_str value,
                         uint32_t *out_rows)
{
    static int64_t plain[ROWS_MAX], indexed[ROWS_MAX];
    uint32_t all = rows_find(snapshot, column, value, true, plain);
    uint32_t found = rows_find(snapshot, column, value, false, indexed);
    *out_rows = found;
    return all == found && found != UINT32_MAX &&
           memcmp(plain, indexed, found * sizeof(*plain)) == 0;
}

bool spans_lookups_agree(struct kp_snapshot *snapshot, uint32_t *out_rows)
{
    *out_rows = 0;
    for (uint64_t n = 0; n <= SPANS_TXNS; n++) { /* the last one is not there */
        char txn[32], trace[48];
        uint32_t of_txn, of_trace;
        if (!spans_lookup_agrees(snapshot, "txn", spans_txn(n, txn), &of_txn) ||
            !spans_lookup_agrees(snapshot, "trace_id", spans_trace(n, trace), &of_trace))
            return false;
        *out_rows += of_txn + of_trace;
    }
    return true;
}
