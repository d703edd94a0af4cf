/* SPDX-License-Identifier: Apache-2.0
 *
 * Forged runs of the transaction index: edits of a real one (fuzz_small.h), then every sum is made
 * right. Input: a key to look up, a length to cut it to, edits.
 *
 * Nothing crashes; what is found has the key that was asked for; a run that the check finds whole
 * gives its entries when they are looked up.
 */
#include "fuzz_small.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct finding {
    const struct kpi_run *run;
    uint64_t key, count;
};

static void on_entry(void *ctx, const struct kpi_run_entry *entry)
{
    struct finding *finding = ctx;
    kp_assert(entry->key == finding->key);
    finding->count++;
}

static void run_use(const struct kpi_run *run, struct kp_io_queue *queue, uint64_t key)
{
    struct kpi_segment_meta meta = {.id = 1};
    struct finding finding = {run, key, 0};
    kp_status found = kpi_runfile_find(run, queue, key, on_entry, &finding);
    kp_assert(found == KP_OK || found == KP_CORRUPT);
    for (uint32_t s = 0; s < run->segments; s++) {
        kpi_runfile_segment_id(run, s);
        kpi_runfile_covers(run, s, &meta);
    }
    bool whole = kpi_runfile_check(run, queue) == KP_OK;
    for (uint32_t p = 0; p < run->pages; p++) {
        struct kpi_run_page page;
        if (kpi_runfile_page_read(run, queue, p, &page) != KP_OK)
            continue;
        for (uint32_t i = 0; i < page.count; i++) {
            struct kpi_run_entry entry = kpi_run_page_entry(&page, i);
            finding = (struct finding){run, entry.key, 0};
            if (i % 1024 == 7 &&
                kpi_runfile_find(run, queue, entry.key, on_entry, &finding) == KP_OK)
                kp_assert(!whole || finding.count > 0);
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    small_make();
    const char *path = small_path(SMALL_DIR "/txn/", 0);
    kp_assert(path != NULL);
    struct kp_reader input = kp_reader_init(data, size);
    uint64_t key = kp_read_u32(&input);
    uint16_t cut = kp_read_u16(&input);
    struct kp_sim *sim = kp_sim_clone(small, 1);
    kp_assert(sim != NULL);
    const struct kp_io *io = kp_sim_io(sim);
    struct kp_io_queue *queue;
    struct kpi_run run;
    size_t length;
    small_must(io->queue_open(io, 2, &queue));
    if (cut != 0)
        small_cut(sim, path, cut);
    small_edit(sim, path, &input);
    uint8_t *bytes = kp_sim_file(sim, path, &length);
    run_sums_fix(bytes, length);
    if (kpi_runfile_open(io, queue, path, NULL, &run) == KP_OK) {
        run_use(&run, queue, key);
        kpi_runfile_close(&run);
    }
    io->queue_close(queue);
    kp_sim_close(sim);
    return 0;
}
