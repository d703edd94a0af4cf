/* SPDX-License-Identifier: Apache-2.0
 *
 * Retention and legal hold, done by the sealer between two seals: it alone writes the manifest, so
 * a hold that was acknowledged is seen by every drop after it.
 *
 * A drop is two steps: the tombstone (the commit point), then the file. A crash between them leaves
 * a file that no record names; the next start removes it. Segments are looked at in the order of
 * their newest row, so late data, which lies in young segments, goes when its segment is old.
 */
#include <inttypes.h>
#include <string.h>

#include "base/assert.h"
#include "base/log.h"
#include "storage/segment.h"
#include "storage/epoch.h"
#include "storage/store_int.h"

#define RETAIN_EVERY (10 * KP_SEC)

struct kpi_hold_request {
    struct kp_hold hold; /* id 0: add this; else release that */
    bool done;
    kp_status status;
    struct kp_error err;
};

/* ---------- retention ---------- */

static bool retains(const struct kp_store *store)
{
    return store->opts.retention_age > 0 || store->opts.retention_bytes > 0;
}

bool kpi_retain_due(const struct kp_store *store, int64_t now)
{
    return retains(store) && now >= store->retain_next && !store->sealing;
}

int64_t kpi_retain_next(const struct kp_store *store)
{
    return retains(store) ? store->retain_next : INT64_MAX;
}

/* The clock of ages: the machine's. In manual mode there is none: time is that of the newest row.
 */
static kp_time wall_now(const struct kp_store *store, const struct kpi_manifest *state)
{
    if (!store->opts.manual)
        return kp_time_now();
    kp_time newest = 0;
    for (uint32_t i = 0; i < state->count; i++)
        newest = KP_MAX(newest, state->segments[i].ts_max);
    return newest;
}

struct choice {
    const struct kpi_segment_meta *segment; /* NULL = nothing is to go */
    enum kpi_drop_reason reason;
    bool blocked; /* a hold keeps something that is too old */
};

static bool too_old(const struct kp_store *store, const struct kpi_segment_meta *segment,
                    kp_time now)
{
    kp_dur age;
    return store->opts.retention_age > 0 && !__builtin_sub_overflow(now, segment->ts_max, &age) &&
           age > store->opts.retention_age;
}

/* What is held does not count as size: a hold must not push the fresh data out. The last segment
 * that is not held goes by age only. */
static struct choice choose(const struct kp_store *store, const struct kpi_manifest *state)
{
    struct choice choice = {0};
    const struct kpi_segment_meta *oldest = NULL;
    uint64_t bytes = 0;
    uint32_t count = 0;
    kp_time now = wall_now(store, state);
    for (uint32_t i = 0; i < state->count; i++) {
        const struct kpi_segment_meta *segment = &state->segments[i];
        if (kpi_manifest_held(state, segment)) {
            choice.blocked |= too_old(store, segment, now);
            continue;
        }
        count++;
        bytes += segment->bytes;
        if (oldest == NULL || segment->ts_max < oldest->ts_max)
            oldest = segment;
    }
    if (oldest != NULL && too_old(store, oldest, now)) {
        choice.segment = oldest;
        choice.reason = KPI_DROP_AGE;
    } else if (count > 1 && store->opts.retention_bytes > 0 &&
               bytes > store->opts.retention_bytes) {
        choice.segment = oldest;
        choice.reason = KPI_DROP_BYTES;
    }
    return choice;
}

/* Without luck the file stays until the next start finds that nothing names it. */
static void file_remove(const struct kp_store *store, uint64_t id)
{
    struct kp_buf path = {0};
    kpi_segment_path(store->dir, id, &path);
    if (!path.failed)
        store->io->unlink(store->io, kp_buf_cstr(&path));
    kp_buf_deinit(&path);
}

void kpi_retain_run(struct kp_store *store, int64_t now)
{
    const struct kpi_manifest *state = kpi_manifest_state(store->manifest);
    struct choice choice = choose(store, state);
    store->stat.retention_blocked = choice.blocked;
    if (choice.segment == NULL) {
        store->retain_next = now + RETAIN_EVERY;
        return;
    }
    struct kpi_segment_meta gone = *choice.segment;
    uint32_t runs = state->runs_count;
    struct kp_error err = {0};
    store->sealing = true;
    pthread_mutex_unlock(&store->lock);
    kp_status status = kpi_manifest_drop(store->manifest, store->seal_queue, gone.id, choice.reason,
                                         wall_now(store, state), &err);
    if (status == KP_OK) {
        kpi_evidence_drop(store, &gone, choice.reason);
        file_remove(store, gone.id);
        if (state->runs_count < runs)
            kpi_merge_tidy(store);
    } else {
        kp_log(KP_LOG_WARN, "store", "retention waits: %s", err.text);
    }
    pthread_mutex_lock(&store->lock);
    store->sealing = false;
    store->retain_next = status == KP_OK ? now : now + RETAIN_EVERY;
    if (status == KP_OK) {
        store->stat.segments = state->count;
        store->stat.segments_bytes -= gone.bytes;
        store->stat.dropped_segments++;
        store->stat.dropped_rows += gone.rows;
        store->stat.dropped_bytes += gone.bytes;
    }
    pthread_cond_broadcast(&store->changed);
}

/* ---------- legal hold ---------- */

static const struct kp_hold *hold_find(const struct kpi_manifest *state, uint64_t id)
{
    for (uint32_t i = 0; i < state->holds_count; i++)
        if (state->holds[i].id == id && state->holds[i].released == 0)
            return &state->holds[i];
    return NULL;
}

/* What the manifest shall say: the new hold with its number, or the old one with its end. */
static kp_status hold_prepare(const struct kpi_manifest *state, struct kpi_hold_request *request)
{
    if (request->hold.id == 0) {
        if (state->holds_count >= KP_HOLDS_MAX)
            return kp_error_set(&request->err, KP_LIMIT, "there are %u holds already",
                                state->holds_count);
        bool any = state->holds_count > 0;
        request->hold.id = any ? state->holds[state->holds_count - 1].id + 1 : 1;
        request->hold.added = kp_time_now();
        return KP_OK;
    }
    const struct kp_hold *hold = hold_find(state, request->hold.id);
    if (hold == NULL)
        return kp_error_set(&request->err, KP_NOT_FOUND, "no hold %" PRIu64 " is in force",
                            request->hold.id);
    request->hold = *hold;
    request->hold.released = kp_time_now();
    return KP_OK;
}

void kpi_hold_run(struct kp_store *store)
{
    struct kpi_hold_request *request = store->hold_request;
    const struct kpi_manifest *state = kpi_manifest_state(store->manifest);
    store->sealing = true;
    pthread_mutex_unlock(&store->lock);
    request->status = hold_prepare(state, request);
    if (request->status == KP_OK)
        request->status =
            kpi_manifest_hold(store->manifest, store->seal_queue, &request->hold, &request->err);
    pthread_mutex_lock(&store->lock);
    store->sealing = false;
    store->stat.holds = 0;
    for (uint32_t i = 0; i < state->holds_count; i++)
        store->stat.holds += state->holds[i].released == 0;
    store->retain_next = 0; /* what was held may go now */
    request->done = true;
    store->hold_request = NULL;
    pthread_cond_broadcast(&store->changed);
}

static kp_status hold_ask(struct kp_store *store, struct kpi_hold_request *request,
                          struct kp_error *err)
{
    pthread_mutex_lock(&store->lock);
    while (store->hold_request != NULL)
        pthread_cond_wait(&store->changed, &store->lock);
    store->hold_request = request;
    if (store->opts.manual)
        kpi_hold_run(store);
    pthread_cond_signal(&store->seal_work);
    while (!request->done)
        pthread_cond_wait(&store->changed, &store->lock);
    pthread_mutex_unlock(&store->lock);
    if (request->status != KP_OK && err != NULL)
        *err = request->err;
    return request->status;
}

/* It is shown on terminals and in logs. */
static bool reason_good(struct kp_str reason)
{
    for (uint32_t i = 0; i < reason.len; i++)
        if ((unsigned char)reason.ptr[i] < ' ' || reason.ptr[i] == 0x7f)
            return false;
    return reason.len > 0 && reason.len < KP_HOLD_REASON_MAX;
}

kp_status kp_store_hold_add(struct kp_store *store, kp_time from, kp_time to, struct kp_str reason,
                            uint64_t *out_id, struct kp_error *err)
{
    struct kpi_hold_request request = {.hold = {.from = from, .to = to}};
    if (from > to)
        return kp_error_set(err, KP_INVALID, "a hold must not end before it begins");
    if (!reason_good(reason))
        return kp_error_set(err, KP_INVALID, "a hold needs a reason of 1 to %d printable bytes",
                            KP_HOLD_REASON_MAX - 1);
    memcpy(request.hold.reason, reason.ptr, reason.len);
    kp_status status = hold_ask(store, &request, err);
    if (status == KP_OK)
        *out_id = request.hold.id;
    return status;
}

kp_status kp_store_hold_release(struct kp_store *store, uint64_t id, struct kp_error *err)
{
    struct kpi_hold_request request = {.hold = {.id = id}};
    if (id == 0)
        return kp_error_set(err, KP_NOT_FOUND, "no hold 0 is in force");
    return hold_ask(store, &request, err);
}

kp_status kp_holds_read(const char *dir, const struct kp_io *io,
                        void (*each)(void *ctx, const struct kp_hold *hold), void *ctx,
                        struct kp_error *err)
{
    struct kpi_manifest state;
    kp_status status =
        kpi_manifest_read(io != NULL ? io : kp_io_default(), dir, &state, NULL, NULL, err);
    if (status != KP_OK)
        return status;
    for (uint32_t i = 0; i < state.holds_count; i++)
        each(ctx, &state.holds[i]);
    kpi_manifest_deinit(&state);
    return KP_OK;
}
