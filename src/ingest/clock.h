/* SPDX-License-Identifier: Apache-2.0
 *
 * From the kernel's monotonic clock to UTC. The first anchor of a recording fixes the offset of all
 * its events, so equal distances stay equal; later anchors are recorded beside them, every ten
 * seconds and whenever UTC has moved against the clock by more than a millisecond. Not thread-safe.
 */
#ifndef KP_INGEST_CLOCK_H
#define KP_INGEST_CLOCK_H

#include "base/time.h"

#define KPI_ANCHOR_EVERY (10 * KP_SEC)
#define KPI_ANCHOR_STEP  KP_MS

/* One reading of both clocks. */
struct kpi_anchor {
    int64_t mono;
    kp_time real;
    kp_dur bound; /* half the width of the bracketing reads */
    kp_dur step;  /* of UTC against mono since the anchor before; 0 for the first */
};

struct kpi_clock {
    int64_t offset; /* ts = mono + offset, for all events of the recording */
    struct kpi_anchor last;
};

/* Starts with a first anchor, which is worth a row. */
void kpi_clock_begin(struct kpi_clock *clock, const struct kpi_anchor *first);
/* Weighs a new reading: true when it is worth a row (then *now->step is set and it is the last). */
bool kpi_clock_update(struct kpi_clock *clock, struct kpi_anchor *now);
/* Reads both clocks. */
struct kpi_anchor kpi_clock_read(void);

#endif
