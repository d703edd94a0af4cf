/* SPDX-License-Identifier: Apache-2.0
 *
 * A file of OTLP JSON documents, one a line, as the collector's file exporter writes it. A line
 * that is not such a document is counted as one rejected span and named; the rest is stored. A file
 * in which no line is one may be a single document printed over many lines: it is tried as such.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>

#include "base/assert.h"
#include "ingest/ingest.h"

#define LINE_BYTES_MAX ((size_t)64 << 20)
#define CHUNK_BYTES    ((size_t)256 << 10)
#define BUSY_RETRIES   2000 /* of 5 ms */

struct import {
    struct kp_store *store;
    const struct kp_span_opts *opts;
    const char *path;
    size_t line_max;
    uint64_t line; /* number of the line being stored */
    uint64_t good; /* lines that were documents */
    struct kp_otlp_result sum;
    struct kp_error *err;
};

static void add_result(struct import *import, const struct kp_otlp_result *result)
{
    struct kp_otlp_result *sum = &import->sum;
    sum->spans += result->spans;
    sum->rejected += result->rejected;
    sum->duplicates += result->duplicates;
    sum->warnings += result->warnings;
    sum->ticket = KP_MAX(sum->ticket, result->ticket);
    if (sum->ticket_first == 0 ||
        (result->ticket_first != 0 && result->ticket_first < sum->ticket_first))
        sum->ticket_first = result->ticket_first;
    if (sum->message[0] == '\0' && result->message[0] != '\0')
        snprintf(sum->message, sizeof(sum->message), "line %" PRIu64 ": %.200s", import->line,
                 result->message);
}

/* Stores one document; a store that is busy is waited for. */
static kp_status import_document(struct import *import, struct kp_str text, struct kp_error *err)
{
    for (int i = 0;; i++) {
        struct kp_otlp_result result = {0};
        kp_status status = kp_otlp_json(import->store, import->opts, text, &result, err);
        /* a document taken in part is sent again whole: what was stored counts as duplicates */
        if (status != KP_OK)
            result.rejected = result.warnings = result.duplicates = 0;
        add_result(import, &result);
        if (status != KP_LIMIT || text.len > import->line_max || i >= BUSY_RETRIES)
            return status;
        nanosleep(&(struct timespec){.tv_nsec = 5 * KP_MS}, NULL);
    }
}

static bool blank(struct kp_str text)
{
    for (uint32_t i = 0; i < text.len; i++)
        if (text.ptr[i] != ' ' && text.ptr[i] != '\t' && text.ptr[i] != '\r')
            return false;
    return true;
}

static kp_status import_line(struct import *import, struct kp_str text)
{
    struct kp_error why;
    import->line++;
    if (blank(text))
        return KP_OK;
    kp_status status = import_document(import, text, &why);
    if (status == KP_INVALID) {
        struct kp_otlp_result bad = {.rejected = 1};
        snprintf(bad.message, sizeof(bad.message), "%.200s", why.text);
        add_result(import, &bad);
        return KP_OK;
    }
    import->good += status == KP_OK;
    return status == KP_OK ? KP_OK
                           : kp_error_set(import->err, status, "%s, line %" PRIu64 ": %.400s",
                                          import->path, import->line, why.text);
}

/* Stores the whole lines of buf and keeps the rest; at the end of the file the rest is a line too.
 */
static kp_status import_lines(struct import *import, struct kp_buf *buf, bool at_end)
{
    kp_status status = KP_OK;
    size_t from = 0;
    while (status == KP_OK && from < buf->size) {
        const char *newline = memchr(buf->data + from, '\n', buf->size - from);
        if (newline == NULL && !at_end)
            break;
        size_t end = newline == NULL ? buf->size : (size_t)(newline - buf->data);
        status = import_line(import, (struct kp_str){buf->data + from, (uint32_t)(end - from)});
        from = end + 1;
    }
    from = KP_MIN(from, buf->size);
    memmove(buf->data, buf->data + from, buf->size - from);
    buf->size -= from;
    if (status == KP_OK && buf->size > import->line_max)
        status = kp_error_set(import->err, KP_LIMIT, "%s, line %" PRIu64 ": longer than %zu bytes",
                              import->path, import->line + 1, import->line_max);
    return status;
}

static kp_status import_stream(struct import *import, FILE *file, uint64_t total,
                               void (*progress)(void *ctx, uint64_t done, uint64_t total),
                               void *ctx)
{
    struct kp_buf buf = {0};
    kp_status status = KP_OK;
    uint64_t done = 0;
    for (bool at_end = false; status == KP_OK && !at_end;) {
        char *to = kp_buf_reserve(&buf, CHUNK_BYTES);
        if (to == NULL) {
            status =
                kp_error_set(import->err, KP_NO_MEMORY, "out of memory reading %s", import->path);
            break;
        }
        size_t got = fread(to, 1, CHUNK_BYTES, file);
        buf.size += got;
        done += got;
        at_end = got == 0;
        if (ferror(file))
            status = kp_error_os(import->err, KP_IO, errno, "reading %s", import->path);
        else
            status = import_lines(import, &buf, at_end);
        if (progress != NULL)
            progress(ctx, done, total);
    }
    kp_buf_deinit(&buf);
    return status;
}

/* The file as one document, for files in which no line was one. */
static kp_status import_whole(struct import *import, FILE *file, uint64_t total)
{
    if (total > import->line_max)
        return kp_error_set(import->err, KP_INVALID,
                            "%s: no line is an OTLP JSON document (%.200s)", import->path,
                            import->sum.message);
    char *text = malloc(total + 1);
    if (text == NULL)
        return kp_error_set(import->err, KP_NO_MEMORY, "out of memory reading %s", import->path);
    struct kp_error why = {0};
    rewind(file);
    size_t got = fread(text, 1, total, file);
    struct kp_otlp_result lines = import->sum;
    import->sum = (struct kp_otlp_result){0};
    kp_status status = import_document(import, (struct kp_str){text, (uint32_t)got}, &why);
    if (status != KP_OK)
        kp_error_set(import->err, status,
                     "%s is neither OTLP JSON lines (%.150s) nor one document: %.200s",
                     import->path, lines.message, why.text);
    free(text);
    return status;
}

kp_status kp_import_otlp_lines(struct kp_store *store, const struct kp_span_opts *opts,
                               const char *path,
                               void (*progress)(void *ctx, uint64_t done, uint64_t total),
                               void *ctx, struct kp_otlp_result *out, struct kp_error *err)
{
    FILE *file = fopen(path, "rbe");
    struct stat info;
    if (file == NULL || fstat(fileno(file), &info) != 0) {
        int os_errno = errno;
        if (file != NULL)
            fclose(file);
        return kp_error_os(err, kp_status_from_errno(os_errno), os_errno, "cannot open %s", path);
    }
    struct import import = {.store = store,
                            .opts = opts,
                            .path = path,
                            .line_max = opts != NULL && opts->body_bytes_max > 0
                                            ? opts->body_bytes_max
                                            : LINE_BYTES_MAX,
                            .err = err};
    kp_status status = import_stream(&import, file, (uint64_t)info.st_size, progress, ctx);
    if (status == KP_OK && import.good == 0 && import.sum.rejected > 0)
        status = import_whole(&import, file, (uint64_t)info.st_size);
    fclose(file);
    *out = import.sum;
    return status;
}
