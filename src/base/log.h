/* SPDX-License-Identifier: Apache-2.0
 *
 * Logging for the programs: one logfmt line to stderr. base, column, storage, causal and query do
 * not log; they return a status and count. Thread-safe; equal lines within a second are folded.
 */
#ifndef KP_BASE_LOG_H
#define KP_BASE_LOG_H

enum kp_log_level { KP_LOG_ERROR, KP_LOG_WARN, KP_LOG_INFO, KP_LOG_DEBUG };

/* Sets the highest level written; the default is INFO. */
void kp_log_level_set(enum kp_log_level level);
/* module: "capture", "store", "http"...; fmt makes the message. */
void kp_log(enum kp_log_level level, const char *module, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

#endif
