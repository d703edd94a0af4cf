/* SPDX-License-Identifier: Apache-2.0
 *
 * Counted strings and the growing text buffer. A kp_str borrows its bytes; it is not terminated.
 */
#ifndef KP_BASE_STR_H
#define KP_BASE_STR_H

#include <stdbool.h>
#include <stdint.h>
#include <stddef.h>
#include <string.h>

#include "base/status.h"

struct kp_str {
    const char *ptr; /* may be NULL only when len == 0 */
    uint32_t len;    /* bytes */
};

#define KP_STR(lit) ((struct kp_str){(lit), (uint32_t)(sizeof(lit) - 1)})

static inline struct kp_str kp_str_from(const char *text)
{
    return (struct kp_str){text, text == NULL ? 0 : (uint32_t)strlen(text)};
}

static inline bool kp_str_equal(struct kp_str a, struct kp_str b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.ptr, b.ptr, a.len) == 0);
}

/* memcmp order, shorter first on a tie: < 0, 0, > 0. */
int kp_str_compare(struct kp_str a, struct kp_str b);
/* ASCII case-insensitive equality. */
bool kp_str_equal_nocase(struct kp_str a, struct kp_str b);
/* Levenshtein distance with transposition, capped: used for "did you mean". */
uint32_t kp_str_distance(struct kp_str a, struct kp_str b);

/* Growing buffer. Zero-initialised is valid and empty; on allocation failure `failed` is set and
 * further appends are ignored, so callers may check once at the end. */
struct kp_buf {
    char *data;
    size_t size;     /* bytes in use */
    size_t capacity; /* bytes allocated */
    size_t limit;    /* of size; what would pass it fails; 0 = none */
    bool failed;
};

void kp_buf_deinit(struct kp_buf *buf);
void kp_buf_clear(struct kp_buf *buf);
void kp_buf_add(struct kp_buf *buf, const void *bytes, size_t size);
void kp_buf_char(struct kp_buf *buf, char c);
void kp_buf_str(struct kp_buf *buf, struct kp_str text);
void kp_buf_text(struct kp_buf *buf, const char *text);
void kp_buf_printf(struct kp_buf *buf, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Ensures room for `more` bytes and returns where they go (NULL on failure); size is not changed.
 */
void *kp_buf_reserve(struct kp_buf *buf, size_t more);
/* NUL-terminates and returns the data ("" when empty or failed); valid until the next append. */
const char *kp_buf_cstr(struct kp_buf *buf);

#endif
