/* SPDX-License-Identifier: Apache-2.0
 *
 * The questions of bench/queries: a text of this language (.kql) and one or more ways to say the
 * same in SQL (.sql), with places for values ($tid, $from, ...) that come from the recording.
 *
 * A .sql file begins with `-- cells WORD`: one letter a column says what stands in the peers'
 * answer: k, g, c = the number of a stream, control group, command; - = not compared (ranks that
 * ties decide, quantiles whose rules differ); anything else = as it is. `loop` after it: the answer
 * (time, thread) is asked again 20 times, each time from what was found. Each following line
 * `-- name` begins a way to ask; the fastest way with the right answer counts.
 */
#ifndef KP_BENCH_QUESTION_H
#define KP_BENCH_QUESTION_H

#include "base/str.h"
#include "base/time.h"

#define KPI_QUESTIONS 13u /* 1 to 10 as published elsewhere, then what rollups answer */
#define KPI_WAYS      3u
#define KPI_HOPS      20u

struct kpi_question {
    char kql[1024];
    struct {
        char name[16], sql[1600];
    } ways[KPI_WAYS];
    uint32_t ways_count;
    char cells[8];
    bool loop;
};

/* What the texts ask for. */
struct kpi_values {
    kp_time from, at;
    int64_t tid;
    char txn[64], comm[64];
};

/* Where a text is asked: names of tables, words that differ between dialects. */
struct kpi_dialect {
    const char *events, *txns, *wakes, *quantile;
};

/* Reads question `number` (1..KPI_QUESTIONS) from bench/queries; false: a file is missing. */
bool kpi_question_read(uint32_t number, struct kpi_question *out);
/* The text with its values, appended to out. dialect NULL: this language. since: $since. */
void kpi_question_text(const char *text, const struct kpi_values *values,
                       const struct kpi_dialect *dialect, kp_time since, struct kp_buf *out);

#endif
