/* SPDX-License-Identifier: Apache-2.0
 *
 * gzip bodies. The output is bounded while it is made, so a small bomb cannot become large memory;
 * several members in a row are one body, as RFC 1952 has it.
 */
#include <zlib.h>

#include "base/assert.h"
#include "server/server_int.h"

#define STEP_BYTES (64 * 1024)

static kp_status inflate_step(z_stream *stream, size_t most, struct kp_buf *out, bool *out_end,
                              struct kp_error *err)
{
    unsigned char *at = kp_buf_reserve(out, STEP_BYTES);
    if (at == NULL)
        return kp_error_set(err, KP_NO_MEMORY, "no memory to inflate the body");
    stream->next_out = at;
    stream->avail_out = STEP_BYTES;
    int result = inflate(stream, Z_NO_FLUSH);
    out->size += STEP_BYTES - stream->avail_out;
    if (out->size > most)
        return kp_error_set(err, KP_LIMIT, "the inflated body is larger than %zu bytes", most);
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

kp_status kpi_gunzip(struct kp_str body, size_t most, struct kp_buf *out, struct kp_error *err)
{
    z_stream stream = {.next_in = (unsigned char *)(uintptr_t)body.ptr, .avail_in = body.len};
    if (inflateInit2(&stream, 15 + 16) != Z_OK) /* 16: gzip only */
        return kp_error_set(err, KP_NO_MEMORY, "no memory to inflate the body");
    kp_status status = KP_OK;
    for (bool end = false; status == KP_OK && !end;)
        status = inflate_step(&stream, most, out, &end, err);
    inflateEnd(&stream);
    return status;
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
    kp_status status =
        kpi_gunzip(request->body, most != 0 ? most : KPI_BODY_BYTES_DEFAULT, plain, err);
    *out = (struct kp_str){kp_buf_cstr(plain), (uint32_t)plain->size};
    return status;
}
