/* SPDX-License-Identifier: Apache-2.0
 *
 * This system and its peers behind one face: open what was loaded, ask a question, get how long it
 * took and what came out, in a form that can be compared.
 */
#ifndef KP_BENCH_SYSTEM_H
#define KP_BENCH_SYSTEM_H

#include "bench/peer.h"
#include "bench/question.h"
#include "storage/storage.h"

enum kpi_system_kind { KPI_OURS, KPI_DUCK, KPI_CLICK, KPI_CLICK_TUNED, KPI_SYSTEMS };

/* Rows of an answer whatever their order. */
struct kpi_answer {
    uint64_t rows, sum;
};

struct kpi_system {
    enum kpi_system_kind kind;
    struct kp_snapshot *snapshot, *small; /* ours */
    struct kpi_peer *peer;
    struct kp_buf names; /* of numbers, as kpi_flat.names */
    unsigned threads;
};

/* Paths below `work`: each peer's database, the flat file and its names. */
void kpi_system_dir(enum kpi_system_kind kind, const char *data, const char *work, char out[400]);
/* Opens what was loaded; false with *out_why. */
bool kpi_system_open(struct kpi_system *system, enum kpi_system_kind kind, const char *data,
                     const char *work, unsigned threads, const char **out_why);
void kpi_system_close(struct kpi_system *system);
/* Asks a question one way (0 for ours), of the loaded rows or of a few only; *out_ns is the time
 * until the whole answer was there. answer NULL: it is thrown away. */
bool kpi_system_ask(struct kpi_system *system, const struct kpi_question *question, uint32_t way,
                    const struct kpi_values *values, bool small, int64_t *out_ns,
                    struct kpi_answer *answer, const char **out_why);
/* One text of this language; rows as text into out (NULL: thrown away). */
bool kpi_system_ours(struct kp_snapshot *snapshot, const char *kql, unsigned threads,
                     struct kp_buf *out, const char **out_why);

#endif
