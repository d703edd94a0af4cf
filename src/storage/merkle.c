/* SPDX-License-Identifier: Apache-2.0
 *
 * Why RFC 6962 and not a plain chain: the same bytes make a proof of log length, so a witness who
 * holds one root can later be shown that the log only grew.
 */
#include "storage/merkle.h"

kp_status kpi_merkle_leaf(const void *bytes, size_t size, struct kpi_sha *out)
{
    static const uint8_t leaf = 0;
    const struct kpi_piece parts[] = {{&leaf, 1}, {bytes, size}};
    return kpi_sha256(parts, 2, out);
}

static kp_status node(const struct kpi_sha *left, const struct kpi_sha *right, struct kpi_sha *out)
{
    static const uint8_t inner = 1;
    const struct kpi_piece parts[] = {
        {&inner, 1}, {left->bytes, KPI_SHA_SIZE}, {right->bytes, KPI_SHA_SIZE}};
    return kpi_sha256(parts, 3, out);
}

kp_status kpi_merkle_add(struct kpi_merkle *tree, const struct kpi_sha *leaf)
{
    struct kpi_sha carry = *leaf;
    kp_status status = KP_OK;
    uint32_t level = 0;
    for (; (tree->size >> level & 1) != 0 && status == KP_OK; level++)
        status = node(&tree->peaks[level], &carry, &carry);
    tree->peaks[level] = carry;
    tree->size++;
    return status;
}

kp_status kpi_merkle_root(const struct kpi_merkle *tree, struct kpi_sha *out)
{
    struct kpi_sha root;
    kp_status status = KP_OK;
    bool any = false;
    for (uint32_t level = 0; level < KPI_MERKLE_LEVELS && status == KP_OK; level++) {
        if ((tree->size >> level & 1) == 0)
            continue;
        if (any)
            status = node(&tree->peaks[level], &root, &root);
        else
            root = tree->peaks[level];
        any = true;
    }
    if (!any)
        status = kpi_sha256(NULL, 0, &root);
    if (status == KP_OK)
        *out = root;
    return status;
}
