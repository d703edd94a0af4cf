/* SPDX-License-Identifier: Apache-2.0
 *
 * The OTLP door: POST /v1/traces, protobuf or JSON, plain or gzip, chunked or not. 200 means
 * durable. Errors are google.rpc.Status in the encoding of the request, as
 * https://opentelemetry.io/docs/specs/otlp/ asks; only 503 invites the client to try again.
 */
#include <inttypes.h>
#include <string.h>

#include "base/log.h"
#include "render/render.h"
#include "server/auth.h"
#include "server/gzip.h"
#include "server/server_int.h"

/* Codes of google.rpc.Code. */
enum {
    RPC_INVALID_ARGUMENT = 3,
    RPC_NOT_FOUND = 5,
    RPC_DENIED = 7,
    RPC_EXHAUSTED = 8,
    RPC_UNIMPLEMENTED = 12,
    RPC_UNAVAILABLE = 14,
    RPC_UNAUTHENTICATED = 16
};

#define JSON_TYPE  "application/json"
#define PROTO_TYPE "application/x-protobuf"

/* "application/json; charset=utf-8" is application/json. */
static bool is_type(struct kp_str value, struct kp_str type)
{
    return value.len >= type.len &&
           kp_str_equal_nocase((struct kp_str){value.ptr, type.len}, type) &&
           (value.len == type.len || value.ptr[type.len] == ';' || value.ptr[type.len] == ' ');
}

static bool is_proto(const struct kpi_request *request)
{
    return is_type(kpi_request_header(request, "Content-Type"), KP_STR(PROTO_TYPE));
}

/* --- answers in both encodings --- */

static void add_varint(struct kp_buf *out, uint64_t value)
{
    for (; value > 0x7f; value >>= 7)
        kp_buf_char(out, (char)(value | 0x80));
    kp_buf_char(out, (char)value);
}

static void add_bytes(struct kp_buf *out, char tag, const void *bytes, size_t size)
{
    kp_buf_char(out, tag);
    add_varint(out, size);
    kp_buf_add(out, bytes, size);
}

/* google.rpc.Status {1 code, 2 message}. */
static void answer_rpc(const struct kpi_request *request, struct kpi_answer *answer,
                       unsigned status, int code, const char *message)
{
    kp_buf_clear(&answer->body);
    if (is_proto(request)) {
        kp_buf_char(&answer->body, 0x08);
        add_varint(&answer->body, (uint64_t)code);
        add_bytes(&answer->body, 0x12, message, strlen(message));
        answer->type = PROTO_TYPE;
    } else {
        kp_buf_printf(&answer->body, "{\"code\":%d,\"message\":", code);
        kp_json_str(&answer->body, kp_str_from(message));
        kp_buf_text(&answer->body, "}\n");
    }
    answer->status = status;
    answer->retry = status == 503;
}

void kpi_otlp_error(const struct kpi_request *request, struct kpi_answer *answer,
                    const struct kp_error *err)
{
    const char *text = err->text[0] != '\0' ? err->text : kp_status_text(err->code);
    if (err->code == KP_INVALID)
        answer_rpc(request, answer, 400, RPC_INVALID_ARGUMENT, text);
    else if (err->code == KP_UNSUPPORTED)
        answer_rpc(request, answer, 415, RPC_UNIMPLEMENTED, text);
    else if (err->code == KP_LIMIT)
        answer_rpc(request, answer, 413, RPC_EXHAUSTED, text);
    else if (err->code == KP_DENIED)
        answer_rpc(request, answer, 403, RPC_DENIED, text);
    else
        answer_rpc(request, answer, 503, RPC_UNAVAILABLE, text);
}

/* ExportTraceServiceResponse {1 partial_success {1 rejected_spans, 2 error_message}}; without one
 * it is empty. */
static void answer_stored(struct kp_server *server, const struct kpi_request *request,
                          const struct kp_otlp_result *result, struct kpi_answer *answer)
{
    bool proto = is_proto(request);
    atomic_fetch_add(&server->otlp_spans, result->spans);
    atomic_fetch_add(&server->otlp_rejected, result->rejected);
    answer->type = proto ? PROTO_TYPE : JSON_TYPE;
    if (result->rejected == 0) {
        kp_buf_text(&answer->body, proto ? "" : "{}");
    } else if (proto) {
        struct kp_buf partial = {0};
        kp_buf_char(&partial, 0x08);
        add_varint(&partial, result->rejected);
        add_bytes(&partial, 0x12, result->message, strlen(result->message));
        add_bytes(&answer->body, 0x0a, partial.data, partial.size);
        kp_buf_deinit(&partial);
    } else {
        kp_buf_printf(&answer->body,
                      "{\"partialSuccess\":{\"rejectedSpans\":\"%" PRIu64 "\",\"errorMessage\":",
                      result->rejected);
        kp_json_str(&answer->body, kp_str_from(result->message));
        kp_buf_text(&answer->body, "}}");
    }
}

/* --- requests --- */

static kp_status check_type(const struct kpi_request *request, struct kp_error *err)
{
    struct kp_str type = kpi_request_header(request, "Content-Type");
    if (is_type(type, KP_STR(JSON_TYPE)) || is_proto(request))
        return KP_OK;
    return kp_error_set(err, KP_UNSUPPORTED,
                        "content type must be application/x-protobuf or application/json");
}

/* Stores the spans and waits until they are durable. */
static kp_status store_spans(struct kp_server *server, const struct kpi_request *request,
                             struct kp_str body, struct kp_otlp_result *out, struct kp_error *err)
{
    kp_status status = (is_proto(request) ? kp_otlp_proto : kp_otlp_json)(
        server->store, &server->opts.spans, body, out, err);
    if (status == KP_OK && out->ticket != 0)
        status = kp_store_wait_all(server->store, out->ticket_first, out->ticket, err);
    return status;
}

static bool is_let_in(struct kp_server *server, const struct kpi_request *request,
                      struct kpi_answer *answer)
{
    if (kpi_auth_request(server->otlp_auth, request) == KPI_AUTH_GOOD)
        return true;
    atomic_fetch_add(&server->http.denied, 1);
    answer_rpc(request, answer, 401, RPC_UNAUTHENTICATED,
               "a token is needed: Authorization: Bearer TOKEN");
    kpi_answer_header(answer, "WWW-Authenticate", "Bearer realm=\"kprobe\"");
    return false;
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
        status = store_spans(server, request, body, &result, &err);
        if (status == KP_LIMIT)
            status = KP_BUSY; /* of the store's buffers, not of the body: worth another try */
    }
    err.code = status;
    if (status == KP_OK) {
        answer_stored(server, request, &result, answer);
    } else {
        atomic_fetch_add(&server->otlp_errors, 1);
        kpi_otlp_error(request, answer, &err);
    }
    kpi_request_plain_end(server, &plain);
}

void kpi_otlp_handle(void *ctx, const struct kpi_request *request, struct kpi_answer *answer)
{
    struct kp_server *server = ctx;
    if (strcmp(request->path, "/v1/traces") == 0) {
        if (strcmp(request->method, "POST") == 0) {
            if (is_let_in(server, request, answer))
                answer_traces(server, request, answer);
            return;
        }
        answer_rpc(request, answer, 405, RPC_UNIMPLEMENTED, "spans are sent with POST");
        answer->allow = "POST";
        return;
    }
    bool other =
        strcmp(request->path, "/v1/metrics") == 0 || strcmp(request->path, "/v1/logs") == 0;
    answer_rpc(request, answer, 404, RPC_NOT_FOUND,
               other ? "this version takes traces only, at /v1/traces"
                     : "no such path; spans go to /v1/traces");
}
