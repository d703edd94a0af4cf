/* SPDX-License-Identifier: Apache-2.0
 *
 * POST /api/hold: puts a range under legal hold (from, to: Unix ns; reason), or releases one
 * (release: its number). Only on the socket in the data directory: who may end a hold is decided by
 * that directory's permissions, not by who reaches a TCP port. The answer is the number.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "server/server_int.h"

static kp_status number(const struct kpi_request *request, const char *name, int64_t *out,
                        struct kp_error *err)
{
    struct kp_buf text = {0};
    char *end = NULL;
    errno = 0;
    bool given = kpi_request_field(request, name, &text) && text.size > 0;
    int64_t value = given ? strtoll(kp_buf_cstr(&text), &end, 10) : 0;
    bool good = given && *end == '\0' && errno == 0;
    kp_buf_deinit(&text);
    if (!good)
        return kp_error_set(err, KP_INVALID, "parameter %s is missing or no number", name);
    *out = value;
    return KP_OK;
}

static kp_status hold_add(struct kp_server *server, const struct kpi_request *request, uint64_t *id,
                          struct kp_error *err)
{
    int64_t from, to;
    struct kp_buf reason = {0};
    kp_status status = number(request, "from", &from, err);
    if (status == KP_OK)
        status = number(request, "to", &to, err);
    if (status == KP_OK && !kpi_request_field(request, "reason", &reason))
        status = kp_error_set(err, KP_INVALID, "parameter reason is missing");
    if (status == KP_OK) {
        struct kp_str text = {kp_buf_cstr(&reason), (uint32_t)reason.size};
        status = kp_store_hold_add(server->store, from, to, text, id, err);
    }
    if (status == KP_OK)
        kp_log(KP_LOG_INFO, "store", "hold=%" PRIu64 " state=added reason=%s", *id,
               kp_buf_cstr(&reason));
    kp_buf_deinit(&reason);
    return status;
}

static kp_status hold_release(struct kp_server *server, const struct kpi_request *request,
                              uint64_t *id, struct kp_error *err)
{
    int64_t value;
    kp_status status = number(request, "release", &value, err);
    if (status == KP_OK)
        status = kp_store_hold_release(server->store, (uint64_t)value, err);
    if (status != KP_OK)
        return status;
    *id = (uint64_t)value;
    kp_log(KP_LOG_INFO, "store", "hold=%" PRIu64 " state=released", *id);
    return KP_OK;
}

static void answer_hold(struct kp_server *server, const struct kpi_request *request,
                        struct kpi_answer *answer)
{
    struct kp_error err = {0};
    struct kp_buf text = {0};
    uint64_t id = 0;
    bool releases = kpi_request_field(request, "release", &text);
    kp_buf_deinit(&text);
    kp_status status =
        releases ? hold_release(server, request, &id, &err) : hold_add(server, request, &id, &err);
    if (status != KP_OK) {
        err.code = status;
        kpi_answer_error(answer, &err);
        return;
    }
    answer->type = "text/plain; charset=utf-8";
    kp_buf_printf(&answer->body, "%" PRIu64 "\n", id);
}

void kpi_local_handle(void *ctx, const struct kpi_request *request, struct kpi_answer *answer)
{
    if (strcmp(request->path, "/api/hold") != 0) {
        kpi_api_handle(ctx, request, answer);
        return;
    }
    if (strcmp(request->method, "POST") == 0) {
        answer_hold(ctx, request, answer);
        return;
    }
    struct kp_error err;
    kp_error_set(&err, KP_INVALID, "this path takes POST");
    kpi_answer_error(answer, &err);
    answer->status = 405;
    answer->allow = "POST";
}
