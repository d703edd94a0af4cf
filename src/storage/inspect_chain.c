/* SPDX-License-Identifier: Apache-2.0
 *
 * Inspect: the files of the evidence. The key file's secrets are never shown.
 */
#include <inttypes.h>
#include <stdio.h>

#include "base/assert.h"
#include "storage/chain.h"
#include "storage/inspect.h"

static void hex_add(struct kp_buf *out, const struct kpi_sha *sha)
{
    for (uint32_t i = 0; i < 8; i++) /* enough to tell two apart */
        kp_buf_printf(out, "%02x", sha->bytes[i]);
}

static void seal_show(const struct kpi_chain_seal *seal, struct kp_buf *out)
{
    static const char *const reasons[] = {"", ", down", ", late", ", closed"};
    kp_buf_printf(out,
                  "seal %" PRIu64 ", epochs %" PRIu64 "..%" PRIu64 "%s, log to record %" PRIu64
                  ", %" PRIu64 " rows, log ",
                  seal->seal, seal->first, seal->last,
                  seal->reason < KP_ARRAY_LEN(reasons) ? reasons[seal->reason] : ", unknown reason",
                  seal->wal_seq, seal->rows);
    hex_add(out, &seal->wal_head);
}

static void body_show(const struct kpi_chain_record *record, struct kp_buf *out)
{
    switch (record->type) {
    case KPI_CHAIN_GENESIS:
        kp_buf_printf(out,
                      "beginning, epochs of %" PRId64 " ms, behind log record %" PRIu64
                      " and segment %" PRIu64,
                      record->genesis.every / KP_MS, record->genesis.wal_seq,
                      record->genesis.segment_last);
        break;
    case KPI_CHAIN_SEAL:
        seal_show(&record->seal, out);
        break;
    case KPI_CHAIN_SEGMENT:
        kp_buf_printf(out,
                      "segment %" PRIu64 ", log records %" PRIu64 "..%" PRIu64 ", %" PRIu64
                      " rows, root ",
                      record->segment.id, record->segment.wal_first, record->segment.wal_last,
                      record->segment.rows);
        hex_add(out, &record->segment.root);
        break;
    case KPI_CHAIN_COLD:
        kp_buf_printf(out,
                      "segment %" PRIu64 " in place of %" PRIu64 " others, log records %" PRIu64
                      "..%" PRIu64 ", %" PRIu64 " rows, root ",
                      record->cold.id, record->cold.segments, record->cold.wal_first,
                      record->cold.wal_last, record->cold.rows);
        hex_add(out, &record->cold.root);
        break;
    case KPI_CHAIN_DROP:
        kp_buf_printf(out, "segment %" PRIu64 " dropped (%s), %" PRIu64 " rows, root ",
                      record->drop.id, record->drop.reason == KPI_DROP_AGE ? "age" : "size",
                      record->drop.rows);
        hex_add(out, &record->drop.root);
        break;
    case KPI_CHAIN_ALTERED:
        kp_buf_printf(out, "the log did not match seal %" PRIu64, record->altered.seal);
        break;
    default:
        kp_buf_text(out, "unknown kind");
    }
}

void kpi_inspect_chain(const struct kpi_inspect_file *file, struct kp_buf *out)
{
    kp_buf_printf(out, "chain of seals: %zu records\n", file->size / KPI_CHAIN_RECORD);
    for (size_t at = 0; at + KPI_CHAIN_RECORD <= file->size; at += KPI_CHAIN_RECORD) {
        struct kpi_chain_record record;
        char time[KP_TIME_TEXT_MAX];
        memcpy(&record, file->bytes + at, sizeof(record));
        if (record.magic != KPI_CHAIN_MAGIC) {
            kp_buf_printf(out, "record at %zu: damaged\n", at);
            continue;
        }
        kp_time_format(record.wall, time);
        kp_buf_printf(out, "record %" PRIu64 " of %s: ", record.number, time);
        body_show(&record, out);
        kp_buf_char(out, '\n');
    }
}

void kpi_inspect_key(const struct kpi_inspect_file *file, struct kp_buf *out)
{
    kp_buf_printf(out, "sealing key, %zu bytes; it is secret and not shown\n", file->size);
}

void kpi_inspect_checkpoint(const struct kpi_inspect_file *file, struct kp_buf *out)
{
    kp_buf_text(out, "checkpoint, a signed note:\n");
    for (size_t i = 0; i < file->size; i++) {
        uint8_t c = file->bytes[i];
        kp_buf_char(out, c == '\n' || (c >= ' ' && c != 0x7f) ? (char)c : '?');
    }
}
