/* SPDX-License-Identifier: Apache-2.0
 *
 * The HTTP half of the query port, as stock Grafana and InfluxDB's clients know it: /query,
 * /write and /ping of InfluxDB 1, /api/v2/query, /api/v2/write and /health of InfluxDB 2.
 *
 * The beginning of an answer is collected: one that fits WHOLE_BYTES goes out with its size, rows
 * and time in its head, where Grafana's inspector shows them; a longer one streams.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/assert.h"
#include "base/version.h"
#include "render/render.h"
#include "server/auth.h"
#include "server/flux.h"
#include "server/gzip.h"
#include "server/run.h"
#include "server/series.h"
#include "server/server_int.h"

#define WHOLE_BYTES  (4 * 1024 * 1024)
#define PIECE_BYTES  (64 * 1024)
#define CHUNK_ROWS   10000 /* as InfluxDB has it */
#define CSV_TYPE     "text/csv; charset=utf-8"
#define VERSION_TEXT "1.8.10-kprobe" /* what clients compare with is the beginning */

/* --- errors --- */

static unsigned http_status(kp_status code)
{
    switch (code) {
    case KP_DENIED:
        return 403;
    case KP_BUSY:
    case KP_CANCELLED:
    case KP_NO_MEMORY:
        return 503;
    case KP_IO:
    case KP_CORRUPT:
    case KP_NO_SPACE:
        return 500;
    default:
        return 400;
    }
}

/* Codes of InfluxDB 2. */
static const char *code_name(unsigned status)
{
    static const struct {
        unsigned status;
        const char *name;
    } names[] = {{401, "unauthorized"},       {403, "forbidden"},         {404, "not found"},
                 {405, "method not allowed"}, {413, "request too large"}, {500, "internal error"},
                 {503, "unavailable"}};
    for (size_t i = 0; i < KP_ARRAY_LEN(names); i++)
        if (names[i].status == status)
            return names[i].name;
    return "invalid";
}

/* A header, with its end cut off when it is too long. */
static void add_text_head(struct kpi_answer *answer, const char *name, struct kp_str message)
{
    char text[sizeof(answer->heads[0].value)];
    size_t size = KP_MIN(message.len, sizeof(text) - 1);
    for (size_t i = 0; i < size; i++)
        text[i] = (unsigned char)message.ptr[i] < 0x20 ? ' ' : message.ptr[i];
    text[size] = '\0';
    kpi_answer_header(answer, name, text);
}

/* {"error":"..."}; of the second generation {"code":"...","message":"..."}; or CSV. */
static void answer_error(struct kpi_answer *answer, const struct kp_error *err, unsigned status,
                         enum kpi_form form)
{
    struct kp_buf message = {0};
    kpi_series_message(err, &message);
    struct kp_str text = {kp_buf_cstr(&message), (uint32_t)message.size};
    kp_buf_clear(&answer->body);
    answer->type = "application/json";
    if (form == KPI_FORM_CSV) {
        kpi_csv_error(text, &answer->body);
        answer->type = CSV_TYPE;
    } else if (form == KPI_FORM_ANNOTATED) {
        kp_buf_printf(&answer->body, "{\"code\":\"%s\",\"message\":", code_name(status));
    } else {
        kp_buf_text(&answer->body, "{\"error\":");
    }
    if (form != KPI_FORM_CSV) {
        kp_json_str(&answer->body, text);
        kp_buf_text(&answer->body, "}\n");
    }
    answer->status = status;
    answer->retry = status == 503;
    kpi_answer_header(answer, "X-Influxdb-Version", VERSION_TEXT);
    if (form != KPI_FORM_ANNOTATED)
        add_text_head(answer, "X-Influxdb-Error", text);
    kp_buf_deinit(&message);
}

static enum kpi_form form_of(const struct kpi_request *request)
{
    return strncmp(request->path, "/api/v2/", 8) == 0 ? KPI_FORM_ANNOTATED : KPI_FORM_JSON;
}

void kpi_influx_error(const struct kpi_request *request, struct kpi_answer *answer,
                      const struct kp_error *err)
{
    answer_error(answer, err, http_status(err->code), form_of(request));
}

static void fail(const struct kpi_request *request, struct kpi_answer *answer, unsigned status,
                 const char *text)
{
    struct kp_error err;
    kp_error_set(&err, KP_INVALID, "%s", text);
    answer_error(answer, &err, status, form_of(request));
}

/* --- a query in progress --- */

struct influx {
    struct kpi_run run;
    struct kpi_inquiry inquiry;
    struct kpi_series series;
    bool series_open, over, pretty;
    struct kpi_series_opts opts;
    struct kp_buf query; /* as asked */
    uint32_t next;       /* where the next statement of it begins */
    const _Atomic bool *cancel;
    struct kp_buf begin;   /* collected, not sent */
    struct kp_buf remarks; /* on all statements */
    uint64_t rows;         /* of all statements */
    kp_dur elapsed;
};

static struct kp_str buf_text(struct kp_buf *text)
{
    return (struct kp_str){kp_buf_cstr(text), (uint32_t)text->size};
}

static void close_statement(struct influx *influx)
{
    if (influx->series_open)
        kpi_series_deinit(&influx->series);
    influx->series_open = false;
    kpi_run_close(&influx->run);
    kp_buf_deinit(&influx->inquiry.text);
}

static void close_influx(void *ctx)
{
    struct influx *influx = ctx;
    close_statement(influx);
    kp_buf_deinit(&influx->query);
    kp_buf_deinit(&influx->begin);
    kp_buf_deinit(&influx->remarks);
    free(influx);
}

/* The text of the statement that comes next, which is then behind. */
static struct kp_str take_statement(struct influx *influx)
{
    const char *begin = kp_buf_cstr(&influx->query);
    uint32_t size = (uint32_t)influx->query.size;
    struct kp_str rest = {begin + influx->next, size - influx->next};
    struct kp_str text = {rest.ptr, kpi_influxql_end(rest)};
    influx->next += text.len;
    while (influx->next < size && strchr("; \t\r\n", begin[influx->next]) != NULL)
        influx->next++;
    influx->opts.last = influx->next == size;
    return text;
}

static kp_status open_statement(struct influx *influx, struct kp_server *server,
                                struct kp_error *err)
{
    struct kp_str text = take_statement(influx);
    kp_status status = KP_OK;
    bool flux = influx->opts.form == KPI_FORM_ANNOTATED &&
                kpi_flux_call(text, &influx->inquiry, &status, err);
    if (!flux)
        status = kpi_influxql(text, &influx->inquiry, err);
    if (status != KP_OK)
        return status;
    if (influx->inquiry.ours) {
        char name[KP_RENDER_NAME_MAX];
        kp_render_name(text, name);
        snprintf(influx->inquiry.name, sizeof(influx->inquiry.name), "%s", name);
    }
    status = kpi_run_open(&influx->run, server, buf_text(&influx->inquiry.text),
                          &(struct kpi_wish){.cancel = influx->cancel}, err);
    if (status != KP_OK)
        return status;
    kpi_series_init(&influx->series, &influx->opts, kp_query_schema(influx->run.query),
                    &influx->inquiry);
    influx->series_open = true;
    return KP_OK;
}

/* One statement is answered: on with the next. One that is wrong ends the answer. */
static void advance(struct influx *influx, struct kp_buf *out)
{
    struct kp_server *server = influx->run.server;
    struct kp_error err = {0};
    close_statement(influx);
    influx->opts.statement++;
    kp_status status = open_statement(influx, server, &err);
    if (status == KP_OK)
        return;
    err.code = status;
    atomic_fetch_add(&server->query_errors, 1);
    influx->over = influx->opts.last = true;
    kpi_series_failed(&influx->opts, &err, out);
}

static void add_remark(void *ctx, struct kp_str remark)
{
    struct influx *influx = ctx;
    kpi_series_remark(&influx->series, remark);
    kp_buf_text(&influx->remarks, influx->remarks.size > 0 ? "; " : "");
    kp_buf_str(&influx->remarks, remark);
}

/* Adds rows until `most` bytes are there or the answer is whole. */
static void pull(struct influx *influx, size_t most, struct kp_buf *out)
{
    while (!influx->over && out->size < most && !out->failed) {
        struct kp_error err = {0};
        struct kp_query_stat stat;
        const struct kp_batch *batch = NULL;
        kp_status status = kpi_run_next(&influx->run, &batch, &err);
        if (status == KP_OK) {
            kpi_series_batch(&influx->series, batch, out);
            continue;
        }
        err.code = status;
        influx->over = influx->opts.last || status != KP_END;
        influx->series.opts.last = influx->over;
        kpi_run_remarks(&influx->run, buf_text(&influx->inquiry.text), add_remark, influx);
        if (status != KP_END)
            atomic_fetch_add(&influx->run.server->query_errors, 1);
        kpi_series_end(&influx->series, status == KP_END ? NULL : &err, out);
        kpi_run_finish(&influx->run, &stat);
        influx->rows += stat.rows_out;
        influx->elapsed += stat.elapsed;
        if (!influx->over)
            advance(influx, out);
    }
}

static bool more(void *ctx, struct kp_buf *out, struct kpi_answer *answer)
{
    struct influx *influx = ctx;
    if (influx->begin.size > 0) {
        struct kp_buf taken = influx->begin;
        influx->begin = *out;
        *out = taken;
    } else {
        pull(influx, PIECE_BYTES, out);
    }
    if (influx->over && influx->remarks.size > 0)
        kpi_answer_trailer(answer, "X-Kprobe-Note", buf_text(&influx->remarks));
    return !influx->over && !out->failed;
}

static void add_head(struct kpi_answer *answer, const char *name, uint64_t value)
{
    char text[24];
    snprintf(text, sizeof(text), "%" PRIu64, value);
    kpi_answer_header(answer, name, text);
}

/* Makes a whole body easy to read, when that was asked for. */
static void indent(const struct influx *influx, struct kpi_answer *answer)
{
    struct kp_buf plain = answer->body;
    if (!influx->pretty || influx->opts.form != KPI_FORM_JSON)
        return;
    answer->body = (struct kp_buf){0};
    kpi_json_indent(buf_text(&plain), &answer->body);
    kp_buf_deinit(&plain);
}

/* A whole answer: its numbers go into the head. */
static void answer_whole(struct influx *influx, struct kpi_answer *answer)
{
    kp_buf_add(&answer->body, influx->begin.data, influx->begin.size);
    indent(influx, answer);
    add_head(answer, "X-Grafana-Meta-Add-Rows", influx->rows);
    add_head(answer, "X-Grafana-Meta-Add-Bytes", answer->body.size);
    add_head(answer, "X-Grafana-Meta-Add-Elapsed-Ns", (uint64_t)influx->elapsed);
    if (influx->remarks.size > 0) /* Grafana passes over the messages of a result */
        add_text_head(answer, "X-Grafana-Meta-Add-Note", buf_text(&influx->remarks));
}

/* Answers the query in influx, which it owns from here. */
static void answer_influx(struct influx *influx, struct kp_server *server,
                          const struct kpi_request *request, struct kpi_answer *answer)
{
    static const char *const types[] = {"application/json", CSV_TYPE, CSV_TYPE};
    struct kp_error err = {0};
    influx->cancel = request->cancel;
    kp_status status = open_statement(influx, server, &err);
    if (status != KP_OK) {
        atomic_fetch_add(&server->query_errors, 1);
        answer_error(answer, &err, http_status(status), influx->opts.form);
        indent(influx, answer);
        close_influx(influx);
        return;
    }
    answer->type = types[influx->opts.form];
    answer->gzip = true;
    kpi_answer_header(answer, "X-Influxdb-Version", VERSION_TEXT);
    pull(influx, influx->opts.chunk > 0 ? PIECE_BYTES : WHOLE_BYTES, &influx->begin);
    if (influx->over) {
        answer_whole(influx, answer);
        close_influx(influx);
    } else {
        answer->stream = (struct kpi_stream){more, close_influx, influx};
    }
}

/* --- /query --- */

static bool read_epoch(struct kp_str text, kp_dur *out)
{
    static const struct {
        struct kp_str name;
        kp_dur unit;
    } units[] = {{KP_STR("ns"), 1},           {KP_STR("n"), 1},         {KP_STR("u"), KP_US},
                 {KP_STR("\xc2\xb5"), KP_US}, {KP_STR("us"), KP_US},    {KP_STR("ms"), KP_MS},
                 {KP_STR("s"), KP_SEC},       {KP_STR("m"), KP_MIN_NS}, {KP_STR("h"), KP_HOUR}};
    for (size_t i = 0; i < KP_ARRAY_LEN(units); i++) {
        if (!kp_str_equal(text, units[i].name))
            continue;
        *out = units[i].unit;
        return true;
    }
    return text.len == 0;
}

static bool is_true(const struct kpi_request *request, const char *name)
{
    struct kp_buf text = {0};
    bool is = kpi_request_field(request, name, &text) &&
              (strcmp(kp_buf_cstr(&text), "true") == 0 || strcmp(kp_buf_cstr(&text), "1") == 0);
    kp_buf_deinit(&text);
    return is;
}

static uint32_t chunk_rows(const struct kpi_request *request)
{
    struct kp_buf text = {0};
    unsigned long rows = CHUNK_ROWS;
    if (!is_true(request, "chunked"))
        return 0;
    if (kpi_request_field(request, "chunk_size", &text))
        rows = strtoul(kp_buf_cstr(&text), NULL, 10);
    kp_buf_deinit(&text);
    return rows == 0 || rows > 1000000 ? CHUNK_ROWS : (uint32_t)rows;
}

static bool accepts(const struct kpi_request *request, const char *type)
{
    struct kp_str accept = kpi_request_header(request, "Accept");
    return accept.len > 0 && memmem(accept.ptr, accept.len, type, strlen(type)) != NULL;
}

static void answer_query(struct kp_server *server, const struct kpi_request *request,
                         struct kpi_answer *answer)
{
    struct kp_buf epoch = {0};
    struct influx *influx = calloc(1, sizeof(*influx));
    if (influx == NULL) {
        fail(request, answer, 503, "no memory for the query");
        return;
    }
    kpi_request_field(request, "epoch", &epoch);
    bool good = read_epoch(buf_text(&epoch), &influx->opts.epoch);
    kp_buf_deinit(&epoch);
    if (accepts(request, "application/csv") || accepts(request, "text/csv"))
        influx->opts.form = KPI_FORM_CSV;
    influx->opts.chunk = chunk_rows(request);
    influx->pretty = is_true(request, "pretty");
    if (!good || !kpi_request_field(request, "q", &influx->query) || influx->query.size == 0) {
        fail(request, answer, 400,
             good ? "missing required parameter \"q\"" : "epoch is ns, u, ms, s, m or h");
        indent(influx, answer);
        close_influx(influx);
        return;
    }
    answer_influx(influx, server, request, answer);
}

/* --- /api/v2/query --- */

static void answer_flux(struct kp_server *server, const struct kpi_request *request,
                        struct kpi_answer *answer)
{
    struct kp_str type = kpi_request_header(request, "Content-Type");
    struct kp_error err = {0};
    struct influx *influx = calloc(1, sizeof(*influx));
    kp_status status = KP_OK;
    if (influx == NULL) {
        fail(request, answer, 503, "no memory for the query");
        return;
    }
    influx->opts.form = KPI_FORM_ANNOTATED;
    influx->opts.dialect = (struct kpi_dialect){.header = true, .delimiter = ',', .comment = '#'};
    if (type.len >= 20 && memcmp(type.ptr, "application/vnd.flux", 20) == 0)
        kp_buf_str(&influx->query, request->body);
    else
        status = kpi_flux_read(request->body, &influx->query, &influx->opts.dialect, &err);
    if (status == KP_OK && influx->query.size == 0)
        status = kp_error_set(&err, KP_INVALID, "the body must be the text of the query");
    if (status != KP_OK) {
        answer_error(answer, &err, http_status(status), influx->opts.form);
        close_influx(influx);
        return;
    }
    answer_influx(influx, server, request, answer);
}

/* --- the other paths --- */

static void answer_ping(struct kp_server *server, const struct kpi_request *request,
                        struct kpi_answer *answer)
{
    (void)server;
    (void)request;
    answer->status = 204;
    kpi_answer_header(answer, "X-Influxdb-Version", VERSION_TEXT);
    kpi_answer_header(answer, "X-Influxdb-Build", "kprobe");
}

static void answer_health(struct kp_server *server, const struct kpi_request *request,
                          struct kpi_answer *answer)
{
    (void)server;
    (void)request;
    kp_buf_printf(&answer->body,
                  "{\"name\":\"influxdb\",\"message\":\"ready for queries\","
                  "\"status\":\"pass\",\"checks\":[],\"version\":\"%s\",\"commit\":\"%s\"}\n",
                  VERSION_TEXT, kp_version());
}

/* --- /write, /api/v2/write --- */

/* Nothing was wrong, or what was, in the form of the generation asked. */
static void answer_written(struct kp_server *server, const struct kpi_request *request,
                           const struct kp_otlp_result *result, struct kpi_answer *answer)
{
    char text[400];
    atomic_fetch_add(&server->otlp_spans, result->spans);
    atomic_fetch_add(&server->otlp_rejected, result->rejected);
    if (result->rejected == 0) {
        answer->status = 204;
        kpi_answer_header(answer, "X-Influxdb-Version", VERSION_TEXT);
        return;
    }
    bool some = result->spans + result->duplicates > 0;
    snprintf(text, sizeof(text),
             some ? "partial write: %s dropped=%" PRIu64 : "unable to parse: %s", result->message,
             result->rejected);
    fail(request, answer, 400, text);
}

static void answer_write(struct kp_server *server, const struct kpi_request *request,
                         struct kpi_answer *answer)
{
    struct kp_error err = {0};
    struct kp_buf plain = {0};
    struct kp_str body = {NULL, 0}, precision = kpi_request_param(request, "precision");
    struct kp_otlp_result result = {0};
    kp_dur unit = 0;
    kp_status status = kpi_request_plain(server, request, &plain, &body, &err);
    bool large = status == KP_LIMIT;
    if (status == KP_OK && !read_epoch(precision, &unit))
        status = kp_error_set(&err, KP_INVALID, "precision is ns, u, ms, s, m or h");
    if (status == KP_OK)
        status = kp_span_lines(server->store, &server->opts.spans, body, unit != 0 ? unit : 1,
                               &result, &err);
    if (status == KP_OK && result.ticket != 0)
        status = kp_store_wait_all(server->store, result.ticket_first, result.ticket, &err);
    if (status == KP_OK) {
        answer_written(server, request, &result, answer);
    } else {
        atomic_fetch_add(&server->otlp_errors, 1);
        err.code = status == KP_LIMIT ? KP_BUSY : status; /* of the store: worth another try */
        answer_error(answer, &err, large ? 413 : http_status(err.code), form_of(request));
    }
    kpi_request_plain_end(server, &plain);
}

/* --- routes --- */

/* As InfluxDB says it, which tells the second generation nothing. */
static bool is_let_in(struct kp_server *server, const struct kpi_request *request,
                      struct kpi_answer *answer)
{
    enum kpi_auth_result result = kpi_auth_request(server->query_auth, request);
    if (result == KPI_AUTH_GOOD)
        return true;
    atomic_fetch_add(&server->http.denied, 1);
    fail(request, answer, 401,
         form_of(request) == KPI_FORM_ANNOTATED ? "unauthorized access"
         : result == KPI_AUTH_WRONG             ? "authorization failed"
                                                : "unable to parse authentication credentials");
    kpi_answer_header(answer, "WWW-Authenticate", "Basic realm=\"kprobe\"");
    return false;
}

static const struct {
    const char *path;
    const char *methods;
    bool open; /* asks for no token: says only that somebody is there */
    void (*answer)(struct kp_server *server, const struct kpi_request *request,
                   struct kpi_answer *answer);
} routes[] = {
    {"/query", "GET, POST", false, answer_query},  {"/ping", "GET, HEAD", true, answer_ping},
    {"/api/v2/query", "POST", false, answer_flux}, {"/health", "GET, HEAD", true, answer_health},
    {"/write", "POST", false, answer_write},       {"/api/v2/write", "POST", false, answer_write},
    {"/status", "GET, HEAD", true, answer_ping},
};

void kpi_influx_handle(void *ctx, const struct kpi_request *request, struct kpi_answer *answer)
{
    for (size_t i = 0; i < KP_ARRAY_LEN(routes); i++) {
        if (strcmp(request->path, routes[i].path) != 0)
            continue;
        if (strcmp(request->method, "OPTIONS") == 0) { /* no page of another origin is let in */
            answer->allow = routes[i].methods;
            return;
        }
        if (strstr(routes[i].methods, request->method) == NULL) {
            fail(request, answer, 405, "this path does not know that method");
            answer->allow = routes[i].methods;
            return;
        }
        if (routes[i].open || is_let_in(ctx, request, answer))
            routes[i].answer(ctx, request, answer);
        return;
    }
    fail(request, answer, 404,
         "no such path; there are /query /write /ping /api/v2/query /api/v2/write /health; "
         "the API is on another port (--listen)");
}
