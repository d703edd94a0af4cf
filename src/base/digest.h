/* SPDX-License-Identifier: Apache-2.0
 *
 * MD5 (RFC 1321), SHA-1 and SHA-256 (FIPS 180-4) of a text, for the functions of that name: to name
 * things as other systems do, not to keep secrets.
 */
#ifndef KP_BASE_DIGEST_H
#define KP_BASE_DIGEST_H

#include <stddef.h>

#define KP_MD5_BYTES    16
#define KP_SHA1_BYTES   20
#define KP_SHA256_BYTES 32

void kp_md5(const void *bytes, size_t size, unsigned char out[KP_MD5_BYTES]);
void kp_sha1(const void *bytes, size_t size, unsigned char out[KP_SHA1_BYTES]);
void kp_sha256(const void *bytes, size_t size, unsigned char out[KP_SHA256_BYTES]);

#endif
