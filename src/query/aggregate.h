/* SPDX-License-Identifier: Apache-2.0
 *
 * Aggregates: a table of functions (aggregate.c) and the grouping operator (op_aggregate.c). Each
 * aggregate keeps one fixed-size state per group; what grows (lists, sets) hangs off it in the
 * arena.
 */
#ifndef KP_QUERY_AGGREGATE_H
#define KP_QUERY_AGGREGATE_H

#include "query/groups.h"
#include "query/op.h"

struct kpi_aggregate;

/* Folding one batch: row sel[i] (or i) belongs to group groups[i]. */
struct kpi_fold {
    struct kpi_aggregate *aggregate;
    const struct kp_vec *args[KPI_ARGS_MAX];
    const uint32_t *groups;
    const uint16_t *sel;
    uint32_t count;
};

struct kpi_aggregate_func {
    const char *name;
    const char *args; /* type letters as in struct kpi_func; a final `c` is a constant number */
    char result;      /* letter; T = type of the first argument */
    uint8_t state_bytes;
    bool zero_unit; /* counts and the like: the argument's unit does not carry over */
    void (*fold)(struct kpi_fold *fold);
    /* Writes the answer of one group. */
    void (*finish)(struct kpi_aggregate *aggregate, void *state, struct kpi_value *out);
    const char *doc;
};

/* Values seen by one aggregate over all groups, each once per group. */
struct kpi_value_set {
    struct kpi_rowset values;
    uint32_t *groups; /* of values row i */
    uint64_t *hashes;
    uint32_t *slots; /* row + 1 */
    uint32_t capacity;
};

struct kpi_aggregate {
    const struct kpi_aggregate_func *func;
    struct kpi_ctx *ctx;
    struct kpi_expr **args;
    uint32_t args_count;
    struct kpi_expr *filter; /* of the ...if() forms; NULL = all rows */
    double parameter;        /* of a `c` argument: percentile, size limit */
    enum kp_type type;
    enum kp_unit unit;
    struct kp_str name; /* its automatic name */
    char **states;      /* chunks of 1,024 groups */
    uint32_t states_count, states_capacity;
    struct kpi_value_set set;
    struct kpi_rowset rows; /* arg_min, arg_max, take_any: the row kept for each group */
    uint32_t shared;        /* arg_*: this one reads column `shared` of the rows of `lead` */
    struct kpi_aggregate *lead;
};

#define KPI_AGGREGATES_MAX 128

struct kpi_aggregates {
    struct kpi_aggregate *items[KPI_AGGREGATES_MAX];
    uint32_t count;
};

static inline void *kpi_aggregate_state(struct kpi_aggregate *aggregate, uint32_t group)
{
    return aggregate->states[group >> 10] + (group & 1023) * aggregate->func->state_bytes;
}

/* Adds the states of `from`, an aggregate of another operator, to those of `to`; group g of from is
 * group_of[g] of to. What from keeps must outlive to. False with to's error set. */
typedef bool (*kpi_aggregate_merge)(struct kpi_aggregate *to, struct kpi_aggregate *from,
                                    const uint32_t *group_of, uint32_t groups);
/* NULL when the answer depends on the order of rows. */
kpi_aggregate_merge kpi_aggregate_merger(const struct kpi_aggregate *aggregate);

/* Is this the name of an aggregate? */
bool kpi_aggregate_known(struct kp_str name);
/* The overload for these argument types; `if_form` tells that the last argument is a condition. */
const struct kpi_aggregate_func *kpi_aggregate_resolve(struct kp_str name,
                                                       const enum kp_type *types, uint32_t count,
                                                       bool *out_if_form);
/* Table order, for docs and completion; NULL past the last. */
const struct kpi_aggregate_func *kpi_aggregate_at(uint32_t index);
/* Those of aggregate_state.c, which come after the others. */
const struct kpi_aggregate_func *kpi_aggregate_state_at(uint32_t index);

/* The grouping operator. Its rows come in order of first appearance, or of the keys (free) when it
 * reads stored rows and no aggregate depends on their order: then they may be read in any order and
 * by several threads. */
struct kpi_aggregate_op {
    struct kpi_op base;
    struct kpi_expr **keys;
    uint32_t keys_count;
    struct kpi_aggregates aggregates;
    bool one_row;     /* even of nothing */
    bool free;        /* the order of rows does not matter */
    kp_dur bin_width; /* rows are only counted, by bins of this width of ts; 0 = they are read */
    bool rolled;      /* whole segments come from rollups, the input leaves them out */
    bool tallied;     /* rows are only counted, by attributes of actors and kind */
    struct kpi_rolled *figures; /* room for what comes without rows */
    enum kp_type *types;
    struct kpi_groups groups;
    uint32_t *group_of; /* of the rows of this batch */
    uint16_t *kept;     /* selection of an ...if() */
    uint32_t *kept_groups;
    bool done;
    uint32_t *order; /* group numbers in order of keys; NULL = as they are */
    uint32_t given;
    struct kpi_rowset sorted; /* a chunk of keys in that order */
    struct kp_batch out;
};

/* Groups by keys; columns are the keys, then the aggregates. With no keys there is exactly one row,
 * even of nothing. */
struct kpi_op *kpi_op_aggregate(struct kpi_op *input, struct kpi_expr **keys,
                                const struct kp_field *key_fields, uint32_t keys_count,
                                const struct kpi_aggregates *aggregates, bool one_row);
/* The operator, or NULL when op is another one. */
struct kpi_aggregate_op *kpi_aggregate_of(struct kpi_op *op);
/* Pass of the plan: finds grouping whose input may come in any order. */
void kpi_aggregate_free_order(struct kpi_op *root);
/* Forgets all groups; false with the error set. */
bool kpi_aggregate_reset(struct kpi_aggregate_op *op);
/* Groups all rows of the input; END when done. */
kp_status kpi_aggregate_rows(struct kpi_aggregate_op *op);
/* The same by other means (aggregate_parallel.c); true when it was done, with its status. */
bool kpi_aggregate_tally(struct kpi_aggregate_op *op, kp_status *out);
bool kpi_aggregate_windows(struct kpi_aggregate_op *op, kp_status *out);
/* aggregate_bins.c. True when rows are only counted and all of the source are wanted. Of the plan:
 * sets op->bin_width where that will do; counts those within [from, to], END when done. */
bool kpi_aggregate_counts(const struct kpi_aggregate_op *op);
void kpi_aggregate_bin(struct kpi_aggregate_op *op);
kp_status kpi_aggregate_bins(struct kpi_aggregate_op *op, kp_time from, kp_time to);
/* aggregate_rollup.c. Of the plan: sets op->rolled where rollups answer and op->tallied where rows
 * need only be counted by actor; adds the rollups, and the tallies of [from, to]; END when done. */
void kpi_aggregate_roll(struct kpi_aggregate_op *op);
kp_status kpi_aggregate_rollup(struct kpi_aggregate_op *op);
kp_status kpi_aggregate_tallies(struct kpi_aggregate_op *op, kp_time from, kp_time to);
/* Makes states for all groups. */
bool kpi_aggregate_grow(struct kpi_aggregate_op *op);

#endif
