/* SPDX-License-Identifier: Apache-2.0
 *
 * Text in and out of codes: hashes, base64, URLs, code points, CSV, paths, versions.
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/digest.h"
#include "base/hash.h"
#include "query/func.h"

static struct kp_str text_arg(const struct kpi_call *call, uint32_t arg, uint32_t row)
{
    return kp_vec_str(call->args[arg], row);
}

/* An argument of any type as the text that stands for it. */
static void add_plain(const struct kpi_call *call, uint32_t arg, uint32_t row, struct kp_buf *out)
{
    struct kpi_value value = kpi_vec_value(call->args[arg], row);
    char instant[KP_TIME_TEXT_MAX];
    if (value.null)
        return;
    if (kp_type_phys(value.type) == KP_PHYS_STR) {
        kp_buf_str(out, value.str);
    } else if (value.type == KP_TYPE_TIME) {
        kp_time_format(value.i64, instant);
        kp_buf_text(out, instant);
    } else if (value.type == KP_TYPE_DUR) {
        kpi_timespan_text(value.i64, out);
    } else {
        kpi_value_text(&value, out);
    }
}

/* --- hashes --- */

enum { MD5, SHA1, SHA256 };

static void digest(struct kpi_call *call, uint32_t row, int kind)
{
    unsigned char bytes[KP_SHA256_BYTES];
    struct kp_buf text = kpi_buf(call->eval), hex = kpi_buf(call->eval);
    unsigned size = kind == MD5 ? KP_MD5_BYTES : kind == SHA1 ? KP_SHA1_BYTES : KP_SHA256_BYTES;
    add_plain(call, 0, row, &text);
    const char *from = text.size == 0 ? "" : text.data;
    if (kind == MD5)
        kp_md5(from, text.size, bytes);
    else if (kind == SHA1)
        kp_sha1(from, text.size, bytes);
    else
        kp_sha256(from, text.size, bytes);
    for (unsigned i = 0; i < size; i++)
        kp_buf_printf(&hex, "%02x", bytes[i]);
    kp_buf_deinit(&text);
    kpi_set_buf(call, row, &hex);
}

/* hash of each value, mixed in their order */
static int64_t hash_many(const struct kpi_call *call, uint32_t row)
{
    uint64_t hash = 0;
    for (uint32_t a = 0; a < call->args_count; a++) {
        struct kp_buf text = {0};
        add_plain(call, a, row, &text);
        uint64_t one = kp_hash64(text.size == 0 ? "" : text.data, text.size, 0);
        hash = kp_hash_mix(hash * 31 + one);
        kp_buf_deinit(&text);
    }
    return (int64_t)hash;
}

static int64_t hash_combine(const struct kpi_call *call, uint32_t row)
{
    uint64_t hash = 0;
    for (uint32_t a = 0; a < call->args_count; a++)
        hash = kp_hash_mix(hash * 31 + (uint64_t)call->args[a]->i64[row]);
    return (int64_t)hash;
}

/* --- base64 (RFC 4648) --- */

static const char base64_letters[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

static void encode_base64(const unsigned char *from, size_t size, struct kp_buf *out)
{
    for (size_t i = 0; i < size; i += 3) {
        size_t left = size - i;
        uint32_t bits = (uint32_t)from[i] << 16 | (left > 1 ? (uint32_t)from[i + 1] << 8 : 0) |
                        (left > 2 ? from[i + 2] : 0);
        kp_buf_char(out, base64_letters[bits >> 18]);
        kp_buf_char(out, base64_letters[bits >> 12 & 63]);
        kp_buf_char(out, left > 1 ? base64_letters[bits >> 6 & 63] : '=');
        kp_buf_char(out, left > 2 ? base64_letters[bits & 63] : '=');
    }
}

static bool decode_base64(struct kp_str text, struct kp_buf *out)
{
    uint32_t bits = 0, count = 0;
    while (text.len > 0 && text.ptr[text.len - 1] == '=')
        text.len--;
    for (uint32_t i = 0; i < text.len; i++) {
        const char *at = text.ptr[i] == '\0' ? NULL : strchr(base64_letters, text.ptr[i]);
        if (at == NULL)
            return false;
        bits = bits << 6 | (uint32_t)(at - base64_letters);
        if (++count % 4 == 0)
            for (int b = 2; b >= 0; b--)
                kp_buf_char(out, (char)(bits >> (8 * b)));
    }
    if (count % 4 == 2)
        kp_buf_char(out, (char)(bits >> 4));
    if (count % 4 == 3) {
        kp_buf_char(out, (char)(bits >> 10));
        kp_buf_char(out, (char)(bits >> 2));
    }
    return count % 4 != 1;
}

static bool is_utf8(const char *text, size_t size)
{
    for (size_t i = 0; i < size;) {
        unsigned char c = (unsigned char)text[i++];
        unsigned tails = c < 0x80   ? 0
                         : c < 0xc2 ? 9
                         : c < 0xe0 ? 1
                         : c < 0xf0 ? 2
                         : c < 0xf5 ? 3
                                    : 9;
        if (tails > 3 || tails > size - i)
            return false;
        for (; tails > 0; tails--)
            if (((unsigned char)text[i++] & 0xc0) != 0x80)
                return false;
    }
    return true;
}

static void base64_text(struct kpi_call *call, uint32_t row)
{
    struct kp_str text = text_arg(call, 0, row);
    struct kp_buf out = kpi_buf(call->eval);
    encode_base64((const unsigned char *)text.ptr, text.len, &out);
    kpi_set_buf(call, row, &out);
}

static void base64_from_array(struct kpi_call *call, uint32_t row)
{
    struct kpi_json_walk walk;
    struct kp_str value;
    struct kp_buf bytes = kpi_buf(call->eval), out = kpi_buf(call->eval);
    bool more = kpi_json_array(text_arg(call, 0, row), &walk);
    while (more && kpi_json_next(&walk, &value))
        kp_buf_char(&bytes, (char)strtol(value.ptr, NULL, 10));
    if (bytes.size > 0)
        encode_base64((const unsigned char *)bytes.data, bytes.size, &out);
    kp_buf_deinit(&bytes);
    kpi_set_buf(call, row, &out);
}

static void text_of_base64(struct kpi_call *call, uint32_t row)
{
    struct kp_buf out = kpi_buf(call->eval);
    bool good = decode_base64(text_arg(call, 0, row), &out);
    if (!good || !is_utf8(out.data, out.size))
        kp_buf_clear(&out);
    kpi_set_buf(call, row, &out);
}

static void array_of_base64(struct kpi_call *call, uint32_t row)
{
    struct kp_buf bytes = kpi_buf(call->eval), out = kpi_buf(call->eval);
    if (decode_base64(text_arg(call, 0, row), &bytes)) {
        kp_buf_char(&out, '[');
        for (size_t i = 0; i < bytes.size; i++)
            kp_buf_printf(&out, "%s%u", i > 0 ? "," : "", (unsigned char)bytes.data[i]);
        kp_buf_char(&out, ']');
    }
    kp_buf_deinit(&bytes);
    kpi_set_buf(call, row, &out);
}

/* --- guids: text in the form 8-4-4-4-12 --- */

static void add_guid(const unsigned char *bytes, struct kp_buf *out)
{
    for (int i = 0; i < 16; i++)
        kp_buf_printf(out, "%s%02x", i == 4 || i == 6 || i == 8 || i == 10 ? "-" : "", bytes[i]);
}

/* The first three parts lie in memory with their low byte first. */
static const int guid_order[16] = {3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15};

static void guid_of_base64(struct kpi_call *call, uint32_t row)
{
    struct kp_buf bytes = kpi_buf(call->eval), out = kpi_buf(call->eval);
    unsigned char guid[16];
    if (decode_base64(text_arg(call, 0, row), &bytes) && bytes.size == 16) {
        for (int i = 0; i < 16; i++)
            guid[i] = (unsigned char)bytes.data[guid_order[i]];
        add_guid(guid, &out);
    }
    kp_buf_deinit(&bytes);
    kpi_set_buf(call, row, &out);
}

static void base64_of_guid(struct kpi_call *call, uint32_t row)
{
    struct kp_str text = text_arg(call, 0, row);
    struct kp_buf out = kpi_buf(call->eval);
    unsigned char guid[16] = {0};
    int digits = 0;
    bool good = true;
    for (uint32_t i = 0; i < text.len && good; i++) {
        char c = (char)(text.ptr[i] | 32);
        bool hex = (text.ptr[i] >= '0' && text.ptr[i] <= '9') || (c >= 'a' && c <= 'f');
        good = (hex && digits < 32) || text.ptr[i] == '-';
        if (!hex || !good)
            continue;
        int value = c >= 'a' ? c - 'a' + 10 : text.ptr[i] - '0';
        unsigned char *byte = &guid[guid_order[digits / 2]];
        *byte = (unsigned char)(*byte << 4 | value);
        digits++;
    }
    if (good && digits == 32)
        encode_base64(guid, sizeof(guid), &out);
    kpi_set_buf(call, row, &out);
}

static int hex_digit(char c)
{
    return c >= '0' && c <= '9'                 ? c - '0'
           : (c | 32) >= 'a' && (c | 32) <= 'f' ? (c | 32) - 'a' + 10
                                                : -1;
}

static void guid_of_text(struct kpi_call *call, uint32_t row)
{
    struct kp_str text = text_arg(call, 0, row);
    struct kp_buf out = kpi_buf(call->eval);
    unsigned char guid[16] = {0};
    unsigned digits = 0;
    bool good = true;
    for (uint32_t i = 0; i < text.len && good; i++) {
        int digit = hex_digit(text.ptr[i]);
        good = digit >= 0 ? digits < 32 : strchr("-{}", text.ptr[i]) != NULL;
        if (digit >= 0 && good) {
            guid[digits / 2] = (unsigned char)(guid[digits / 2] * 16 + digit);
            digits++;
        }
    }
    if (good && digits == 32)
        add_guid(guid, &out);
    kpi_set_buf(call, row, &out);
}

/* --- URLs (RFC 3986) --- */

static bool is_unreserved(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
           (c != '\0' && strchr("-_.~", c) != NULL);
}

static void url_encode(struct kpi_call *call, uint32_t row, bool blank_is_plus)
{
    struct kp_str text = text_arg(call, 0, row);
    struct kp_buf out = kpi_buf(call->eval);
    for (uint32_t i = 0; i < text.len; i++) {
        if (is_unreserved(text.ptr[i]))
            kp_buf_char(&out, text.ptr[i]);
        else if (text.ptr[i] == ' ' && blank_is_plus)
            kp_buf_char(&out, '+');
        else
            kp_buf_printf(&out, blank_is_plus ? "%%%02x" : "%%%02X", (unsigned char)text.ptr[i]);
    }
    kpi_set_buf(call, row, &out);
}

static void add_decoded(struct kp_str text, struct kp_buf *out)
{
    for (uint32_t i = 0; i < text.len; i++) {
        int high = -1, low = -1;
        if (text.ptr[i] == '%' && i + 2 < text.len) {
            high = hex_digit(text.ptr[i + 1]);
            low = hex_digit(text.ptr[i + 2]);
        }
        if (high >= 0 && low >= 0) {
            kp_buf_char(out, (char)(high * 16 + low));
            i += 2;
        } else {
            kp_buf_char(out, text.ptr[i] == '+' ? ' ' : text.ptr[i]);
        }
    }
}

static void url_decode(struct kpi_call *call, uint32_t row)
{
    struct kp_buf out = kpi_buf(call->eval);
    add_decoded(text_arg(call, 0, row), &out);
    kpi_set_buf(call, row, &out);
}

/* Cuts text at the first (or last) of a sign; what is behind it, or nothing. */
static struct kp_str cut_at(struct kp_str *text, char sign)
{
    const char *at = text->len == 0 ? NULL : memchr(text->ptr, sign, text->len);
    struct kp_str rest = {"", 0};
    if (at != NULL) {
        rest = (struct kp_str){at + 1, (uint32_t)(text->ptr + text->len - at - 1)};
        text->len = (uint32_t)(at - text->ptr);
    }
    return rest;
}

static void add_text_member(struct kp_buf *out, const char *name, struct kp_str value)
{
    kp_buf_printf(out, "%s\"%s\":", out->size > 1 ? "," : "", name);
    kpi_json_quote(value, out);
}

static void add_query(struct kp_str query, struct kp_buf *out)
{
    bool first = true;
    kp_buf_text(out, "\"Query Parameters\":{");
    while (query.len > 0) {
        struct kp_str rest = cut_at(&query, '&'), name = query;
        struct kp_str value = cut_at(&name, '=');
        kp_buf_text(out, first ? "" : ",");
        kpi_json_quote(name, out);
        kp_buf_char(out, ':');
        kpi_json_quote(value, out);
        first = false;
        query = rest;
    }
    kp_buf_char(out, '}');
}

static struct kp_str cut_scheme(struct kp_str *url)
{
    for (uint32_t i = 0; i + 3 <= url->len; i++) {
        if (memcmp(url->ptr + i, "://", 3) != 0)
            continue;
        struct kp_str scheme = {url->ptr, i};
        *url = (struct kp_str){url->ptr + i + 3, url->len - i - 3};
        return scheme;
    }
    return KP_STR("");
}

static void parse_url(struct kpi_call *call, uint32_t row)
{
    struct kp_str url = text_arg(call, 0, row), user = KP_STR(""), password = KP_STR("");
    struct kp_buf out = kpi_buf(call->eval);
    struct kp_str scheme = cut_scheme(&url);
    struct kp_str fragment = cut_at(&url, '#'), query = cut_at(&url, '?');
    struct kp_str path = cut_at(&url, '/'), host = url;
    if (memchr(url.ptr, '@', url.len) != NULL) {
        user = url;
        host = cut_at(&user, '@');
        password = cut_at(&user, ':');
    }
    struct kp_str port = cut_at(&host, ':');
    if (path.len > 0) /* the / belongs to it */
        path = (struct kp_str){path.ptr - 1, path.len + 1};
    kp_buf_char(&out, '{');
    add_text_member(&out, "Scheme", scheme);
    add_text_member(&out, "Host", host);
    add_text_member(&out, "Port", port);
    add_text_member(&out, "Path", path);
    add_text_member(&out, "Username", user);
    add_text_member(&out, "Password", password);
    kp_buf_char(&out, ',');
    add_query(query, &out);
    add_text_member(&out, "Fragment", fragment);
    kp_buf_char(&out, '}');
    kpi_set_buf(call, row, &out);
}

static void parse_urlquery(struct kpi_call *call, uint32_t row)
{
    struct kp_buf out = kpi_buf(call->eval);
    kp_buf_char(&out, '{');
    add_query(text_arg(call, 0, row), &out);
    kp_buf_char(&out, '}');
    kpi_set_buf(call, row, &out);
}

/* --- code points --- */

static void code_points(struct kpi_call *call, uint32_t row)
{
    struct kp_str text = text_arg(call, 0, row);
    struct kp_buf out = kpi_buf(call->eval);
    kp_buf_char(&out, '[');
    for (uint32_t i = 0; i < text.len;) {
        unsigned char c = (unsigned char)text.ptr[i++];
        uint32_t tails = c < 0xc0 ? 0 : c < 0xe0 ? 1 : c < 0xf0 ? 2 : 3;
        uint32_t code = tails == 0 ? c : c & (0x3fu >> tails);
        for (; tails > 0 && i < text.len; tails--)
            code = code << 6 | ((unsigned char)text.ptr[i++] & 63);
        kp_buf_printf(&out, "%s%u", out.size > 1 ? "," : "", code);
    }
    kp_buf_char(&out, ']');
    kpi_set_buf(call, row, &out);
}

static void add_code(int64_t code, struct kp_buf *out)
{
    if (code < 0 || code > 0x10ffff || (code >= 0xd800 && code < 0xe000))
        return;
    uint32_t tails = code < 0x80 ? 0 : code < 0x800 ? 1 : code < 0x10000 ? 2 : 3;
    static const unsigned char heads[] = {0, 0xc0, 0xe0, 0xf0};
    kp_buf_char(out, (char)(heads[tails] | code >> (6 * tails)));
    for (uint32_t i = 1; i <= tails; i++)
        kp_buf_char(out, (char)(0x80 | (code >> (6 * (tails - i)) & 63)));
}

static void text_of_codes(struct kpi_call *call, uint32_t row)
{
    struct kp_buf out = kpi_buf(call->eval);
    for (uint32_t a = 0; a < call->args_count; a++) {
        struct kpi_json_walk walk;
        struct kp_str value;
        if (call->args[a]->type != KP_TYPE_DYN) {
            add_code(call->args[a]->i64[row], &out);
            continue;
        }
        bool more = kpi_json_array(text_arg(call, a, row), &walk);
        if (!more)
            add_code(strtol(text_arg(call, a, row).ptr, NULL, 10), &out);
        while (more && kpi_json_next(&walk, &value))
            add_code(strtol(value.ptr, NULL, 10), &out);
    }
    kpi_set_buf(call, row, &out);
}

static bool is_ascii(struct kp_str text)
{
    for (uint32_t i = 0; i < text.len; i++)
        if ((unsigned char)text.ptr[i] >= 0x80)
            return false;
    return true;
}

/* translate(from, to, text): letters of `from` become those at the same place of `to`, the last one
 * when there are fewer. */
static void translate(struct kpi_call *call, uint32_t row)
{
    struct kp_str from = text_arg(call, 0, row), to = text_arg(call, 1, row);
    struct kp_str text = text_arg(call, 2, row);
    struct kp_buf out = kpi_buf(call->eval);
    for (uint32_t i = 0; i < text.len; i++) {
        const char *at = from.len == 0 ? NULL : memchr(from.ptr, text.ptr[i], from.len);
        if (at == NULL)
            kp_buf_char(&out, text.ptr[i]);
        else if (to.len > 0)
            kp_buf_char(&out, to.ptr[KP_MIN((uint32_t)(at - from.ptr), to.len - 1)]);
    }
    kpi_set_buf(call, row, &out);
}

/* --- CSV, command lines, paths, versions --- */

/* The first record only, as Kusto does. */
static void parse_csv(struct kpi_call *call, uint32_t row)
{
    struct kp_str text = text_arg(call, 0, row);
    struct kp_buf out = kpi_buf(call->eval), field = kpi_buf(call->eval);
    bool quoted = false, more = true;
    kp_buf_char(&out, '[');
    for (uint32_t i = 0; more; i++) {
        char c = i < text.len ? text.ptr[i] : '\n';
        bool ends = i >= text.len || (!quoted && (c == ',' || c == '\n'));
        if (!ends && c == '"') {
            bool doubled = quoted && i + 1 < text.len && text.ptr[i + 1] == '"';
            if (doubled)
                kp_buf_char(&field, text.ptr[i++]);
            else
                quoted = !quoted;
        } else if (!ends) {
            kp_buf_char(&field, c);
        }
        if (!ends)
            continue;
        bool carriage = field.size > 0 && field.data[field.size - 1] == '\r';
        kp_buf_text(&out, out.size > 1 ? "," : "");
        kpi_json_quote(
            (struct kp_str){field.size == 0 ? "" : field.data, (uint32_t)(field.size - carriage)},
            &out);
        kp_buf_clear(&field);
        more = c == ',' && i < text.len;
    }
    kp_buf_char(&out, ']');
    kp_buf_deinit(&field);
    kpi_set_buf(call, row, &out);
}

static void command_line(struct kpi_call *call, uint32_t row)
{
    struct kp_str text = text_arg(call, 0, row);
    struct kp_buf out = kpi_buf(call->eval), word = kpi_buf(call->eval);
    bool quoted = false, any = false;
    kp_buf_char(&out, '[');
    for (uint32_t i = 0; i <= text.len; i++) {
        char c = i < text.len ? text.ptr[i] : ' ';
        bool ends = i == text.len || (!quoted && (c == ' ' || c == '\t'));
        if (!ends) {
            any = true;
            if (c == '\\' && i + 1 < text.len && text.ptr[i + 1] == '"')
                kp_buf_char(&word, text.ptr[++i]);
            else if (c == '"')
                quoted = !quoted;
            else
                kp_buf_char(&word, c);
        } else if (any) {
            kp_buf_text(&out, out.size > 1 ? "," : "");
            kpi_json_quote((struct kp_str){word.size == 0 ? "" : word.data, (uint32_t)word.size},
                           &out);
            kp_buf_clear(&word);
            any = false;
        }
    }
    kp_buf_char(&out, ']');
    kp_buf_deinit(&word);
    kpi_set_buf(call, row, &out);
}

static struct kp_str after_last(struct kp_str text, const char *signs, struct kp_str *out_before)
{
    for (uint32_t i = text.len; i > 0; i--) {
        if (text.ptr[i - 1] == '\0' || strchr(signs, text.ptr[i - 1]) == NULL)
            continue;
        *out_before = (struct kp_str){text.ptr, i - 1};
        return (struct kp_str){text.ptr + i, text.len - i};
    }
    *out_before = KP_STR("");
    return text;
}

static void parse_path(struct kpi_call *call, uint32_t row)
{
    struct kp_str path = text_arg(call, 0, row), directory, above, stem, root = KP_STR("");
    struct kp_buf out = kpi_buf(call->eval);
    struct kp_str scheme = cut_scheme(&path);
    struct kp_str file = after_last(path, "/\\", &directory);
    struct kp_str name = after_last(directory, "/\\", &above);
    struct kp_str extension = after_last(file, ".", &stem);
    if (stem.len == 0)
        extension = KP_STR("");
    if (path.len > 0 && path.ptr[0] == '/')
        root = KP_STR("/");
    else if (path.len > 1 && path.ptr[1] == ':')
        root = (struct kp_str){path.ptr, 2};
    kp_buf_char(&out, '{');
    add_text_member(&out, "Scheme", scheme);
    add_text_member(&out, "RootPath", root);
    add_text_member(&out, "DirectoryPath", directory);
    add_text_member(&out, "DirectoryName", name);
    add_text_member(&out, "Filename", file);
    add_text_member(&out, "Extension", extension);
    kp_buf_char(&out, '}');
    kpi_set_buf(call, row, &out);
}

/* has_any_index(text, array): position of the first element that stands in the text, or -1. */
static int64_t has_any_index(struct kpi_call *call, uint32_t row)
{
    struct kp_str text = text_arg(call, 0, row), value;
    struct kpi_json_walk walk;
    bool more = kpi_json_array(text_arg(call, 1, row), &walk);
    for (int64_t i = 0; more && kpi_json_next(&walk, &value); i++)
        if (kpi_text_has(call->eval->ctx, text, kpi_json_plain(call->eval, value)))
            return i;
    return -1;
}

/* replace_strings(text, [from], [to]) */
static void replace_strings(struct kpi_call *call, uint32_t row)
{
    struct kp_str text = text_arg(call, 0, row);
    struct kp_buf out = kpi_buf(call->eval);
    for (uint32_t i = 0; i < text.len && kpi_go_on(call->eval->ctx, 1);) {
        struct kpi_json_walk walk;
        struct kp_str value;
        bool hit = false, more = kpi_json_array(text_arg(call, 1, row), &walk);
        for (int64_t n = 0; more && !hit && kpi_json_next(&walk, &value); n++) {
            if (!kpi_go_on(call->eval->ctx, value.len))
                break;
            struct kp_str from = kpi_json_plain(call->eval, value);
            hit = from.len > 0 && from.len <= text.len - i &&
                  memcmp(text.ptr + i, from.ptr, from.len) == 0;
            if (!hit)
                continue;
            struct kp_str to = kpi_json_element(text_arg(call, 2, row), n);
            kp_buf_str(&out, kpi_json_plain(call->eval, to.ptr == NULL ? KP_STR("") : to));
            i += from.len;
        }
        if (!hit)
            kp_buf_char(&out, text.ptr[i++]);
    }
    kpi_set_buf(call, row, &out);
}

static void hex_padded(struct kpi_call *call, uint32_t row)
{
    char text[160];
    int64_t value = call->args[0]->i64[row], width = call->args[1]->i64[row];
    uint64_t bits = (uint64_t)value;
    if (width == 8 && value >= INT32_MIN && value <= INT32_MAX)
        bits = (uint32_t)value;
    width = KP_MAX(KP_MIN(width, 64), 0);
    int length = snprintf(text, sizeof(text), "%0*llx", (int)width, (unsigned long long)bits);
    kpi_set_copy(call, row, text, (size_t)length);
}

#define REPEAT_MAX (1024 * 1024)

static void repeat_between(struct kpi_call *call, uint32_t row)
{
    struct kp_buf one = kpi_buf(call->eval), out = kpi_buf(call->eval);
    int64_t times = call->args[1]->i64[row];
    struct kp_str between = call->args_count > 2 ? text_arg(call, 2, row) : KP_STR("");
    add_plain(call, 0, row, &one);
    struct kp_str text = {one.size == 0 ? "" : one.data, (uint32_t)one.size};
    for (int64_t i = 0; i < times && out.size + text.len + between.len <= REPEAT_MAX &&
                        (text.len > 0 || between.len > 0);
         i++) {
        if (i > 0)
            kp_buf_str(&out, between);
        kp_buf_str(&out, text);
    }
    kp_buf_deinit(&one);
    kpi_set_buf(call, row, &out);
}

/* --- kernels --- */

#define KERNEL(name, body)                  \
    static void name(struct kpi_call *call) \
    {                                       \
        KPI_EACH(call, row, body);          \
    }

KERNEL(k_md5, digest(call, row, MD5))
KERNEL(k_sha1, digest(call, row, SHA1))
KERNEL(k_sha256, digest(call, row, SHA256))
KERNEL(k_hash_many, call->out->i64[row] = hash_many(call, row))
KERNEL(k_hash_combine, call->out->i64[row] = hash_combine(call, row))
KERNEL(k_base64, base64_text(call, row))
KERNEL(k_base64_array, base64_from_array(call, row))
KERNEL(k_unbase64, text_of_base64(call, row))
KERNEL(k_unbase64_array, array_of_base64(call, row))
KERNEL(k_unbase64_guid, guid_of_base64(call, row))
KERNEL(k_base64_guid, base64_of_guid(call, row))
KERNEL(k_guid, guid_of_text(call, row))
KERNEL(k_url_encode, url_encode(call, row, true))
KERNEL(k_url_component, url_encode(call, row, false))
KERNEL(k_url_decode, url_decode(call, row))
KERNEL(k_parse_url, parse_url(call, row))
KERNEL(k_parse_query, parse_urlquery(call, row))
KERNEL(k_codes, code_points(call, row))
KERNEL(k_text_of_codes, text_of_codes(call, row))
KERNEL(k_ascii, call->out->i64[row] = is_ascii(text_arg(call, 0, row)))
KERNEL(k_utf8, struct kp_str text = text_arg(call, 0, row);
       call->out->i64[row] = is_utf8(text.ptr, text.len))
KERNEL(k_translate, translate(call, row))
KERNEL(k_csv, parse_csv(call, row))
KERNEL(k_command_line, command_line(call, row))
KERNEL(k_path, parse_path(call, row))
KERNEL(k_any_index, call->out->i64[row] = has_any_index(call, row))
KERNEL(k_replace_strings, replace_strings(call, row))
KERNEL(k_hex, hex_padded(call, row))
KERNEL(k_repeat, repeat_between(call, row))

#define NULLS KPI_FUNC_NULLS
static const struct kpi_func funcs[] = {
    {"hash_md5", ".", 's', NULLS, k_md5, "MD5 of a value's text, hexadecimal"},
    {"hash_sha1", ".", 's', NULLS, k_sha1, "SHA-1 of a value's text, hexadecimal"},
    {"hash_sha256", ".", 's', NULLS, k_sha256, "SHA-256 of a value's text, hexadecimal"},
    {"hash_many", "..*", 'l', NULLS, k_hash_many, "64-bit hash of several values"},
    {"hash_combine", "ll*", 'l', 0, k_hash_combine, "several hashes as one"},
    {"base64_encode_tostring", "s", 's', 0, k_base64, "a text in base64"},
    {"base64_encodestring", "s", 's', 0, k_base64, "same as base64_encode_tostring()"},
    {"base64_encode_fromarray", "y", 's', 0, k_base64_array, "an array of bytes in base64"},
    {"base64_decode_tostring", "s", 's', 0, k_unbase64, "the text that stands in base64"},
    {"base64_decodestring", "s", 's', 0, k_unbase64, "same as base64_decode_tostring()"},
    {"base64_decode_toarray", "s", 'y', 0, k_unbase64_array, "the bytes that stand in base64"},
    {"base64_decode_toguid", "s", 's', 0, k_unbase64_guid, "the guid that stands in base64"},
    {"base64_encode_fromguid", "s", 's', 0, k_base64_guid, "the bytes of a guid in base64"},
    {"toguid", "s", 's', 0, k_guid, "a guid's text in its usual form; empty when it is none"},
    {"guid", "s", 's', 0, k_guid, "same as toguid()"},
    {"url_encode", "s", 's', 0, k_url_encode, "a text for the query of a URL"},
    {"url_encode_component", "s", 's', 0, k_url_component, "a text for any part of a URL"},
    {"url_decode", "s", 's', 0, k_url_decode, "the text that stands in a URL"},
    {"parse_url", "s", 'y', 0, k_parse_url, "the parts of a URL"},
    {"parse_urlquery", "s", 'y', 0, k_parse_query, "the parameters of a URL's query"},
    {"unicode_codepoints_from_string", "s", 'y', 0, k_codes, "the numbers of the characters"},
    {"to_utf8", "s", 'y', 0, k_codes, "same as unicode_codepoints_from_string()"},
    {"unicode_codepoints_to_string", "l*", 's', 0, k_text_of_codes, "text of character numbers"},
    {"unicode_codepoints_to_string", "y*", 's', 0, k_text_of_codes, NULL},
    {"make_string", "l*", 's', 0, k_text_of_codes, "same as unicode_codepoints_to_string()"},
    {"make_string", "y*", 's', 0, k_text_of_codes, NULL},
    {"isascii", "s", 'b', 0, k_ascii, "only ASCII characters?"},
    {"isutf8", "s", 'b', 0, k_utf8, "well-formed UTF-8?"},
    {"translate", "sss", 's', 0, k_translate, "characters of one list as those of another"},
    {"parse_csv", "s", 'y', 0, k_csv, "the fields of the first line of CSV"},
    {"parse_command_line", "ss", 'y', 0, k_command_line, "the words of a command"},
    {"parse_path", "s", 'y', 0, k_path, "the parts of a file's path"},
    {"has_any_index", "sy", 'l', 0, k_any_index, "which of the terms the text holds first, or -1"},
    {"replace_strings", "syy", 's', 0, k_replace_strings, "each text of a list by one of another"},
    {"tohex", "ll", 's', 0, k_hex, NULL},
    {"strrep", "sls", 's', 0, k_repeat, NULL},
    {"strrep", ".l", 's', 0, k_repeat, NULL},
    {"strrep", ".ls", 's', 0, k_repeat, NULL},
};

const struct kpi_func_table kpi_funcs_code = {funcs, KP_ARRAY_LEN(funcs)};
