/* SPDX-License-Identifier: Apache-2.0
 *
 * Any bytes as records of the kernel. Input: records, each after one byte of length in units of 8;
 * they pass order.c and decode.c. Nothing crashes, and what decode.c accepts makes one row.
 */
#include "bpf/event.h"
#include "fuzz_store.h"
#include "ingest/decode.h"
#include "ingest/order.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void on_gap(void *ctx, const struct kpi_gap *gap)
{
    uint64_t *gaps = ctx;
    kp_assert(gap->count != 0);
    (*gaps)++;
}

static void decode_all(struct kpi_order *order, struct kpi_decoder *decoder)
{
    struct kpi_ordered next;
    while (kpi_order_pop(order, &next)) {
        uint32_t stream;
        const char *why = NULL;
        kp_status status = kpi_decoder_add(decoder, next.record, next.size_bytes, &stream, &why);
        kp_assert(status == KP_OK || (status == KP_INVALID && why != NULL));
        if (status != KP_OK)
            continue;
        struct kp_builder *builder = kpi_decoder_builder(decoder, stream);
        kp_assert(builder != NULL && builder->batch.rows == 1);
        const struct kp_batch *batch = kp_builder_batch(builder);
        kp_status appended = kp_store_append(fuzz_kept, batch, NULL);
        kp_assert(appended == KP_OK || appended == KP_LIMIT);
        kp_builder_reset(builder);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct kpi_cgroups *cgroups;
    struct kpi_threads *threads;
    struct kpi_order *order;
    struct kpi_decoder *decoder;
    uint64_t gaps = 0;
    struct kp_store *store = fuzz_store();
    kp_status status = kpi_cgroups_init(&cgroups);
    kp_assert(status == KP_OK);
    status = kpi_threads_init(store, cgroups, &threads);
    kp_assert(status == KP_OK);
    status = kpi_order_init(4096, &order);
    kp_assert(status == KP_OK);
    struct kpi_decoder_opts opts = {.store = store,
                                    .threads = threads,
                                    .cgroups = cgroups,
                                    .offset = 1,
                                    .rows_max = 4,
                                    .gap = on_gap,
                                    .ctx = &gaps};
    status = kpi_decoder_init(&opts, &decoder);
    kp_assert(status == KP_OK);
    while (size > 0) {
        size_t record = KP_MIN((size_t)data[0] * 8, size - 1);
        int64_t mono;
        uint32_t cpu;
        if (kpi_record_stamp(data + 1, record, &mono, &cpu)) {
            status = kpi_order_push(order, mono, cpu, data + 1, record);
            kp_assert(status == KP_OK || status == KP_INVALID);
        }
        decode_all(order, decoder);
        data += 1 + record;
        size -= 1 + record;
    }
    kpi_order_complete(order, INT64_MAX);
    decode_all(order, decoder);
    kpi_threads_sweep(threads, INT64_MAX);
    kpi_decoder_deinit(decoder);
    kpi_order_deinit(order);
    kpi_threads_deinit(threads);
    kpi_cgroups_deinit(cgroups);
    return 0;
}
