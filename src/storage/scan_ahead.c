/* SPDX-License-Identifier: Apache-2.0
 *
 * Reading ahead. The disk is told of the pages that come next, so that they are there when the
 * processor is done with those before. And while the scan gives out the rows of a page, a thread of
 * its own prepares the next ones. It does what the scan would do, in the order of the scan, so
 * nothing of it shows in the answer; what is joined or grouped in order of time has its second
 * processor this way. A scan that has to wait for a page prepares one of those behind it.
 *
 *   units:   [ entered ][ prepared or being so, at most DEPTH ][ nobody's yet ]
 *                                                             ^ at
 *
 * Invariant: a unit before `at` that was not entered belongs to who prepares it until it is ready.
 */
#include <pthread.h>
#include <stdlib.h>

#include "base/assert.h"
#include "storage/scan_int.h"

#define DEPTH      3u /* units that wait with all their columns */
#define UNITS_MIN  4u /* left to read; for fewer no thread is started */
#define EXPECT_MAX 7u /* units that the disk is told of */

struct kpi_ahead {
    struct kp_scan twin; /* the scan as the thread sees it: its own queue and counts */
    pthread_t thread;
    pthread_mutex_t lock; /* of all below, and of `ready` and `status` of units */
    pthread_cond_t moved;
    struct kp_scan_stat stat; /* what was read for units that are ready */
    uint32_t at, entered;
    bool stop;
};

static void stat_add(struct kp_scan_stat *to, const struct kp_scan_stat *from)
{
    to->rows_read += from->rows_read;
    to->bytes_read += from->bytes_read;
    to->pages_counted += from->pages_counted;
    to->pages_read += from->pages_read;
    to->pages_cached += from->pages_cached;
}

/* ---------- the disk ---------- */

static void block_expect(struct kp_snapshot *snapshot, const struct kpi_segment *segment,
                         const struct kpi_block_ref *ref)
{
    snapshot->io->expect(snapshot->io, segment->file, ref->offset, ref->size);
}

static void unit_expect(struct kp_snapshot *snapshot, const struct kpi_unit *unit)
{
    if (unit->segment == KPI_FROM_LOG || kpi_page_seen(snapshot, unit->segment, unit->number))
        return;
    const struct kpi_segment *segment = &snapshot->segments[unit->segment].segment;
    const struct kpi_block_ref *ref = &segment->footer.blocks[unit->number];
    const struct kpi_block_ref *spine = kpi_segment_spine(segment, ref);
    if (spine != NULL)
        block_expect(snapshot, segment, spine);
    block_expect(snapshot, segment, ref);
}

void kpi_scan_expect(struct kp_scan *scan, const struct kpi_unit *unit)
{
    struct kpi_expect *expect = &scan->expect;
    uint32_t number = (uint32_t)(unit - scan->units);
    bool follows = number > expect->last && number - expect->last <= DEPTH;
    expect->run = follows ? expect->run + 1 : 0;
    expect->last = number;
    /* who reads backwards nearly always wants the newest row alone */
    uint32_t more = scan->descending ? expect->run : 1 + 2 * expect->run;
    uint32_t end = KP_MIN(number + 1 + KP_MIN(more, EXPECT_MAX), scan->units_count);
    for (uint32_t i = KP_MAX(expect->told, number + 1); i < end; i++)
        unit_expect(scan->snapshot, &scan->units[i]);
    expect->told = KP_MAX(expect->told, end);
}

/* ---------- the second thread ---------- */

/* Prepares the next unit, as the twin or as the scan itself; false: enough are prepared. The lock
 * is held, but for the work itself. */
static bool unit_ahead(struct kpi_ahead *ahead, struct kp_scan *as)
{
    if (ahead->at == as->units_count || ahead->at >= ahead->entered + DEPTH)
        return false;
    struct kpi_unit *unit = &as->units[ahead->at++];
    pthread_mutex_unlock(&ahead->lock);
    kp_status status = kpi_unit_prepare(as, unit);
    pthread_mutex_lock(&ahead->lock);
    unit->status = status;
    unit->ready = true;
    pthread_cond_broadcast(&ahead->moved);
    return true;
}

/* The counts of the twin, for the scan. */
static void stat_move(struct kpi_ahead *ahead)
{
    stat_add(&ahead->stat, &ahead->twin.stat);
    ahead->twin.stat = (struct kp_scan_stat){0};
}

static void *ahead_main(void *ctx)
{
    struct kpi_ahead *ahead = ctx;
    pthread_mutex_lock(&ahead->lock);
    while (!ahead->stop && ahead->at < ahead->twin.units_count) {
        if (unit_ahead(ahead, &ahead->twin))
            stat_move(ahead);
        else
            pthread_cond_wait(&ahead->moved, &ahead->lock);
    }
    pthread_mutex_unlock(&ahead->lock);
    return NULL;
}

void kpi_ahead_start(struct kp_scan *scan)
{
    struct kpi_ahead *ahead = NULL;
    if (scan->units_count - scan->next >= UNITS_MIN)
        ahead = calloc(1, sizeof(*ahead));
    if (ahead == NULL)
        return;
    ahead->twin = *scan;
    ahead->twin.queue = NULL;
    ahead->twin.stat = (struct kp_scan_stat){0};
    ahead->at = ahead->entered = scan->next;
    pthread_mutex_init(&ahead->lock, NULL);
    pthread_cond_init(&ahead->moved, NULL);
    if (pthread_create(&ahead->thread, NULL, ahead_main, ahead) == 0) {
        scan->ahead = ahead;
        return;
    }
    pthread_cond_destroy(&ahead->moved);
    pthread_mutex_destroy(&ahead->lock);
    free(ahead);
}

bool kpi_ahead_take(struct kp_scan *scan, struct kpi_unit *unit, kp_status *out)
{
    struct kpi_ahead *ahead = scan->ahead;
    uint32_t number = (uint32_t)(unit - scan->units);
    if (ahead == NULL)
        return false;
    pthread_mutex_lock(&ahead->lock);
    ahead->entered = number + 1;
    bool taken = number < ahead->at;
    ahead->at = KP_MAX(ahead->at, number + 1);
    pthread_cond_broadcast(&ahead->moved);
    while (taken && !unit->ready)
        if (!unit_ahead(ahead, scan))
            pthread_cond_wait(&ahead->moved, &ahead->lock);
    *out = taken ? unit->status : KP_OK;
    pthread_mutex_unlock(&ahead->lock);
    return taken;
}

void kpi_ahead_stat(const struct kp_scan *scan, struct kp_scan_stat *stat)
{
    if (scan->ahead == NULL)
        return;
    pthread_mutex_lock(&scan->ahead->lock);
    stat_add(stat, &scan->ahead->stat);
    pthread_mutex_unlock(&scan->ahead->lock);
}

void kpi_ahead_stop(struct kp_scan *scan)
{
    struct kpi_ahead *ahead = scan->ahead;
    if (ahead == NULL)
        return;
    pthread_mutex_lock(&ahead->lock);
    ahead->stop = true;
    pthread_cond_broadcast(&ahead->moved);
    pthread_mutex_unlock(&ahead->lock);
    pthread_join(ahead->thread, NULL);
    for (uint32_t i = scan->next; i < ahead->at; i++)
        kpi_unit_leave(scan, &scan->units[i]);
    if (ahead->twin.queue != NULL)
        scan->snapshot->io->queue_close(ahead->twin.queue);
    pthread_cond_destroy(&ahead->moved);
    pthread_mutex_destroy(&ahead->lock);
    free(ahead);
    scan->ahead = NULL;
}
