/* SPDX-License-Identifier: Apache-2.0
 *
 * One target (a data directory or the URL of a kpd) and how its answers are shown: statements in,
 * text out, exit code back. Used by `kpq DIR -c ...` and by the shell.
 */
#ifndef KP_TOOLS_SESSION_H
#define KP_TOOLS_SESSION_H

#include <stdatomic.h>

#include "base/status.h"
#include "opts.h"
#include "render/render.h"
#include "watch.h"

struct kpi_session {
    const char *target;
    bool remote;
    bool interactive; /* the shell: pager, timing line, notes stay on stdout */
    bool timing;
    bool quiet; /* no remarks */
    enum kp_format format;
    kp_dur timeout;      /* 0 = none */
    kp_dur since;        /* so much of the newest data, where no time is named; 0 = all */
    uint64_t memory;     /* bytes of one query */
    uint32_t threads;    /* of one query; 0 = one a processor */
    struct kp_term term; /* of stdout */
    bool raw, local;     /* wishes for it */
    FILE *out;           /* answers go here; NULL = stdout */
    enum kpi_watch_when progress;
    struct kpi_watch watch; /* over the running statement */
};

/* What an answer cost, and what was wrong with the data it came from. */
struct kpi_outcome {
    uint64_t rows, rows_read;
    kp_dur elapsed;
    uint64_t damaged; /* places skipped */
    char damage[256]; /* the first of them */
    bool empty_store;
};

/* Set by Ctrl-C; a running query ends with CANCELLED. */
extern _Atomic bool kpi_cancel;
/* Makes Ctrl-C set kpi_cancel. hard: a second one ends the process (130) where the first is stuck.
 */
void kpi_cancel_on_sigint(bool hard);

kp_status kpi_session_init(struct kpi_session *session, const struct kpi_opts *opts,
                           struct kp_error *err) KP_MUST;
/* Goes on with another target, once it has answered; else nothing changes. target stays the
 * caller's and is read until the next such call. */
kp_status kpi_session_open(struct kpi_session *session, const char *target,
                           struct kp_error *err) KP_MUST;
/* A target as it may be shown and kept: without the name and password of a URL, and not endless. */
#define KPI_TARGET_SHOWN 512
void kpi_target_shown(const char *target, char out[KPI_TARGET_SHOWN]);
/* The flags of a query that can be changed between two. */
#define KPI_SESSION_FLAGS 8
extern const enum kpi_opt_id kpi_session_flags[KPI_SESSION_FLAGS];
/* Takes one flag of a query from opts, or its default. */
kp_status kpi_session_set(struct kpi_session *session, enum kpi_opt_id id,
                          const struct kpi_opts *opts, struct kp_error *err) KP_MUST;
/* Looks at the terminal again: it may have been resized, or answers go to a file now. */
void kpi_session_detect(struct kpi_session *session);
/* Runs the statements of a text in order up to the first failure; returns the exit code. Errors and
 * remarks go to stderr. */
int kpi_session_run(struct kpi_session *session, struct kp_str text);
/* Asks in the background of a dialogue: rows as tsv to out, errors and remarks to nobody. False: no
 * answer, or not within the time. */
bool kpi_session_ask(const struct kpi_session *session, struct kp_str statement, kp_dur timeout,
                     FILE *out);
/* The columns a table of the language has, on stdout; only of a directory. */
kp_status kpi_session_describe(struct kpi_session *session, const char *table,
                               struct kp_error *err) KP_MUST;
/* The next statement of text from *at on, with the lets before it, without the ";" behind it and
 * surrounding space; false = no more.
 */
bool kpi_statement_next(struct kp_str text, uint32_t *at, struct kp_str *out);
/* Prints an error of this program to stderr and returns its exit code. */
int kpi_tool_fail(const struct kp_error *err, struct kp_str query_text);

#endif
