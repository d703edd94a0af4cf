/* SPDX-License-Identifier: Apache-2.0
 *
 * Attributes of actors as columns. A scan gives actor ids; tid, pid, comm and the rest are looked
 * up once per actor, rows only copy. Texts become codes of one dictionary that grows, so grouping
 * and functions work on codes.
 */
#ifndef KP_QUERY_ACTOR_COLUMNS_H
#define KP_QUERY_ACTOR_COLUMNS_H

#include "query/query_int.h"

/* One attribute of all actors seen so far. */
struct kpi_actor_column {
    struct kpi_ctx *ctx;
    const struct kp_actors *actors;
    enum kp_attr attr;
    uint32_t known, capacity; /* actors 0..known-1 are filled in */
    int64_t *numbers;         /* of an actor: tid, pid */
    uint32_t *codes;          /* of an actor: the others */
    struct kp_str *texts;     /* of a code */
    uint32_t *slots;          /* code + 1 by hash of the text */
    uint32_t texts_capacity, slots_capacity;
    struct kp_dict dict;
};

/* True for attributes that this file can look up. */
bool kpi_actor_attr(enum kp_attr attr);
void kpi_actor_column_init(struct kpi_actor_column *column, struct kpi_ctx *ctx,
                           const struct kp_actors *actors, enum kp_attr attr);
/* The attribute of `rows` ids as a vector. room: space for a batch of int64_t, or of uint32_t codes
 * when the attribute is a text. False with the error set. */
bool kpi_actor_column_fill(struct kpi_actor_column *column, const int64_t *ids, uint32_t rows,
                           void *room, struct kp_vec *out);

#endif
