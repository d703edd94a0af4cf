/* SPDX-License-Identifier: Apache-2.0
 *
 * Snapshots for queries, shared while they are recent enough. Any thread.
 */
#ifndef KP_SERVER_RECENT_H
#define KP_SERVER_RECENT_H

#include <pthread.h>

#include "storage/storage.h"

struct kpi_recent_snapshot;

struct kpi_recent {
    struct kp_store *store;
    pthread_mutex_t lock;               /* guards the rest */
    struct kpi_recent_snapshot *newest; /* NULL = none is held */
};

void kpi_recent_init(struct kpi_recent *recent, struct kp_store *store);
/* After every snapshot was given back. */
void kpi_recent_deinit(struct kpi_recent *recent);
/* A snapshot that holds at least what was acknowledged so far; give it back. */
kp_status kpi_recent_take(struct kpi_recent *recent, struct kpi_recent_snapshot **out,
                          struct kp_error *err) KP_MUST;
struct kp_snapshot *kpi_recent_of(const struct kpi_recent_snapshot *held);
void kpi_recent_give(struct kpi_recent *recent, struct kpi_recent_snapshot *held);
/* Now and then: lets go of a snapshot that nobody would be given any more. */
void kpi_recent_tick(struct kpi_recent *recent);

#endif
