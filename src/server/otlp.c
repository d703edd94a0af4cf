/* SPDX-License-Identifier: Apache-2.0
 *
 * The OTLP door: POST /v1/traces with JSON bodies, plain or gzip, chunked or not. 200 means
 * durable. Errors are google.rpc.Status in JSON, as https://opentelemetry.io/docs/specs/otlp/ asks;
 * only 503 invites the client to try again.
 */
#include <inttypes.h>
#include <string.h>

#include "base/log.h"
#include "render/render.h"
#include "server/server_int.h"

/* Codes of google.rpc.Code. */
enum {
    RPC_INVALID_ARGUMENT = 3,
    RPC_NOT_FOUND = 5,
    RPC_DENIED = 7,
    RPC_EXHAUSTED = 8,
    RPC_UNIMPLEMENTED = 12,
    RPC_UNAVAILABLE = 14
};

static void answer_rpc(struct kpi_answer *answer, unsigned status, int code, const char *message)
{
    kp_buf_clear(&answer->body);
    kp_buf_printf(&answer->body, "{\"code\":%d,\"message\":", code);
    kp_json_str(&answer->body, kp_str_from(message));
    kp_buf_text(&answer->body, "}\n");
    answer->status = status;
    answer->retry = status == 503;
}

void kpi_otlp_error(struct kpi_answer *answer, const struct kp_error *err)
{
    const char *text = err->text[0] != '\0' ? err->text : kp_status_text(err->code);
    if (err->code == KP_INVALID)
        answer_rpc(answer, 400, RPC_INVALID_ARGUMENT, text);
    else if (err->code == KP_UNSUPPORTED)
        answer_rpc(answer, 415, RPC_UNIMPLEMENTED, text);
    else if (err->code == KP_LIMIT)
        answer_rpc(answer, 413, RPC_EXHAUSTED, text);
    else if (err->code == KP_DENIED)
        answer_rpc(answer, 403, RPC_DENIED, text);
    else
        answer_rpc(answer, 503, RPC_UNAVAILABLE, text);
}

/* "application/json; charset=utf-8" is application/json. */
static bool is_type(struct kp_str value, struct kp_str type)
{
    return value.len >= type.len &&
           kp_str_equal_nocase((struct kp_str){value.ptr, type.len}, type) &&
           (value.len == type.len || value.ptr[type.len] == ';' || value.ptr[type.len] == ' ');
}

static kp_status check_type(const struct kpi_request *request, struct kp_error *err)
{
    struct kp_str type = kpi_request_header(request, "Content-Type");
    if (is_type(type, KP_STR("application/json")))
        return KP_OK;
    if (is_type(type, KP_STR("application/x-protobuf")))
        return kp_error_set(err, KP_UNSUPPORTED,
                            "application/json only in this version: set "
                            "OTEL_EXPORTER_OTLP_PROTOCOL=http/json");
    return kp_error_set(err, KP_UNSUPPORTED, "content type must be application/json");
}

/* Stores the spans and waits until they are durable. */
static kp_status store_spans(struct kp_server *server, struct kp_str body,
                             struct kp_otlp_result *out, struct kp_error *err)
{
    kp_status status = kp_otlp_json(server->store, &server->opts.spans, body, out, err);
    if (status == KP_OK && out->ticket != 0)
        status = kp_store_wait(server->store, out->ticket, err);
    return status;
}

static void answer_stored(struct kp_server *server, const struct kp_otlp_result *result,
                          struct kpi_answer *answer)
{
    atomic_fetch_add(&server->otlp_spans, result->spans);
    atomic_fetch_add(&server->otlp_rejected, result->rejected);
    if (result->rejected == 0) {
        kp_buf_text(&answer->body, "{}");
        return;
    }
    kp_buf_printf(&answer->body,
                  "{\"partialSuccess\":{\"rejectedSpans\":\"%" PRIu64 "\",\"errorMessage\":",
                  result->rejected);
    kp_json_str(&answer->body, kp_str_from(result->message));
    kp_buf_text(&answer->body, "}}");
}

static void answer_traces(struct kp_server *server, const struct kpi_request *request,
                          struct kpi_answer *answer)
{
    struct kp_error err = {0};
    struct kp_buf plain = {0};
    struct kp_str body = {NULL, 0};
    struct kp_otlp_result result = {0};
    kp_status status = check_type(request, &err);
    if (status == KP_OK)
        status = kpi_request_plain(server, request, &plain, &body, &err);
    if (status == KP_OK) {
        status = store_spans(server, body, &result, &err);
        if (status == KP_LIMIT)
            status = KP_BUSY; /* of the store's buffers, not of the body: worth another try */
    }
    err.code = status;
    if (status == KP_OK) {
        answer_stored(server, &result, answer);
    } else {
        atomic_fetch_add(&server->otlp_errors, 1);
        kpi_otlp_error(answer, &err);
    }
    kp_buf_deinit(&plain);
}

void kpi_otlp_handle(void *ctx, const struct kpi_request *request, struct kpi_answer *answer)
{
    struct kp_server *server = ctx;
    if (strcmp(request->path, "/v1/traces") == 0) {
        if (strcmp(request->method, "POST") == 0) {
            answer_traces(server, request, answer);
            return;
        }
        answer_rpc(answer, 405, RPC_UNIMPLEMENTED, "spans are sent with POST");
        answer->allow = "POST";
        return;
    }
    bool other =
        strcmp(request->path, "/v1/metrics") == 0 || strcmp(request->path, "/v1/logs") == 0;
    answer_rpc(answer, 404, RPC_NOT_FOUND,
               other ? "this version takes traces only, at /v1/traces"
                     : "no such path; spans go to /v1/traces");
}
