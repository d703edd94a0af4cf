/* SPDX-License-Identifier: Apache-2.0
 *
 * Evidence of cold segments. The record of one names what it was made of: how many segments, the
 * digest of their roots, and the content of its rows, which is the sum of theirs. So an auditor who
 * holds the chain sees that rewriting lost, doubled and changed nothing, although the roots that
 * were sealed first belong to files that are gone.
 */
#include "storage/epoch.h"

#include <stdlib.h>

#include "base/assert.h"
#include "base/log.h"
#include "storage/manifest_life.h"

static bool part_of(const struct kpi_registered *segment, uint64_t id, uint64_t wal_first,
                    uint64_t wal_last)
{
    return segment->id < id && segment->wal_first >= wal_first && segment->wal_last <= wal_last;
}

bool kpi_evidence_content(const struct kp_store *store, const struct kpi_segment_meta *cold,
                          struct kp_hash128 *out_content)
{
    const struct kpi_evidence *evidence = store->evidence;
    struct kp_hash128 content = {0, 0};
    uint64_t rows = 0;
    for (uint32_t i = 0; evidence != NULL && i < evidence->segments_count; i++) {
        const struct kpi_registered *segment = &evidence->segments[i];
        if (!part_of(segment, cold->id, cold->wal_first, cold->wal_last))
            continue;
        content = kpi_sum128(content, segment->content);
        rows += segment->rows;
    }
    if (evidence == NULL || rows != cold->rows)
        return false;
    *out_content = content;
    return true;
}

static int compare_parts(const void *a, const void *b)
{
    const struct kpi_registered *x = a, *y = b;
    return x->wal_first < y->wal_first ? -1 : x->wal_first > y->wal_first;
}

/* Counts the parts of a cold segment and takes the digest over their ids and roots. */
static kp_status lineage_make(const struct kpi_evidence *evidence, struct kpi_chain_cold *cold)
{
    struct kpi_registered *parts = calloc(evidence->segments_count + 1u, sizeof(*parts));
    uint32_t count = 0;
    if (parts == NULL)
        return KP_NO_MEMORY;
    for (uint32_t i = 0; i < evidence->segments_count; i++)
        if (part_of(&evidence->segments[i], cold->id, cold->wal_first, cold->wal_last))
            parts[count++] = evidence->segments[i];
    qsort(parts, count, sizeof(*parts), compare_parts);
    struct kpi_lineage lineage = {0};
    kp_status status = KP_OK;
    for (uint32_t i = 0; i < count && status == KP_OK; i++)
        status = kpi_lineage_add(&lineage, parts[i].id, &parts[i].root);
    cold->segments = lineage.segments;
    cold->lineage = lineage.digest;
    free(parts);
    return status;
}

bool kpi_evidence_register_cold(struct kpi_evidence *evidence, const struct kpi_chain_cold *cold)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < evidence->segments_count; i++)
        if (!part_of(&evidence->segments[i], cold->id, cold->wal_first, cold->wal_last))
            evidence->segments[kept++] = evidence->segments[i];
    evidence->segments_count = kept;
    if (kept == evidence->segments_capacity) { /* it was made of none that the chain knows */
        uint32_t capacity = kept + 16;
        void *more = realloc(evidence->segments, capacity * sizeof(*evidence->segments));
        if (more == NULL)
            return false;
        evidence->segments = more;
        evidence->segments_capacity = capacity;
    }
    evidence->segments[evidence->segments_count++] =
        (struct kpi_registered){.id = cold->id,
                                .rows = cold->rows,
                                .bytes = cold->bytes,
                                .wal_first = cold->wal_first,
                                .wal_last = cold->wal_last,
                                .root = cold->root,
                                .content = cold->content};
    return true;
}

kp_status kpi_evidence_add_cold(struct kp_store *store, struct kp_io_queue *queue,
                                const struct kpi_segment_meta *meta, struct kp_hash128 content)
{
    static const struct kpi_log_digest none;
    struct kpi_evidence *evidence = store->evidence;
    struct kpi_chain_segment file;
    kp_status status = kpi_evidence_describe(store, queue, meta, &none, &file);
    if (status != KP_OK)
        return status;
    struct kpi_chain_cold cold = {.id = meta->id,
                                  .wal_first = meta->wal_first,
                                  .wal_last = meta->wal_last,
                                  .rows = meta->rows,
                                  .bytes = file.bytes,
                                  .root = file.root,
                                  .content = content,
                                  .clock = file.clock};
    status = lineage_make(evidence, &cold);
    if (status != KP_OK)
        return status;
    struct kpi_chain_record *record = kpi_evidence_add(evidence, KPI_CHAIN_COLD);
    if (record == NULL || !kpi_evidence_register_cold(evidence, &cold))
        return KP_NO_MEMORY;
    kpi_evidence_stamp(store, evidence->last_mono, record, NULL);
    record->cold = cold;
    return KP_OK;
}

void kpi_evidence_cold(struct kp_store *store, const struct kpi_segment_meta *cold,
                       struct kp_hash128 content)
{
    if (store->evidence == NULL)
        return;
    kp_status status = kpi_evidence_add_cold(store, store->seal_queue, cold, content);
    if (status == KP_OK)
        status = kpi_evidence_flush(store->evidence, store->seal_queue);
    if (status != KP_OK)
        kp_log(KP_LOG_WARN, "store", "cold segment %llu has no record of evidence yet: %s",
               (unsigned long long)cold->id, kp_status_text(status));
}
