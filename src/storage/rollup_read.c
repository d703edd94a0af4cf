/* SPDX-License-Identifier: Apache-2.0
 *
 * Rollups of a snapshot: read and checked once for each segment, then kept. Scans and rollups must
 * agree on which segments are rolled, so that is decided here, once.
 */
#include <stdlib.h>

#include "base/assert.h"
#include "storage/rollup_int.h"
#include "storage/snapshot.h"

struct kp_rollup {
    struct kp_snapshot *snapshot;
    struct kp_io_queue *queue;
    const struct kp_stream *stream;
    kp_time from, to;
    uint32_t next; /* segment */
};

static void section_damage(struct kp_snapshot *snapshot, const struct kpi_snapshot_segment *from)
{
    struct kp_damage damage = {.file = from->path,
                               .offset = from->segment.footer.rollup.offset,
                               .size = from->segment.footer.rollup.size,
                               .from = 0,
                               .to = -1,
                               .rows = 0,
                               .what = "the rollups of the segment are damaged; its rows were read "
                                       "instead"};
    kpi_snapshot_add_damage(snapshot, &damage);
}

/* Numbers of the section's table become ids of the snapshot. The snapshot's lock is held. */
static kp_status actors_intern(struct kp_snapshot *snapshot, struct kpi_rollup *rollup)
{
    kp_actor_id *ids = calloc((size_t)rollup->actors_count + 1, sizeof(*ids));
    kp_status status = ids == NULL ? KP_NO_MEMORY : KP_OK;
    for (uint32_t i = 1; i <= rollup->actors_count && status == KP_OK; i++) {
        ids[i] = kp_actors_intern(snapshot->actors, &rollup->actors[i]);
        status = ids[i] == KP_ACTOR_UNKNOWN ? KP_NO_MEMORY : KP_OK;
    }
    for (uint32_t s = 0; s < KP_STREAM_MAX && status == KP_OK; s++)
        for (uint32_t i = 0; i < rollup->counts[s]; i++)
            rollup->rows[s][i].actor = ids[rollup->rows[s][i].actor];
    free(ids);
    return status;
}

static kp_status rollup_load(struct kp_snapshot *snapshot, struct kp_io_queue *queue,
                             struct kpi_snapshot_segment *from)
{
    struct kpi_rollup *rollup = kp_arena_zalloc(&snapshot->arena, 1, sizeof(*rollup));
    void *bytes = malloc(from->segment.footer.rollup.size + 1);
    kp_status status = rollup == NULL || bytes == NULL ? KP_NO_MEMORY : KP_OK;
    if (status == KP_OK)
        status = kpi_segment_section(&from->segment, queue, &from->segment.footer.rollup, bytes);
    if (status == KP_OK)
        status =
            kpi_rollup_parse(bytes, from->segment.footer.rollup.size, &snapshot->arena, rollup);
    if (status == KP_OK)
        status = actors_intern(snapshot, rollup);
    free(bytes);
    if (status == KP_OK)
        from->rollup = rollup;
    return status;
}

const struct kpi_rollup *kpi_snapshot_rollup(struct kp_snapshot *snapshot, uint32_t number,
                                             struct kp_io_queue *queue)
{
    struct kpi_snapshot_segment *from = &snapshot->segments[number];
    const struct kpi_segment *segment = kpi_snapshot_segment(snapshot, number, queue);
    pthread_mutex_lock(&snapshot->lock);
    kp_status status = KP_OK;
    /* once for all: rows that are left to a scan must not come from here later, nor both */
    if (!from->rollup_read && segment != NULL && segment->footer.rollup.size != 0)
        status = rollup_load(snapshot, queue, from);
    from->rollup_read = true;
    pthread_mutex_unlock(&snapshot->lock);
    if (status != KP_OK && status != KP_NO_MEMORY)
        section_damage(snapshot, from);
    return from->rollup;
}

bool kpi_snapshot_rolled(struct kp_snapshot *snapshot, uint32_t number, struct kp_io_queue *queue,
                         uint32_t stream, kp_time from, kp_time to)
{
    const struct kpi_segment_meta *meta = &snapshot->segments[number].meta;
    if (meta->ts_min < from || meta->ts_max > to || meta->rows_by_stream[stream] == 0)
        return false;
    const struct kpi_rollup *rollup = kpi_snapshot_rollup(snapshot, number, queue);
    return rollup != NULL && rollup->rows[stream] != NULL;
}

/* ---------- public ---------- */

kp_status kp_rollup_open(struct kp_snapshot *snapshot, const struct kp_stream *stream, kp_time from,
                         kp_time to, struct kp_rollup **out, struct kp_error *err)
{
    struct kp_rollup *rollup = calloc(1, sizeof(*rollup));
    if (rollup == NULL)
        return kp_error_set(err, KP_NO_MEMORY, "cannot read rollups: out of memory");
    *rollup = (struct kp_rollup){.snapshot = snapshot, .stream = stream, .from = from, .to = to};
    kp_status status = snapshot->io->queue_open(snapshot->io, 2, &rollup->queue);
    if (status != KP_OK) {
        free(rollup);
        return kp_error_set(err, status, "cannot read rollups: no I/O queue");
    }
    *out = rollup;
    return KP_OK;
}

kp_status kp_rollup_next(struct kp_rollup *rollup, const struct kp_rollup_row **out_rows,
                         uint32_t *out_count, struct kp_error *err)
{
    struct kp_snapshot *snapshot = rollup->snapshot;
    while (rollup->next < snapshot->segments_count) {
        uint32_t number = rollup->next++;
        bool rolled = kpi_snapshot_rolled(snapshot, number, rollup->queue, rollup->stream->number,
                                          rollup->from, rollup->to);
        if (rolled) {
            const struct kpi_rollup *own = snapshot->segments[number].rollup;
            *out_rows = own->rows[rollup->stream->number];
            *out_count = own->counts[rollup->stream->number];
            return KP_OK;
        }
        if (snapshot->segments[number].state == KPI_SEGMENT_DROPPED)
            return kp_error_set(err, KP_BUSY,
                                "retention dropped a part of %s while it was being read",
                                rollup->stream->name);
    }
    return KP_END;
}

void kp_rollup_close(struct kp_rollup *rollup)
{
    if (rollup == NULL)
        return;
    rollup->snapshot->io->queue_close(rollup->queue);
    free(rollup);
}
