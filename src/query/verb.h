/* SPDX-License-Identifier: Apache-2.0
 *
 * A causal verb as bound (bind_causal.c) and how it is asked of src/causal (verb.c). The operator
 * that hands its rows out is in op_rows.c.
 */
#ifndef KP_QUERY_VERB_H
#define KP_QUERY_VERB_H

#include "query/op.h"

enum kpi_verb_kind {
    KPI_VERB_CAUSES,
    KPI_VERB_EVIDENCE,
    KPI_VERB_ENABLERS, /* CAUSES OF event */
    KPI_VERB_CHAIN,
    KPI_VERB_BLOCKERS,
    KPI_VERB_EFFECTS,
    KPI_VERB_CULPRITS,
    KPI_VERB_DIFF,
    KPI_VERBS
};

struct kpi_verb {
    enum kpi_verb_kind kind;
    struct kp_causes_req req, other; /* other: B of DIFF */
    uint32_t row;                    /* EVIDENCE; 0 = all */
    kp_time instant;                 /* CHAIN */
    /* tables of transactions: A and B of CULPRITS, the baseline of the others */
    struct kpi_op *inputs[2];
    uint32_t inputs_count;
    struct kp_txn_set baseline; /* read when the verb is opened */
};

const char *kpi_verb_name(enum kpi_verb_kind kind);
const struct kp_schema *kpi_verb_schema(enum kpi_verb_kind kind);
/* Reads the tables of transactions and opens the answer. The verb keeps their ids. */
kp_status kpi_verb_open(struct kpi_run *run, struct kpi_verb *verb, struct kp_rows **out);
void kpi_verb_describe(const struct kpi_verb *verb, struct kp_buf *out);
/* Marks the columns that are read of the tables of transactions. */
void kpi_verb_need(const struct kpi_verb *verb);

#endif
