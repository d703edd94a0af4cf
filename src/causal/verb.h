/* SPDX-License-Identifier: Apache-2.0
 *
 * What can be asked of the causal engine: the question about one root, and the verbs that ask
 * about several. Part of causal.h.
 */
#ifndef KP_CAUSAL_VERB_H
#define KP_CAUSAL_VERB_H

#include "base/arena.h"
#include "column/batch.h"
#include "storage/storage.h"

struct kp_rows;

/* What a question is about. */
enum kp_root_kind {
    KP_ROOT_TXN,     /* name: id as stored in spans.txn */
    KP_ROOT_SPAN,    /* name: span id */
    KP_ROOT_THREAD,  /* number: tid, or name: comm; from, to */
    KP_ROOT_PROCESS, /* number: pid, or name: comm; EFFECTS only */
    KP_ROOT_WAIT,  /* name: host/cpu/seq of the switch that began it or the wakeup that ended it */
    KP_ROOT_EVENT, /* name: host/cpu/seq */
    KP_ROOT_IO,    /* name: host/cpu/seq of a block request; EFFECTS only */
};

/* Whose rules the walk keeps to: ours, or those that another tool has published. */
enum kp_oracle {
    KP_ORACLE_NONE,
#define KP_ORACLE(ID, name, text) KP_ORACLE_##ID,
#include "causal/oracle.def"
#undef KP_ORACLE
    KP_ORACLES
};
/* Its word in a query and what it concludes from; empty for KP_ORACLE_NONE. */
const char *kp_oracle_name(enum kp_oracle oracle);
const char *kp_oracle_text(enum kp_oracle oracle);

/* Several transactions: ids (repeats count once), and the time their spans lie in. */
struct kp_txn_set {
    const struct kp_str *ids;
    uint32_t count;
    kp_time from, to; /* wall clock of their spans; KP_TIME_MIN, KP_TIME_MAX = not known */
};

struct kp_causes_req {
    struct kp_str txn;  /* transaction id, or the name of another root */
    kp_dur within;      /* lookback for explaining causes before the start; < 0 = default 2 s */
    kp_dur min;         /* shorter rows are hidden and told of in a note; 0 = all */
    uint32_t pick;      /* 1-based choice among several transactions of this id; 0 = must be one */
    kp_time at;         /* or the one that covers this instant; KP_TIME_MIN = unused */
    bool baseline_none; /* BASELINE none */
    kp_dur baseline_last;              /* BASELINE LAST d; 0 = default rule */
    const struct kp_txn_set *baseline; /* BASELINE (table); NULL = default rule */
    enum kp_root_kind root;
    int64_t number;        /* thread or process number; 0 = by name */
    kp_time from, to;      /* BETWEEN, kernel stamps; from > to = not given */
    struct kp_str host;    /* AT host: where the root ran; empty = anywhere */
    uint32_t depth;        /* how far the occupants of a CPU are explained; 0, 1 = not */
    bool strong;           /* EDGES strong: what only weak edges lead to is unknown(weak-edge) */
    bool parts;            /* PARTS: a row for each stretch of time, in its order */
    bool eager;            /* oracle runs: read all of the window before the walk */
    bool evidence;         /* keep every row behind the answer's, for EVIDENCE OF */
    enum kp_oracle oracle; /* by the rules of another tool: no baseline, nothing strong */
    uint32_t threads;      /* that may walk a baseline; 0 = one per CPU */
};

/* One verb over one root. NOT_FOUND names what was searched and what is near. */

/* CAUSES OF event: the events that made it possible, newest first. */
kp_status kp_enablers_open(struct kp_snapshot *snapshot, const struct kp_causes_req *req,
                           struct kp_arena *arena, struct kp_rows **out,
                           struct kp_error *err) KP_MUST;
/* CHAIN OF root AT instant: who waited for whom at that nanosecond, root first. */
kp_status kp_chain_open(struct kp_snapshot *snapshot, const struct kp_causes_req *req,
                        kp_time instant, struct kp_arena *arena, struct kp_rows **out,
                        struct kp_error *err) KP_MUST;
/* BLOCKERS OF root: its causes summed by who is behind them and how it is reached. */
kp_status kp_blockers_open(struct kp_snapshot *snapshot, const struct kp_causes_req *req,
                           struct kp_arena *arena, struct kp_rows **out,
                           struct kp_error *err) KP_MUST;
/* EFFECTS OF event, io, thread or process: the transactions that lost time to it. */
kp_status kp_effects_open(struct kp_snapshot *snapshot, const struct kp_causes_req *req,
                          struct kp_arena *arena, struct kp_rows **out,
                          struct kp_error *err) KP_MUST;

/* CULPRITS OF (a) [VS (b)]: mean time per cause over the transactions of a less that over b; b NULL
 * = nothing to take off. The intervals are bootstrapped from a fixed seed. */
kp_status kp_culprits_open(struct kp_snapshot *snapshot, const struct kp_txn_set *a,
                           const struct kp_txn_set *b, struct kp_arena *arena, struct kp_rows **out,
                           struct kp_error *err) KP_MUST;
/* DIFF CAUSES OF a VS b: both partitions aligned by span path, kind and object class. */
kp_status kp_diff_open(struct kp_snapshot *snapshot, const struct kp_causes_req *a,
                       const struct kp_causes_req *b, struct kp_arena *arena, struct kp_rows **out,
                       struct kp_error *err) KP_MUST;

const struct kp_schema *kp_enablers_schema(void);
const struct kp_schema *kp_chain_schema(void);
const struct kp_schema *kp_blockers_schema(void);
const struct kp_schema *kp_effects_schema(void);
const struct kp_schema *kp_culprits_schema(void);
const struct kp_schema *kp_diff_schema(void);

#endif
