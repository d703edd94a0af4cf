/* SPDX-License-Identifier: Apache-2.0
 *
 * The tree of a query text, as the grammar builds it: what was written, before any name is known.
 * Built by grammar/query.y through the functions below (ast.c), read by bind.c. All arena memory.
 */
#ifndef KP_QUERY_AST_H
#define KP_QUERY_AST_H

#include "query/parse.h"

enum kpi_node_kind { KPI_NODE_VALUE, KPI_NODE_NAME, KPI_NODE_CALL, KPI_NODE_STAR, KPI_NODE_TABLE };

struct kpi_pipe;

struct kpi_node {
    enum kpi_node_kind kind;
    struct kpi_place place;
    struct kp_str name;  /* column or function; operators are functions named as written */
    struct kp_str label; /* of a named argument, f(label = x); {NULL,0} when not given */
    struct kpi_value value;
    struct kpi_pipe *pipe; /* TABLE */
    bool quoted_double;
    bool parens;
    uint32_t depth;
    struct kpi_node **args;
    uint32_t args_count, args_capacity;
};

struct kpi_items {
    struct kpi_item *first, *last;
    uint32_t count;
};

/* let f = (a: long, b: string = 'x', T: (*)) { let ...; body }. A parameter that is a table has no
 * type; its default stands in `expr`. */
struct kpi_function {
    struct kpi_items params, lets;
    struct kpi_node *body;
};

/* `name = expr`, `expr desc nulls last`, a bare column pattern: whatever operators list. */
struct kpi_item {
    struct kp_str name; /* {NULL,0} when not given */
    struct kpi_place place;
    struct kpi_node *expr;
    struct kpi_pipe *pipe;         /* let name = table */
    struct kpi_function *function; /* let name = (...) { ... } */
    struct kpi_items names;        /* (name, name) = expr */
    struct kpi_node *otherwise;    /* make-series: default =; top-nested: others = */
    struct kp_str type;            /* of a parsed or expanded column; {NULL,0} when not given */
    bool ascending, nulls_first;
    bool hint; /* a parameter hint.name = value */
    struct kpi_item *next;
};

enum kpi_stage_kind {
    KPI_STAGE_WHERE,
    KPI_STAGE_PROJECT,
    KPI_STAGE_PROJECT_AWAY,
    KPI_STAGE_PROJECT_KEEP,
    KPI_STAGE_PROJECT_RENAME,
    KPI_STAGE_PROJECT_REORDER,
    KPI_STAGE_EXTEND,
    KPI_STAGE_SUMMARIZE,
    KPI_STAGE_DISTINCT,
    KPI_STAGE_COUNT,
    KPI_STAGE_SORT,
    KPI_STAGE_TOP,
    KPI_STAGE_TAKE,
    KPI_STAGE_UNION,
    KPI_STAGE_AS,
    KPI_STAGE_SERIALIZE,
    KPI_STAGE_GETSCHEMA,
    KPI_STAGE_JOIN,
    KPI_STAGE_LOOKUP,
    KPI_STAGE_ASOF_JOIN,
    KPI_STAGE_MV_EXPAND,
    KPI_STAGE_PARSE,
    KPI_STAGE_PARSE_WHERE,
    KPI_STAGE_PARSE_KV,
    KPI_STAGE_INTERSECT,
    KPI_STAGE_SUBTRACT,
    KPI_STAGE_WITHIN,
    KPI_STAGE_FLATTEN,
    KPI_STAGE_COVERAGE,
    KPI_STAGE_SELF_TIME,
    KPI_STAGE_EMIT,
    KPI_STAGE_SAMPLE,
    KPI_STAGE_SAMPLE_DISTINCT,
    KPI_STAGE_TOP_HITTERS,
    KPI_STAGE_PARTITION,
    KPI_STAGE_MV_APPLY,
    KPI_STAGE_MAKE_SERIES,
    KPI_STAGE_SCAN,
    KPI_STAGE_EVALUATE,
    KPI_STAGE_RENDER,
    KPI_STAGE_INVOKE,
    KPI_STAGE_SEARCH,
    KPI_STAGE_CONSUME,
    KPI_STAGE_PROJECT_BY_NAMES,
    KPI_STAGE_ASSERT_SCHEMA,
    KPI_STAGE_REDUCE,
    KPI_STAGE_TOP_NESTED,
};

/* One step of scan: name: condition => assignments (the stage's step items). */
struct kpi_step {
    struct kp_str name, output;
    struct kpi_place place;
    bool optional;
    struct kpi_node *condition;
    struct kpi_items assignments;
    struct kpi_step *next;
};

struct kpi_steps {
    struct kpi_step *first, *last;
    uint32_t count;
};

struct kpi_stage {
    enum kpi_stage_kind kind;
    struct kpi_place place;
    struct kpi_node *expr; /* where, search, top, take, parse, within; EMIT, render: a name */
    struct kpi_items items, by;
    struct kpi_items params; /* kind = inner and the like */
    struct kpi_pipe *pipes;  /* union; the other table of a join or an interval operator; the
                                operators of partition and mv-apply (without a source) */
    struct kpi_node *from, *to, *step; /* make-series */
    struct kpi_steps steps;            /* scan */
    struct kpi_stage *below;           /* top-nested: expr of items by by, and the next level */
    struct kpi_stage *next;
};

enum kpi_source_kind {
    KPI_SOURCE_TABLE,
    KPI_SOURCE_PRINT,
    KPI_SOURCE_RANGE,
    KPI_SOURCE_DATATABLE,
    KPI_SOURCE_UNION,
    KPI_SOURCE_CAUSES,
    KPI_SOURCE_EVIDENCE,
    KPI_SOURCE_CHAIN,
    KPI_SOURCE_BLOCKERS,
    KPI_SOURCE_EFFECTS,
    KPI_SOURCE_CULPRITS,
    KPI_SOURCE_DIFF,
    KPI_SOURCE_CALL,
    KPI_SOURCE_PATTERN,
    KPI_SOURCE_SEARCH,
    KPI_SOURCE_FIND,
    KPI_SOURCE_SHOW_TABLES,
    KPI_SOURCE_SHOW_COLUMNS,
};

/* What a verb is about: txn 98721, thread 17 between a and b. */
struct kpi_root {
    int word; /* token: TXN, THREAD, ... */
    struct kpi_place place;
    struct kp_str name;
    struct kpi_node *from, *to;
};

struct kpi_source {
    enum kpi_source_kind kind;
    struct kpi_place place;
    struct kp_str name;      /* table, range column, transaction id, what tables begin with */
    struct kpi_items items;  /* print; datatable columns (expr = NAME of the type); find: columns */
    struct kpi_items params; /* union, search, find */
    struct kpi_node *values; /* datatable cells; range: from, to, step (a CALL's args); CALL;
                                search, find: what rows must meet */
    struct kpi_pipe *pipes;  /* union; search, find: NULL = all streams */
    struct kpi_node *within, *at, *min, *last, *pick, *row, *depth;
    struct kpi_root root;      /* of a causal verb */
    struct kpi_root other;     /* DIFF: after VS */
    struct kpi_token host;     /* AT host NAME; text NULL = not given */
    struct kpi_token edges;    /* EDGES word; text NULL = not given */
    struct kpi_token oracle;   /* ORACLE word; the same */
    struct kpi_pipe *baseline; /* BASELINE (...) */
    bool baseline_none, parts;
};

struct kpi_pipe {
    struct kpi_source *source; /* NULL: operators alone */
    struct kpi_stage *first, *last;
    uint32_t count;
    struct kpi_pipe *next; /* in a union */
};

struct kpi_statement {
    bool explain, analyze;
    struct kpi_items lets;
    struct kpi_pipe *pipe;
};

/* Building. Every function takes NULL parts and gives NULL once the context failed. */

struct kpi_node *kpi_node_value(struct kpi_ctx *ctx, const struct kpi_token *token);
struct kpi_node *kpi_node_name(struct kpi_ctx *ctx, const struct kpi_token *token);
struct kpi_node *kpi_node_star(struct kpi_ctx *ctx, const struct kpi_token *token);
/* A table that stands where a value may. */
struct kpi_node *kpi_node_whole(struct kpi_ctx *ctx, struct kpi_pipe *pipe);
/* f(label = node) */
struct kpi_node *kpi_node_label(struct kpi_node *node, const struct kpi_token *label);
/* A call with up to three arguments; NULL ends them early. */
struct kpi_node *kpi_node_call(struct kpi_ctx *ctx, const struct kpi_token *name,
                               struct kpi_node *a, struct kpi_node *b, struct kpi_node *c);
/* Appends an argument; list may be NULL for a new one. */
struct kpi_node *kpi_node_append(struct kpi_ctx *ctx, struct kpi_node *list, struct kpi_node *arg);
/* Makes a list (from kpi_node_append, may be NULL) a call of that name, with `first` before it. */
struct kpi_node *kpi_node_finish(struct kpi_ctx *ctx, struct kpi_node *list,
                                 const struct kpi_token *name, struct kpi_node *first);
/* and/or: chains of one operator become one node. */
struct kpi_node *kpi_node_logic(struct kpi_ctx *ctx, const struct kpi_token *name,
                                struct kpi_node *left, struct kpi_node *right);
struct kpi_item *kpi_item_new(struct kpi_ctx *ctx, const struct kpi_token *name,
                              struct kpi_node *expr);
struct kpi_items kpi_items_add(struct kpi_items items, struct kpi_item *item);
struct kpi_stage *kpi_stage_new(struct kpi_ctx *ctx, enum kpi_stage_kind kind,
                                const struct kpi_token *word);
struct kpi_stage *kpi_stage_items(struct kpi_ctx *ctx, enum kpi_stage_kind kind,
                                  const struct kpi_token *word, struct kpi_items items);
/* The same with a table beside it and what they meet on. */
struct kpi_stage *kpi_stage_beside(struct kpi_ctx *ctx, enum kpi_stage_kind kind,
                                   const struct kpi_token *word, struct kpi_pipe *pipe,
                                   struct kpi_items items);
struct kpi_source *kpi_source_new(struct kpi_ctx *ctx, enum kpi_source_kind kind,
                                  const struct kpi_token *word, struct kp_str name);
/* A causal verb. */
struct kpi_source *kpi_source_verb(struct kpi_ctx *ctx, enum kpi_source_kind kind,
                                   const struct kpi_token *word, const struct kpi_root *root);
struct kpi_source *kpi_source_table(struct kpi_ctx *ctx, const struct kpi_token *name);
struct kpi_source *kpi_source_call(struct kpi_ctx *ctx, struct kpi_node *call);
struct kpi_function *kpi_function_new(struct kpi_ctx *ctx, struct kpi_items params,
                                      struct kpi_items lets, struct kpi_node *body);
struct kpi_step *kpi_step_new(struct kpi_ctx *ctx, const struct kpi_token *name,
                              struct kpi_node *condition, struct kpi_items assignments);
struct kpi_steps kpi_steps_add(struct kpi_steps steps, struct kpi_step *step);
struct kpi_pipe *kpi_pipe_new(struct kpi_ctx *ctx, struct kpi_source *source);
struct kpi_pipe *kpi_pipe_add(struct kpi_ctx *ctx, struct kpi_pipe *pipe, struct kpi_stage *stage);
/* Puts a pipe at the end of a union's list. */
struct kpi_pipe *kpi_pipe_join(struct kpi_pipe *list, struct kpi_pipe *pipe);

#endif
