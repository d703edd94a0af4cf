/* SPDX-License-Identifier: Apache-2.0
 *
 * Well-formed UTF-8 by the table of the Unicode standard (3-7): the first byte says how many follow
 * and, for four of them, narrows the second.
 */
#include "ingest/utf8.h"

/* Bytes of the character that begins at `at`; 0: none does. */
static uint32_t character_size(struct kp_str text, uint32_t at)
{
    unsigned char first = (unsigned char)text.ptr[at];
    unsigned char low = 0x80, high = 0xbf;
    uint32_t size = first < 0x80 ? 1 : first < 0xc2 ? 0 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
    if (first > 0xf4 || size == 0 || size > text.len - at)
        return 0;
    if (first == 0xe0)
        low = 0xa0;
    else if (first == 0xed)
        high = 0x9f;
    else if (first == 0xf0)
        low = 0x90;
    else if (first == 0xf4)
        high = 0x8f;
    for (uint32_t i = 1; i < size; i++) {
        unsigned char c = (unsigned char)text.ptr[at + i];
        if (c < low || c > high)
            return 0;
        low = 0x80;
        high = 0xbf;
    }
    return size;
}

bool kpi_utf8_valid(struct kp_str text)
{
    for (uint32_t at = 0; at < text.len;) {
        uint32_t size = character_size(text, at);
        if (size == 0)
            return false;
        at += size;
    }
    return true;
}

void kpi_json_text(struct kp_buf *out, struct kp_str text)
{
    kp_buf_char(out, '"');
    for (uint32_t at = 0; at < text.len;) {
        uint32_t size = character_size(text, at);
        unsigned char c = (unsigned char)text.ptr[at];
        if (size == 0)
            kp_buf_text(out, "\xef\xbf\xbd");
        else if (c == '"' || c == '\\')
            kp_buf_printf(out, "\\%c", c);
        else if (c < 0x20)
            kp_buf_printf(out, "\\u%04x", c);
        else
            kp_buf_add(out, text.ptr + at, size);
        at += size == 0 ? 1 : size;
    }
    kp_buf_char(out, '"');
}
