/* SPDX-License-Identifier: Apache-2.0
 *
 * The source of a build without capture (BPF=0): there is none, and open says so.
 */
#include "ingest/source.h"

#ifdef KP_NO_BPF

kp_status kp_source_open(const struct kp_recorder_opts *opts, struct kp_source **out,
                         struct kp_error *err)
{
    (void)opts;
    (void)out;
    kp_error_set(err, KP_UNSUPPORTED, "this kprobe was built without capture");
    kp_error_hint(err, "build it with BPF=1 (needs clang, bpftool and libbpf-dev)");
    return KP_UNSUPPORTED;
}

kp_status kp_source_scan(struct kp_source *source, kp_source_sink sink, void *ctx,
                         struct kp_error *err)
{
    (void)source;
    (void)sink;
    (void)ctx;
    return kp_error_set(err, KP_UNSUPPORTED, "this kprobe was built without capture");
}

kp_status kp_source_take(struct kp_source *source, kp_dur timeout, struct kp_source_span *out)
{
    (void)source;
    (void)timeout;
    (void)out;
    return KP_END;
}

void kp_source_release(struct kp_source *source, size_t size_bytes)
{
    (void)source;
    (void)size_bytes;
}

kp_status kp_source_bind(struct kp_source *source, uint32_t pid, bool bound)
{
    (void)source;
    (void)pid;
    (void)bound;
    return KP_UNSUPPORTED;
}

uint32_t kp_source_lost(struct kp_source *source, struct kp_source_loss *out, uint32_t out_max)
{
    (void)source;
    (void)out;
    (void)out_max;
    return 0;
}

uint32_t kp_source_kinds(struct kp_source *source, const struct kp_kind_state **out)
{
    (void)source;
    *out = NULL;
    return 0;
}

void kp_source_stat(struct kp_source *source, struct kp_source_stat *out)
{
    (void)source;
    *out = (struct kp_source_stat){0};
}

void kp_source_stop(struct kp_source *source)
{
    (void)source;
}

void kp_source_close(struct kp_source *source)
{
    (void)source;
}

#endif
