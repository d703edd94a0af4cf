/* SPDX-License-Identifier: Apache-2.0
 *
 * Spans on the kernel's clock with their threads (clock.c, span.c), and the transaction of an id
 * (txn.c).
 */
#ifndef KP_CAUSAL_SPAN_H
#define KP_CAUSAL_SPAN_H

#include "causal/causal.h"
#include "causal/world.h"

kp_status kpi_clocks_load(struct kpi_world *world, kp_time from, kp_time to,
                          struct kp_error *err) KP_MUST;
/* Puts all hosts on the clock of one of them; without anchors, or a name, each keeps its own. */
void kpi_clocks_align(struct kpi_world *world, struct kp_str axis);
/* Stamp on the world's axis of a wall-clock stamp of a host. *out_bound < 0: no anchor, stamp taken
 * as it is. */
kp_time kpi_clock_map(const struct kpi_world *world, uint32_t host, kp_time wall,
                      kp_dur *out_bound);

/* Adds the spans of [from, to] (ts) whose trace is one of traces (0 = any), without duplicates. */
kp_status kpi_spans_load(struct kpi_world *world, kp_time from, kp_time to,
                         const struct kp_str *traces, uint32_t traces_count,
                         struct kp_error *err) KP_MUST;
/* Sorts, drops duplicates, maps stamps, finds parents and threads. Once, after all loads. */
void kpi_spans_finish(struct kpi_world *world);
/* Reads spans into a loaded world. Traces: those of the transactions to walk. */
kp_status kpi_world_spans(struct kpi_world *world, const struct kp_str *traces,
                          uint32_t traces_count, kp_time from, kp_time to,
                          struct kp_error *err) KP_MUST;
/* Index of a span by (trace, id), or KPI_NONE. */
uint32_t kpi_span_find(const struct kpi_world *world, struct kp_str trace, struct kp_str id);

/* The spans that are bound to the thread, by where they begin. */
const struct kpi_thread_span *kpi_spans_of(const struct kpi_world *world, uint32_t thread,
                                           uint32_t *out_count);
/* Innermost span bound to the thread that covers t (KPI_NONE); of this trace when given. */
uint32_t kpi_span_at(const struct kpi_world *world, uint32_t thread, kp_time t,
                     const struct kp_str *trace);

/* ---------- transactions (txn.c) ---------- */

struct kpi_txn {
    struct kp_str id, trace, root_id, service, name, status_msg;
    kp_time from, to; /* wall clock until the world maps it */
    uint8_t status;
    kp_actor_id actor;
    kp_time last; /* end of its last span */
    uint32_t spans_count;
    uint32_t orphans; /* spans whose parent is missing, beside the root */
};

/* The one transaction a request means. */
kp_status kpi_txn_find(struct kpi_reader *reader, const struct kp_causes_req *req,
                       struct kp_arena *arena, struct kpi_txn *out, struct kp_error *err) KP_MUST;

/* A span by its id, as a transaction whose root it is. */
kp_status kpi_txn_of_span(struct kpi_reader *reader, const struct kp_causes_req *req,
                          struct kp_arena *arena, struct kpi_txn *out,
                          struct kp_error *err) KP_MUST;

/* Name of its status as column status shows it. */
struct kp_str kpi_txn_status(const struct kpi_txn *txn);
/* All transactions of the ids of a set, or all that meet its time (ids NULL), in order of start. */
kp_status kpi_txns_find(struct kpi_reader *reader, const struct kp_txn_set *set,
                        struct kp_arena *arena, struct kpi_txn **out, uint32_t *out_count,
                        struct kp_error *err) KP_MUST;

#endif
