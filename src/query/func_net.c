/* SPDX-License-Identifier: Apache-2.0
 *
 * Addresses. An IPv4 address is kept as the IPv6 one it maps to (::ffff:a.b.c.d), so both kinds are
 * compared by the same code: 16 bytes and a number of leading bits that count.
 */
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>

#include "query/func.h"

struct address {
    unsigned char bytes[16];
    int64_t bits; /* of the prefix, counted over 128 */
    bool v4;
};

#define V4_BITS 96 /* in front of a mapped address */

static struct kp_str text_arg(const struct kpi_call *call, uint32_t arg, uint32_t row)
{
    return kp_vec_str(call->args[arg], row);
}

static bool prefix_of(const char *text, int64_t most, int64_t *out)
{
    char *end;
    long bits = strtol(text, &end, 10);
    *out = bits;
    return end > text && *end == '\0' && bits >= 0 && bits <= most;
}

/* a.b.c.d/24, or an IPv6 address when `any`. */
static bool read_address(struct kp_str text, bool any, struct address *out)
{
    char copy[64];
    if (text.len >= sizeof(copy))
        return false;
    memcpy(copy, text.ptr, text.len);
    copy[text.len] = '\0';
    char *slash = strchr(copy, '/');
    if (slash != NULL)
        *slash = '\0';
    memset(out, 0, sizeof(*out));
    out->v4 = inet_pton(AF_INET, copy, out->bytes + 12) == 1;
    if (out->v4)
        out->bytes[10] = out->bytes[11] = 0xff;
    else if (!any || inet_pton(AF_INET6, copy, out->bytes) != 1)
        return false;
    int64_t most = out->v4 ? 32 : 128;
    out->bits = most;
    if (slash != NULL && !prefix_of(slash + 1, most, &out->bits))
        return false;
    out->bits += out->v4 ? V4_BITS : 0;
    return true;
}

static void cut(struct address *address, int64_t bits)
{
    for (int64_t i = bits; i < 128; i++)
        address->bytes[i / 8] &= (unsigned char)~(0x80u >> (i % 8));
}

/* -1, 0, 1 over the bits that both prefixes and the third count; 2 when one is no address. */
static int compare(struct kp_str a, struct kp_str b, int64_t bits, bool any)
{
    struct address x, y;
    if (!read_address(a, any, &x) || !read_address(b, any, &y))
        return 2;
    int64_t least = KP_MIN(KP_MIN(x.bits, y.bits), bits);
    cut(&x, least);
    cut(&y, least);
    int order = memcmp(x.bytes, y.bytes, sizeof(x.bytes));
    return (order > 0) - (order < 0);
}

/* The number of bits of a third argument; 128 when it is not given, -1 when it makes no sense. */
static int64_t bits_arg(const struct kpi_call *call, uint32_t row, bool any)
{
    if (call->args_count < 3)
        return 128;
    int64_t bits = call->args[2]->i64[row];
    if (bits < 0 || bits > (any ? 128 : 32))
        return -1;
    return any ? bits : bits + V4_BITS;
}

static void compare_row(struct kpi_call *call, uint32_t row, bool any, bool match)
{
    int64_t bits = bits_arg(call, row, any);
    int order = bits < 0 ? 2 : compare(text_arg(call, 0, row), text_arg(call, 1, row), bits, any);
    call->out->i64[row] = match ? order == 0 : order;
    if (order == 2)
        kpi_set_null(call, row);
}

static void set_v4_number(struct kpi_call *call, uint32_t row, int64_t bits)
{
    struct address address;
    call->out->i64[row] = 0;
    if (bits < 0 || bits > 32 || !read_address(text_arg(call, 0, row), false, &address)) {
        kpi_set_null(call, row);
        return;
    }
    cut(&address, KP_MIN(address.bits, bits + V4_BITS));
    for (int i = 12; i < 16; i++)
        call->out->i64[row] = call->out->i64[row] * 256 + address.bytes[i];
}

static bool in_range(struct kp_str address, struct kp_str range, bool any)
{
    struct address one, net;
    if (!read_address(address, any, &one) || !read_address(range, any, &net))
        return false;
    return compare(address, range, net.bits, any) == 0 && one.bits >= net.bits;
}

static uint64_t v4_number(const struct address *address)
{
    uint64_t number = 0;
    for (int i = 12; i < 16; i++)
        number = number << 8 | address->bytes[i];
    return number;
}

/* The fewest networks that make up the addresses from one to another. */
static void range_to_list(struct kpi_call *call, uint32_t row)
{
    struct address first, last;
    struct kp_buf out = kpi_buf(call->eval);
    if (!read_address(text_arg(call, 0, row), false, &first) ||
        !read_address(text_arg(call, 1, row), false, &last)) {
        kpi_set_str(call, row, "", 0);
        return;
    }
    uint64_t from = v4_number(&first), to = v4_number(&last);
    kp_buf_char(&out, '[');
    while (from <= to) {
        uint32_t bits = 32;
        while (bits > 0 && from % (1ull << (33 - bits)) == 0 &&
               from + (1ull << (33 - bits)) <= to + 1)
            bits--;
        kp_buf_printf(&out, "%s\"%u.%u.%u.%u/%u\"", out.size > 1 ? "," : "", (unsigned)(from >> 24),
                      (unsigned)(from >> 16 & 255), (unsigned)(from >> 8 & 255),
                      (unsigned)(from & 255), bits);
        from += 1ull << (32 - bits);
    }
    kp_buf_char(&out, ']');
    kpi_set_buf(call, row, &out);
}

static void k_range_to_list(struct kpi_call *call)
{
    KPI_EACH(call, row, range_to_list(call, row));
}

static bool in_any_range(struct kpi_call *call, uint32_t row, bool any)
{
    struct kp_str address = text_arg(call, 0, row), value;
    struct kpi_json_walk walk;
    for (uint32_t a = 1; a < call->args_count; a++) {
        struct kp_str range = text_arg(call, a, row);
        if (call->args[a]->type != KP_TYPE_DYN) {
            if (in_range(address, range, any))
                return true;
            continue;
        }
        bool more = kpi_json_array(range, &walk);
        while (more && kpi_json_next(&walk, &value))
            if (in_range(address, kpi_json_plain(call->eval, value), any))
                return true;
    }
    return false;
}

static bool is_private(struct kp_str text)
{
    static const char *const ranges[] = {"10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"};
    for (size_t i = 0; i < KP_ARRAY_LEN(ranges); i++)
        if (in_range(text, kp_str_from(ranges[i]), false))
            return true;
    return false;
}

/* format_ipv4(address or number, bits), with the bits behind it for the _mask form. */
static void format_v4(struct kpi_call *call, uint32_t row, bool mask)
{
    struct address address = {.bits = 128};
    char text[32];
    int64_t bits = call->args_count > 1 ? call->args[1]->i64[row] : 32;
    bool good = bits >= 0 && bits <= 32;
    if (kp_type_phys(call->args[0]->type) == KP_PHYS_STR) {
        good &= read_address(text_arg(call, 0, row), false, &address);
    } else {
        int64_t number = call->args[0]->i64[row];
        good &= number >= 0 && number <= UINT32_MAX;
        for (int i = 0; i < 4; i++)
            address.bytes[12 + i] = (unsigned char)(number >> (24 - 8 * i));
    }
    if (!good) {
        kpi_set_str(call, row, "", 0);
        return;
    }
    bits = KP_MIN(bits, address.bits - V4_BITS);
    cut(&address, bits + V4_BITS);
    int length = snprintf(text, sizeof(text), "%u.%u.%u.%u", address.bytes[12], address.bytes[13],
                          address.bytes[14], address.bytes[15]);
    if (mask)
        length += snprintf(text + length, sizeof(text) - (size_t)length, "/%d", (int)bits);
    kpi_set_copy(call, row, text, (size_t)length);
}

static void format_v6(struct kpi_call *call, uint32_t row)
{
    struct address address;
    char text[48];
    int64_t bits = call->args_count > 1 ? call->args[1]->i64[row] : 128;
    if (bits < 0 || bits > 128 || !read_address(text_arg(call, 0, row), true, &address)) {
        kpi_set_str(call, row, "", 0);
        return;
    }
    cut(&address, KP_MIN(address.bits, bits));
    int length = 0;
    for (int i = 0; i < 16; i += 2)
        length += snprintf(text + length, sizeof(text) - (size_t)length, "%s%02x%02x",
                           i > 0 ? ":" : "", address.bytes[i], address.bytes[i + 1]);
    kpi_set_copy(call, row, text, (size_t)length);
}

static void netmask_suffix(struct kpi_call *call, uint32_t row)
{
    struct address address;
    call->out->i64[row] = 0;
    if (read_address(text_arg(call, 0, row), false, &address))
        call->out->i64[row] = address.bits - V4_BITS;
    else
        kpi_set_null(call, row);
}

/* --- addresses inside text --- */

static bool is_part(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '.';
}

/* The address stands in the text with no letter, digit or point beside it. A prefix ("10.1.") may
 * go on with digits. */
static bool has_address(struct kp_str text, struct kp_str wanted, bool prefix)
{
    struct address address;
    if (wanted.len == 0 || (!prefix && !read_address(wanted, false, &address)))
        return false;
    for (uint32_t at = 0; at + wanted.len <= text.len; at++) {
        if (memcmp(text.ptr + at, wanted.ptr, wanted.len) != 0 ||
            (at > 0 && is_part(text.ptr[at - 1])))
            continue;
        uint32_t end = at + wanted.len;
        if (!prefix && end < text.len && is_part(text.ptr[end]))
            continue;
        while (end < text.len && is_part(text.ptr[end]))
            end++;
        struct kp_str whole = {text.ptr + at, end - at};
        if (read_address(whole, false, &address))
            return true;
    }
    return false;
}

static bool has_any_address(struct kpi_call *call, uint32_t row, bool prefix)
{
    struct kp_str text = text_arg(call, 0, row), value;
    struct kpi_json_walk walk;
    for (uint32_t a = 1; a < call->args_count; a++) {
        struct kp_str wanted = text_arg(call, a, row);
        bool array = call->args[a]->type == KP_TYPE_DYN && kpi_json_array(wanted, &walk);
        if (!array && has_address(text, wanted, prefix))
            return true;
        while (array && kpi_json_next(&walk, &value))
            if (has_address(text, kpi_json_plain(call->eval, value), prefix))
                return true;
    }
    return false;
}

/* --- kernels --- */

#define KERNEL(name, body)                  \
    static void name(struct kpi_call *call) \
    {                                       \
        KPI_EACH(call, row, body);          \
    }

KERNEL(k_parse_v4, set_v4_number(call, row, 32))
KERNEL(k_parse_v4_mask, set_v4_number(call, row, call->args[1]->i64[row]))
KERNEL(k_format_v4, format_v4(call, row, false))
KERNEL(k_format_v4_mask, format_v4(call, row, true))
KERNEL(k_compare_v4, compare_row(call, row, false, false))
KERNEL(k_match_v4, compare_row(call, row, false, true))
KERNEL(k_compare_v6, compare_row(call, row, true, false))
KERNEL(k_match_v6, compare_row(call, row, true, true))
KERNEL(k_private, call->out->i64[row] = is_private(text_arg(call, 0, row)))
KERNEL(k_suffix, netmask_suffix(call, row))
KERNEL(k_in_v4, call->out->i64[row] = in_any_range(call, row, false))
KERNEL(k_in_v6, call->out->i64[row] = in_any_range(call, row, true))
KERNEL(k_parse_v6, format_v6(call, row))
KERNEL(k_has, call->out->i64[row] = has_any_address(call, row, false))
KERNEL(k_has_prefix, call->out->i64[row] = has_any_address(call, row, true))

static const struct kpi_func funcs[] = {
    {"parse_ipv4", "s", 'l', 0, k_parse_v4, "an IPv4 address as a number; a.b.c.d/24 its network"},
    {"parse_ipv4_mask", "sl", 'l', 0, k_parse_v4_mask, "the first bits of an IPv4 address"},
    {"format_ipv4", "s", 's', 0, k_format_v4, "an IPv4 address as text, cut to its first bits"},
    {"format_ipv4", "sl", 's', 0, k_format_v4, NULL},
    {"format_ipv4", "l", 's', 0, k_format_v4, NULL},
    {"format_ipv4", "ll", 's', 0, k_format_v4, NULL},
    {"format_ipv4_mask", "s", 's', 0, k_format_v4_mask, "the same with /bits behind it"},
    {"format_ipv4_mask", "sl", 's', 0, k_format_v4_mask, NULL},
    {"format_ipv4_mask", "l", 's', 0, k_format_v4_mask, NULL},
    {"format_ipv4_mask", "ll", 's', 0, k_format_v4_mask, NULL},
    {"ipv4_compare", "ss", 'l', 0, k_compare_v4, "order of two IPv4 addresses or networks"},
    {"ipv4_compare", "ssl", 'l', 0, k_compare_v4, NULL},
    {"ipv4_is_match", "ss", 'b', 0, k_match_v4, "are two IPv4 addresses in the same network?"},
    {"ipv4_is_match", "ssl", 'b', 0, k_match_v4, NULL},
    {"ipv4_is_private", "s", 'b', 0, k_private, "10/8, 172.16/12 or 192.168/16?"},
    {"ipv4_is_in_range", "ss", 'b', 0, k_in_v4, "is the IPv4 address in the network?"},
    {"ipv4_is_in_any_range", "ss*", 'b', 0, k_in_v4, "is it in one of the networks?"},
    {"ipv4_is_in_any_range", "sy", 'b', 0, k_in_v4, NULL},
    {"ipv4_range_to_cidr_list", "ss", 'y', 0, k_range_to_list,
     "the networks that make up the addresses from one to another"},
    {"ipv4_netmask_suffix", "s", 'l', 0, k_suffix, "bits behind the / of an IPv4 network"},
    {"parse_ipv6", "s", 's', 0, k_parse_v6, "an address as a full IPv6 address"},
    {"parse_ipv6_mask", "sl", 's', 0, k_parse_v6, "the first bits of an address"},
    {"ipv6_compare", "ss", 'l', 0, k_compare_v6, "order of two addresses of either kind"},
    {"ipv6_compare", "ssl", 'l', 0, k_compare_v6, NULL},
    {"ipv6_is_match", "ss", 'b', 0, k_match_v6, "are two addresses in the same network?"},
    {"ipv6_is_match", "ssl", 'b', 0, k_match_v6, NULL},
    {"ipv6_is_in_range", "ss", 'b', 0, k_in_v6, "is the address in the network?"},
    {"ipv6_is_in_any_range", "ss*", 'b', 0, k_in_v6, "is it in one of the networks?"},
    {"ipv6_is_in_any_range", "sy", 'b', 0, k_in_v6, NULL},
    {"has_ipv4", "ss", 'b', 0, k_has, "does the IPv4 address stand in the text?"},
    {"has_any_ipv4", "ss*", 'b', 0, k_has, "does one of them?"},
    {"has_any_ipv4", "sy", 'b', 0, k_has, NULL},
    {"has_ipv4_prefix", "ss", 'b', 0, k_has_prefix, "does an IPv4 address begin so in the text?"},
    {"has_any_ipv4_prefix", "ss*", 'b', 0, k_has_prefix, "does one begin like one of these?"},
    {"has_any_ipv4_prefix", "sy", 'b', 0, k_has_prefix, NULL},
};

const struct kpi_func_table kpi_funcs_net = {funcs, KP_ARRAY_LEN(funcs)};
