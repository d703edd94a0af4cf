/* SPDX-License-Identifier: Apache-2.0
 *
 * Workers: a query of one's own over the same text, so that a part of the work can be done on
 * another thread. A worker has its own arena, context and operators, made by the same binder and
 * planner; nothing but the snapshot is shared. Its twin of an operator is the one at the same place
 * of the same tree.
 */
#ifndef KP_QUERY_WORKER_H
#define KP_QUERY_WORKER_H

#include "query/op.h"

struct kpi_worker {
    struct kpi_run run;
    struct kp_error err;
    struct kpi_op *twin;
    struct kpi_worker *next; /* of a run's workers: they live as long as its arena */
};

/* A worker for `op`, with its twin not opened; NULL when there is none or no memory. It may use
 * 1/share of the bytes that the run has left. It lives until it is closed, at the latest with
 * the query. */
struct kpi_worker *kpi_worker_new(struct kpi_op *op, uint32_t share);
/* Frees one of them, or all. */
void kpi_worker_close(struct kpi_run *run, struct kpi_worker *worker);
void kpi_workers_close(struct kpi_run *run);
/* Adds a worker's figures to those of its run and of the operators from `op` down to the source. */
void kpi_worker_account(struct kpi_worker *worker, struct kpi_op *op);
/* Threads the run may use, at least one. */
uint32_t kpi_run_threads(const struct kpi_run *run);
/* Opens, and closes, an operator and what is below it. */
kp_status kpi_tree_open(struct kpi_op *op);
void kpi_tree_close(struct kpi_op *op);

#endif
