/* SPDX-License-Identifier: Apache-2.0
 *
 * One query of the store, as every door asks it.
 */
#ifndef KP_SERVER_RUN_H
#define KP_SERVER_RUN_H

#include "query/query.h"
#include "server/recent.h"

struct kp_server;

struct kpi_run {
    struct kp_server *server;
    bool admitted; /* counts among the queries at once */
    struct kpi_recent_snapshot *held;
    struct kp_snapshot *snapshot; /* of held */
    struct kp_query *query;
    const struct kp_batch *batch; /* pulled by the opening, not taken yet */
    bool over;                    /* END was seen */
};

/* What the asker wants of a query. */
struct kpi_wish {
    kp_dur timeout; /* 0 = the server's */
    kp_dur since;   /* where the text names no time: so much of the newest data; 0 = all */
    const _Atomic bool *cancel;
};

/* Waits for its turn, parses, binds, plans and pulls the first batch: everything that makes a query
 * wrong shows here. BUSY: others took too long.
 * run is to be closed in any case. */
kp_status kpi_run_open(struct kpi_run *run, struct kp_server *server, struct kp_str text,
                       const struct kpi_wish *wish, struct kp_error *err) KP_MUST;
/* The next batch, END after the last. */
kp_status kpi_run_next(struct kpi_run *run, const struct kp_batch **out,
                       struct kp_error *err) KP_MUST;
/* What is to be said of an answer after END: the notes of the query, damage that was met, and a
 * `render` of its text, which only kpq and the page draw. */
void kpi_run_remarks(const struct kpi_run *run, struct kp_str text,
                     void (*each)(void *ctx, struct kp_str remark), void *ctx);
/* Counts the rows after END, complains of slow queries. */
void kpi_run_finish(struct kpi_run *run, struct kp_query_stat *out);
void kpi_run_close(struct kpi_run *run);

#endif
