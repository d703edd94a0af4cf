/* SPDX-License-Identifier: Apache-2.0
 *
 * The seam to OpenSSL's libcrypto. SHA-256 of it uses the CPU's own instructions where there are
 * some; that is what makes hashing every page affordable.
 */
#include "storage/crypto.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

kp_status kpi_sha256(const struct kpi_piece *parts, uint32_t count, struct kpi_sha *out)
{
    struct kpi_sha sum;
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    bool good = ctx != NULL && EVP_DigestInit_ex(ctx, EVP_sha256(), NULL) == 1;
    for (uint32_t i = 0; i < count && good; i++)
        good = EVP_DigestUpdate(ctx, parts[i].bytes, parts[i].size) == 1;
    good = good && EVP_DigestFinal_ex(ctx, sum.bytes, NULL) == 1;
    EVP_MD_CTX_free(ctx);
    if (!good)
        return KP_NO_MEMORY;
    *out = sum;
    return KP_OK;
}

kp_status kpi_hmac_sha256(const struct kpi_sha *key, const void *bytes, size_t size,
                          struct kpi_sha *out)
{
    struct kpi_sha sum;
    if (HMAC(EVP_sha256(), key->bytes, KPI_SHA_SIZE, bytes, size, sum.bytes, NULL) == NULL)
        return KP_NO_MEMORY;
    *out = sum;
    return KP_OK;
}

kp_status kpi_sign_public(const uint8_t seed[KPI_SIGN_SEED_SIZE], uint8_t out[KPI_SIGN_KEY_SIZE])
{
    size_t size = KPI_SIGN_KEY_SIZE;
    EVP_PKEY *key = EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, NULL, seed, KPI_SIGN_SEED_SIZE);
    bool good = key != NULL && EVP_PKEY_get_raw_public_key(key, out, &size) == 1;
    EVP_PKEY_free(key);
    return good ? KP_OK : KP_NO_MEMORY;
}

kp_status kpi_sign(const uint8_t seed[KPI_SIGN_SEED_SIZE], const void *bytes, size_t size,
                   uint8_t out[KPI_SIGNATURE_SIZE])
{
    size_t length = KPI_SIGNATURE_SIZE;
    EVP_PKEY *key = EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, NULL, seed, KPI_SIGN_SEED_SIZE);
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    bool good = key != NULL && ctx != NULL && EVP_DigestSignInit(ctx, NULL, NULL, NULL, key) == 1 &&
                EVP_DigestSign(ctx, out, &length, bytes, size) == 1;
    EVP_MD_CTX_free(ctx);
    EVP_PKEY_free(key);
    return good ? KP_OK : KP_NO_MEMORY;
}

bool kpi_sign_verify(const uint8_t public_key[KPI_SIGN_KEY_SIZE], const void *bytes, size_t size,
                     const uint8_t signature[KPI_SIGNATURE_SIZE])
{
    EVP_PKEY *key =
        EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, NULL, public_key, KPI_SIGN_KEY_SIZE);
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    bool good = key != NULL && ctx != NULL &&
                EVP_DigestVerifyInit(ctx, NULL, NULL, NULL, key) == 1 &&
                EVP_DigestVerify(ctx, signature, KPI_SIGNATURE_SIZE, bytes, size) == 1;
    EVP_MD_CTX_free(ctx);
    EVP_PKEY_free(key);
    return good;
}

void kpi_wipe(void *bytes, size_t size)
{
    OPENSSL_cleanse(bytes, size);
}
