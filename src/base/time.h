/* SPDX-License-Identifier: Apache-2.0
 *
 * Time: int64 nanoseconds since the Unix epoch (UTC) everywhere; durations are int64 ns.
 */
#ifndef KP_BASE_TIME_H
#define KP_BASE_TIME_H

#include <stdbool.h>
#include <stdint.h>

#include "base/str.h"

typedef int64_t kp_time; /* ns since the epoch, UTC */
typedef int64_t kp_dur;  /* ns */

#define KP_US       ((kp_dur)1000)
#define KP_MS       ((kp_dur)1000 * 1000)
#define KP_SEC      ((kp_dur)1000 * 1000 * 1000)
#define KP_MIN_NS   ((kp_dur)60 * KP_SEC)
#define KP_HOUR     ((kp_dur)3600 * KP_SEC)
#define KP_DAY      ((kp_dur)24 * KP_HOUR)
#define KP_TIME_MIN INT64_MIN
#define KP_TIME_MAX INT64_MAX

kp_time kp_time_now(void);       /* CLOCK_REALTIME */
int64_t kp_time_monotonic(void); /* CLOCK_MONOTONIC: what the capture stamps with */
/* Takes one (monotonic, realtime) pair; *out_bound is half the width of the bracketing reads, ns.
 */
void kp_time_anchor(int64_t *out_mono, kp_time *out_real, kp_dur *out_bound);

/* RFC 3339 with nine decimals and Z ("2026-11-23T03:47:00.123456789Z"); 30 bytes for years 0..9999.
 */
#define KP_TIME_TEXT_MAX 64
void kp_time_format(kp_time t, char out[KP_TIME_TEXT_MAX]);
/* Parses RFC 3339 (date alone, date and time, 0-9 decimals, Z or +hh:mm; no zone = UTC). */
bool kp_time_parse(struct kp_str text, kp_time *out);

/* Human duration, three significant decimals and the largest fitting unit: "388.204 ms", "52 ns".
 */
#define KP_DUR_TEXT_MAX 32
void kp_dur_format(kp_dur d, char out[KP_DUR_TEXT_MAX]);
/* Exact duration that kp_dur_parse reads back: "388204117ns". */
void kp_dur_format_exact(kp_dur d, char out[KP_DUR_TEXT_MAX]);
/* Parses "2s", "1.5ms", "250us", "10ns", "3m", "2h", "1d"; false on overflow or junk. */
bool kp_dur_parse(struct kp_str text, kp_dur *out);

#endif
