/* SPDX-License-Identifier: Apache-2.0
 *
 * What many rows have in common: the patterns of evaluate basket, autocluster and diffpatterns.
 */
#ifndef KP_QUERY_PATTERNS_H
#define KP_QUERY_PATTERNS_H

#include "query/plan.h"
#include "query/rowset.h"

#define KPI_SIDES 2

/* Rows as sets: per value that is frequent, a bit for each row that has it. */
struct kpi_item_rows {
    uint32_t column;
    uint32_t example; /* a row with the value */
    uint64_t *rows;
};

/* A pattern: one value for some of the columns, NULL for the others; `count` rows of each side have
 * all of them. Closed: no further value is common to all these rows. */
struct kpi_pattern {
    const struct kpi_item_rows **values; /* per column */
    uint32_t values_count;
    uint64_t count[KPI_SIDES];
    uint64_t *rows;
    uint32_t number; /* order of finding */
};

struct kpi_mine {
    struct kpi_ctx *ctx;
    struct kpi_run *run;
    struct kpi_item_rows *items; /* in order of their columns */
    uint32_t items_count, columns;
    size_t words;                  /* of a set of rows */
    const uint64_t *side;          /* rows of side 1; NULL = all are of side 0 */
    uint64_t least[KPI_SIDES];     /* rows of a side that make a pattern; one side is enough */
    struct kpi_pattern **patterns; /* found, in order of their columns */
    uint32_t count, capacity;
    struct kpi_place place;
};

/* Finds all closed patterns; false with the error set. */
bool kpi_mine_patterns(struct kpi_mine *mine);

enum kpi_patterns_kind { KPI_BASKET, KPI_AUTOCLUSTER, KPI_DIFFPATTERNS };

struct kpi_patterns {
    enum kpi_patterns_kind kind;
    struct kpi_expr *split; /* DIFFPATTERNS: which side a row is on, null = neither (long 0, 1) */
    double threshold;       /* least share of a pattern, or least difference */
    double size_weight;     /* AUTOCLUSTER */
    uint32_t *columns;      /* of the input that patterns are made of */
    uint32_t columns_count;
};
struct kpi_op *kpi_op_patterns(struct kpi_op *input, const struct kpi_patterns *patterns);

#endif
