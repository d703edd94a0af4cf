/* SPDX-License-Identifier: Apache-2.0
 *
 * The seam to zstd. Contexts are kept per thread because making one costs more than compressing a
 * small chunk. Level 3: measured as the best size per CPU second on kernel events.
 */
#include "storage/codec.h"

#include <pthread.h>
#include <stdlib.h>
#include <zstd.h>

#include "base/assert.h"

#define ZSTD_LEVEL      3
#define ZSTD_LEVEL_FAST 1
#define ZSTD_LEVEL_COLD 19
#define SHRINK_SIZE_MIN 32u /* smaller bodies never win */

struct contexts {
    ZSTD_CCtx *compress;
    ZSTD_DCtx *decompress;
};

static pthread_key_t contexts_key;
static pthread_once_t contexts_once = PTHREAD_ONCE_INIT;
static bool contexts_usable;

static void contexts_free(void *value)
{
    struct contexts *contexts = value;
    ZSTD_freeCCtx(contexts->compress);
    ZSTD_freeDCtx(contexts->decompress);
    free(contexts);
}

static void contexts_setup(void)
{
    contexts_usable = pthread_key_create(&contexts_key, contexts_free) == 0;
}

static struct contexts *contexts_get(void)
{
    pthread_once(&contexts_once, contexts_setup);
    if (!contexts_usable)
        return NULL;
    struct contexts *contexts = pthread_getspecific(contexts_key);
    if (contexts != NULL)
        return contexts;
    contexts = calloc(1, sizeof(*contexts));
    if (contexts == NULL)
        return NULL;
    contexts->compress = ZSTD_createCCtx();
    contexts->decompress = ZSTD_createDCtx();
    if (contexts->compress == NULL || contexts->decompress == NULL ||
        pthread_setspecific(contexts_key, contexts) != 0) {
        contexts_free(contexts);
        return NULL;
    }
    return contexts;
}

size_t kpi_zstd_size(const void *bytes, size_t size)
{
    struct contexts *contexts = contexts_get();
    size_t bound = ZSTD_compressBound(size);
    void *scratch = contexts == NULL ? NULL : malloc(bound);
    if (scratch == NULL)
        return size;
    size_t got = ZSTD_compressCCtx(contexts->compress, scratch, bound, bytes, size, ZSTD_LEVEL);
    free(scratch);
    return ZSTD_isError(got) ? size : KP_MIN(got, size);
}

kp_status kpi_zstd_shrink(struct kp_buf *out, size_t chunk_at, enum kpi_level level)
{
    if (out->failed)
        return KP_NO_MEMORY;
    size_t body_at = chunk_at + 1;
    size_t size = out->size - body_at;
    if (size < SHRINK_SIZE_MIN || level == KPI_LEVEL_HOT || level == KPI_LEVEL_BARE)
        return KP_OK;
    int zstd_level = level == KPI_LEVEL_FAST   ? ZSTD_LEVEL_FAST
                     : level == KPI_LEVEL_COLD ? ZSTD_LEVEL_COLD
                                               : ZSTD_LEVEL;
    struct contexts *contexts = contexts_get();
    size_t bound = ZSTD_compressBound(size);
    uint8_t *packed = contexts == NULL ? NULL : malloc(bound + 10);
    if (packed == NULL)
        return KP_NO_MEMORY;
    size_t prefix = kp_store_varint(packed, size);
    size_t got = ZSTD_compressCCtx(contexts->compress, packed + prefix, bound, out->data + body_at,
                                   size, zstd_level);
    if (!ZSTD_isError(got) && prefix + got < size) {
        memcpy(out->data + body_at, packed, prefix + got);
        out->size = body_at + prefix + got;
        out->data[chunk_at] = (char)((uint8_t)out->data[chunk_at] | KPI_CHUNK_ZSTD);
    }
    free(packed);
    return KP_OK;
}

kp_status kpi_chunk_body(const void *chunk, size_t size, struct kp_arena *arena, uint8_t *out_code,
                         struct kp_reader *out_body, void **out_owned)
{
    struct kp_reader in = kp_reader_init(chunk, size);
    uint8_t code = kp_read_u8(&in);
    if (in.bad)
        return KP_CORRUPT;
    *out_owned = NULL;
    *out_code = (uint8_t)(code & ~KPI_CHUNK_ZSTD);
    *out_body = in;
    if ((code & KPI_CHUNK_ZSTD) == 0)
        return KP_OK;
    uint64_t raw = kp_read_varint(&in);
    if (in.bad || raw == 0 || raw > KPI_CHUNK_BYTES_MAX ||
        ZSTD_getFrameContentSize(in.at, kp_reader_left(&in)) != raw)
        return KP_CORRUPT;
    struct contexts *contexts = contexts_get();
    void *plain = NULL;
    if (contexts != NULL)
        plain = arena != NULL ? kp_arena_alloc(arena, raw) : malloc(raw);
    if (plain == NULL)
        return KP_NO_MEMORY;
    size_t got = ZSTD_decompressDCtx(contexts->decompress, plain, raw, in.at, kp_reader_left(&in));
    if (got != raw) {
        if (arena == NULL)
            free(plain);
        return KP_CORRUPT;
    }
    *out_owned = arena == NULL ? plain : NULL;
    *out_body = kp_reader_init(plain, raw);
    return KP_OK;
}
