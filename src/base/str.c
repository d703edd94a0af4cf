/* SPDX-License-Identifier: Apache-2.0 */
#include "base/str.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/assert.h"

int kp_str_compare(struct kp_str a, struct kp_str b)
{
    uint32_t common = KP_MIN(a.len, b.len);
    int order = common == 0 ? 0 : memcmp(a.ptr, b.ptr, common);
    if (order != 0)
        return order;
    return a.len < b.len ? -1 : a.len > b.len;
}

static char ascii_lower(char c)
{
    return (char)(c >= 'A' && c <= 'Z' ? c + 32 : c);
}

bool kp_str_equal_nocase(struct kp_str a, struct kp_str b)
{
    if (a.len != b.len)
        return false;
    for (uint32_t i = 0; i < a.len; i++)
        if (ascii_lower(a.ptr[i]) != ascii_lower(b.ptr[i]))
            return false;
    return true;
}

#define DISTANCE_LEN_MAX 48

/* Optimal string alignment distance (restricted Damerau-Levenshtein), three rows. */
uint32_t kp_str_distance(struct kp_str a, struct kp_str b)
{
    if (a.len > DISTANCE_LEN_MAX || b.len > DISTANCE_LEN_MAX)
        return UINT32_MAX;
    uint32_t rows[3][DISTANCE_LEN_MAX + 1];
    for (uint32_t j = 0; j <= b.len; j++)
        rows[0][j] = j;
    for (uint32_t i = 1; i <= a.len; i++) {
        uint32_t *row = rows[i % 3], *above = rows[(i + 2) % 3], *above2 = rows[(i + 1) % 3];
        row[0] = i;
        for (uint32_t j = 1; j <= b.len; j++) {
            char ca = ascii_lower(a.ptr[i - 1]), cb = ascii_lower(b.ptr[j - 1]);
            uint32_t best = above[j - 1] + (ca != cb);
            best = KP_MIN(best, above[j] + 1);
            best = KP_MIN(best, row[j - 1] + 1);
            if (i > 1 && j > 1 && ca == ascii_lower(b.ptr[j - 2]) &&
                ascii_lower(a.ptr[i - 2]) == cb)
                best = KP_MIN(best, above2[j - 2] + 1);
            row[j] = best;
        }
    }
    return rows[a.len % 3][b.len];
}

void kp_buf_deinit(struct kp_buf *buf)
{
    free(buf->data);
    memset(buf, 0, sizeof(*buf));
}

void kp_buf_clear(struct kp_buf *buf)
{
    buf->size = 0;
    buf->failed = false;
}

void *kp_buf_reserve(struct kp_buf *buf, size_t more)
{
    if (buf->failed)
        return NULL;
    if (buf->limit != 0 && (buf->size > buf->limit || more > buf->limit - buf->size)) {
        buf->failed = true;
        return NULL;
    }
    if (buf->capacity - buf->size >= more && buf->data != NULL)
        return buf->data + buf->size;
    size_t capacity = buf->capacity == 0 ? 256 : buf->capacity;
    while (capacity - buf->size < more) {
        if (capacity > SIZE_MAX / 2) {
            buf->failed = true;
            return NULL;
        }
        capacity *= 2;
    }
    char *data = realloc(buf->data, capacity);
    if (data == NULL) {
        buf->failed = true;
        return NULL;
    }
    buf->data = data;
    buf->capacity = capacity;
    return buf->data + buf->size;
}

void kp_buf_add(struct kp_buf *buf, const void *bytes, size_t size)
{
    if (size == 0)
        return;
    void *at = kp_buf_reserve(buf, size);
    if (at == NULL)
        return;
    memcpy(at, bytes, size);
    buf->size += size;
}

void kp_buf_char(struct kp_buf *buf, char c)
{
    kp_buf_add(buf, &c, 1);
}

void kp_buf_str(struct kp_buf *buf, struct kp_str text)
{
    kp_buf_add(buf, text.ptr, text.len);
}

void kp_buf_text(struct kp_buf *buf, const char *text)
{
    kp_buf_add(buf, text, strlen(text));
}

void kp_buf_printf(struct kp_buf *buf, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    int length = vsnprintf(NULL, 0, fmt, args);
    va_end(args);
    if (length < 0) {
        buf->failed = true;
        return;
    }
    void *at = kp_buf_reserve(buf, (size_t)length + 1);
    if (at == NULL)
        return;
    va_start(args, fmt);
    vsnprintf(at, (size_t)length + 1, fmt, args);
    va_end(args);
    buf->size += (size_t)length;
}

const char *kp_buf_cstr(struct kp_buf *buf)
{
    char *at = kp_buf_reserve(buf, 1);
    if (at == NULL)
        return "";
    *at = '\0';
    return buf->data;
}
