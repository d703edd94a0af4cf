/* SPDX-License-Identifier: Apache-2.0
 *
 * Operators: each pulls batches from the one below and gives batches above. bind.c makes the chain,
 * plan.c moves conditions, keys and columns down into the sources, exec.c pulls.
 *
 * Columns that nobody above needs are not filled: op->need[i] says which of op->schema are; the
 * others are vectors without values. A batch is valid until the next call on the same operator.
 */
#ifndef KP_QUERY_OP_H
#define KP_QUERY_OP_H

#include "causal/causal.h"
#include "query/ast.h"
#include "query/expr.h"

struct kpi_op;
struct kpi_worker;

#define KPI_THREADS_MAX 64u

/* One running query, seen by its operators. */
struct kpi_run {
    struct kpi_ctx ctx;
    struct kp_arena arena;
    struct kp_stop stop;          /* of the arena: for what works long without pulling */
    struct kp_snapshot *snapshot; /* NULL: statements without data only */
    struct kp_query_opts opts;
    int64_t deadline; /* monotonic ns; 0 = none */
    struct kp_query_stat stat;
    kp_time from, to;            /* time the query looks at; from > to = no stored rows read */
    bool streams[KP_STREAM_MAX]; /* streams it reads */
    struct kp_str *notes;
    uint32_t notes_count, notes_capacity;
    struct kpi_op *root;                  /* the planned tree */
    struct kpi_worker *workers;           /* made for it (worker.h) */
    uint32_t threads_used;                /* most that worked at once, for explain ... */
    kp_dur threads_busy[KPI_THREADS_MAX]; /* ... and for how long each of them */
};

/* A condition `column in (values)` or a bound on a column: part of an `and` above a source. */
struct kpi_push {
    uint32_t column;
    char op; /* '=' one of values, '<' at most, '>' at least (inclusive) */
    const struct kpi_value *values;
    uint32_t count;
};

/* Time a source looks at, and whether a condition said so. */
struct kpi_bounds {
    kp_time from, to;
    bool set;
};

/* What sources over stored data can do beside giving rows. */
struct kpi_source_class {
    /* True when the source applies the condition exactly, so that the filter can forget it. */
    bool (*push)(struct kpi_op *op, const struct kpi_push *push);
    /* Gives rows newest first from now on; false when it cannot. May be NULL. */
    bool (*descend)(struct kpi_op *op);
    struct kpi_bounds *(*bounds)(struct kpi_op *op);
    /* The values that a column can have, by index; empty past the last, and for a column that can
     * have any. One that ends with "(" stands for all that begin so. */
    struct kp_str (*value)(const struct kpi_op *op, uint32_t column, uint32_t index);
    /* From now on the order of rows does not matter. May be NULL: then it makes no difference. */
    void (*unorder)(struct kpi_op *op);
    /* Stored rows of a lane (stream) before conditions, 0 when none is wanted, and its kind;
     * UINT64_MAX past the last lane. NULL when the source cannot be read in windows. */
    uint64_t (*lane)(const struct kpi_op *op, uint32_t lane, struct kp_str *out_kind);
    /* Cuts what it reads into windows of time, as kp_scan_split does. */
    kp_status (*split)(struct kpi_op *op, uint32_t parts, kp_time *out_from, uint32_t *out_count);
    /* Reads [from, to] of it next, each lane; the source is open. */
    kp_status (*window)(struct kpi_op *op, kp_time from, kp_time to);
    /* True when no condition but those on time was pushed. */
    bool (*all)(const struct kpi_op *op);
    /* The stream it reads, which may be kp_stream_events(). */
    const struct kp_stream *(*stream)(const struct kpi_op *op);
    /* The request of a kp_scan_tally over its rows in [from, to]; false when there is none. NULL
     * like stream. */
    bool (*tally)(struct kpi_op *op, kp_time from, kp_time to, struct kp_scan_req *out);
    /* Leaves out from now on what rollups answer for its bounds; false when conditions forbid it.
     * NULL like stream. */
    bool (*roll)(struct kpi_op *op);
    /* One line for each step of its reading, for explain analyze; false: there are no more. May be
     * NULL. */
    bool (*step)(const struct kpi_op *op, uint32_t number, struct kp_buf *out, uint64_t *out_rows);
};

struct kpi_op_class {
    const char *name;
    /* Before the first next; allocates what it needs. May be NULL. */
    kp_status (*open)(struct kpi_op *op);
    kp_status (*next)(struct kpi_op *op, const struct kp_batch **out);
    void (*close)(struct kpi_op *op); /* may be NULL */
    /* Marks in op->input->need what this operator reads for op->need. NULL = the same columns. */
    void (*need)(struct kpi_op *op);
    /* One line for explain; may be NULL. */
    void (*describe)(const struct kpi_op *op, struct kp_buf *out);
    const struct kpi_source_class *source; /* NULL for everything else */
};

struct kpi_op {
    const struct kpi_op_class *class;
    struct kpi_run *run;
    struct kpi_op *input; /* NULL for sources and for operators with several inputs */
    bool sides;           /* several inputs: this is a struct kpi_sides_op */
    struct kp_schema schema;
    bool *need;
    struct kpi_eval eval;
    struct kpi_place place;
    const char *word;    /* what the user wrote for it; NULL = the name of its class */
    uint32_t ordered_by; /* 1 + the datetime column that rows of a scan are in order of; 0 = none */
    uint64_t rows_out, batches;
    kp_dur busy; /* ns spent in it and below */
};

/* A new operator of `size` bytes (struct kpi_op first) with room for `fields` columns. */
struct kpi_op *kpi_op_new(struct kpi_run *run, const struct kpi_op_class *class, size_t size,
                          struct kpi_op *input, uint32_t fields);
struct kp_field *kpi_op_fields(struct kpi_op *op);
/* What a user knows it as, for errors. */
const char *kpi_op_word(const struct kpi_op *op);
/* Pulls one batch: minds cancel, deadline and accounting. END at the end. */
kp_status kpi_op_next(struct kpi_op *op, const struct kp_batch **out);
/* The error of a cancelled or late query; for loops that pull nothing. */
kp_status kpi_run_check(struct kpi_run *run);
/* Lets whoever has the run's arena ask the same; the run stays where it is. */
void kpi_run_stoppable(struct kpi_run *run);
/* A batch of op's columns with nothing in them. */
bool kpi_op_batch(struct kpi_op *op, struct kp_batch *out);
void kpi_note(struct kpi_run *run, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* --- sources --- */

/* A stored stream; `events` is stream NULL (op_events.c). */
struct kpi_op *kpi_op_scan(struct kpi_run *run, const struct kp_stream *stream);
struct kpi_op *kpi_op_events(struct kpi_run *run);
/* Answers of src/causal: verbs and derived tables (op_rows.c). */
struct kpi_verb;
struct kpi_op *kpi_op_verb(struct kpi_run *run, const struct kpi_verb *verb);
struct kpi_op *kpi_op_derived(struct kpi_run *run, struct kp_str name);
/* Rows made by hand (op_values.c): add cell by cell in row order. */
struct kpi_op *kpi_op_values(struct kpi_run *run, const char *name, const struct kp_field *fields,
                             uint32_t count);
bool kpi_op_values_add(struct kpi_op *op, struct kpi_value value);
struct kpi_op *kpi_op_range(struct kpi_run *run, const struct kp_field *field,
                            struct kpi_value from, struct kpi_value to, struct kpi_value step);

/* --- operators --- */

struct kpi_op *kpi_op_filter(struct kpi_op *input, struct kpi_expr *condition);
/* One expression for each field of the answer. word: what the user wrote, for explain. */
struct kpi_op *kpi_op_project(struct kpi_op *input, const char *word, const struct kp_field *fields,
                              struct kpi_expr **exprs, uint32_t count);
/* What column i of a projection computes; NULL when op is another operator. */
const struct kpi_expr *kpi_project_expr(const struct kpi_op *op, uint32_t i);
struct kpi_op *kpi_op_limit(struct kpi_op *input, uint64_t rows_max);
struct kpi_op *kpi_op_union(struct kpi_run *run, struct kpi_op **inputs, uint32_t inputs_count,
                            const struct kp_schema *schema);

struct kpi_sort_key {
    struct kpi_expr *expr;
    bool ascending, nulls_first;
};
/* limit 0 = all rows, else the first of the order. */
struct kpi_op *kpi_op_sort(struct kpi_op *input, const struct kpi_sort_key *keys, uint32_t count,
                           uint64_t limit);

#endif
