/* SPDX-License-Identifier: Apache-2.0
 *
 * How far a query is, for who waits for it: after a second a line on stderr says how much was read
 * so far. A thread of its own writes it, so that the query need not know. Never in the way of the
 * answer: the line is gone before anything else is written to the terminal.
 */
#ifndef KP_TOOLS_WATCH_H
#define KP_TOOLS_WATCH_H

#include <pthread.h>

#include "base/status.h"
#include "progress.h"
#include "storage/storage.h"

enum kpi_watch_when { KPI_WATCH_AUTO, KPI_WATCH_NEVER, KPI_WATCH_ALWAYS };

struct kpi_watch {
    bool running;
    pthread_t thread;
    pthread_mutex_t lock; /* guards what follows */
    pthread_cond_t wake;
    bool over;
    const struct kp_snapshot *snapshot; /* what is read; NULL = not known (yet) */
    struct kpi_progress progress;
};

/* "auto" (stderr is a terminal), "never", "always". */
kp_status kpi_watch_parse(const char *word, enum kpi_watch_when *out, struct kp_error *err) KP_MUST;
const char *kpi_watch_name(enum kpi_watch_when when);
/* Begins to watch. Without a thread to be had the query goes unwatched. */
void kpi_watch_begin(struct kpi_watch *watch, enum kpi_watch_when when);
/* Names the snapshot the query reads; it must stay until kpi_watch_end. */
void kpi_watch_snapshot(struct kpi_watch *watch, const struct kp_snapshot *snapshot);
/* Takes the line away for good. May be called again; before anything is written to the terminal,
 * and before the snapshot is closed. */
void kpi_watch_end(struct kpi_watch *watch);
/* "1,204,331 rows read, 240,866 rows/s, 12.0 MB/s" */
void kpi_watch_text(struct kp_buf *out, uint64_t rows, uint64_t bytes, kp_dur elapsed);

#endif
