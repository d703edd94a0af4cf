/* SPDX-License-Identifier: Apache-2.0
 *
 * See damage.h. A place is told of at most once while the store is open, by its note; when the rows
 * are lost with their commit, the reader meets the same damage again and tells of it anew.
 */
#include "storage/damage.h"

#include <stdio.h>
#include <stdlib.h>

void kpi_gap_detail(const struct kp_damage *damage, char out[KPI_GAP_DETAIL_MAX])
{
    snprintf(out, KPI_GAP_DETAIL_MAX, "%s@%llu: %s", damage->file,
             (unsigned long long)damage->offset, damage->what);
}

kp_status kpi_gap_damage(struct kp_store *store, const struct kp_damage *damage, kp_time at,
                         struct kp_buf *out)
{
    char detail[KPI_GAP_DETAIL_MAX];
    kpi_gap_detail(damage, detail);
    return kpi_gap_encode(store, damage->from, damage->to, at, damage->rows, KPI_GAP_DAMAGED,
                          detail, out);
}

void kpi_damage_add(struct kp_store *store, struct kpi_damage_rows *rows, kp_time at,
                    const struct kp_damage *damage)
{
    uint64_t note = kpi_damage_note(damage);
    if (damage->rows == 0 || kpi_notes_has(&store->notes, note))
        return;
    kp_status status = kpi_gap_damage(store, damage, at, &rows->blocks);
    if (status == KP_OK && !kpi_notes_add(&rows->notes, note))
        status = KP_NO_MEMORY;
    if (status != KP_OK)
        rows->status = status;
    rows->rows++;
}

bool kpi_damage_tell(struct kp_store *store, struct kpi_damage_rows *rows, kp_time at, int64_t now)
{
    struct kpi_fill *fill = &store->fills[store->filling];
    if (!kpi_fill_add(store, &rows->blocks, rows->rows, at, at, now))
        return false;
    fill->gap_rows += rows->rows;
    fill->damage_rows += rows->rows;
    free(store->telling.items);
    store->telling = rows->notes;
    rows->notes = (struct kpi_notes){0};
    pthread_cond_signal(&store->commit_work);
    return true;
}

void kpi_damage_rows_deinit(struct kpi_damage_rows *rows)
{
    kp_buf_deinit(&rows->blocks);
    free(rows->notes.items);
    *rows = (struct kpi_damage_rows){0};
}
