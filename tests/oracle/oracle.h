/* SPDX-License-Identifier: Apache-2.0
 *
 * The query oracle: random typed queries as trees, printed in our language and in SQL, asked of
 * both engines over the same rows, and compared. A query that disagrees is made smaller as long as
 * it disagrees in the same way.
 *
 * Types are letters: L long, R real, B bool, S string, T datetime, D timespan, Y dynamic. SQL sees
 * datetimes and timespans as BIGINT nanoseconds, dynamics as their text. Every SQL relation has a
 * hidden column _o, unique, that is the order of its rows.
 */
#ifndef KP_TESTS_ORACLE_H
#define KP_TESTS_ORACLE_H

#include "base/arena.h"
#include "base/str.h"
#include "duckdb.h"
#include "storage/storage.h"

#define COLUMNS_MAX 24
#define ITEMS_MAX   4
#define STAGES_MAX  12
#define NAME_MAX    20

struct column {
    char name[NAME_MAX];
    char type;
};

struct columns {
    struct column at[COLUMNS_MAX];
    uint32_t count;
    bool ordered; /* the order of the rows is known */
};

/* A function, an operator, an aggregate or a row function: both texts have $1 .. $4 in them. */
struct form {
    char type;
    const char *args; /* upper case: any expression; c-C: a column; others: a pool of constants */
    const char *ours, *sql;
};

struct constant {
    char pool; /* a type, or a lower-case pool of its own */
    const char *ours, *sql;
};

struct node {
    char type;
    const struct form *form;         /* a call */
    const struct constant *constant; /* or a constant */
    char column[NAME_MAX];           /* or a column */
    struct node *args[ITEMS_MAX];
};

struct item {
    char name[NAME_MAX];
    struct node *node;
    bool desc, nulls_first;
};

enum stage_kind {
    STAGE_WHERE,
    STAGE_WHERE_IN,
    STAGE_EXTEND,
    STAGE_PROJECT,
    STAGE_SUMMARIZE,
    STAGE_DISTINCT,
    STAGE_SORT,
    STAGE_SORT_ALL, /* by all columns: rows that stay equal are the same */
    STAGE_TOP,
    STAGE_TAKE,
    STAGE_COUNT,
    STAGE_SERIALIZE,
    STAGE_JOIN,
    STAGE_UNION,
    STAGE_INTERVAL, /* n: a name of interval_kinds; left: the key */
    STAGE_SHAPE,    /* shape over columns key, left, right; makes columns of these names */
    STAGE_KINDS,
};

enum shape {
    SHAPE_ARG_MAX,
    SHAPE_ARG_MIN,
    SHAPE_PARTITION,
    SHAPE_NESTED,
    SHAPE_EXPAND,
    SHAPE_SERIES,
    SHAPE_KINDS,
};

struct stage {
    enum stage_kind kind;
    enum shape shape;
    char key[NAME_MAX], names[4][NAME_MAX]; /* of a shape */
    struct item items[ITEMS_MAX];           /* expressions, aggregates, sort keys */
    uint32_t items_count;
    struct item keys[ITEMS_MAX]; /* of summarize */
    uint32_t keys_count;
    uint32_t n;          /* take, top; join: a name of joins */
    bool negated;        /* !in */
    struct pipe *other;  /* join, union, in */
    char left[NAME_MAX]; /* join: key columns; in: the column */
    char right[NAME_MAX];
};

struct table {
    const char *name; /* in SQL */
    const char *ours; /* stream or let name */
    struct columns columns;
};

struct pipe {
    const struct table *table;
    struct stage *stages[STAGES_MAX];
    uint32_t count;
    bool sub; /* stands inside another */
};

/* --- data.c: rows that both engines have --- */

#define TABLES 4

struct universe {
    struct table tables[TABLES];
    struct kp_snapshot *snapshot;
    struct duck *duck;
    struct kp_buf lets; /* the table with nulls, as text */
    struct world *world;
};

/* Made-up rows from a seed, or those of the recording in dir. Ends the program when it cannot. */
void universe_make(struct universe *out, uint64_t seed);
void universe_read(struct universe *out, const char *dir);
void universe_close(struct universe *universe);

/* --- generate.c --- */

struct random {
    uint64_t state;
};
uint64_t random_next(struct random *random);
uint32_t random_below(struct random *random, uint32_t n);

/* A query over the universe, in the arena. */
struct node *generate_condition(const struct columns *columns, struct random *random,
                                struct kp_arena *arena);
struct pipe *generate(const struct universe *universe, struct random *random,
                      struct kp_arena *arena);

/* --- print.c --- */

/* Columns after the first `count` stages; false when the pipe refers to what is not there. */
bool pipe_columns(const struct pipe *pipe, uint32_t count, struct columns *out);
void print_ours(const struct universe *universe, const struct pipe *pipe, struct kp_buf *out);
void print_condition(const struct node *condition, struct kp_buf *out);
void print_sql(const struct pipe *pipe, struct kp_buf *out);
/* Statements that SQL needs once: functions with our meaning. */
extern const char *const oracle_macros[];
extern const uint32_t oracle_macros_count;
extern const char *const join_kinds[];
#define JOIN_KINDS 11

/* --- interval.c: operators on intervals of time --- */

extern const char *const interval_kinds[];
enum { INTERSECT, SUBTRACT, WITHIN, FLATTEN, COVERAGE, INTERVAL_KINDS };
const struct column *column_named(const struct columns *in, const char *name);
bool interval_columns(const struct stage *stage, const struct columns *in, struct columns *out);
void interval_sql(const struct stage *stage, const struct columns *in, uint32_t from,
                  uint32_t other, struct kp_buf *out);

/* --- shape.c: operators that choose rows within groups, or make other rows of them --- */

extern const char *const shape_types[SHAPE_KINDS]; /* that the column `left` may have */
bool shape_columns(const struct stage *stage, const struct columns *in, struct columns *out);
void shape_ours(const struct stage *stage, struct kp_buf *out);
void shape_sql(const struct stage *stage, uint32_t from, struct kp_buf *out);

/* --- compare.c --- */

enum verdict { AGREED, DIFFERS, OURS_FAILED, SQL_FAILED, WAYS_DIFFER, PROPERTY_BROKEN };

struct outcome {
    enum verdict verdict;
    size_t bytes;         /* of the answer */
    struct kp_buf detail; /* what for people; for failures the message alone */
};

/* Our answer with some ways turned off, as text; KP_END when it is whole. */
kp_status ask_ours(const struct universe *universe, const char *text, uint32_t off,
                   uint32_t threads, struct kp_buf *out, struct kp_error *err);
/* Asks both engines and one way less of ours (number `way`). */
void ask(const struct universe *universe, const struct pipe *pipe, uint32_t way,
         struct outcome *out);

/* Says the first difference of two answers in out; true when there is none. Takes both apart. */
bool same_rows(struct kp_buf *ours, struct kp_buf *theirs, bool ordered, struct kp_buf *out);

/* --- properties.c --- */

/* What must hold of any query: n rows are taken, the condition parts it. */
void ask_properties(const struct universe *universe, const struct pipe *pipe,
                    const struct node *condition, uint32_t n, struct outcome *out);

/* --- shrink.c --- */

/* Makes the pipe smaller while its verdict stays. */
void shrink(const struct universe *universe, struct pipe *pipe, uint32_t way,
            const struct outcome *outcome);

#endif
