/* SPDX-License-Identifier: Apache-2.0
 *
 * Actor tables: who the small numbers in ACTOR columns of a block or page are.
 */
#ifndef KP_STORAGE_ACTORS_H
#define KP_STORAGE_ACTORS_H

#include "storage/codec.h"

/* Maps ids of the batch's registry to local numbers 1.. in order of first use. */
struct kpi_actor_set {
    kp_actor_id *ids;   /* of local number i + 1 */
    kp_actor_id *slots; /* open addressing: id */
    uint32_t *locals;   /* local number of a slot, 0 = free */
    uint32_t count, mask;
    bool identity; /* columns hold local numbers already */
};

/* Room for entries_max different actors. Deinit also after a failure. */
kp_status kpi_actor_set_init(struct kpi_actor_set *set, uint32_t entries_max) KP_MUST;
void kpi_actor_set_deinit(struct kpi_actor_set *set);
/* Bytes that a set with this room takes. */
size_t kpi_actor_set_memory(uint32_t entries_max);
/* The local number of an actor, given on first sight; 0 for the unknown actor. */
uint32_t kpi_actor_set_local(struct kpi_actor_set *set, kp_actor_id id);
/* Forgets the actors from local number count + 1 on. */
void kpi_actor_set_cut(struct kpi_actor_set *set, uint32_t count);
/* Appends the table as a chunk; nothing when it is empty. LIMIT: too many actors. */
kp_status kpi_actor_set_encode(const struct kpi_actor_set *set, const struct kp_actors *actors,
                               enum kpi_level level, struct kp_buf *out) KP_MUST;
/* The other way: fills count entries, strings in arena. */
kp_status kpi_actors_decode(const void *chunk, size_t size, uint32_t count, struct kp_arena *arena,
                            struct kp_actor *out) KP_MUST;

#endif
