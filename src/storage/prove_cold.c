/* SPDX-License-Identifier: Apache-2.0
 *
 * The proof of cold segments. What one was made of is found by the log records it holds: the sealed
 * segments within. Their roots make the digest that its record names, and their rows, as a sum of
 * hashes, must be its rows. Of what lay there before the genesis nothing is known.
 */
#include <inttypes.h>

#include "base/assert.h"
#include "storage/prove.h"
#include "storage/segment.h"

/* Segments that a cold one was made of, and the sum of their rows. */
struct parts {
    uint64_t rows;
    struct kp_hash128 content;
};

static bool is_part(const struct kpi_proved_segment *proved, uint64_t id, uint64_t wal_first,
                    uint64_t wal_last)
{
    const struct kpi_chain_segment *segment = &proved->segment;
    return !proved->dropped && !proved->replaced && segment->id < id &&
           segment->wal_first >= wal_first && segment->wal_last <= wal_last;
}

static void parts_sum(const struct kpi_prover *p, uint64_t id, uint64_t wal_first,
                      uint64_t wal_last, struct parts *out)
{
    *out = (struct parts){0};
    for (uint32_t i = 0; i < p->segments_count; i++) {
        if (!is_part(&p->segments[i], id, wal_first, wal_last))
            continue;
        out->rows += p->segments[i].segment.rows;
        out->content = kpi_sum128(out->content, p->segments[i].segment.content);
    }
}

void kpi_prove_cold(struct kpi_prover *p, const struct kpi_chain_record *record)
{
    const struct kpi_chain_cold *cold = &record->cold;
    const struct kpi_chain_segment as_segment = {.id = cold->id,
                                                 .wal_first = cold->wal_first,
                                                 .wal_last = cold->wal_last,
                                                 .rows = cold->rows,
                                                 .bytes = cold->bytes,
                                                 .root = cold->root,
                                                 .content = cold->content,
                                                 .clock = cold->clock};
    struct kpi_lineage lineage = {0};
    struct parts parts;
    parts_sum(p, cold->id, cold->wal_first, cold->wal_last, &parts);
    for (uint32_t i = 0; i < p->segments_count; i++) {
        struct kpi_proved_segment *part = &p->segments[i];
        if (!is_part(part, cold->id, cold->wal_first, cold->wal_last))
            continue;
        part->replaced = true;
        if (kpi_lineage_add(&lineage, part->segment.id, &part->segment.root) != KP_OK)
            p->status = KP_NO_MEMORY;
    }
    bool known = cold->wal_first > p->genesis.genesis.wal_seq;
    if (!kpi_sha_equal(&lineage.digest, &cold->lineage) || lineage.segments != cold->segments)
        kpi_found(p, KP_FINDING_EDITED, p->last.wall, record->wall,
                  "segment %" PRIu64 " was made of other segments than were sealed", cold->id);
    else if (known && (parts.rows != cold->rows || !kpi_hash_equal(parts.content, cold->content)))
        kpi_found(p, KP_FINDING_EDITED, p->last.wall, record->wall,
                  "segment %" PRIu64 " has other rows than the segments it was made of", cold->id);
    kpi_proved_add(p, &as_segment, record->wall);
}

bool kpi_prove_parts_cover(struct kpi_prover *p, const struct kpi_segment_meta *meta)
{
    struct kpi_content rows = {0};
    struct parts parts;
    struct kp_buf path = {0};
    parts_sum(p, meta->id, meta->wal_first, meta->wal_last, &parts);
    const char *name = kpi_prover_path(p, meta->id, &path);
    kp_status status = kpi_prover_noted(p, kpi_content_segment(&rows, p->io, p->queue, name));
    bool covers = status == KP_OK && rows.rows == parts.rows && parts.rows == meta->rows &&
                  kpi_hash_equal(rows.sum, parts.content);
    for (uint32_t i = 0; covers && i < p->segments_count; i++)
        if (is_part(&p->segments[i], meta->id, meta->wal_first, meta->wal_last))
            p->segments[i].replaced = true;
    kpi_content_deinit(&rows);
    kp_buf_deinit(&path);
    return covers;
}
