/* SPDX-License-Identifier: Apache-2.0
 *
 * The Merkle root of a segment, from the file as it is on the disk: every byte is in one leaf.
 * Pages are taken from the footer; a file that claims pages that are not there has no root.
 */
#include "storage/digest.h"

#include <stdlib.h>

#include "base/assert.h"
#include "storage/segment.h"

struct rooting {
    const struct kpi_segment *segment;
    struct kp_io_queue *queue;
    struct kpi_merkle tree;
    struct kpi_sha clock;
    uint8_t *bytes;
    size_t capacity;
};

static kp_status range_read(struct rooting *r, uint64_t from, uint64_t to)
{
    size_t size = (size_t)(to - from);
    if (size > r->capacity) {
        uint8_t *more = realloc(r->bytes, size);
        if (more == NULL)
            return KP_NO_MEMORY;
        r->bytes = more;
        r->capacity = size;
    }
    const struct kpi_segment *segment = r->segment;
    int64_t got =
        kp_io_once(segment->io, r->queue, KP_IO_READ, segment->file, r->bytes, size, from);
    if (got < 0)
        return kp_status_from_errno((int)-got);
    return got == (int64_t)size ? KP_OK : KP_CORRUPT;
}

/* The bytes from..to of the file as one leaf; they stay in r->bytes. */
static kp_status range_add(struct rooting *r, uint64_t from, uint64_t to)
{
    struct kpi_sha leaf;
    if (to < from || to > r->segment->size)
        return KP_CORRUPT;
    kp_status status = range_read(r, from, to);
    if (status == KP_OK)
        status = kpi_merkle_leaf(r->bytes, (size_t)(to - from), &leaf);
    return status == KP_OK ? kpi_merkle_add(&r->tree, &leaf) : status;
}

static kp_status clock_add(struct rooting *r, const struct kpi_block_ref *ref, uint64_t from)
{
    if (ref->stream == NULL || ref->stream->number != KP_S_CLOCK)
        return KP_OK;
    const struct kpi_piece parts[] = {{r->clock.bytes, KPI_SHA_SIZE},
                                      {r->bytes + (ref->offset - from), ref->size}};
    return kpi_sha256(parts, 2, &r->clock);
}

/* One page: the blocks first..last-1. */
static kp_status page_add(struct rooting *r, const struct kpi_block_ref *first,
                          const struct kpi_block_ref *last, uint64_t from, uint64_t to)
{
    for (const struct kpi_block_ref *ref = first; ref < last; ref++)
        if (ref->offset < from || ref->offset > to || ref->size > to - ref->offset)
            return KP_CORRUPT;
    kp_status status = range_add(r, from, to);
    for (const struct kpi_block_ref *ref = first; ref < last && status == KP_OK; ref++)
        status = clock_add(r, ref, from);
    return status;
}

static kp_status leaves_add(struct rooting *r)
{
    const struct kpi_footer *footer = &r->segment->footer;
    const struct kpi_block_ref *at = footer->blocks, *end = at + footer->blocks_count;
    kp_status status = range_add(r, 0, KPI_SEGMENT_HEADER);
    uint64_t from = KPI_SEGMENT_HEADER;
    while (at < end && status == KP_OK) {
        const struct kpi_block_ref *next = at + 1;
        while (next < end && next->page == at->page)
            next++;
        uint64_t to = next[-1].offset + next[-1].size;
        status = page_add(r, at, next, from, to);
        from = to;
        at = next;
    }
    return status == KP_OK ? range_add(r, from, r->segment->size) : status;
}

kp_status kpi_segment_digest(const struct kp_io *io, struct kp_io_queue *queue, const char *path,
                             struct kpi_segment_digest *out)
{
    struct kpi_segment segment;
    struct kpi_segment_digest digest = {0};
    kp_status status = kpi_segment_open(io, queue, path, 0, &segment, NULL);
    if (status != KP_OK)
        return status;
    struct rooting r = {.segment = &segment, .queue = queue};
    digest.id = segment.id;
    digest.bytes = segment.size;
    status = leaves_add(&r);
    if (status == KP_OK)
        status = kpi_merkle_root(&r.tree, &digest.root);
    digest.clock = r.clock;
    free(r.bytes);
    kpi_segment_close(&segment);
    if (status == KP_OK)
        *out = digest;
    return status;
}
