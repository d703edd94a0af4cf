/* SPDX-License-Identifier: Apache-2.0
 *
 * The seam to the crypto library: SHA-256, HMAC-SHA256, Ed25519. crypto_openssl.c is the only file
 * that knows which library that is. Nothing here keeps state; any thread. A failure means that the
 * library has no memory.
 */
#ifndef KP_STORAGE_CRYPTO_H
#define KP_STORAGE_CRYPTO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/status.h"

#define KPI_SHA_SIZE       32u
#define KPI_SIGN_SEED_SIZE 32u /* Ed25519 private key */
#define KPI_SIGN_KEY_SIZE  32u /* Ed25519 public key */
#define KPI_SIGNATURE_SIZE 64u

struct kpi_sha {
    uint8_t bytes[KPI_SHA_SIZE];
};

/* Bytes that are hashed one part after the other. */
struct kpi_piece {
    const void *bytes;
    size_t size;
};

static inline bool kpi_sha_equal(const struct kpi_sha *a, const struct kpi_sha *b)
{
    return memcmp(a, b, sizeof(*a)) == 0;
}

kp_status kpi_sha256(const struct kpi_piece *parts, uint32_t count, struct kpi_sha *out) KP_MUST;
kp_status kpi_hmac_sha256(const struct kpi_sha *key, const void *bytes, size_t size,
                          struct kpi_sha *out) KP_MUST;
kp_status kpi_sign_public(const uint8_t seed[KPI_SIGN_SEED_SIZE],
                          uint8_t out[KPI_SIGN_KEY_SIZE]) KP_MUST;
kp_status kpi_sign(const uint8_t seed[KPI_SIGN_SEED_SIZE], const void *bytes, size_t size,
                   uint8_t out[KPI_SIGNATURE_SIZE]) KP_MUST;
/* False: the signature is not of these bytes under this key. */
bool kpi_sign_verify(const uint8_t public_key[KPI_SIGN_KEY_SIZE], const void *bytes, size_t size,
                     const uint8_t signature[KPI_SIGNATURE_SIZE]);
/* Overwrites a secret in memory; not optimised away. */
void kpi_wipe(void *bytes, size_t size);

#endif
