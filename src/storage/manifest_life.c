/* SPDX-License-Identifier: Apache-2.0
 *
 * Tombstones, holds and runs in the state of a manifest. Tombstones are kept one for one segment
 * until there are many; then the oldest are folded into one that still accounts for every row, byte
 * and log record, so the state stays small however long a store lives.
 */
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "storage/manifest.h"

static bool room_for_one(void **items, uint32_t count, uint32_t *capacity, size_t item)
{
    if (count < *capacity)
        return true;
    uint32_t wanted = *capacity == 0 ? 16 : *capacity * 2;
    void *more = realloc(*items, wanted * item);
    if (more == NULL)
        return false;
    *items = more;
    *capacity = wanted;
    return true;
}

/* ---------- tombstones ---------- */

static void segment_remove(struct kpi_manifest *state, uint64_t id)
{
    for (uint32_t i = 0; i < state->count; i++) {
        if (state->segments[i].id != id)
            continue;
        state->count--;
        memmove(&state->segments[i], &state->segments[i + 1],
                (state->count - i) * sizeof(*state->segments));
        return;
    }
}

/* ---------- runs ---------- */

static bool run_serves(const struct kpi_manifest *state, const struct kpi_run_meta *run)
{
    for (uint32_t i = 0; i < state->count; i++)
        if (state->segments[i].id >= run->first && state->segments[i].id <= run->last)
            return true;
    return false;
}

/* Runs left without a segment go with it. */
static void runs_prune(struct kpi_manifest *state)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < state->runs_count; i++)
        if (run_serves(state, &state->runs[i]))
            state->runs[kept++] = state->runs[i];
    state->runs_count = kept;
}

bool kpi_manifest_take_run(struct kpi_manifest *state, const struct kpi_run_meta *run)
{
    void *runs = state->runs;
    bool room = room_for_one(&runs, state->runs_count, &state->runs_capacity, sizeof(*run));
    state->runs = runs;
    if (!room && run->bytes > 0)
        return false;
    uint32_t kept = 0;
    for (uint32_t i = 0; i < state->runs_count; i++)
        if (state->runs[i].first < run->first || state->runs[i].last > run->last)
            state->runs[kept++] = state->runs[i];
    state->runs_count = kept;
    if (run->bytes == 0)
        return true;
    uint32_t at = kept;
    for (; at > 0 && state->runs[at - 1].first > run->first; at--)
        state->runs[at] = state->runs[at - 1];
    state->runs[at] = *run;
    state->runs_count++;
    return true;
}

bool kpi_manifest_run_read(const uint8_t *payload, uint32_t size, struct kpi_run_meta *out)
{
    struct kpi_manifest_run run;
    if (size != sizeof(run))
        return false;
    memcpy(&run, payload, sizeof(run));
    *out = (struct kpi_run_meta){.id = run.id,
                                 .first = run.first,
                                 .last = run.last,
                                 .segments = run.segments,
                                 .entries = run.entries,
                                 .bytes = run.bytes,
                                 .hash = run.hash};
    return run.first <= run.last;
}

/* ---------- drops ---------- */

bool kpi_manifest_take_drop(struct kpi_manifest *state, const struct kpi_manifest_drop *drop)
{
    void *drops = state->drops;
    bool room = room_for_one(&drops, state->drops_count, &state->drops_capacity, sizeof(*drop));
    state->drops = drops;
    if (!room)
        return false;
    state->drops[state->drops_count++] = *drop;
    if (drop->segments == 1)
        segment_remove(state, drop->id_first);
    runs_prune(state);
    return true;
}

bool kpi_manifest_drop_read(const uint8_t *payload, uint32_t size, struct kpi_manifest_drop *out)
{
    if (size != sizeof(*out))
        return false;
    memcpy(out, payload, sizeof(*out));
    return out->segments > 0 && out->id_first <= out->id_last &&
           out->id_last - out->id_first >= out->segments - 1 && out->wal_first <= out->wal_last &&
           (out->segments > 1 || out->id_first == out->id_last);
}

/* `next` was dropped after `drop`. */
static void drop_fold(struct kpi_manifest_drop *drop, const struct kpi_manifest_drop *next)
{
    struct kp_hash128 both[2] = {drop->footer_hash, next->footer_hash};
    drop->id_first = KP_MIN(drop->id_first, next->id_first);
    drop->id_last = KP_MAX(drop->id_last, next->id_last);
    drop->segments += next->segments;
    drop->wal_first = KP_MIN(drop->wal_first, next->wal_first);
    drop->wal_last = KP_MAX(drop->wal_last, next->wal_last);
    drop->ts_min = KP_MIN(drop->ts_min, next->ts_min);
    drop->ts_max = KP_MAX(drop->ts_max, next->ts_max);
    drop->rows += next->rows;
    drop->bytes += next->bytes;
    drop->footer_hash = kp_hash128(both, sizeof(both), 0);
    drop->at = KP_MAX(drop->at, next->at);
    drop->reason = next->reason;
}

void kpi_manifest_fold(struct kpi_manifest *state, uint32_t most)
{
    if (state->drops_count <= most || most == 0)
        return;
    uint32_t extra = state->drops_count - most;
    for (uint32_t i = 1; i <= extra; i++)
        drop_fold(&state->drops[0], &state->drops[i]);
    memmove(&state->drops[1], &state->drops[1 + extra], (most - 1) * sizeof(*state->drops));
    state->drops_count = most;
}

/* ---------- cold segments ---------- */

bool kpi_manifest_made_of(const struct kpi_segment_meta *cold,
                          const struct kpi_segment_meta *segment)
{
    return segment->id < cold->id && segment->wal_first >= cold->wal_first &&
           segment->wal_last <= cold->wal_last;
}

bool kpi_manifest_take_cold(struct kpi_manifest *state, const struct kpi_segment_meta *segment,
                            uint32_t *capacity)
{
    if (kpi_manifest_slot(state, capacity) == NULL)
        return false;
    uint32_t kept = 0;
    for (uint32_t i = 0; i < state->count; i++)
        if (!kpi_manifest_made_of(segment, &state->segments[i]))
            state->segments[kept++] = state->segments[i];
    uint32_t at = kept; /* segments were sealed since its number was given out */
    for (; at > 0 && state->segments[at - 1].id > segment->id; at--)
        state->segments[at] = state->segments[at - 1];
    state->segments[at] = *segment;
    state->count = kept + 1;
    runs_prune(state);
    return true;
}

/* ---------- holds ---------- */

bool kpi_manifest_take_hold(struct kpi_manifest *state, const struct kp_hold *hold)
{
    for (uint32_t i = 0; i < state->holds_count; i++)
        if (state->holds[i].id == hold->id) {
            state->holds[i] = *hold;
            return true;
        }
    void *holds = state->holds;
    bool room = room_for_one(&holds, state->holds_count, &state->holds_capacity, sizeof(*hold));
    state->holds = holds;
    if (room)
        state->holds[state->holds_count++] = *hold;
    return room;
}

bool kpi_manifest_hold_read(const uint8_t *payload, uint32_t size, struct kp_hold *out)
{
    struct kpi_manifest_hold hold;
    if (size < sizeof(hold) || size >= KPI_HOLD_PAYLOAD_MAX)
        return false;
    memcpy(&hold, payload, sizeof(hold));
    *out = (struct kp_hold){.id = hold.id,
                            .from = hold.from,
                            .to = hold.to,
                            .added = hold.added,
                            .released = hold.released};
    memcpy(out->reason, payload + sizeof(hold), size - sizeof(hold));
    return hold.id > 0 && hold.from <= hold.to;
}

uint32_t kpi_manifest_hold_write(const struct kp_hold *hold, uint8_t out[KPI_HOLD_PAYLOAD_MAX])
{
    struct kpi_manifest_hold head = {.id = hold->id,
                                     .from = hold->from,
                                     .to = hold->to,
                                     .added = hold->added,
                                     .released = hold->released};
    size_t text = strnlen(hold->reason, KP_HOLD_REASON_MAX - 1);
    memcpy(out, &head, sizeof(head));
    memcpy(out + sizeof(head), hold->reason, text);
    return (uint32_t)(sizeof(head) + text);
}

bool kpi_manifest_held(const struct kpi_manifest *state, const struct kpi_segment_meta *segment)
{
    for (uint32_t i = 0; i < state->holds_count; i++) {
        const struct kp_hold *hold = &state->holds[i];
        if (hold->released == 0 && hold->from <= segment->ts_max && hold->to >= segment->ts_min)
            return true;
    }
    return false;
}

/* ---------- the whole state ---------- */

/* A malloc'd copy; NULL for nothing. */
static bool items_copy(const void *items, uint32_t count, size_t item, void **out)
{
    *out = count == 0 ? NULL : malloc(count * item);
    if (*out != NULL)
        memcpy(*out, items, count * item);
    return *out != NULL || count == 0;
}

bool kpi_manifest_copy(const struct kpi_manifest *from, struct kpi_manifest *out)
{
    void *segments = NULL, *drops = NULL, *holds = NULL, *runs = NULL;
    bool copied = items_copy(from->segments, from->count, sizeof(*from->segments), &segments);
    copied &= items_copy(from->drops, from->drops_count, sizeof(*from->drops), &drops);
    copied &= items_copy(from->holds, from->holds_count, sizeof(*from->holds), &holds);
    copied &= items_copy(from->runs, from->runs_count, sizeof(*from->runs), &runs);
    *out = *from;
    out->runs = runs;
    out->runs_capacity = from->runs_count;
    out->segments = segments;
    out->drops = drops;
    out->holds = holds;
    out->drops_capacity = from->drops_count;
    out->holds_capacity = from->holds_count;
    if (!copied)
        kpi_manifest_deinit(out);
    return copied;
}

void kpi_manifest_deinit(struct kpi_manifest *manifest)
{
    free(manifest->segments);
    free(manifest->drops);
    free(manifest->holds);
    free(manifest->runs);
    manifest->runs = NULL;
    manifest->runs_count = manifest->runs_capacity = 0;
    manifest->segments = NULL;
    manifest->drops = NULL;
    manifest->holds = NULL;
    manifest->count = manifest->drops_count = manifest->holds_count = 0;
    manifest->drops_capacity = manifest->holds_capacity = 0;
}
