/* SPDX-License-Identifier: Apache-2.0
 *
 * Rows of a page whatever their stream: who asks for what all streams have needs no block but the
 * spine. Rows are picked place by place, lane after lane, before anything is put in order, so what
 * is not wanted costs a look at two bytes.
 */
#include "base/assert.h"
#include "storage/spine_int.h"
#include "storage/spine_rows.h"

/* First place of the lane whose time is not before t. */
static uint32_t lane_bound(const struct kpi_spine *spine, const struct kpi_lane *lane, kp_time t)
{
    uint32_t low = lane->first, high = lane->end;
    while (low < high) {
        uint32_t mid = low + (high - low) / 2;
        if (spine->ts[mid] < t)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

/* The places of a lane in the time of the pick, [*out_first, *out_end). */
static void lane_range(const struct kpi_spine *spine, const struct kpi_lane *lane,
                       const struct kpi_spine_pick *pick, uint32_t *out_first, uint32_t *out_end)
{
    *out_first = lane->first;
    *out_end = lane->end;
    if (pick->from > spine->block.info.ts_min)
        *out_first = lane_bound(spine, lane, pick->from);
    if (pick->to < spine->block.info.ts_max)
        *out_end = KP_MAX(*out_first, lane_bound(spine, lane, pick->to + 1));
}

bool kpi_spine_lane(const struct kpi_spine *spine, uint32_t lane, kp_time from, kp_time to,
                    uint32_t *out_first, uint32_t *out_end)
{
    struct kpi_spine_pick pick = {.from = from, .to = to};
    if (lane >= spine->lanes_count)
        return false;
    lane_range(spine, &spine->lanes[lane], &pick, out_first, out_end);
    return true;
}

/* Neighbours are often alike: four tables let one count not wait for the other. */
void kpi_spine_kinds_count(const struct kpi_spine *spine, uint32_t first, uint32_t end,
                           uint32_t out[UINT8_MAX + 1])
{
    uint32_t counts[4][UINT8_MAX + 1] = {0}, p = first;
    for (; p + 4 <= end; p += 4) {
        counts[0][spine->kind[p]]++;
        counts[1][spine->kind[p + 1]]++;
        counts[2][spine->kind[p + 2]]++;
        counts[3][spine->kind[p + 3]]++;
    }
    for (; p < end; p++)
        counts[0][spine->kind[p]]++;
    for (uint32_t s = 0; s <= UINT8_MAX; s++)
        out[s] = counts[0][s] + counts[1][s] + counts[2][s] + counts[3][s];
}

static uint32_t range_select(const struct kpi_spine *spine, const struct kpi_spine_pick *pick,
                             uint32_t first, uint32_t end, uint32_t *out)
{
    uint32_t count = 0;
    if (pick->kinds == NULL && pick->actors == NULL) {
        for (uint32_t p = first; p < end; p++)
            out[p - first] = p;
        return end - first;
    }
    for (uint32_t p = first; p < end; p++) {
        out[count] = p;
        count += (pick->kinds == NULL || pick->kinds[spine->kind[p]]) &
                 (pick->actors == NULL || pick->actors[spine->actor[p]]);
    }
    return count;
}

uint32_t kpi_spine_select(const struct kpi_spine *spine, const struct kpi_spine_pick *pick,
                          uint32_t *out)
{
    uint32_t count = 0, first, end;
    for (uint32_t lane = 0; lane < spine->lanes_count; lane++) {
        lane_range(spine, &spine->lanes[lane], pick, &first, &end);
        count += range_select(spine, pick, first, end, out + count);
    }
    return count;
}

/* Neighbours are often of one actor: two tables let one count not wait for the other. */
void kpi_spine_tally(const struct kpi_spine *spine, const struct kpi_spine_pick *pick,
                     const uint32_t *slots, uint32_t *counts)
{
    size_t stride = (size_t)spine->block.actors + 1;
    const uint32_t *actor = spine->actor;
    uint32_t first, end;
    for (uint32_t lane = 0; lane < spine->lanes_count; lane++) {
        lane_range(spine, &spine->lanes[lane], pick, &first, &end);
        uint32_t p = first;
        for (; slots == NULL && p + 1 < end; p += 2) {
            counts[actor[p]]++;
            counts[stride + actor[p + 1]]++;
        }
        for (; p < end; p++)
            counts[(slots == NULL ? 0 : slots[spine->kind[p]] * stride) + actor[p]]++;
    }
}

uint32_t kpi_spine_held(const struct kpi_spine *spine, uint32_t stream)
{
    return spine->counts[stream];
}

kp_status kpi_spine_arrange(const struct kpi_spine *spine, uint32_t *places, uint32_t count)
{
    return kpi_places_order(spine, places, count);
}

const int64_t *kpi_spine_times(const struct kpi_spine *spine)
{
    return spine->ts;
}

void kpi_spine_take(const struct kpi_spine *spine, uint32_t column, const uint32_t *places,
                    uint32_t count, int64_t *out)
{
    const int64_t *wide = column == KP_COL_TS ? spine->ts : spine->seq;
    if (column == KP_COL_CPU)
        for (uint32_t i = 0; i < count; i++)
            out[i] = spine->lanes[spine->lane_of[places[i]]].cpu;
    else if (column == KP_COL_ACTOR)
        for (uint32_t i = 0; i < count; i++)
            out[i] = spine->actor[places[i]];
    else
        for (uint32_t i = 0; i < count; i++)
            out[i] = wide[places[i]];
}

void kpi_spine_kinds(const struct kpi_spine *spine, const uint32_t *places, uint32_t count,
                     uint32_t *out)
{
    for (uint32_t i = 0; i < count; i++)
        out[i] = spine->kind[places[i]];
}
