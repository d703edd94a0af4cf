/* SPDX-License-Identifier: Apache-2.0
 *
 * Any bytes as OTLP in protobuf: an answer, never a crash, and one that adds up. */
#include "fuzz_store.h"
#include "ingest/ingest.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct kp_otlp_result result = {0};
    struct kp_error err = {0};
    struct kp_str body = {(const char *)data, (uint32_t)size};
    kp_status status = kp_otlp_proto(fuzz_store(), NULL, body, &result, &err);
    kp_assert(status == KP_OK || err.text[0] != '\0');
    kp_assert(status == KP_OK || status == KP_INVALID || status == KP_LIMIT);
    kp_assert((result.message[0] != '\0') == (result.rejected + result.warnings > 0));
    kp_assert(status != KP_INVALID || result.spans == 0);
    kp_assert(result.spans == 0 || result.ticket != 0);
    return 0;
}
