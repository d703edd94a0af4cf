/* SPDX-License-Identifier: Apache-2.0
 *
 * Any text through lexer, parser, binder and planner; the shell's questions about it too. Queries
 * that need no data also run.
 */
#include "query/query.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void ignore(void *ctx, struct kp_str name, const char *what)
{
    (void)ctx;
    (void)name;
    (void)what;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct kp_query_opts opts = {.memory_bytes_max = 8 * 1024 * 1024,
                                              .timeout = 200 * KP_MS};
    struct kp_str text = {(const char *)data, (uint32_t)size};
    struct kp_error err;
    struct kp_query *query = NULL;
    const struct kp_batch *batch;
    kp_query_unfinished(text);
    kp_query_complete(text, (uint32_t)size, ignore, NULL);
    if (kp_query_open(NULL, text, &opts, &query, &err) != KP_OK)
        return 0;
    for (int i = 0; i < 20 && kp_query_next(query, &batch, &err) == KP_OK; i++)
        continue;
    kp_query_close(query);
    return 0;
}
