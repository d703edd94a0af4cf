/* SPDX-License-Identifier: Apache-2.0
 *
 * Text on a terminal: how many columns it takes, where to cut it, what must be escaped. Recorded
 * text (thread names, file paths) is untrusted: nothing below 0x20, no C1 control and no broken
 * UTF-8 reaches the terminal.
 */
#include <wchar.h>

#include "render/render_int.h"

uint32_t kpi_utf8_next(struct kp_str text, uint32_t at, uint32_t *out_code)
{
    static const uint32_t least[5] = {0, 0, 0x80, 0x800, 0x10000};
    const unsigned char *p = (const unsigned char *)text.ptr + at;
    uint32_t left = text.len - at;
    if (p[0] < 0x80) {
        *out_code = p[0];
        return 1;
    }
    uint32_t length = p[0] >= 0xF0 ? 4 : p[0] >= 0xE0 ? 3 : 2;
    if (p[0] < 0xC2 || p[0] > 0xF4 || length > left)
        return 0;
    uint32_t code = p[0] & (0x7Fu >> length);
    for (uint32_t i = 1; i < length; i++) {
        if ((p[i] & 0xC0) != 0x80)
            return 0;
        code = code << 6 | (p[i] & 0x3F);
    }
    if (code < least[length] || code > 0x10FFFF || (code >= 0xD800 && code <= 0xDFFF))
        return 0;
    *out_code = code;
    return length;
}

/* Columns of one character; 1 where the locale does not know it. */
static uint32_t code_width(uint32_t code)
{
    if (code < 0x80)
        return 1;
    int width = wcwidth((wchar_t)code);
    return width < 0 ? 1 : (uint32_t)width;
}

struct kp_str kpi_text_cut(struct kp_str text, uint32_t width, uint32_t *out_width)
{
    uint32_t used = 0, at = 0;
    while (at < text.len) {
        uint32_t code = 0, length = kpi_utf8_next(text, at, &code);
        uint32_t columns = length == 0 ? 1 : code_width(code);
        if (used + columns > width)
            break;
        used += columns;
        at += length == 0 ? 1 : length;
    }
    *out_width = used;
    return (struct kp_str){text.ptr, at};
}

uint32_t kpi_text_width(struct kp_str text)
{
    uint32_t width = 0;
    kpi_text_cut(text, UINT32_MAX / 2, &width);
    return width;
}

static void escape_code(struct kp_buf *out, uint32_t byte)
{
    if (byte == '\n')
        kp_buf_text(out, "\\n");
    else if (byte == '\t')
        kp_buf_text(out, "\\t");
    else if (byte == '\r')
        kp_buf_text(out, "\\r");
    else
        kp_buf_printf(out, "\\x%02x", byte);
}

void kpi_text_escape(struct kp_buf *out, struct kp_str text)
{
    for (uint32_t at = 0; at < text.len;) {
        uint32_t code = 0, length = kpi_utf8_next(text, at, &code);
        if (length == 0)
            escape_code(out, (unsigned char)text.ptr[at]);
        else if (code < 0x20 || (code >= 0x7F && code < 0xA0))
            escape_code(out, code);
        else
            kp_buf_add(out, text.ptr + at, length);
        at += length == 0 ? 1 : length;
    }
}

static void add_spaces(struct kp_buf *out, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        kp_buf_char(out, ' ');
}

void kpi_text_pad(struct kp_buf *out, struct kp_str text, uint32_t width, bool right, bool utf8)
{
    uint32_t used = kpi_text_width(text);
    struct kp_str shown = text;
    if (used > width) {
        uint32_t mark = utf8 || width < 3 ? 1 : 2;
        shown = kpi_text_cut(text, width > mark ? width - mark : 0, &used);
        used += mark;
        if (used < width && right)
            add_spaces(out, width - used);
        kp_buf_str(out, shown);
        kp_buf_text(out, utf8 ? "\xE2\x80\xA6" : mark == 1 ? "." : "..");
        if (used < width && !right)
            add_spaces(out, width - used);
        return;
    }
    if (right)
        add_spaces(out, width - used);
    kp_buf_str(out, shown);
    if (!right)
        add_spaces(out, width - used);
}

/* Bytes up to the next space or the end. */
static uint32_t word_length(struct kp_str text, uint32_t at)
{
    uint32_t end = at;
    while (end < text.len && text.ptr[end] != ' ')
        end++;
    return end - at;
}

void kpi_text_wrap(struct kp_buf *out, struct kp_str text, uint32_t width, uint32_t indent)
{
    uint32_t used = 0;
    for (uint32_t at = 0; at < text.len;) {
        struct kp_str word = {text.ptr + at, word_length(text, at)};
        uint32_t columns = kpi_text_width(word);
        if (width > 0 && used > indent && used + 1 + columns > width) {
            kp_buf_char(out, '\n');
            add_spaces(out, indent);
            used = indent;
        } else if (at > 0) {
            kp_buf_char(out, ' ');
            used++;
        }
        kp_buf_str(out, word);
        used += columns;
        at += word.len + 1;
    }
    kp_buf_char(out, '\n');
}

void kp_text_count(struct kp_buf *out, int64_t value)
{
    uint64_t left = value < 0 ? -(uint64_t)value : (uint64_t)value;
    char digits[32];
    uint32_t at = sizeof(digits), count = 0;
    do {
        if (count > 0 && count % 3 == 0)
            digits[--at] = ',';
        digits[--at] = (char)('0' + left % 10);
        left /= 10;
        count++;
    } while (left != 0);
    if (value < 0)
        digits[--at] = '-';
    kp_buf_add(out, digits + at, sizeof(digits) - at);
}
