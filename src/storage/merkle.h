/* SPDX-License-Identifier: Apache-2.0
 *
 * Merkle tree hashes of RFC 6962: leaf = SHA-256(0 | bytes), node = SHA-256(1 | left | right). A
 * tree grows leaf by leaf; only the roots of its full subtrees are kept (one per bit of its size).
 */
#ifndef KP_STORAGE_MERKLE_H
#define KP_STORAGE_MERKLE_H

#include "storage/crypto.h"

#define KPI_MERKLE_LEVELS 64u

/* Zero-initialised is the empty tree. */
struct kpi_merkle {
    uint64_t size;                           /* leaves */
    struct kpi_sha peaks[KPI_MERKLE_LEVELS]; /* of level n: used when bit n of size is set */
};

kp_status kpi_merkle_leaf(const void *bytes, size_t size, struct kpi_sha *out) KP_MUST;
/* On a failure the tree must not be used any more. */
kp_status kpi_merkle_add(struct kpi_merkle *tree, const struct kpi_sha *leaf) KP_MUST;
/* The root; of the empty tree SHA-256 of nothing. */
kp_status kpi_merkle_root(const struct kpi_merkle *tree, struct kpi_sha *out) KP_MUST;

#endif
