/* SPDX-License-Identifier: Apache-2.0
 *
 * A SELECT between its two halves: influxql_select.c reads it, influxql_write.c writes it in our
 * language.
 */
#ifndef KP_SERVER_INFLUXQL_SELECT_H
#define KP_SERVER_INFLUXQL_SELECT_H

#include "server/influxql.h"

#define KPI_ITEMS_MAX 32
#define KPI_TAGS_MAX  16

struct kpi_item {
    struct kp_str field;
    struct kp_str function; /* empty: the column itself */
    struct kp_str argument; /* of percentile */
    struct kp_str math;     /* "* 2" behind it, or empty */
    struct kp_str change;   /* derivative and its like around it, or empty */
    kp_dur unit;            /* of change; 0 = its default */
    uint64_t rows;          /* of moving_average, top, bottom */
    bool distinct;          /* count(distinct(field)) */
    char name[KPI_NAME_MAX];
};

struct kpi_select {
    struct kpi_iq *iq;
    struct kpi_item items[KPI_ITEMS_MAX];
    uint32_t items_count;
    bool all, aggregates, changes, picks;
    struct kp_str from;
    struct kp_buf where;
    struct kp_str tags[KPI_TAGS_MAX];
    uint32_t tags_count;
    kp_dur step, offset;
    bool descending;
};

/* Ours for an aggregate, with %s for the column; NULL for first and last, and for what is none. */
const char *kpi_iq_function(struct kp_str name, bool *out_known);
/* distinct, mode, top, bottom: they give rows, not a value of many; each stands alone. */
bool kpi_iq_is_pick(struct kp_str name);
/* The statement in our language, and what its rows become. */
void kpi_iq_write(struct kpi_select *select, struct kpi_inquiry *out);

#endif
