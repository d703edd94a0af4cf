/* SPDX-License-Identifier: Apache-2.0
 *
 * Verify for runs: every page, and that a run holds exactly the entries of the segments it speaks
 * for. Both sides are sets of (key, block) for each segment; they are compared by count and by the
 * sum of a hash of each entry, so that neither has to be kept or sorted.
 */
#include <stdlib.h>

#include "base/assert.h"
#include "storage/manifest.h"
#include "storage/run_file.h"
#include "storage/run_find.h"

/* Entries of one segment, in no order. */
struct digest {
    uint64_t count, sum;
};

struct verifying {
    const struct kp_io *io;
    struct kp_io_queue *queue;
    const char *dir;
    const struct kpi_manifest *manifest;
    void (*found)(void *ctx, const struct kp_damage *damage);
    void *ctx;
};

static void digest_add(struct digest *digest, uint64_t key, uint32_t block)
{
    digest->count++;
    digest->sum += kp_hash_mix(kp_hash_mix(key) ^ block);
}

static kp_status run_digest(const struct verifying *v, const struct kpi_run *run,
                            struct digest *digests)
{
    for (uint32_t p = 0; p < run->pages; p++) {
        struct kpi_run_page page;
        kp_status status = kpi_runfile_page_read(run, v->queue, p, &page);
        if (status != KP_OK)
            return status;
        for (uint32_t i = 0; i < page.count; i++) {
            struct kpi_run_entry entry = kpi_run_page_entry(&page, i);
            digest_add(&digests[entry.segment], entry.key, entry.block);
        }
    }
    return KP_OK;
}

/* False: the segment or its lists do not read, which was told of already. */
static bool segment_digest(const struct verifying *v, const struct kpi_segment_meta *meta,
                           struct digest *out)
{
    struct kpi_segment segment;
    struct kp_buf path = {0};
    kpi_segment_path(v->dir, meta->id, &path);
    kp_status status =
        kpi_segment_open(v->io, v->queue, kp_buf_cstr(&path), meta->id, &segment, NULL);
    kp_buf_deinit(&path);
    if (status != KP_OK)
        return false;
    *out = (struct digest){0};
    struct kp_arena arena = {0};
    for (uint32_t e = 0; e < segment.footer.exact_count && status == KP_OK; e++) {
        struct kpi_run_entry *entries;
        status = kpi_exact_load(&segment, v->queue, &segment.footer.exact[e], &arena, &entries);
        for (uint32_t i = 0; status == KP_OK && i < segment.footer.exact[e].count; i++)
            digest_add(out, entries[i].key, entries[i].block);
    }
    kp_arena_deinit(&arena);
    kpi_segment_close(&segment);
    return status == KP_OK;
}

/* True when the run and the segments it speaks for say the same. */
static bool segments_agree(const struct verifying *v, const struct kpi_run *run,
                           const struct digest *digests)
{
    for (uint32_t i = 0; i < run->segments; i++)
        for (uint32_t s = 0; s < v->manifest->count; s++) {
            struct digest own;
            if (kpi_runfile_covers(run, i, &v->manifest->segments[s]) &&
                segment_digest(v, &v->manifest->segments[s], &own) &&
                (own.count != digests[i].count || own.sum != digests[i].sum))
                return false;
        }
    return true;
}

static kp_status run_compare(const struct verifying *v, const struct kpi_run *run,
                             const char **what)
{
    *what = "run of the transaction index: a page is damaged";
    kp_status status = kpi_runfile_check(run, v->queue);
    if (status != KP_OK)
        return status;
    struct digest *digests = calloc(run->segments + 1, sizeof(*digests));
    if (digests == NULL)
        return KP_NO_MEMORY;
    status = run_digest(v, run, digests);
    if (status == KP_OK && !segments_agree(v, run, digests)) {
        *what = "run of the transaction index disagrees with a segment's own lists";
        status = KP_CORRUPT;
    }
    free(digests);
    return status;
}

static kp_status run_verify(const struct verifying *v, const struct kpi_run_meta *meta)
{
    const char *what = "run of the transaction index is missing, or not the one the manifest names";
    struct kpi_run run;
    struct kp_buf path = {0};
    kpi_runfile_path(v->dir, meta->id, &path);
    kp_status status = kpi_runfile_open(v->io, v->queue, kp_buf_cstr(&path), meta, &run);
    if (status == KP_OK) {
        status = run_compare(v, &run, &what);
        kpi_runfile_close(&run);
    }
    if (status != KP_OK && status != KP_NO_MEMORY &&
        kpi_manifest_names_run(v->io, v->dir, meta->id)) {
        struct kp_damage damage = {
            .file = kp_buf_cstr(&path), .size = meta->bytes, .from = 0, .to = -1, .what = what};
        v->found(v->ctx, &damage);
    }
    kp_buf_deinit(&path);
    return status == KP_NO_MEMORY ? status : KP_OK;
}

kp_status kpi_runs_verify(const struct kp_io *io, struct kp_io_queue *queue, const char *dir,
                          const struct kpi_manifest *manifest,
                          void (*found)(void *ctx, const struct kp_damage *damage), void *ctx)
{
    const struct verifying v = {io, queue, dir, manifest, found, ctx};
    kp_status status = KP_OK;
    for (uint32_t i = 0; i < manifest->runs_count && status == KP_OK; i++)
        status = run_verify(&v, &manifest->runs[i]);
    return status;
}
