/* SPDX-License-Identifier: Apache-2.0
 *
 * Slices summed into the rows of an answer (cause.c), what is unusual about them (baseline.c,
 * rank.c), and what is told beside them (remark.c, evidence.c).
 */
#ifndef KP_CAUSAL_CAUSE_H
#define KP_CAUSAL_CAUSE_H

#include "causal/table.h"
#include "causal/walk.h"

#define KPI_CAUSE_REFS 200 /* events kept for EVIDENCE OF one row */

/* A row behind a cause: of a stretch itself, or of an edge that the walk took to it. */
struct kpi_ref_node {
    struct kpi_ref ref;
    enum kpi_rule rule;
    enum kpi_strength strength;
    kp_dur gap, skew;
    struct kpi_ref_node *next;
};

/* All slices of one (kind, culprit process, object, victim thread, span name). */
struct kpi_cause {
    struct kpi_slice largest;
    kp_time start; /* of the first slice */
    kp_dur dur, weak, gap, idle_elsewhere, skew;
    kp_dur excess; /* valid when there is a baseline */
    bool root;
    bool timeout;
    uint32_t slices;
    uint32_t order; /* of first appearance */
    struct kp_str object_class;
    struct kpi_ref_node *refs, *refs_last;
    uint32_t refs_count;
    struct kpi_ref last_edge; /* of the stretch kept last */
    uint32_t rank;            /* 1 = first; set by kpi_rank */
    struct kp_str because;    /* why the occupant of its CPU was running (DEPTH) */
    struct kpi_cause *next;   /* in the hash chain */
};

#define KPI_CAUSE_SLOTS 512

struct kpi_causes {
    struct kp_arena *arena;
    const struct kpi_world *world;
    struct kpi_list list; /* struct kpi_cause * */
    struct kpi_cause *slots[KPI_CAUSE_SLOTS];
    kp_dur wall;
    bool keep_refs;
};

void kpi_causes_init(struct kpi_causes *causes, struct kp_arena *arena,
                     const struct kpi_world *world, bool keep_refs);
/* An emit function: ctx is the struct kpi_causes. */
void kpi_causes_add(void *ctx, const struct kpi_slice *slice);
/* The same; the row the slice went to, NULL when out of memory. */
struct kpi_cause *kpi_causes_put(struct kpi_causes *causes, const struct kpi_slice *slice);
static inline struct kpi_cause *kpi_cause_at(const struct kpi_causes *causes, uint32_t i)
{
    return *(struct kpi_cause **)kpi_list_at(&causes->list, i);
}
/* Process of a culprit, or its thread where the process is not known; 0 = nobody. */
uint64_t kpi_culprit_key(const struct kpi_world *world, const struct kpi_slice *slice);
/* A name without the number that tells workers of a pool apart. */
struct kp_str kpi_pool_name(struct kp_str comm);
/* True when there is somebody or something to name. */
bool kpi_cause_named(const struct kpi_cause *cause);
/* Strong unless more than a tenth of the row's time is weak. */
const char *kpi_cause_strength(const struct kpi_cause *cause);

/* One (kind, object class, rule) of a class of transactions. */
struct kpi_norm {
    enum kpi_kind kind;
    enum kpi_rule rule;
    struct kp_str object_class;
    kp_dur median;
};

struct kpi_baseline {
    uint32_t used; /* transactions compared with; 0 = none */
    kp_dur wall_median, wall_p95;
    struct kpi_norm *norms;
    uint32_t norms_count;
};

kp_status kpi_baseline_make(struct kpi_reader *reader, const struct kp_causes_req *req,
                            const struct kpi_txn *txn, struct kp_arena *arena,
                            struct kpi_baseline *out, struct kp_error *err) KP_MUST;
/* Why there is a root, or none. */
enum kpi_verdict {
    KPI_VERDICT_ROOT,
    KPI_VERDICT_NOT_SLOW,    /* within what its class usually takes */
    KPI_VERDICT_UNEXPLAINED, /* most of the excess has no cause that can be named */
    KPI_VERDICT_SPREAD,      /* no single cause is large enough */
};
/* Gives every cause its excess, sorts them and marks the root. NULL when out of memory. */
struct kpi_cause **kpi_rank(struct kpi_causes *causes, const struct kpi_baseline *baseline,
                            bool failed, enum kpi_verdict *out_verdict);

/* A stretch of the answer and the row it is a part of (PARTS). */
struct kpi_part {
    struct kpi_slice slice;
    struct kpi_cause *cause;
};

/* Everything one answer is made from. */
struct kpi_answer {
    const struct kp_causes_req *req;
    struct kpi_txn txn;        /* id empty: the root is no transaction */
    struct kpi_txn wall_clock; /* before its stamps were mapped */
    struct kpi_world *world;
    uint32_t root;   /* span; KPI_NONE when the root is a thread or a wait */
    uint32_t thread; /* that is explained */
    kp_time from, to;
    struct kpi_causes causes;
    struct kpi_list parts; /* struct kpi_part; filled when req->parts */
    struct kpi_baseline baseline;
    enum kpi_verdict verdict;
    struct kpi_cause **ranked;
    /* sees every slice while its frame lives; may be NULL */
    void (*watch)(void *ctx, const struct kpi_slice *slice);
    void *watch_ctx;
};

/* Finds what the request is about and reads the world around it (root.c). */
kp_status kpi_root_open(struct kpi_reader *reader, const struct kp_causes_req *req,
                        struct kp_arena *arena, struct kpi_answer *answer,
                        struct kp_error *err) KP_MUST;
/* Walks the root of an opened answer into its causes (root.c). */
kp_status kpi_root_walk(struct kpi_answer *answer, struct kp_arena *arena,
                        struct kp_error *err) KP_MUST;
/* Both, of no more rows of the range than the answer depends on (root.c). */
kp_status kpi_root_explain(struct kpi_reader *reader, const struct kp_causes_req *req,
                           struct kp_arena *arena, struct kpi_answer *answer,
                           struct kp_error *err) KP_MUST;
/* Root, walk, baseline and ranking (answer.c). */
kp_status kpi_answer_make(struct kpi_reader *reader, const struct kp_causes_req *req,
                          struct kp_arena *arena, struct kpi_answer **out,
                          struct kp_error *err) KP_MUST;
/* Words of a slice's columns (answer.c). */
struct kp_str kpi_kind_text(struct kp_arena *arena, const struct kpi_slice *slice);

/* A recorded row by its "host/cpu/seq" (enablers.c). */
struct kpi_place_of {
    struct kp_str host;
    uint32_t cpu;
    uint64_t seq;
    uint8_t stream;
    kp_time ts, start; /* start: ts less its dur where it has one */
};
kp_status kpi_event_find(struct kpi_reader *reader, const struct kp_causes_req *req,
                         struct kp_arena *arena, struct kpi_place_of *out,
                         struct kp_error *err) KP_MUST;
/* Index of that row among the switches and wakeups of a world, or KPI_NONE. */
uint32_t kpi_event_index(const struct kpi_world *world, const struct kpi_place_of *place);

/* The remarks above an answer (remark.c). */
kp_status kpi_remarks_add(const struct kpi_answer *answer, const struct kp_causes_req *req,
                          struct kp_rows *rows, struct kp_error *err) KP_MUST;
/* EVIDENCE rows of answer's row (0 = all) (evidence.c). */
kp_status kpi_evidence_rows(const struct kpi_answer *answer, uint32_t row, struct kp_arena *arena,
                            struct kp_rows **out, struct kp_error *err) KP_MUST;
/* A row behind a slice in words. */
struct kp_str kpi_ref_what(const struct kpi_world *world, const struct kpi_ref *ref,
                           struct kp_arena *arena);
/* "host/cpu/seq" of a row behind a slice. */
struct kp_str kpi_ref_text(const struct kpi_world *world, const struct kpi_ref *ref,
                           struct kp_arena *arena);

#endif
