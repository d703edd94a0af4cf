/* SPDX-License-Identifier: Apache-2.0
 *
 * Where an answer goes: a file, stdout, or a pager once the answer is known not to fit the screen.
 */
#ifndef KP_TOOLS_SINK_H
#define KP_TOOLS_SINK_H

#include <stdio.h>

#include "watch.h"

struct kpi_sink {
    FILE *out;
    uint32_t screen_lines; /* 0 = no pager */
    uint32_t lines;        /* seen so far */
    struct kp_buf held;    /* what a pager may still get from its first line on */
    FILE *pager;
    struct kpi_watch *watch; /* ended before the first byte on a terminal; NULL = need not */
    int os_errno;            /* of a failed write other than a closed pipe */
};

/* out: NULL = stdout. paging: only there, and only when stdin and stdout are terminals. */
void kpi_sink_begin(struct kpi_sink *sink, FILE *out, bool paging, struct kpi_watch *watch);
/* kp_write_fn of a struct kpi_sink. */
bool kpi_sink_write(void *ctx, const char *text, size_t size);
/* Shows what is left and waits for the pager to be left. IO when something could not be written. */
kp_status kpi_sink_end(struct kpi_sink *sink, struct kp_error *err) KP_MUST;

#endif
