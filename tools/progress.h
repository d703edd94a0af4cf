/* SPDX-License-Identifier: Apache-2.0
 *
 * The progress line of long work: on stderr, rewritten in place, as a rule only on a terminal.
 */
#ifndef KP_TOOLS_PROGRESS_H
#define KP_TOOLS_PROGRESS_H

#include "base/str.h"
#include "base/time.h"

struct kpi_progress {
    bool on;
    bool terminal; /* stderr is one: the line is rewritten in place */
    int64_t begin; /* monotonic */
    int64_t shown; /* when the line was last written */
    bool dirty;    /* a line stands on the screen */
};

void kpi_progress_begin(struct kpi_progress *progress);
/* True four times a second: then write the line. */
bool kpi_progress_due(struct kpi_progress *progress);
void kpi_progress_line(struct kpi_progress *progress, const struct kp_buf *text);
/* Removes the line; returns the time since begin. */
kp_dur kpi_progress_end(struct kpi_progress *progress);
/* "4.8 MB" (decimal units). */
void kpi_text_bytes(struct kp_buf *out, uint64_t bytes);
/* "done of total" with percent, for reading a file. */
void kpi_progress_bytes(struct kpi_progress *progress, const char *verb, uint64_t done,
                        uint64_t total);

#endif
