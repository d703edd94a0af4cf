/* SPDX-License-Identifier: Apache-2.0
 *
 * One string out of a JSON object, without building it: names at the top are found by counting
 * brackets outside of strings.
 */
#include "server/flux.h"

#include <stdlib.h>
#include <string.h>

/* Text of a JSON string that begins behind the quote at `at`; false when it is none. */
static bool json_string(struct kp_str json, uint32_t at, struct kp_buf *out)
{
    static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
    for (; at < json.len && json.ptr[at] != '"'; at++) {
        if (json.ptr[at] != '\\') {
            kp_buf_char(out, json.ptr[at]);
            continue;
        }
        const char *plain =
            ++at < json.len && json.ptr[at] != '\0' ? strchr(from, json.ptr[at]) : NULL;
        if (plain != NULL) {
            kp_buf_char(out, to[plain - from]);
            continue;
        }
        char digits[5] = {0};
        if (at + 4 >= json.len || json.ptr[at] != 'u')
            return false;
        memcpy(digits, json.ptr + at + 1, 4);
        unsigned long code = strtoul(digits, NULL, 16);
        if (code == 0 || code > 0x7f) /* clients send letters as UTF-8; < > & come so */
            return false;
        kp_buf_char(out, (char)code);
        at += 4;
    }
    return at < json.len;
}

bool kpi_flux_query(struct kp_str json, struct kp_buf *out)
{
    int depth = 0;
    for (uint32_t at = 0; at < json.len; at++) {
        char c = json.ptr[at];
        depth += c == '{' || c == '[';
        depth -= c == '}' || c == ']';
        if (c != '"')
            continue;
        uint32_t name = at + 1;
        for (at++; at < json.len && json.ptr[at] != '"'; at++)
            at += json.ptr[at] == '\\';
        bool is = depth == 1 && at == name + 5 && memcmp(json.ptr + name, "query", 5) == 0;
        for (at++; is && at < json.len && strchr(" \t\r\n:", json.ptr[at]) != NULL; at++)
            continue;
        if (is)
            return at < json.len && json.ptr[at] == '"' && json_string(json, at + 1, out);
        at--;
    }
    return false;
}
