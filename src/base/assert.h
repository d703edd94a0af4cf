/* SPDX-License-Identifier: Apache-2.0
 *
 * Asserts are for our own mistakes and stay on in release builds. Bytes from disk, ring, socket
 * or user are never asserted on: they are validated and answered with a kp_status.
 */
#ifndef KP_BASE_ASSERT_H
#define KP_BASE_ASSERT_H

_Noreturn void kp_assert_fail(const char *expr, const char *file, int line);

#define kp_assert(expr) \
    (__builtin_expect(!!(expr), 1) ? (void)0 : kp_assert_fail(#expr, __FILE__, __LINE__))

/* Checks above constant time: on in sanitizer and test builds only. */
#ifdef KP_ASSERT_SLOW
#define kp_assert_slow(expr) kp_assert(expr)
#else
#define kp_assert_slow(expr) ((void)sizeof(expr))
#endif

#define KP_ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))
#define KP_MIN(a, b)    ((a) < (b) ? (a) : (b))
#define KP_MAX(a, b)    ((a) > (b) ? (a) : (b))

#endif
