/* SPDX-License-Identifier: Apache-2.0
 *
 * Tokens of InfluxQL, SHOW, and the choice of what is ours. SHOW is answered from the catalogue as
 * a datatable, so that its rows take the same way as all others.
 */
#include "server/influxql.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/assert.h"

#define VALUES_MAX 1000
#define KEYS_MAX   64

/* --- tokens --- */

static bool is_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || (unsigned char)c >= 0x80;
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* From the opening quote to behind the closing one, or to the end. */
static uint32_t skip_quoted(struct kp_str text, uint32_t at)
{
    char quote = text.ptr[at++];
    for (; at < text.len && text.ptr[at] != quote; at++)
        if (text.ptr[at] == '\\')
            at++;
    return KP_MIN(at + 1, text.len);
}

static uint32_t skip_number(struct kp_str text, uint32_t at)
{
    while (at < text.len && (is_digit(text.ptr[at]) || text.ptr[at] == '.' ||
                             (is_letter(text.ptr[at]) && text.ptr[at] != '_')))
        at++;
    return at;
}

static uint32_t skip_sign(struct kp_str text, uint32_t at)
{
    static const char *const pairs[] = {"=~", "!~", "!=", "<>", "<=", ">=", "==", "::"};
    for (size_t i = 0; at + 1 < text.len && i < KP_ARRAY_LEN(pairs); i++)
        if (memcmp(text.ptr + at, pairs[i], 2) == 0)
            return at + 2;
    return at + 1;
}

static void set_token(struct kpi_iq *iq, enum kpi_iq_kind kind, uint32_t at, uint32_t end)
{
    bool quoted = kind == KPI_IQ_NAME || kind == KPI_IQ_TEXT || kind == KPI_IQ_REGEX;
    uint32_t from = at + quoted;
    uint32_t to = quoted && end > from ? end - 1 : end;
    iq->token = (struct kpi_iq_token){kind, {iq->text.ptr + from, to - from}, at, end};
    iq->value_next = kind == KPI_IQ_SIGN && !(end - at == 1 && strchr(")]*", iq->text.ptr[at]));
}

void kpi_iq_next(struct kpi_iq *iq)
{
    struct kp_str text = iq->text;
    uint32_t at = iq->token.end;
    while (at < text.len && strchr(" \t\r\n", text.ptr[at]) != NULL && text.ptr[at] != '\0')
        at++;
    char c = at < text.len ? text.ptr[at] : '\0';
    if (at == text.len)
        set_token(iq, KPI_IQ_END, at, at);
    else if (c == '"' || c == '\'')
        set_token(iq, c == '"' ? KPI_IQ_NAME : KPI_IQ_TEXT, at, skip_quoted(text, at));
    else if (c == '/' && iq->value_next)
        set_token(iq, KPI_IQ_REGEX, at, skip_quoted(text, at));
    else if (is_digit(c))
        set_token(iq, KPI_IQ_NUMBER, at, skip_number(text, at));
    else if (is_letter(c)) {
        uint32_t end = at;
        while (end < text.len && (is_letter(text.ptr[end]) || is_digit(text.ptr[end])))
            end++;
        set_token(iq, KPI_IQ_WORD, at, end);
    } else {
        set_token(iq, KPI_IQ_SIGN, at, skip_sign(text, at));
    }
}

void kpi_iq_init(struct kpi_iq *iq, struct kp_str text, struct kp_error *err)
{
    *iq = (struct kpi_iq){.text = text, .err = err};
    kpi_iq_next(iq);
}

bool kpi_iq_is(const struct kpi_iq *iq, const char *word)
{
    return (iq->token.kind == KPI_IQ_WORD || iq->token.kind == KPI_IQ_SIGN) &&
           kp_str_equal_nocase(iq->token.text, kp_str_from(word));
}

bool kpi_iq_take(struct kpi_iq *iq, const char *word)
{
    bool is = kpi_iq_is(iq, word);
    if (is)
        kpi_iq_next(iq);
    return is;
}

kp_status kpi_iq_fail(struct kpi_iq *iq, kp_status code, const char *what)
{
    struct kp_str text = iq->token.text;
    if (iq->token.kind == KPI_IQ_END)
        kp_error_set(iq->err, code, "InfluxQL: %s at the end of the statement", what);
    else
        kp_error_set(iq->err, code, "InfluxQL: %s at '%.*s'", what, (int)KP_MIN(text.len, 60u),
                     text.ptr);
    kp_error_place(iq->err, 1, iq->token.at + 1, iq->token.end - iq->token.at);
    return code;
}

kp_status kpi_iq_name(struct kpi_iq *iq, struct kp_str *out)
{
    if (iq->token.kind != KPI_IQ_WORD && iq->token.kind != KPI_IQ_NAME)
        return kpi_iq_fail(iq, KP_INVALID, "a name is missing");
    *out = iq->token.text;
    kpi_iq_next(iq);
    if (!kpi_iq_take(iq, "::"))
        return KP_OK;
    if (iq->token.kind != KPI_IQ_WORD)
        return kpi_iq_fail(iq, KP_INVALID, "tag or field is missing behind ::");
    kpi_iq_next(iq);
    return KP_OK;
}

static void add_quoted(struct kp_buf *out, struct kp_str text)
{
    kp_buf_char(out, '\'');
    for (uint32_t i = 0; i < text.len; i++) {
        char c = text.ptr[i];
        if (c == '\\' && i + 1 < text.len &&
            (text.ptr[i + 1] == '\'' || text.ptr[i + 1] == '"' || text.ptr[i + 1] == '\\'))
            c = text.ptr[++i];
        if (c == '\n' || c == '\r' || c == '\0') {
            kp_buf_text(out, c == '\n' ? "\\n" : c == '\r' ? "\\r" : "\\0");
            continue;
        }
        if (c == '\'' || c == '\\')
            kp_buf_char(out, '\\');
        kp_buf_char(out, c);
    }
    kp_buf_char(out, '\'');
}

void kpi_iq_add_text(struct kp_buf *out, struct kp_str text)
{
    add_quoted(out, text);
}

void kpi_iq_add_name(struct kp_buf *out, struct kp_str name)
{
    kp_buf_char(out, '[');
    add_quoted(out, name);
    kp_buf_char(out, ']');
}

/* Tables that are no streams. */
static const char *const derived[] = {"cpu_state", "events", "thread_state", "txn"};

/* --- FROM --- */

/* A name that is to be a table of ours: letters, digits and _ only. */
static kp_status read_table(struct kpi_iq *iq, struct kp_str *out)
{
    struct kpi_iq_token token = iq->token;
    kp_status status = kpi_iq_name(iq, out);
    for (uint32_t i = 0; status == KP_OK && i < out->len; i++) {
        char c = out->ptr[i];
        if ((unsigned char)c >= 0x80 || !(is_letter(c) || (i > 0 && is_digit(c)))) {
            iq->token = token;
            return kpi_iq_fail(iq, KP_INVALID, "this is not the name of a measurement");
        }
    }
    return status;
}

/* The measurements that match the current /pattern/. */
static kp_status match_tables(struct kpi_iq *iq, struct kpi_iq_from *out)
{
    uint32_t count = 0;
    kp_status status = KP_OK;
    const struct kp_stream *streams = kp_streams(&count);
    for (uint32_t i = 0; status == KP_OK && i < KP_ARRAY_LEN(derived) + count; i++) {
        bool found = false;
        struct kp_str name = kp_str_from(
            i < KP_ARRAY_LEN(derived) ? derived[i] : streams[i - KP_ARRAY_LEN(derived)].name);
        status = kpi_iq_matches(iq, name, &found);
        if (found && out->count < KPI_MEASUREMENTS_MAX)
            out->names[out->count++] = name;
    }
    kpi_iq_next(iq);
    return status;
}

kp_status kpi_iq_from(struct kpi_iq *iq, struct kpi_iq_from *out)
{
    kp_status status = KP_OK;
    out->count = 0;
    if (kpi_iq_is(iq, "/")) { /* after a word it is no division here */
        iq->token.end = iq->token.at;
        iq->value_next = true;
        kpi_iq_next(iq);
    }
    if (kpi_iq_is(iq, "("))
        return kpi_iq_fail(iq, KP_UNSUPPORTED, "subqueries are not supported; there is one");
    if (iq->token.kind != KPI_IQ_REGEX)
        status = read_table(iq, &out->names[out->count++]);
    while (status == KP_OK && kpi_iq_take(iq, ".")) { /* "db"."rp"."m", "db".."m" */
        kpi_iq_take(iq, ".");
        out->count = 0;
        if (iq->token.kind != KPI_IQ_REGEX)
            status = read_table(iq, &out->names[out->count++]);
    }
    if (status == KP_OK && iq->token.kind == KPI_IQ_REGEX)
        status = match_tables(iq, out);
    if (status == KP_OK && kpi_iq_is(iq, ","))
        return kpi_iq_fail(iq, KP_UNSUPPORTED, "one measurement at a time");
    return status;
}

static bool is_from(const struct kpi_iq_from *from, const char *name)
{
    for (uint32_t i = 0; i < from->count; i++)
        if (kp_str_equal(from->names[i], kp_str_from(name)))
            return true;
    return false;
}

/* --- SHOW --- */

static bool is_tag(const struct kp_query_column *column)
{
    return column->type == KP_TYPE_STR || column->unit == KP_UNIT_ID;
}

/* ON "db" names the only database there is. */
static kp_status skip_on(struct kpi_iq *iq)
{
    struct kp_str ignored;
    return kpi_iq_take(iq, "on") ? kpi_iq_name(iq, &ignored) : KP_OK;
}

/* A WHERE that the list does not depend on, and LIMIT and OFFSET. */
static kp_status read_rest(struct kpi_iq *iq, struct kpi_inquiry *out)
{
    kp_status status = KP_OK;
    if (kpi_iq_take(iq, "where")) {
        struct kp_buf ignored = {0};
        status = kpi_iq_where(iq, &ignored);
        kp_buf_deinit(&ignored);
    }
    while (status == KP_OK && iq->token.kind != KPI_IQ_END) {
        if (kpi_iq_take(iq, "limit"))
            status = kpi_iq_count(iq, &out->limit);
        else if (kpi_iq_take(iq, "offset"))
            status = kpi_iq_count(iq, &out->offset);
        else if (!kpi_iq_take(iq, ";"))
            status = kpi_iq_fail(iq, KP_INVALID, "the statement should end");
    }
    return status;
}

/* WITH MEASUREMENT = "m" or =~ /(?i)m/ as a condition on name. */
static kp_status add_filter(struct kpi_iq *iq, struct kp_buf *out)
{
    struct kp_str name;
    if (!kpi_iq_take(iq, "with"))
        return KP_OK;
    if (!kpi_iq_take(iq, "measurement"))
        return kpi_iq_fail(iq, KP_INVALID, "MEASUREMENT is missing behind WITH");
    bool negative = kpi_iq_is(iq, "!~") || kpi_iq_is(iq, "!=");
    bool regex = kpi_iq_is(iq, "=~") || kpi_iq_is(iq, "!~");
    kpi_iq_next(iq);
    kp_buf_text(out, " | where ");
    if (regex)
        return kpi_iq_regex(iq, KP_STR("name"), negative, out);
    kp_status status = kpi_iq_name(iq, &name);
    if (status != KP_OK)
        return status;
    kp_buf_text(out, negative ? "name != " : "name == ");
    kpi_iq_add_text(out, name);
    return KP_OK;
}

static kp_status show_measurements(struct kpi_iq *iq, struct kpi_inquiry *out)
{
    uint32_t count = 0;
    kp_status status = skip_on(iq);
    const struct kp_stream *streams = kp_streams(&count);
    kp_buf_text(&out->text, "datatable(name:string)[");
    for (size_t i = 0; i < KP_ARRAY_LEN(derived); i++)
        kp_buf_printf(&out->text, "'%s',", derived[i]);
    for (uint32_t i = 0; i < count; i++)
        kp_buf_printf(&out->text, "'%s'%s", streams[i].name, i + 1 < count ? "," : "]");
    if (status == KP_OK)
        status = add_filter(iq, &out->text);
    kp_buf_text(&out->text, " | sort by name asc");
    snprintf(out->name, sizeof(out->name), "measurements");
    return status == KP_OK ? read_rest(iq, out) : status;
}

static const char *field_type(enum kp_type type)
{
    switch (type) {
    case KP_TYPE_F64:
        return "float";
    case KP_TYPE_BOOL:
        return "boolean";
    case KP_TYPE_STR:
    case KP_TYPE_DYN:
    case KP_TYPE_DEC:
        return "string";
    default:
        return "integer";
    }
}

static void add_keys(struct kp_buf *out, const struct kp_stream *stream, bool tags)
{
    for (uint32_t i = 0; i < stream->columns_count; i++) {
        const struct kp_query_column *column = &stream->columns[i];
        if (is_tag(column) != tags || strcmp(column->name, "ts") == 0)
            continue;
        kp_buf_printf(out, "'%s','%s',", stream->name, column->name);
        if (!tags)
            kp_buf_printf(out, "'%s',", field_type(column->type));
    }
}

/* SHOW TAG KEYS and SHOW FIELD KEYS, of one measurement or of all. */
static kp_status show_keys(struct kpi_iq *iq, bool tags, struct kpi_inquiry *out)
{
    struct kpi_iq_from from;
    uint32_t count = 0;
    kp_status status = skip_on(iq);
    bool all = !kpi_iq_take(iq, "from");
    if (status == KP_OK && !all)
        status = kpi_iq_from(iq, &from);
    if (status == KP_OK)
        status = read_rest(iq, out);
    if (status != KP_OK)
        return status;
    const struct kp_stream *streams = kp_streams(&count);
    kp_buf_text(&out->text, tags ? "datatable(m:string,tagKey:string)["
                                 : "datatable(m:string,fieldKey:string,fieldType:string)[");
    for (uint32_t i = 0; i < count; i++)
        if (all || is_from(&from, streams[i].name))
            add_keys(&out->text, &streams[i], tags);
    if (out->text.data != NULL && out->text.data[out->text.size - 1] == ',')
        out->text.size--;
    kp_buf_printf(&out->text, "] | sort by m asc, %s asc", tags ? "tagKey" : "fieldKey");
    out->named = true;
    return status;
}

/* Of WITH KEY. */
struct keys {
    struct kp_str names[KEYS_MAX];
    uint32_t count;
};

/* The stream to look for values of a key in, when the question names none. */
static const struct kp_stream *stream_with(struct kp_str key)
{
    uint32_t count = 0;
    const struct kp_stream *streams = kp_streams(&count);
    for (uint32_t i = 0; i < count; i++)
        if (kp_stream_column(&streams[i], key) != NULL)
            return &streams[i];
    return NULL;
}

/* Keys that match the current /pattern/, of all streams. */
static kp_status match_keys(struct kpi_iq *iq, struct keys *out)
{
    uint32_t count = 0;
    kp_status status = KP_OK;
    const struct kp_stream *streams = kp_streams(&count);
    for (uint32_t i = 0; i < count; i++) {
        for (uint32_t c = 0; status == KP_OK && c < streams[i].columns_count; c++) {
            bool found = false, known = false;
            struct kp_str name = kp_str_from(streams[i].columns[c].name);
            for (uint32_t k = 0; k < out->count; k++)
                known |= kp_str_equal(out->names[k], name);
            if (!known && is_tag(&streams[i].columns[c]))
                status = kpi_iq_matches(iq, name, &found);
            if (found && out->count == KEYS_MAX)
                return kpi_iq_fail(iq, KP_LIMIT, "too many keys match");
            if (found)
                out->names[out->count++] = name;
        }
    }
    kpi_iq_next(iq);
    return status;
}

/* = "k", IN ("k", "l") or =~ /k|l/ behind WITH KEY. */
static kp_status read_keys(struct kpi_iq *iq, struct keys *out)
{
    if (kpi_iq_take(iq, "=~"))
        return match_keys(iq, out);
    bool list = kpi_iq_take(iq, "in") && kpi_iq_take(iq, "(");
    if (!list && !kpi_iq_take(iq, "=") && !kpi_iq_take(iq, "=="))
        return kpi_iq_fail(iq, KP_UNSUPPORTED,
                           "WITH KEY = \"name\", IN (...) or =~ /a|b/ is needed");
    do {
        if (out->count == KEYS_MAX)
            return kpi_iq_fail(iq, KP_LIMIT, "too many keys");
        kp_status status = kpi_iq_name(iq, &out->names[out->count++]);
        if (status != KP_OK)
            return status;
    } while (list && kpi_iq_take(iq, ","));
    return !list || kpi_iq_take(iq, ")") ? KP_OK : kpi_iq_fail(iq, KP_INVALID, ") is missing");
}

/* (m | where ... | distinct ...) for one measurement and key. */
static void add_values(struct kp_buf *out, struct kp_str from, struct kp_buf *where,
                       struct kp_str key)
{
    kp_buf_char(out, '(');
    kp_buf_str(out, from);
    if (where->size > 0)
        kp_buf_printf(out, " | where %s", kp_buf_cstr(where));
    kp_buf_text(out, " | distinct value = tostring(");
    kpi_iq_add_name(out, key);
    kp_buf_text(out, ") | where value != '' | extend m = ");
    kpi_iq_add_text(out, from);
    kp_buf_text(out, ", key = ");
    kpi_iq_add_text(out, key);
    kp_buf_char(out, ')');
}

/* A measurement may not have a key; one that is no stream is asked as it stands. */
static bool has_key(struct kp_str from, struct kp_str key)
{
    const struct kp_stream *stream = kp_stream_by_name(from);
    return stream == NULL || kp_stream_column(stream, key) != NULL;
}

static void write_values(const struct kpi_iq_from *from, const struct keys *keys,
                         struct kp_buf *where, struct kp_buf *out)
{
    struct kp_buf parts = {0};
    uint32_t count = 0;
    for (uint32_t i = 0; i < from->count; i++) {
        for (uint32_t k = 0; k < keys->count; k++) {
            if (!has_key(from->names[i], keys->names[k]))
                continue;
            kp_buf_text(&parts, count > 0 ? ", " : "");
            add_values(&parts, from->names[i], where, keys->names[k]);
            count++;
        }
    }
    if (count == 0)
        kp_buf_text(out, "datatable(m:string,key:string,value:string)[]");
    else
        kp_buf_printf(out, "%s%s", count > 1 ? "union " : "", kp_buf_cstr(&parts));
    kp_buf_printf(out, " | project m, key, value | sort by m asc, key asc, value asc | take %d",
                  VALUES_MAX);
    out->failed |= parts.failed;
    kp_buf_deinit(&parts);
}

/* SHOW TAG VALUES [FROM m] WITH KEY = "k" [WHERE ...]. */
static kp_status show_values(struct kpi_iq *iq, struct kpi_inquiry *out)
{
    struct kpi_iq_from from = {.count = 0};
    struct keys keys = {.count = 0};
    struct kp_buf where = {0};
    kp_status status = skip_on(iq);
    bool all = !kpi_iq_take(iq, "from");
    if (status == KP_OK && !all)
        status = kpi_iq_from(iq, &from);
    if (status == KP_OK && !(kpi_iq_take(iq, "with") && kpi_iq_take(iq, "key")))
        status = kpi_iq_fail(iq, KP_INVALID, "WITH KEY is missing");
    if (status == KP_OK)
        status = read_keys(iq, &keys);
    if (status == KP_OK && kpi_iq_take(iq, "where"))
        status = kpi_iq_where(iq, &where);
    if (status == KP_OK)
        status = read_rest(iq, out);
    const struct kp_stream *stream = all && keys.count > 0 ? stream_with(keys.names[0]) : NULL;
    if (stream != NULL)
        from.names[from.count++] = kp_str_from(stream->name);
    if (status == KP_OK)
        write_values(&from, &keys, &where, &out->text);
    out->named = true;
    out->text.failed |= where.failed;
    kp_buf_deinit(&where);
    return status;
}

static kp_status show_fixed(struct kpi_iq *iq, const char *name, const char *text,
                            struct kpi_inquiry *out)
{
    kp_buf_text(&out->text, text);
    snprintf(out->name, sizeof(out->name), "%s", name);
    kp_status status = skip_on(iq);
    return status == KP_OK ? read_rest(iq, out) : status;
}

/* What InfluxQL has besides, and kprobe has not. */
static bool is_refused_show(struct kpi_iq *iq)
{
    static const char *const words[] = {"series",     "users",   "grants",        "queries",
                                        "continuous", "shards",  "subscriptions", "diagnostics",
                                        "stats",      "servers", "measurement"};
    struct kpi_iq ahead = *iq;
    for (size_t i = 0; i < KP_ARRAY_LEN(words); i++)
        if (kpi_iq_is(iq, words[i]))
            return true;
    while (ahead.token.kind == KPI_IQ_WORD) {
        if (kpi_iq_is(&ahead, "cardinality"))
            return true;
        kpi_iq_next(&ahead);
    }
    return kpi_iq_is(iq, "shard");
}

static kp_status refuse_show(struct kpi_iq *iq)
{
    return kpi_iq_fail(iq, KP_UNSUPPORTED,
                       "SHOW knows DATABASES, MEASUREMENTS, RETENTION POLICIES, TAG KEYS, "
                       "TAG VALUES and FIELD KEYS only; not");
}

/* False: not a SHOW of InfluxQL. */
static bool show(struct kpi_iq *iq, struct kpi_inquiry *out, kp_status *out_status)
{
    struct kpi_iq first = *iq;
    bool half = kpi_iq_is(iq, "tag") || kpi_iq_is(iq, "field") || kpi_iq_is(iq, "retention");
    if (is_refused_show(iq))
        *out_status = refuse_show(iq);
    else if (kpi_iq_take(iq, "databases"))
        *out_status = show_fixed(iq, "databases", "datatable(name:string)['kprobe']", out);
    else if (kpi_iq_take(iq, "measurements"))
        *out_status = show_measurements(iq, out);
    else if (kpi_iq_take(iq, "retention") && kpi_iq_take(iq, "policies"))
        *out_status = show_fixed(iq, "",
                                 "datatable(name:string,duration:string,shardGroupDuration:string,"
                                 "replicaN:long,default:bool)['autogen','0s','168h0m0s',1,true]",
                                 out);
    else if (kpi_iq_take(iq, "field") && kpi_iq_take(iq, "keys"))
        *out_status = show_keys(iq, false, out);
    else if (kpi_iq_take(iq, "tag") && kpi_iq_take(iq, "keys"))
        *out_status = show_keys(iq, true, out);
    else if (kpi_iq_take(iq, "values"))
        *out_status = show_values(iq, out);
    else if (half)
        *out_status = refuse_show(&first);
    else
        return false;
    return true;
}

/* --- what would change something --- */

/* CREATE DATABASE "kprobe", with which clients begin, is done already. */
static kp_status create(struct kpi_iq *iq, struct kpi_inquiry *out)
{
    struct kp_str name = {NULL, 0};
    struct kpi_iq ahead = *iq;
    kpi_iq_next(&ahead);
    bool ours = kpi_iq_take(&ahead, "database") && kpi_iq_name(&ahead, &name) == KP_OK &&
                kp_str_equal(name, KP_STR("kprobe"));
    if (!ours)
        return kpi_iq_fail(iq, KP_UNSUPPORTED,
                           "there is one database, kprobe, and nothing else is made; not");
    kp_buf_text(&out->text, "datatable(name:string)[]");
    return KP_OK;
}

static bool changes(struct kpi_iq *iq, struct kpi_inquiry *out, kp_status *out_status)
{
    static const char *const words[] = {"drop",   "delete", "alter", "grant",
                                        "revoke", "kill",   "set"};
    if (kpi_iq_is(iq, "create")) {
        *out_status = create(iq, out);
        return true;
    }
    struct kpi_iq ahead = *iq;
    kpi_iq_next(&ahead);
    for (size_t i = 0; i < KP_ARRAY_LEN(words); i++) {
        if (!kpi_iq_is(iq, words[i]) || ahead.token.kind != KPI_IQ_WORD)
            continue;
        *out_status = kpi_iq_fail(iq, KP_UNSUPPORTED, "queries change nothing; not");
        return true;
    }
    return false;
}

/* --- ours --- */

/* Ends the token behind what only our language has: a // remark, a @'raw text'. */
static void widen(struct kpi_iq *iq)
{
    struct kp_str text = iq->text;
    uint32_t at = iq->token.at;
    char second = at + 1 < text.len ? text.ptr[at + 1] : '\0';
    bool remark = kpi_iq_is(iq, "/") && second == '/';
    bool raw = kpi_iq_is(iq, "@") && (second == '\'' || second == '"');
    if (!remark && !raw)
        return;
    const char *end = memchr(text.ptr + at + 2, remark ? '\n' : second, text.len - at - 2);
    iq->token.end = end != NULL ? (uint32_t)(end - text.ptr) + 1 : text.len;
}

/* Where the WHERE begins that is no operator of a pipe, or the end; and the last pipe that leads to
 * EMIT or render, which take no operator behind them, or that place too. */
static void find_where(struct kpi_iq *iq, uint32_t *out_last)
{
    bool after_pipe = false;
    uint32_t pipe = 0, last = 0;
    int depth = 0;
    while (iq->token.kind != KPI_IQ_END) {
        if (kpi_iq_is(iq, "where") && !after_pipe && depth == 0 && iq->token.at > 0)
            break;
        if (after_pipe && depth == 0 && (kpi_iq_is(iq, "emit") || kpi_iq_is(iq, "render")))
            last = pipe;
        depth += kpi_iq_is(iq, "(") || kpi_iq_is(iq, "[");
        depth -= kpi_iq_is(iq, ")") || kpi_iq_is(iq, "]");
        after_pipe = kpi_iq_is(iq, "|");
        pipe = after_pipe ? iq->token.at : pipe;
        iq->value_next = false; /* ours has no /regex/ */
        widen(iq);
        kpi_iq_next(iq);
    }
    *out_last = last > 0 ? last : iq->token.at;
}

/* A WHERE that is no operator of a pipe (Grafana's ad-hoc filters, $timeFilter) becomes one. */
static kp_status pass_ours(struct kp_str text, struct kpi_inquiry *out, struct kp_error *err)
{
    struct kpi_iq iq;
    uint32_t last = 0;
    kpi_iq_init(&iq, text, err);
    find_where(&iq, &last);
    out->ours = true;
    if (iq.token.kind == KPI_IQ_END) {
        kp_buf_str(&out->text, text);
        return KP_OK;
    }
    struct kp_str moved = {text.ptr + last, iq.token.at - last};
    struct kpi_iq first;
    kpi_iq_init(&first, text, err);
    iq.time = kpi_iq_is(&first, "causes") ? "start" : NULL;
    kpi_iq_next(&iq);
    kp_buf_str(&out->text, (struct kp_str){text.ptr, last});
    kp_buf_text(&out->text, " | where ");
    kp_status status = kpi_iq_where(&iq, &out->text);
    if (status != KP_OK)
        return status;
    kp_buf_text(&out->text, moved.len > 0 ? " " : "");
    kp_buf_str(&out->text, moved);
    kp_buf_str(&out->text, (struct kp_str){text.ptr + iq.token.at, text.len - iq.token.at});
    return KP_OK;
}

uint32_t kpi_influxql_end(struct kp_str text)
{
    struct kpi_iq iq;
    struct kp_error ignored;
    kpi_iq_init(&iq, text, &ignored);
    if (!kpi_iq_is(&iq, "select") && !kpi_iq_is(&iq, "show"))
        return text.len; /* in our language a ; stands between let and its use */
    while (iq.token.kind != KPI_IQ_END && !kpi_iq_is(&iq, ";"))
        kpi_iq_next(&iq);
    return iq.token.at;
}

kp_status kpi_influxql(struct kp_str text, struct kpi_inquiry *out, struct kp_error *err)
{
    struct kpi_iq iq;
    kp_status status = KP_OK;
    *out = (struct kpi_inquiry){0};
    kpi_iq_init(&iq, text, err);
    if (kpi_iq_is(&iq, "select")) {
        status = kpi_iq_select(&iq, out);
    } else if (kpi_iq_take(&iq, "show")) {
        struct kpi_iq tag = iq;
        kpi_iq_take(&tag, "tag");
        if (!show(kpi_iq_is(&tag, "values") ? &tag : &iq, out, &status))
            status = pass_ours(text, out, err);
    } else if (!changes(&iq, out, &status)) {
        status = pass_ours(text, out, err);
    }
    if (status == KP_OK && out->text.failed)
        status = kp_error_set(err, KP_NO_MEMORY, "no memory for the query");
    return status;
}
