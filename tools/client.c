/* SPDX-License-Identifier: Apache-2.0
 *
 * POST, mostly to /api/query. A status other than 200 carries the error as JSON in its body; an
 * error in the middle of an answer, the counts and the remarks come as trailers (X-Kprobe-...),
 * which every format has room for.
 */
#include "client.h"

#include <curl/curl.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/assert.h"

#define ERROR_BODY_MAX  (64 * 1024)
#define SOCKET_PATH_MAX 107

struct transfer {
    const struct kpi_ask *ask;
    const char *path; /* on the server */
    CURL *curl;
    struct kp_buf error; /* JSON of an error, from body or trailer */
    struct kpi_outcome answer;
    bool reader_gone;
    bool answered; /* rows have started */
    int dir_fd;    /* of a unix socket whose path is long; -1 = none */
    bool complete; /* the trailer that ends every whole answer came */
};

/* --- the error object --- */

static const char *find_key(struct kp_str json, const char *key)
{
    char quoted[40];
    int length = snprintf(quoted, sizeof(quoted), "\"%s\":", key);
    const char *found = memmem(json.ptr, json.len, quoted, (size_t)length);
    return found != NULL ? found + length : NULL;
}

static void take_text(struct kp_str json, const char *key, char *out, size_t out_size)
{
    const char *at = find_key(json, key), *end = json.ptr + json.len;
    size_t used = 0;
    if (at == NULL || at >= end || *at != '"')
        return;
    for (at++; at < end && *at != '"' && used + 1 < out_size; at++) {
        char c = *at;
        if (c == '\\' && at + 1 < end) {
            c = *++at;
            if (c == 'n')
                c = '\n';
            else if (c == 'u')
                c = '?', at += KP_MIN(4, end - at - 1);
        }
        out[used++] = c;
    }
    out[used] = '\0';
}

static uint32_t take_number(struct kp_str json, const char *key)
{
    const char *at = find_key(json, key);
    return at == NULL ? 0 : (uint32_t)strtoul(at, NULL, 10);
}

static kp_status status_by_name(const char *name)
{
    for (int code = 1; code < KP_STATUS_COUNT; code++)
        if (strcmp(name, kp_status_name((kp_status)code)) == 0)
            return (kp_status)code;
    return KP_IO;
}

/* Turns {"error":{...}} into *err. False when the text is no such thing. */
static bool read_error(struct kp_buf *body, struct kp_error *err)
{
    struct kp_str json = {kp_buf_cstr(body), (uint32_t)body->size};
    char code[32] = "";
    take_text(json, "code", code, sizeof(code));
    if (code[0] == '\0')
        return false;
    memset(err, 0, sizeof(*err));
    err->code = status_by_name(code);
    take_text(json, "message", err->text, sizeof(err->text));
    take_text(json, "hint", err->hint, sizeof(err->hint));
    err->line = take_number(json, "line");
    err->column = take_number(json, "column");
    err->width = take_number(json, "width");
    return true;
}

/* --- callbacks of libcurl --- */

static size_t on_body(char *bytes, size_t size, size_t count, void *ctx)
{
    struct transfer *transfer = ctx;
    size_t length = size * count;
    long status = 0;
    curl_easy_getinfo(transfer->curl, CURLINFO_RESPONSE_CODE, &status);
    if (status != 200) {
        if (transfer->error.size + length <= ERROR_BODY_MAX)
            kp_buf_add(&transfer->error, bytes, length);
        return length;
    }
    transfer->answered = true;
    if (transfer->ask->write(transfer->ask->ctx, bytes, length))
        return length;
    transfer->reader_gone = true;
    return 0;
}

static bool header_value(struct kp_str line, const char *name, struct kp_str *out)
{
    uint32_t length = (uint32_t)strlen(name);
    if (line.len <= length ||
        !kp_str_equal_nocase((struct kp_str){line.ptr, length}, kp_str_from(name)))
        return false;
    uint32_t to = line.len;
    while (to > length && (line.ptr[to - 1] == '\r' || line.ptr[to - 1] == '\n'))
        to--;
    while (length < to && line.ptr[length] == ' ')
        length++;
    *out = (struct kp_str){line.ptr + length, to - length};
    return true;
}

static size_t on_header(char *bytes, size_t size, size_t count, void *ctx)
{
    struct transfer *transfer = ctx;
    struct kp_str line = {bytes, (uint32_t)(size * count)}, value;
    char number[32] = "";
    if (header_value(line, "X-Kprobe-Rows:", &value) ||
        header_value(line, "X-Kprobe-Rows-Read:", &value))
        snprintf(number, sizeof(number), "%.*s", (int)value.len, value.ptr);
    if (header_value(line, "X-Kprobe-Rows:", &value)) {
        transfer->answer.rows = strtoull(number, NULL, 10);
        transfer->complete = true;
    } else if (header_value(line, "X-Kprobe-Rows-Read:", &value)) {
        transfer->answer.rows_read = strtoull(number, NULL, 10);
    } else if (header_value(line, "X-Kprobe-Error:", &value)) {
        kp_buf_clear(&transfer->error);
        kp_buf_str(&transfer->error, value);
    } else if (header_value(line, "X-Kprobe-Damage:", &value)) {
        transfer->answer.damaged = 1;
        snprintf(transfer->answer.damage, sizeof(transfer->answer.damage), "%.*s", (int)value.len,
                 value.ptr);
    } else if (header_value(line, "X-Kprobe-Note:", &value) &&
               !kp_format_has_notes(transfer->ask->format) && !transfer->ask->quiet) {
        kpi_watch_end(transfer->ask->watch);
        fprintf(stderr, "kpq: note: %.*s\n", (int)value.len, value.ptr);
    }
    return size * count;
}

static int on_progress(void *ctx, curl_off_t total, curl_off_t now, curl_off_t up_total,
                       curl_off_t up)
{
    const struct transfer *transfer = ctx;
    (void)total, (void)now, (void)up_total, (void)up;
    return atomic_load(transfer->ask->cancel) ? 1 : 0;
}

/* --- the request --- */

static void add_param(CURL *curl, struct kp_buf *form, const char *name, struct kp_str value)
{
    char *escaped = curl_easy_escape(curl, value.ptr, (int)value.len);
    if (value.len == 0 || escaped == NULL)
        form->failed |= value.len != 0;
    else
        kp_buf_printf(form, "%s%s=%s", form->size > 0 ? "&" : "", name, escaped);
    curl_free(escaped);
}

static void make_form(CURL *curl, const struct kpi_ask *ask, struct kp_buf *form)
{
    add_param(curl, form, "q", ask->query);
    kp_buf_printf(form, "&format=%s&width=%u&color=%d&utf8=%d&raw=%d", kp_format_name(ask->format),
                  ask->term.width, ask->term.color, ask->term.utf8, ask->term.raw);
    if (ask->timeout > 0)
        kp_buf_printf(form, "&timeout=%lldns", (long long)ask->timeout);
    if (ask->since > 0)
        kp_buf_printf(form, "&since=%lldns", (long long)ask->since);
}

/* A socket's path may have 107 bytes; a longer one is named through its directory's descriptor. */
static void set_socket(struct transfer *transfer, const char *path)
{
    char near[PATH_MAX], url[128];
    const char *slash = strrchr(path, '/');
    snprintf(url, sizeof(url), "http://localhost%s", transfer->path);
    curl_easy_setopt(transfer->curl, CURLOPT_URL, url);
    if (strlen(path) > SOCKET_PATH_MAX && slash != NULL && (size_t)(slash - path) < sizeof(near)) {
        snprintf(near, sizeof(near), "%.*s", (int)(slash - path), path);
        transfer->dir_fd = open(near, O_PATH | O_DIRECTORY | O_CLOEXEC);
        snprintf(near, sizeof(near), "/proc/self/fd/%d%s", transfer->dir_fd, slash);
        path = near;
    }
    curl_easy_setopt(transfer->curl, CURLOPT_UNIX_SOCKET_PATH, path);
}

static void set_target(struct transfer *transfer)
{
    char url[2048];
    const char *target = transfer->ask->url;
    if (strncmp(target, "unix:", 5) == 0) {
        set_socket(transfer, target + 5);
        return;
    }
    size_t length = strlen(target);
    while (length > 0 && target[length - 1] == '/')
        length--;
    snprintf(url, sizeof(url), "%.*s%s", (int)length, target, transfer->path);
    curl_easy_setopt(transfer->curl, CURLOPT_URL, url);
}

static kp_status finish(struct transfer *transfer, CURLcode code, struct kp_error *err)
{
    long http = 0;
    char shown[KPI_TARGET_SHOWN];
    kpi_target_shown(transfer->ask->url, shown);
    curl_easy_getinfo(transfer->curl, CURLINFO_RESPONSE_CODE, &http);
    if (transfer->reader_gone)
        return KP_OK;
    if (code == CURLE_ABORTED_BY_CALLBACK)
        return kp_error_set(err, KP_CANCELLED, "cancelled");
    if (transfer->error.size > 0 && read_error(&transfer->error, err))
        return err->code;
    if (code != CURLE_OK && !transfer->answered) {
        kp_error_set(err, KP_CONNECT, "cannot ask %s: %s", shown, curl_easy_strerror(code));
        kp_error_hint(err, "is kpd running there? kpq DIR reads a directory without a server");
        return KP_CONNECT;
    }
    if (http != 200)
        return kp_error_set(err, KP_CONNECT, "%s answered with HTTP status %ld: is it a kpd?",
                            shown, http);
    if (code != CURLE_OK || !transfer->complete)
        return kp_error_set(err, KP_CONNECT,
                            "the connection broke off; the answer is not complete");
    return KP_OK;
}

static kp_status perform(struct transfer *transfer, struct kp_buf *form, struct kp_error *err)
{
    CURL *curl = transfer->curl;
    set_target(transfer);
    curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE, (long)form->size);
    curl_easy_setopt(curl, CURLOPT_POSTFIELDS, kp_buf_cstr(form));
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, transfer);
    curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(curl, CURLOPT_HEADERDATA, transfer);
    curl_easy_setopt(curl, CURLOPT_XFERINFOFUNCTION, on_progress);
    curl_easy_setopt(curl, CURLOPT_XFERINFODATA, transfer);
    curl_easy_setopt(curl, CURLOPT_NOPROGRESS, 0L);
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_NOPROXY, "localhost,127.0.0.1,::1");
    curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS, 5000L);
    if (transfer->ask->patience > 0)
        curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, (long)(transfer->ask->patience / KP_MS));
    return finish(transfer, curl_easy_perform(curl), err);
}

static kp_status transfer_run(struct transfer *transfer, struct kp_buf *form, struct kp_error *err)
{
    kp_status status = form->failed ? kp_error_set(err, KP_NO_MEMORY, "no memory for the request")
                                    : perform(transfer, form, err);
    curl_easy_cleanup(transfer->curl);
    if (transfer->dir_fd >= 0)
        close(transfer->dir_fd);
    kp_buf_deinit(form);
    kp_buf_deinit(&transfer->error);
    return status;
}

static kp_status transfer_begin(struct transfer *transfer, struct kp_error *err)
{
    transfer->dir_fd = -1;
    if (curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK)
        transfer->curl = curl_easy_init();
    return transfer->curl != NULL ? KP_OK
                                  : kp_error_set(err, KP_NO_MEMORY, "cannot start the HTTP client");
}

kp_status kpi_client_query(const struct kpi_ask *ask, struct kpi_outcome *out, struct kp_error *err)
{
    struct transfer transfer = {.ask = ask, .path = "/api/query"};
    struct kp_buf form = {0};
    kp_status status = transfer_begin(&transfer, err);
    if (status != KP_OK)
        return status;
    make_form(transfer.curl, ask, &form);
    status = transfer_run(&transfer, &form, err);
    *out = transfer.answer;
    return status;
}

static bool keep_body(void *ctx, const char *text, size_t size)
{
    kp_buf_add(ctx, text, size);
    return true;
}

kp_status kpi_client_post(const char *url, const char *path, const struct kpi_param *params,
                          uint32_t count, struct kp_buf *out, struct kp_error *err)
{
    struct kpi_ask ask = {.url = url, .cancel = &kpi_cancel, .write = keep_body, .ctx = out};
    /* the answer is one small document: libcurl sees by its length whether it is whole */
    struct transfer transfer = {.ask = &ask, .path = path, .complete = true};
    struct kp_buf form = {0};
    kp_status status = transfer_begin(&transfer, err);
    if (status != KP_OK)
        return status;
    for (uint32_t i = 0; i < count; i++)
        add_param(transfer.curl, &form, params[i].name, params[i].value);
    return transfer_run(&transfer, &form, err);
}
