/* SPDX-License-Identifier: Apache-2.0
 *
 * Actors: who did it. Identity of a thread is (host, boot, tid, start); comm, process and cgroup
 * are attributes over time. An actor is one such state of one thread: a thread that renames itself
 * or moves to another cgroup becomes a new actor of the same identity. Batches carry 4-byte actor
 * ids; the registry they point into travels beside them.
 *
 * A registry is append-only. Interning is single-writer; readers on other threads may look up ids
 * that were handed to them through a lock or release store.
 */
#ifndef KP_COLUMN_ACTOR_H
#define KP_COLUMN_ACTOR_H

#include "column/type.h"

typedef uint32_t kp_actor_id; /* 0 = unknown */

#define KP_ACTOR_UNKNOWN ((kp_actor_id)0)
/* start of a thread whose beginning was not seen */
#define KP_ACTOR_START_UNKNOWN ((int64_t)0)

struct kp_actor {
    struct kp_str host;
    struct kp_str boot;   /* id of the boot that start counts from; empty = unknown */
    uint32_t tid;         /* 0 = the idle thread of a CPU, or unknown when id == 0 */
    uint32_t pid;         /* process (thread group), 0 for idle */
    int64_t start;        /* ns since boot; KP_ACTOR_START_UNKNOWN */
    struct kp_str comm;   /* at most 15 bytes on Linux */
    struct kp_str cgroup; /* path, v2 if it is meaningful there, else of the v1 cpu hierarchy */
    bool kthread;
};

struct kp_actors; /* the registry */

kp_status kp_actors_init(struct kp_actors **out) KP_MUST;
void kp_actors_deinit(struct kp_actors *actors);
/* Id of exactly this actor, made on first sight (strings are copied). KP_ACTOR_UNKNOWN on no
 * memory. */
kp_actor_id kp_actors_intern(struct kp_actors *actors, const struct kp_actor *actor);
/* The actor of an id; an id out of range gives the unknown actor. Valid as long as the registry. */
const struct kp_actor *kp_actors_get(const struct kp_actors *actors, kp_actor_id id);
/* Ids 0..count-1 exist. */
uint32_t kp_actors_count(const struct kp_actors *actors);
/* True when both can be of one boot of their machine: an unknown boot matches any. */
bool kp_actor_same_boot(const struct kp_actor *a, const struct kp_actor *b);
/* True when both are states of one thread: same host, boot, tid and start (an unknown start matches
 * any). */
bool kp_actor_same_thread(const struct kp_actor *a, const struct kp_actor *b);

#endif
