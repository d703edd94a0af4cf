/* SPDX-License-Identifier: Apache-2.0
 *
 * The newest snapshot, shared by the queries that come close together. Making one reads the whole
 * unsealed log, which costs more than most queries; a dashboard asks a dozen at once.
 *
 * Invariant: a query sees everything that was acknowledged to anybody before it came, so a snapshot
 * is used again only while nothing was; rows that are merely committed may be KEEP_MAX late. One
 * with damage is not shared: what a query says of damage is what it met itself.
 */
#include "server/recent.h"

#include <stdlib.h>

#define KEEP_MAX  (100 * KP_MS) /* while rows are being committed */
#define KEEP_IDLE (5 * KP_SEC)  /* while none are */

struct kpi_recent_snapshot {
    struct kp_snapshot *snapshot;
    uint32_t users; /* the queries, and `newest` */
    uint64_t commits, waits;
    int64_t made;
};

void kpi_recent_init(struct kpi_recent *recent, struct kp_store *store)
{
    *recent = (struct kpi_recent){.store = store};
    pthread_mutex_init(&recent->lock, NULL);
}

/* Under the lock. */
static void drop(struct kpi_recent_snapshot *held)
{
    if (held == NULL || --held->users > 0)
        return;
    kp_snapshot_close(held->snapshot);
    free(held);
}

void kpi_recent_deinit(struct kpi_recent *recent)
{
    drop(recent->newest);
    pthread_mutex_destroy(&recent->lock);
}

static bool is_fresh(const struct kpi_recent_snapshot *held, const struct kp_store_stat *stat)
{
    const struct kp_damage *damage;
    if (held == NULL || held->waits != stat->waits ||
        kp_snapshot_damage(held->snapshot, &damage) > 0)
        return false;
    kp_dur keep = held->commits == stat->commits ? KEEP_IDLE : KEEP_MAX;
    return kp_time_monotonic() - held->made < keep;
}

static kp_status renew(struct kpi_recent *recent, const struct kp_store_stat *stat,
                       struct kp_error *err)
{
    struct kpi_recent_snapshot *held = calloc(1, sizeof(*held));
    drop(recent->newest);
    recent->newest = NULL;
    if (held == NULL)
        return kp_error_set(err, KP_NO_MEMORY, "no memory for the query");
    kp_status status = kp_store_snapshot(recent->store, &held->snapshot, err);
    if (status != KP_OK) {
        free(held);
        return status;
    }
    held->users = 1;
    held->commits = stat->commits;
    held->waits = stat->waits;
    held->made = kp_time_monotonic();
    recent->newest = held;
    return KP_OK;
}

kp_status kpi_recent_take(struct kpi_recent *recent, struct kpi_recent_snapshot **out,
                          struct kp_error *err)
{
    struct kp_store_stat stat;
    kp_status status = KP_OK;
    pthread_mutex_lock(&recent->lock); /* who comes while one is made waits for it */
    kp_store_stat(recent->store, &stat);
    if (!is_fresh(recent->newest, &stat))
        status = renew(recent, &stat, err);
    if (status == KP_OK) {
        recent->newest->users++;
        *out = recent->newest;
    }
    pthread_mutex_unlock(&recent->lock);
    return status;
}

struct kp_snapshot *kpi_recent_of(const struct kpi_recent_snapshot *held)
{
    return held->snapshot;
}

void kpi_recent_give(struct kpi_recent *recent, struct kpi_recent_snapshot *held)
{
    pthread_mutex_lock(&recent->lock);
    drop(held);
    pthread_mutex_unlock(&recent->lock);
}

void kpi_recent_tick(struct kpi_recent *recent)
{
    struct kp_store_stat stat;
    pthread_mutex_lock(&recent->lock);
    kp_store_stat(recent->store, &stat);
    if (!is_fresh(recent->newest, &stat)) {
        drop(recent->newest);
        recent->newest = NULL;
    }
    pthread_mutex_unlock(&recent->lock);
}
