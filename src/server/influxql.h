/* SPDX-License-Identifier: Apache-2.0
 *
 * What InfluxDB's clients ask, as queries of our language. Statements of ours pass untouched, but
 * for the WHERE that Grafana hangs behind them; SHOW and SELECT, as Grafana's editor writes them,
 * are translated: streams are measurements, text and ids are tags, everything else is a field.
 */
#ifndef KP_SERVER_INFLUXQL_H
#define KP_SERVER_INFLUXQL_H

#include "column/catalogue.h"

#define KPI_NAME_MAX 64

enum kpi_fill { KPI_FILL_NONE, KPI_FILL_NULL, KPI_FILL_VALUE, KPI_FILL_PREVIOUS, KPI_FILL_LINEAR };

/* A query and how its rows become series. */
struct kpi_inquiry {
    struct kp_buf text;       /* in our language */
    char name[KPI_NAME_MAX];  /* of the series */
    bool ours;                /* not translated: ts_ns is added */
    bool named;               /* the first column is the name of the series */
    uint32_t tags;            /* columns after the time that are tags */
    uint64_t limit, offset;   /* rows of each series; limit 0 = all */
    uint64_t slimit, soffset; /* series */
    kp_dur step;              /* distance of the rows that fill makes, 0 = no filling */
    kp_dur step_offset;       /* where steps begin, since 1970 */
    bool descending;          /* rows come newest first */
    enum kpi_fill fill;
    char fill_value[32];   /* VALUE: a number as it was written */
    uint64_t counts;       /* bit n: value n is a count, which is 0 where there is nothing */
    bool has_from, has_to; /* bounds of time in WHERE, both inclusive */
    kp_time from, to;
};

/* INVALID or UNSUPPORTED with a sentence that names the word. out is deinitialised by the caller
 * (its text) also after a failure. */
kp_status kpi_influxql(struct kp_str text, struct kpi_inquiry *out, struct kp_error *err) KP_MUST;

/* Where the first statement of a text ends: at the ; behind it, or with the text. */
uint32_t kpi_influxql_end(struct kp_str text);

/* --- influxql.c to influxql_select.c and influxql_where.c --- */

enum kpi_iq_kind {
    KPI_IQ_END,
    KPI_IQ_WORD,
    KPI_IQ_NAME, /* "quoted" */
    KPI_IQ_TEXT, /* 'quoted' */
    KPI_IQ_NUMBER,
    KPI_IQ_REGEX, /* between slashes */
    KPI_IQ_SIGN
};

struct kpi_iq_token {
    enum kpi_iq_kind kind;
    struct kp_str text; /* without quotes or slashes */
    uint32_t at, end;   /* bytes in the statement */
};

struct kpi_iq {
    struct kp_str text;
    struct kpi_iq_token token; /* the current one */
    bool value_next;           /* a slash begins a regular expression here */
    const char *time;          /* column that "time" means; NULL = our language knows */
    int depth;                 /* open brackets of a condition */
    bool either;               /* an OR outside of them: the bounds below bind nothing */
    bool has_from, has_to;     /* bounds of time in the condition, both inclusive */
    kp_time from, to;
    struct kp_error *err;
};

void kpi_iq_init(struct kpi_iq *iq, struct kp_str text, struct kp_error *err);
void kpi_iq_next(struct kpi_iq *iq);
/* The current token is this word, in any case (or this sign). */
bool kpi_iq_is(const struct kpi_iq *iq, const char *word);
/* Takes it when it is. */
bool kpi_iq_take(struct kpi_iq *iq, const char *word);
/* An error that points at the current token. */
kp_status kpi_iq_fail(struct kpi_iq *iq, kp_status code, const char *what);
/* A name, quoted or not, with ::tag or ::field behind it. */
kp_status kpi_iq_name(struct kpi_iq *iq, struct kp_str *out) KP_MUST;
/* What FROM names: "db"."rp"."m", or the measurements that match /^(a|b)$/. */
#define KPI_MEASUREMENTS_MAX 64
struct kpi_iq_from {
    struct kp_str names[KPI_MEASUREMENTS_MAX];
    uint32_t count;
};
kp_status kpi_iq_from(struct kpi_iq *iq, struct kpi_iq_from *out) KP_MUST;
/* Adds ['name']. */
void kpi_iq_add_name(struct kp_buf *out, struct kp_str name);
/* Adds 'text'. */
void kpi_iq_add_text(struct kp_buf *out, struct kp_str text);
/* A condition up to its end, one of GROUP ORDER LIMIT FILL |, or the end, as ours. */
kp_status kpi_iq_where(struct kpi_iq *iq, struct kp_buf *out) KP_MUST;
/* A duration, as 10s, 5u or 1w; false: none. */
bool kpi_iq_duration(struct kpi_iq *iq, kp_dur *out);
/* A number of rows or series behind LIMIT and the like. */
kp_status kpi_iq_count(struct kpi_iq *iq, uint64_t *out) KP_MUST;
/* The current /regular expression/ as a condition on name. */
kp_status kpi_iq_regex(struct kpi_iq *iq, struct kp_str name, bool negative,
                       struct kp_buf *out) KP_MUST;
/* Whether a name matches the current /regular expression/, which must be one of names. */
kp_status kpi_iq_matches(struct kpi_iq *iq, struct kp_str name, bool *out) KP_MUST;
kp_status kpi_iq_select(struct kpi_iq *iq, struct kpi_inquiry *out) KP_MUST;

#endif
