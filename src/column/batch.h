/* SPDX-License-Identifier: Apache-2.0
 *
 * The batch: the one currency between ingest, storage, causal, query and render. Equal-length typed
 * vectors with an optional selection.
 *
 *      cols[0]  cols[1] ...            sel (optional)
 *     +-------+--------+              +---+
 *   0 | i64   | str    |   rows       | 0 |  only these row numbers count,
 *   1 | i64   | str    |              | 2 |  ascending
 *     +-------+--------+              +---+
 *
 * A stored batch (into kp_store_append) has exactly the stored columns of its stream, in order. A
 * scan or a query answers with the columns that were asked. Fed by ingest and by scans; consumed by
 * everything above. Memory belongs to whoever made the batch; a batch from a next() call is valid
 * until the following next() on the same object.
 */
#ifndef KP_COLUMN_BATCH_H
#define KP_COLUMN_BATCH_H

#include "column/actor.h"
#include "column/catalogue.h"

#define KP_VECTOR_ROWS    1024 /* rows of a batch that a scan or an operator gives at most */
#define KP_BATCH_ROWS_MAX 8192 /* rows of a batch that ingest appends at most */

/* Strings may be dictionary-coded: then codes[i] indexes dict and strs is NULL. */
struct kp_dict {
    const struct kp_str *values;
    uint32_t count;
    bool lasting; /* it only grows: a code of this dict means the same in later batches */
};

struct kp_vec {
    enum kp_type type;
    union {
        int64_t *i64;        /* KP_PHYS_I64 */
        double *f64;         /* KP_PHYS_F64 */
        struct kp_str *strs; /* KP_PHYS_STR, NULL when dict-coded */
        kp_dec *i128;        /* KP_PHYS_I128 */
    };
    const struct kp_dict *dict; /* STR and ENUM-as-string: dictionary, else NULL */
    uint32_t *codes;            /* with dict */
    uint64_t *nulls;            /* bit i set = row i is null; NULL = none is */
};

struct kp_batch {
    const struct kp_stream *stream; /* stored batches; NULL for results */
    const struct kp_actors *actors; /* what ACTOR columns point into; NULL without any */
    struct kp_vec *cols;
    uint32_t cols_count;
    uint32_t rows;       /* length of every vector */
    const uint16_t *sel; /* NULL = all rows */
    uint32_t sel_count;  /* valid with sel */
};

static inline uint32_t kp_batch_count(const struct kp_batch *batch)
{
    return batch->sel != NULL ? batch->sel_count : batch->rows;
}

static inline uint32_t kp_batch_row(const struct kp_batch *batch, uint32_t i)
{
    return batch->sel != NULL ? batch->sel[i] : i;
}

static inline bool kp_vec_null(const struct kp_vec *vec, uint32_t row)
{
    return vec->nulls != NULL && (vec->nulls[row >> 6] >> (row & 63) & 1) != 0;
}

static inline struct kp_str kp_vec_str(const struct kp_vec *vec, uint32_t row)
{
    return vec->dict != NULL ? vec->dict->values[vec->codes[row]] : vec->strs[row];
}

/* --- building stored batches (ingest, importers, tests) --- */

/* A growing stored batch of one stream. Strings are copied into the builder. Reused by reset. */
struct kp_builder {
    struct kp_batch batch;
    struct kp_vec cols[KP_STORED_MAX];
    struct kp_buf text; /* string bytes of this batch */
    uint32_t capacity;
    uint32_t viewed; /* rows whose strings are pointers; later ones hold offsets */
};

/* Room for capacity rows (<= KP_BATCH_ROWS_MAX) of a stream. */
kp_status kp_builder_init(struct kp_builder *builder, const struct kp_stream *stream,
                          const struct kp_actors *actors, uint32_t capacity) KP_MUST;
void kp_builder_deinit(struct kp_builder *builder);
void kp_builder_reset(struct kp_builder *builder);
static inline bool kp_builder_full(const struct kp_builder *builder)
{
    return builder->batch.rows == builder->capacity;
}
/* Starts a row with the common columns; all others are 0 or empty until set. Builder must not be
 * full. */
void kp_builder_row(struct kp_builder *builder, kp_time ts, uint64_t seq, uint32_t cpu,
                    kp_actor_id actor);
/* Sets a column (index into stored) of the row started last. */
static inline void kp_builder_i64(struct kp_builder *builder, uint32_t column, int64_t value)
{
    builder->cols[column].i64[builder->batch.rows - 1] = value;
}
kp_status kp_builder_str(struct kp_builder *builder, uint32_t column, struct kp_str value) KP_MUST;
/* The rows so far as a batch; valid until the next row or reset. Once viewed, reset before adding.
 */
const struct kp_batch *kp_builder_batch(struct kp_builder *builder);

/* --- schemas of results --- */

struct kp_field {
    struct kp_str name;
    enum kp_type type; /* never ACTOR or ENUM */
    enum kp_unit unit;
};

struct kp_schema {
    const struct kp_field *fields;
    uint32_t count;
};

/* Index of a field by name, or -1. */
int kp_schema_find(const struct kp_schema *schema, struct kp_str name);

#endif
