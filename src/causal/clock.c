/* SPDX-License-Identifier: Apache-2.0
 *
 * Wall clock to kernel clock. Rows of the kernel are stamped with its monotonic clock plus one
 * constant per recording; spans carry the wall clock, which is slewed and stepped meanwhile. Each
 * row of `clock` shows one instant in both (its ts and its `real`), so the difference between them
 * is what to add to a wall-clock stamp around that instant. Between two anchors the difference is
 * interpolated, after a step, between boots and outside it is that of the nearer side. Stored
 * stamps never change.
 *
 * Several hosts: at one instant of the wall clock each has its own kernel stamp. What is between
 * them and the one of the host that a question is about is added to all its stamps when they are
 * read, one constant per question: clocks drift by nanoseconds over the seconds that one is about.
 */
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "causal/cursor.h"
#include "causal/span.h"

#define CLOCK_MARGIN KP_HOUR       /* how far around a window anchors are looked for */
#define SLACK_MAX    (60 * KP_SEC) /* a host further off is read as if it were so far off */

static const char *const clock_cols[] = {"ts",    "seq",  "cpu",  "actor", "real",
                                         "bound", "step", "boot", NULL};
enum { CLOCK_REAL = KP_COL_FIRST, CLOCK_BOUND, CLOCK_STEP, CLOCK_BOOT };

static void anchor_add(struct kpi_world *world, const struct kpi_cursor *cursor)
{
    kp_actor_id actor = (kp_actor_id)kpi_cursor_i64(cursor, KP_COL_ACTOR);
    kp_time ts = kpi_cursor_i64(cursor, KP_COL_TS);
    struct kpi_anchor anchor = {
        .host = kpi_world_host(world, kp_actors_get(world->actors, actor)->host),
        .real = kpi_time_sane(kpi_cursor_i64(cursor, CLOCK_REAL)),
        .bound = kpi_time_sane(kpi_cursor_i64(cursor, CLOCK_BOUND)),
        .step = kpi_cursor_i64(cursor, CLOCK_STEP) != 0,
        .boot = kp_arena_str(world->arena, kpi_cursor_str(cursor, CLOCK_BOOT)),
        .order = world->anchor_list.count,
    };
    anchor.delta = kpi_time_sane(kpi_time_sane(ts) - anchor.real);
    *(struct kpi_anchor *)kpi_list_add(&world->anchor_list) = anchor;
}

static int anchor_compare(const void *a, const void *b)
{
    const struct kpi_anchor *x = a, *y = b;
    if (x->host != y->host)
        return x->host < y->host ? -1 : 1;
    if (x->real != y->real)
        return x->real < y->real ? -1 : 1;
    return x->order < y->order ? -1 : x->order > y->order;
}

kp_status kpi_clocks_load(struct kpi_world *world, kp_time from, kp_time to, struct kp_error *err)
{
    struct kpi_cursor_req req = {.stream = KP_S_CLOCK,
                                 .from = kpi_time_add(from, -CLOCK_MARGIN),
                                 .to = kpi_time_add(to, CLOCK_MARGIN),
                                 .cols = clock_cols};
    struct kpi_cursor cursor;
    kp_status status = kpi_cursor_open(world->reader, &req, &cursor, err);
    if (status != KP_OK)
        return status;
    while ((status = kpi_cursor_next(&cursor, err)) == KP_OK)
        anchor_add(world, &cursor);
    kpi_cursor_close(&cursor);
    world->anchors = kpi_list_flat(&world->anchor_list);
    world->anchors_count = world->anchors == NULL ? 0 : world->anchor_list.count;
    if (world->anchors_count > 1)
        qsort(world->anchors, world->anchors_count, sizeof(*world->anchors), anchor_compare);
    return status == KP_END ? KP_OK : status;
}

/* The last anchor at or before wall and the first after it; NULL where there is none. */
static void anchors_around(const struct kpi_world *world, uint32_t host, kp_time wall,
                           const struct kpi_anchor **out_before,
                           const struct kpi_anchor **out_after)
{
    uint32_t low = 0, high = world->anchors_count;
    while (low < high) {
        uint32_t mid = low + (high - low) / 2;
        const struct kpi_anchor *anchor = &world->anchors[mid];
        if (anchor->host < host || (anchor->host == host && anchor->real <= wall))
            low = mid + 1;
        else
            high = mid;
    }
    bool before = low > 0 && world->anchors[low - 1].host == host;
    bool after = low < world->anchors_count && world->anchors[low].host == host;
    *out_before = before ? &world->anchors[low - 1] : NULL;
    *out_after = after ? &world->anchors[low] : NULL;
}

/* Of the anchors on both sides the one that speaks for wall alone; NULL: both do. Between two boots
 * there is no kernel clock to interpolate: the nearer one speaks. */
static const struct kpi_anchor *anchor_alone(const struct kpi_anchor *before,
                                             const struct kpi_anchor *after, kp_time wall)
{
    if (before == NULL || after == NULL)
        return before != NULL ? before : after;
    if (!kp_str_equal(before->boot, after->boot))
        return (__int128)wall - before->real <= (__int128)after->real - wall ? before : after;
    return after->step ? before : NULL;
}

static kp_dur interpolate(const struct kpi_anchor *a, const struct kpi_anchor *b, kp_time wall)
{
    __int128 change = (__int128)b->delta - a->delta;
    __int128 width = (__int128)b->real - a->real;
    return a->delta + (kp_dur)(change * ((__int128)wall - a->real) / width);
}

/* The stamp as the host stored it. */
static kp_time stored_stamp(const struct kpi_world *world, uint32_t host, kp_time wall,
                            kp_dur *out_bound)
{
    const struct kpi_anchor *before, *after;
    anchors_around(world, host, wall, &before, &after);
    *out_bound = -1;
    if (before == NULL && after == NULL)
        return wall;
    kp_dur delta;
    const struct kpi_anchor *only = anchor_alone(before, after, wall);
    if (only != NULL) {
        delta = only->delta;
        *out_bound = only->bound;
    } else {
        delta = interpolate(before, after, wall);
        *out_bound = KP_MAX(before->bound, after->bound);
    }
    return kpi_time_sane(kpi_time_add(wall, delta));
}

kp_time kpi_clock_map(const struct kpi_world *world, uint32_t host, kp_time wall, kp_dur *out_bound)
{
    return kpi_world_stamp(world, host, stored_stamp(world, host, wall, out_bound));
}

void kpi_clocks_align(struct kpi_world *world, struct kp_str axis)
{
    uint32_t reference = KPI_NONE;
    kp_dur bound = -1;
    kp_time middle = world->from + (world->to - world->from) / 2;
    for (uint32_t i = 0; i < world->hosts.count; i++)
        if (axis.len > 0 && kp_str_equal(kpi_host_of(world, i)->name, axis))
            reference = i;
    if (reference == KPI_NONE)
        return;
    kp_time here = stored_stamp(world, reference, middle, &bound);
    for (uint32_t i = 0; i < world->hosts.count; i++) {
        struct kpi_host *host = kpi_host_of(world, i);
        kp_dur other = -1;
        kp_time there = stored_stamp(world, i, middle, &other);
        if (i == reference || bound < 0 || other < 0)
            continue;
        host->shift = here - there;
        host->skew = other + bound;
        world->slack = KP_MAX(world->slack, KP_MIN(KP_MAX(host->shift, -host->shift), SLACK_MAX));
    }
    kpi_host_of(world, reference)->skew = 0;
}
