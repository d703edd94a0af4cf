/* SPDX-License-Identifier: Apache-2.0
 *
 * The API: /api/query, /metrics, /healthz, /readyz, /version. A query streams: the first batch is
 * pulled before the status goes out, so that a wrong query is a 400 with its place and hint; an
 * error after that ends the document as its format can and is repeated in the trailer
 * X-Kprobe-Error. Trailers of every answer: X-Kprobe-Rows, -Rows-Read, -Elapsed-Ns, and -Note and
 * -Damage.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/version.h"
#include "render/render.h"
#include "server/run.h"
#include "server/server_int.h"

#define WIDTH_MAX   10000
#define PIECE_BYTES (64 * 1024)

/* --- errors --- */

static unsigned http_status(kp_status code)
{
    switch (code) {
    case KP_INVALID:
    case KP_USAGE:
        return 400;
    case KP_DENIED:
        return 403;
    case KP_NOT_FOUND:
        return 404;
    case KP_LIMIT:
    case KP_NO_MEMORY:
        return 422;
    case KP_UNSUPPORTED:
        return 501;
    case KP_BUSY:
    case KP_CANCELLED:
        return 503;
    default:
        return 500;
    }
}

void kpi_answer_error(struct kpi_answer *answer, const struct kp_error *err)
{
    kp_buf_clear(&answer->body);
    kp_buf_text(&answer->body, "{\"error\":");
    kp_render_error_json(err, &answer->body);
    kp_buf_text(&answer->body, "}\n");
    answer->status = http_status(err->code);
    answer->type = "application/json";
    answer->retry = err->code == KP_BUSY;
}

void kpi_api_refuse(const struct kpi_request *request, struct kpi_answer *answer,
                    const struct kp_error *err)
{
    (void)request;
    kpi_answer_error(answer, err);
}

static void answer_fail(struct kpi_answer *answer, unsigned status, kp_status code,
                        const char *text)
{
    struct kp_error err;
    kp_error_set(&err, code, "%s", text);
    kpi_answer_error(answer, &err);
    answer->status = status;
}

/* --- parameters: of the URL, or of a form in the body --- */

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c = (char)(c | 32);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Undoes form encoding of text into out. */
static void form_decode(struct kp_str text, struct kp_buf *out)
{
    for (uint32_t i = 0; i < text.len; i++) {
        char c = text.ptr[i];
        if (c == '%' && i + 2 < text.len + 0u && hex_digit(text.ptr[i + 1]) >= 0 &&
            hex_digit(text.ptr[i + 2]) >= 0) {
            c = (char)(hex_digit(text.ptr[i + 1]) * 16 + hex_digit(text.ptr[i + 2]));
            i += 2;
        } else if (c == '+') {
            c = ' ';
        }
        kp_buf_char(out, c);
    }
}

/* The value of `name` in a form body, still encoded. */
static bool form_find(struct kp_str form, const char *name, struct kp_str *out)
{
    uint32_t length = (uint32_t)strlen(name);
    for (uint32_t at = 0; at < form.len;) {
        uint32_t end = at;
        while (end < form.len && form.ptr[end] != '&')
            end++;
        if (end - at > length && memcmp(form.ptr + at, name, length) == 0 &&
            form.ptr[at + length] == '=') {
            *out = (struct kp_str){form.ptr + at + length + 1, end - at - length - 1};
            return true;
        }
        at = end + 1;
    }
    return false;
}

static bool body_is_form(const struct kpi_request *request)
{
    static const char form[] = "application/x-www-form-urlencoded";
    struct kp_str type = kpi_request_header(request, "Content-Type");
    return type.len >= sizeof(form) - 1 &&
           kp_str_equal_nocase((struct kp_str){type.ptr, sizeof(form) - 1}, KP_STR(form));
}

bool kpi_request_field(const struct kpi_request *request, const char *name, struct kp_buf *out)
{
    struct kp_str value = kpi_request_param(request, name), encoded;
    kp_buf_clear(out);
    if (value.ptr != NULL) {
        kp_buf_str(out, value);
        return true;
    }
    if (body_is_form(request) && form_find(request->body, name, &encoded)) {
        form_decode(encoded, out);
        return true;
    }
    return false;
}

/* The same, but a body that is no form is the query itself. */
static bool param(const struct kpi_request *request, const char *name, struct kp_buf *out)
{
    if (kpi_request_field(request, name, out))
        return true;
    if (strcmp(name, "q") == 0 && !body_is_form(request) && request->body.len > 0) {
        kp_buf_str(out, request->body);
        return true;
    }
    return false;
}

struct ask {
    struct kp_buf query;
    enum kp_format format;
    struct kp_term term;
    struct kpi_wish wish;
};

static kp_status fail_format(struct kp_buf *word, struct kp_error *err)
{
    kp_error_set(err, KP_INVALID, "unknown format '%s'", kp_buf_cstr(word));
    kp_format_hint((struct kp_str){word->data, (uint32_t)word->size}, err);
    return KP_INVALID;
}

static kp_status read_dur(const struct kpi_request *request, const char *name, kp_dur *out,
                          struct kp_error *err)
{
    struct kp_buf word = {0};
    kp_status status = KP_OK;
    if (param(request, name, &word) &&
        (!kp_dur_parse((struct kp_str){word.data, (uint32_t)word.size}, out) || *out <= 0))
        status =
            kp_error_set(err, KP_INVALID, "%s '%s' is not a duration", name, kp_buf_cstr(&word));
    kp_buf_deinit(&word);
    return status;
}

static kp_status read_ask(const struct kpi_request *request, struct ask *out, struct kp_error *err)
{
    struct kp_buf word = {0};
    kp_status status = KP_OK;
    out->format = KP_FORMAT_JSON;
    out->term.utf8 = true;
    if (!param(request, "q", &out->query) || out->query.size == 0)
        status = kp_error_set(err, KP_INVALID, "there is no query: parameter q is missing");
    if (status == KP_OK && param(request, "format", &word) &&
        !kp_format_parse((struct kp_str){word.data, (uint32_t)word.size}, &out->format))
        status = fail_format(&word, err);
    if (status == KP_OK)
        status = read_dur(request, "timeout", &out->wish.timeout, err);
    if (status == KP_OK)
        status = read_dur(request, "since", &out->wish.since, err);
    if (param(request, "width", &word))
        out->term.width = (uint32_t)KP_MIN(strtoul(kp_buf_cstr(&word), NULL, 10), WIDTH_MAX);
    if (param(request, "color", &word))
        out->term.color = strcmp(kp_buf_cstr(&word), "1") == 0;
    if (param(request, "raw", &word))
        out->term.raw = strcmp(kp_buf_cstr(&word), "1") == 0;
    if (param(request, "utf8", &word))
        out->term.utf8 = strcmp(kp_buf_cstr(&word), "1") == 0;
    kp_buf_deinit(&word);
    return status;
}

/* --- a query in progress --- */

struct answering {
    struct kpi_run run;
    struct kp_render *render;
    struct kp_buf out; /* rendered, not sent yet */
    struct ask ask;
    bool over;
};

static bool collect(void *ctx, const char *text, size_t size)
{
    struct answering *run = ctx;
    kp_buf_add(&run->out, text, size);
    return !run->out.failed;
}

static void close_query(void *ctx)
{
    struct answering *run = ctx;
    kp_render_close(run->render);
    kpi_run_close(&run->run);
    kp_buf_deinit(&run->ask.query);
    kp_buf_deinit(&run->out);
    free(run);
}

static void add_number(struct kpi_answer *answer, const char *name, uint64_t value)
{
    char text[24];
    snprintf(text, sizeof(text), "%" PRIu64, value);
    kpi_answer_trailer(answer, name, kp_str_from(text));
}

static void add_damage(struct answering *run, struct kpi_answer *answer)
{
    const struct kp_damage *damage = NULL;
    if (kp_snapshot_damage(run->run.snapshot, &damage) == 0)
        return;
    struct kp_buf text = {0};
    kp_buf_printf(&text, "%s at byte %" PRIu64 ": %s", damage[0].file, damage[0].offset,
                  damage[0].what);
    kpi_answer_trailer(answer, "X-Kprobe-Damage",
                       (struct kp_str){kp_buf_cstr(&text), (uint32_t)text.size});
    kp_buf_deinit(&text);
}

static void finish(struct answering *run, struct kpi_answer *answer)
{
    struct kp_query_stat stat;
    const struct kp_str *notes = NULL;
    uint32_t count = kp_query_notes(run->run.query, &notes);
    if (kp_render_end(run->render, notes, count) != KP_OK)
        run->out.failed = true;
    kpi_run_finish(&run->run, &stat);
    add_number(answer, "X-Kprobe-Rows-Read", stat.rows_read);
    add_number(answer, "X-Kprobe-Elapsed-Ns", (uint64_t)stat.elapsed);
    for (uint32_t i = 0; i < count; i++)
        kpi_answer_trailer(answer, "X-Kprobe-Note", notes[i]);
    add_damage(run, answer);
    add_number(answer, "X-Kprobe-Rows", stat.rows_out);
}

static void break_off(struct answering *run, const struct kp_error *err, struct kpi_answer *answer)
{
    struct kp_buf json = {0};
    atomic_fetch_add(&run->run.server->query_errors, 1);
    if (kp_render_fail(run->render, err) != KP_OK)
        run->out.failed = true;
    kp_render_error_json(err, &json);
    kpi_answer_trailer(answer, "X-Kprobe-Error",
                       (struct kp_str){kp_buf_cstr(&json), (uint32_t)json.size});
    kp_buf_deinit(&json);
}

/* Renders batches until a piece is full or the query is over. */
static bool more(void *ctx, struct kp_buf *out, struct kpi_answer *answer)
{
    struct answering *run = ctx;
    while (!run->over && run->out.size < PIECE_BYTES && !run->out.failed) {
        struct kp_error err = {0};
        const struct kp_batch *batch = NULL;
        kp_status status = kpi_run_next(&run->run, &batch, &err);
        if (status == KP_OK)
            status = kp_render_batch(run->render, batch);
        if (status == KP_OK)
            continue;
        run->over = true;
        err.code = status;
        if (status == KP_END)
            finish(run, answer);
        else
            break_off(run, &err, answer);
    }
    struct kp_buf taken = run->out;
    run->out = *out;
    *out = taken;
    return !run->over && !out->failed;
}

/* Everything that can still become an HTTP status: parse, bind, plan, first batch. */
static kp_status open_query(struct answering *run, struct kp_server *server,
                            const struct kpi_request *request, struct kp_error *err)
{
    char name[KP_RENDER_NAME_MAX];
    struct kp_str text = {kp_buf_cstr(&run->ask.query), (uint32_t)run->ask.query.size};
    run->ask.wish.cancel = request->cancel;
    kp_status status = kpi_run_open(&run->run, server, text, &run->ask.wish, err);
    if (status != KP_OK)
        return status;
    kp_render_name(text, name);
    status = kp_render_open(run->ask.format, kp_query_schema(run->run.query), name, &run->ask.term,
                            collect, run, &run->render);
    if (status != KP_OK)
        return kp_error_set(err, status, "format %s cannot show this answer",
                            kp_format_name(run->ask.format));
    return KP_OK;
}

static void answer_query(struct kp_server *server, const struct kpi_request *request,
                         struct kpi_answer *answer)
{
    struct kp_error err = {0};
    struct answering *run = calloc(1, sizeof(*run));
    if (run == NULL) {
        answer_fail(answer, 503, KP_NO_MEMORY, "no memory for the query");
        return;
    }
    run->run.server = server;
    kp_status status = read_ask(request, &run->ask, &err);
    if (status == KP_OK)
        status = open_query(run, server, request, &err);
    if (status != KP_OK) {
        atomic_fetch_add(&server->query_errors, 1);
        err.code = status;
        kpi_answer_error(answer, &err);
        close_query(run);
        return;
    }
    answer->type = kp_format_mime(run->ask.format);
    answer->stream = (struct kpi_stream){more, close_query, run};
}

/* --- the other paths --- */

static void answer_health(struct kp_server *server, const struct kpi_request *request,
                          struct kpi_answer *answer)
{
    (void)server, (void)request;
    answer->type = "text/plain; charset=utf-8";
    kp_buf_text(&answer->body, "ok\n");
}

static void answer_ready(struct kp_server *server, const struct kpi_request *request,
                         struct kpi_answer *answer)
{
    struct kp_error err = {0};
    (void)request;
    answer->type = "text/plain; charset=utf-8";
    if (server->opts.recorder != NULL && kp_recorder_health(server->opts.recorder, &err) != KP_OK) {
        answer->status = 503;
        kp_buf_printf(&answer->body, "capture: %s\n", err.text);
        return;
    }
    kp_buf_text(&answer->body, "ready\n");
}

static void answer_version(struct kp_server *server, const struct kpi_request *request,
                           struct kpi_answer *answer)
{
    (void)server, (void)request;
    kp_buf_printf(&answer->body, "{\"name\":\"kprobe\",\"version\":\"%s\"}\n", kp_version());
}

static void answer_metrics(struct kp_server *server, const struct kpi_request *request,
                           struct kpi_answer *answer)
{
    (void)request;
    answer->type = "text/plain; version=0.0.4; charset=utf-8";
    kpi_metrics_text(server, &answer->body);
}

static const struct {
    const char *path;
    const char *methods;
    void (*answer)(struct kp_server *server, const struct kpi_request *request,
                   struct kpi_answer *answer);
} routes[] = {
    {"/api/query", "GET, POST", answer_query}, {"/healthz", "GET, HEAD", answer_health},
    {"/readyz", "GET, HEAD", answer_ready},    {"/version", "GET, HEAD", answer_version},
    {"/metrics", "GET, HEAD", answer_metrics},
};

void kpi_api_handle(void *ctx, const struct kpi_request *request, struct kpi_answer *answer)
{
    for (size_t i = 0; i < KP_ARRAY_LEN(routes); i++) {
        if (strcmp(request->path, routes[i].path) != 0)
            continue;
        if (strstr(routes[i].methods, request->method) == NULL) {
            answer_fail(answer, 405, KP_INVALID, "this path does not know that method");
            answer->allow = routes[i].methods;
            return;
        }
        routes[i].answer(ctx, request, answer);
        return;
    }
    answer_fail(answer, 404, KP_NOT_FOUND,
                "no such path; there are /api/query /metrics /healthz /readyz /version");
}
