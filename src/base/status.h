/* SPDX-License-Identifier: Apache-2.0
 *
 * Status codes and the error a human reads.
 *
 * Every fallible function returns kp_status. Where the text will be read by a person the last
 * argument is a struct kp_error * (may be NULL); it is filled on failure only and says what
 * happened, where, and what to do. Hot paths carry the code alone.
 */
#ifndef KP_BASE_STATUS_H
#define KP_BASE_STATUS_H

#include <stdint.h>

typedef enum kp_status {
#define KP_STATUS(name, exit_code, text) KP_##name,
#include "base/status.def"
#undef KP_STATUS
    KP_STATUS_COUNT
} kp_status_code;

/* must-use: an ignored status is a compile error under -Werror=unused-result through KP_MUST */
typedef kp_status_code kp_status;
#define KP_MUST __attribute__((warn_unused_result))

#define KP_ERROR_TEXT_MAX 512

struct kp_error {
    kp_status code;
    int os_errno;    /* 0 when the kernel had no say */
    uint32_t line;   /* 1-based place in a query or text file; 0 = none */
    uint32_t column; /* 1-based, in bytes */
    uint32_t width;  /* length of the offending token in bytes; 0 = unknown */
    uint64_t offset; /* byte offset in a binary file; valid when line == 0 and code == CORRUPT */
    char text[KP_ERROR_TEXT_MAX]; /* one sentence: what and where */
    char hint[KP_ERROR_TEXT_MAX]; /* what to do; empty = none */
};

/* Short sentence of a code; never NULL. */
const char *kp_status_text(kp_status code);
/* Lower-case name of a code ("not_found"); never NULL. */
const char *kp_status_name(kp_status code);
/* Process exit code of a code, see docs/start.md. */
int kp_status_exit(kp_status code);

/* Fills *err (when not NULL) with code and a printf-formatted sentence; clears place and hint.
 * Returns code. */
kp_status kp_error_set(struct kp_error *err, kp_status code, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* The same with an errno; the errno's text is appended to the sentence. */
kp_status kp_error_os(struct kp_error *err, kp_status code, int os_errno, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
/* Sets the hint of an already filled error. */
void kp_error_hint(struct kp_error *err, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
/* Sets the place in query text of an already filled error. */
void kp_error_place(struct kp_error *err, uint32_t line, uint32_t column, uint32_t width);
/* Maps an errno to the nearest status (ENOSPC -> NO_SPACE, EACCES -> DENIED, ...). */
kp_status kp_status_from_errno(int os_errno);

#endif
