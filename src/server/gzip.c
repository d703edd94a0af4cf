/* SPDX-License-Identifier: Apache-2.0
 *
 * gzip, in both directions. What is inflated is bounded while it is made, so a small bomb cannot
 * become large memory; several members in a row are one body, as RFC 1952 has it. What is deflated
 * is flushed with every piece of an answer: its reader need not wait for the next one.
 */
#include "server/gzip.h"

#include <stdlib.h>
#include <zlib.h>

#include "base/assert.h"

#define STEP_BYTES (64 * 1024)

/* Where inflated bytes go, and what bounds them. */
struct bound {
    size_t most;
    _Atomic uint64_t *total; /* of all bodies, theirs with it; NULL = not counted */
};

static kp_status inflate_step(z_stream *stream, const struct bound *bound, struct kp_buf *out,
                              bool *out_end, struct kp_error *err)
{
    unsigned char *at = kp_buf_reserve(out, STEP_BYTES);
    if (at == NULL)
        return kp_error_set(err, KP_NO_MEMORY, "no memory to inflate the body");
    stream->next_out = at;
    stream->avail_out = STEP_BYTES;
    int result = inflate(stream, Z_NO_FLUSH);
    size_t made = STEP_BYTES - stream->avail_out;
    out->size += made;
    if (bound->total != NULL && atomic_fetch_add(bound->total, made) + made > KPI_BODIES_BYTES_MAX)
        return kp_error_set(err, KP_BUSY, "the server is out of room for bodies; try again");
    if (out->size > bound->most)
        return kp_error_set(err, KP_LIMIT, "the inflated body is larger than %zu bytes",
                            bound->most);
    if (result == Z_STREAM_END) {
        *out_end = stream->avail_in == 0;
        if (!*out_end && inflateReset(stream) != Z_OK)
            return kp_error_set(err, KP_INVALID, "the body is not gzip");
        return KP_OK;
    }
    if (result != Z_OK)
        return kp_error_set(err, KP_INVALID, "the body is not gzip, or it is cut off");
    return KP_OK;
}

static kp_status inflate_all(struct kp_str body, const struct bound *bound, struct kp_buf *out,
                             struct kp_error *err)
{
    z_stream stream = {.next_in = (unsigned char *)(uintptr_t)body.ptr, .avail_in = body.len};
    if (inflateInit2(&stream, 15 + 16) != Z_OK) /* 16: gzip only */
        return kp_error_set(err, KP_NO_MEMORY, "no memory to inflate the body");
    kp_status status = KP_OK;
    for (bool end = false; status == KP_OK && !end;)
        status = inflate_step(&stream, bound, out, &end, err);
    inflateEnd(&stream);
    return status;
}

kp_status kpi_gunzip(struct kp_str body, size_t most, struct kp_buf *out, struct kp_error *err)
{
    struct bound bound = {.most = most};
    return inflate_all(body, &bound, out, err);
}

kp_status kpi_request_plain(struct kp_server *server, const struct kpi_request *request,
                            struct kp_buf *plain, struct kp_str *out, struct kp_error *err)
{
    size_t most = server->opts.spans.body_bytes_max;
    struct kp_str encoding = kpi_request_header(request, "Content-Encoding");
    *out = request->body;
    if (encoding.len == 0 || kp_str_equal_nocase(encoding, KP_STR("identity")))
        return KP_OK;
    if (!kp_str_equal_nocase(encoding, KP_STR("gzip")))
        return kp_error_set(err, KP_UNSUPPORTED, "content encoding must be gzip or none");
    struct bound bound = {.most = most != 0 ? most : KPI_BODY_BYTES_DEFAULT,
                          .total = &server->http.bodies_now};
    kp_status status = inflate_all(request->body, &bound, plain, err);
    *out = (struct kp_str){kp_buf_cstr(plain), (uint32_t)plain->size};
    return status;
}

void kpi_request_plain_end(struct kp_server *server, struct kp_buf *plain)
{
    atomic_fetch_sub(&server->http.bodies_now, plain->size);
    kp_buf_deinit(plain);
}

/* --- answers --- */

struct kpi_gzip {
    z_stream stream;
};

/* ";q=0" and its like behind a name. */
static bool is_refused(struct kp_str rest)
{
    const char *quality = rest.len > 0 ? memmem(rest.ptr, rest.len, "q=0", 3) : NULL;
    if (quality == NULL)
        return false;
    for (const char *c = quality + 3; c < rest.ptr + rest.len; c++)
        if (*c >= '1' && *c <= '9')
            return false;
    return true;
}

bool kpi_gzip_accepted(struct kp_str header)
{
    for (uint32_t at = 0; at < header.len;) {
        while (at < header.len && (header.ptr[at] == ' ' || header.ptr[at] == ','))
            at++;
        const char *begin = header.ptr + at;
        const char *comma = at < header.len ? memchr(begin, ',', header.len - at) : NULL;
        uint32_t size = comma != NULL ? (uint32_t)(comma - begin) : header.len - at;
        uint32_t name = 0;
        while (name < size && begin[name] != ';' && begin[name] != ' ')
            name++;
        if (kp_str_equal_nocase((struct kp_str){begin, name}, KP_STR("gzip")))
            return !is_refused((struct kp_str){begin + name, size - name});
        at += size;
    }
    return false;
}

struct kpi_gzip *kpi_gzip_open(void)
{
    struct kpi_gzip *gzip = calloc(1, sizeof(*gzip));
    if (gzip == NULL)
        return NULL;
    int result = deflateInit2(&gzip->stream, Z_BEST_SPEED, Z_DEFLATED, 15 + 16, 8, /* 16: gzip */
                              Z_DEFAULT_STRATEGY);
    if (result == Z_OK)
        return gzip;
    free(gzip);
    return NULL;
}

bool kpi_gzip_add(struct kpi_gzip *gzip, struct kp_str piece, bool last, struct kp_buf *out)
{
    z_stream *stream = &gzip->stream;
    stream->next_in = (unsigned char *)(uintptr_t)piece.ptr;
    stream->avail_in = piece.len;
    do {
        unsigned char *at = kp_buf_reserve(out, STEP_BYTES);
        if (at == NULL)
            return false;
        stream->next_out = at;
        stream->avail_out = STEP_BYTES;
        if (deflate(stream, last ? Z_FINISH : Z_SYNC_FLUSH) == Z_STREAM_ERROR)
            return false;
        out->size += STEP_BYTES - stream->avail_out;
    } while (stream->avail_out == 0);
    return true;
}

void kpi_gzip_close(struct kpi_gzip *gzip)
{
    if (gzip == NULL)
        return;
    deflateEnd(&gzip->stream);
    free(gzip);
}
