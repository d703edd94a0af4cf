/* SPDX-License-Identifier: Apache-2.0
 *
 * The digest of the log. The log's own chain (XXH3) finds damage but can be made to fit by anybody;
 * this one is SHA-256 over what a record says and holds (not where it lies), so that a seal over
 * its head fixes every record before it. The set tells records that were only put in another order
 * from changed ones.
 */
#include "storage/digest.h"

#include "base/bytes.h"

kp_status kpi_log_digest_add(struct kpi_log_digest *digest, const struct kpi_wal_record *record)
{
    static const uint8_t leaf = 0, inner = 1;
    uint64_t said[] = {record->sequence, (uint64_t)record->ts_min, (uint64_t)record->ts_max,
                       record->rows};
    struct kpi_sha payload, whole, head;
    const struct kpi_piece content = {record->payload, record->payload_size};
    const struct kpi_piece all[] = {
        {&leaf, 1}, {said, sizeof(said)}, {payload.bytes, KPI_SHA_SIZE}};
    const struct kpi_piece chain[] = {
        {&inner, 1}, {digest->head.bytes, KPI_SHA_SIZE}, {whole.bytes, KPI_SHA_SIZE}};
    kp_status status = kpi_sha256(&content, 1, &payload);
    if (status == KP_OK)
        status = kpi_sha256(all, 3, &whole);
    if (status == KP_OK)
        status = kpi_sha256(chain, 3, &head);
    if (status != KP_OK)
        return status;
    struct kp_hash128 one = {kp_load_u64(payload.bytes), kp_load_u64(payload.bytes + 8)};
    digest->head = head;
    digest->set = kpi_sum128(digest->set, one);
    digest->rows += record->rows;
    digest->sequence = record->sequence;
    return KP_OK;
}

kp_status kpi_lineage_add(struct kpi_lineage *lineage, uint64_t id, const struct kpi_sha *root)
{
    struct kpi_sha digest;
    const struct kpi_piece parts[] = {
        {lineage->digest.bytes, KPI_SHA_SIZE}, {&id, sizeof(id)}, {root->bytes, KPI_SHA_SIZE}};
    kp_status status = kpi_sha256(parts, 3, &digest);
    if (status != KP_OK)
        return status;
    lineage->digest = digest;
    lineage->segments++;
    return KP_OK;
}
