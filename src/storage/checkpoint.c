/* SPDX-License-Identifier: Apache-2.0
 *
 * Checkpoints: C2SP tlog-checkpoint (https://c2sp.org/tlog-checkpoint) in a C2SP signed note
 * (https://c2sp.org/signed-note), so that any witness of transparency logs can hold the head of a
 * store and prove later that the store only grew.
 *
 *   kprobe/<store id>
 *   <records>
 *   <base64 of the Merkle root over the records>
 *
 *   - kprobe/<store id> <base64 of key id and Ed25519 signature>
 */
#include "storage/chain.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#include "base/assert.h"

#define PATH_SIZE   4096u
#define ORIGIN_SIZE 64u
#define KEY_ID_SIZE 4u
#define ED25519     1u /* signature type of the signed note */

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

static void base64_add(struct kp_buf *out, const uint8_t *bytes, size_t size)
{
    for (size_t i = 0; i < size; i += 3) {
        uint32_t v = (uint32_t)bytes[i] << 16;
        v |= i + 1 < size ? (uint32_t)bytes[i + 1] << 8 : 0;
        v |= i + 2 < size ? bytes[i + 2] : 0;
        kp_buf_char(out, alphabet[v >> 18]);
        kp_buf_char(out, alphabet[v >> 12 & 63]);
        kp_buf_char(out, i + 1 < size ? alphabet[v >> 6 & 63] : '=');
        kp_buf_char(out, i + 2 < size ? alphabet[v & 63] : '=');
    }
}

/* Exactly size bytes from text, padding and all. */
static bool base64_read(struct kp_str text, uint8_t *out, size_t size)
{
    if (text.len != (size + 2) / 3 * 4)
        return false;
    for (size_t i = 0; i < text.len; i++) {
        const char *found = text.ptr[i] == '\0' ? NULL : strchr(alphabet, text.ptr[i]);
        size_t bit = i * 6, byte = bit / 8;
        uint32_t value = found == NULL ? 0 : (uint32_t)(found - alphabet);
        bool pad = text.ptr[i] == '=' && byte + (bit % 8 != 0) >= size;
        if (found == NULL && !pad)
            return false;
        if (bit % 8 == 0 && byte < size)
            out[byte] = (uint8_t)(value << 2);
        if (bit % 8 == 6 && byte < size)
            out[byte] |= (uint8_t)(value >> 4);
        if (bit % 8 == 6 && byte + 1 < size)
            out[byte + 1] = (uint8_t)(value << 4);
        if (bit % 8 == 4 && byte < size)
            out[byte] |= (uint8_t)(value >> 2);
        if (bit % 8 == 4 && byte + 1 < size)
            out[byte + 1] = (uint8_t)(value << 6);
        if (bit % 8 == 2 && byte < size)
            out[byte] |= (uint8_t)value;
    }
    return true;
}

static void origin_text(const uint8_t store_id[KPI_ID_SIZE], char out[ORIGIN_SIZE])
{
    int used = snprintf(out, ORIGIN_SIZE, "kprobe/");
    for (uint32_t i = 0; i < KPI_ID_SIZE; i++)
        used += snprintf(out + used, ORIGIN_SIZE - (size_t)used, "%02x", store_id[i]);
}

/* First bytes of SHA-256(name | newline | type | key). */
static kp_status key_id(const char *origin, const uint8_t public_key[KPI_SIGN_KEY_SIZE],
                        uint8_t out[KEY_ID_SIZE])
{
    static const uint8_t between[] = {'\n', ED25519};
    const struct kpi_piece parts[] = {
        {origin, strlen(origin)}, {between, sizeof(between)}, {public_key, KPI_SIGN_KEY_SIZE}};
    struct kpi_sha sum;
    kp_status status = kpi_sha256(parts, 3, &sum);
    if (status == KP_OK)
        memcpy(out, sum.bytes, KEY_ID_SIZE);
    return status;
}

kp_status kpi_checkpoint_signer(const uint8_t store_id[KPI_ID_SIZE],
                                const uint8_t public_key[KPI_SIGN_KEY_SIZE], struct kp_buf *out)
{
    char origin[ORIGIN_SIZE];
    uint8_t id[KEY_ID_SIZE], typed[1 + KPI_SIGN_KEY_SIZE] = {ED25519};
    origin_text(store_id, origin);
    kp_status status = key_id(origin, public_key, id);
    if (status != KP_OK)
        return status;
    memcpy(typed + 1, public_key, KPI_SIGN_KEY_SIZE);
    kp_buf_printf(out, "%s+%02x%02x%02x%02x+", origin, id[0], id[1], id[2], id[3]);
    base64_add(out, typed, sizeof(typed));
    return KP_OK;
}

/* ---------- writing ---------- */

static kp_status note_make(const uint8_t store_id[KPI_ID_SIZE], const struct kpi_merkle *tree,
                           const uint8_t seed[KPI_SIGN_SEED_SIZE], struct kp_buf *out)
{
    char origin[ORIGIN_SIZE];
    struct kpi_sha root;
    uint8_t public_key[KPI_SIGN_KEY_SIZE], signed_part[KEY_ID_SIZE + KPI_SIGNATURE_SIZE];
    origin_text(store_id, origin);
    kp_status status = kpi_merkle_root(tree, &root);
    if (status == KP_OK)
        status = kpi_sign_public(seed, public_key);
    if (status == KP_OK)
        status = key_id(origin, public_key, signed_part);
    if (status != KP_OK)
        return status;
    kp_buf_printf(out, "%s\n%" PRIu64 "\n", origin, tree->size);
    base64_add(out, root.bytes, KPI_SHA_SIZE);
    kp_buf_char(out, '\n');
    if (out->failed)
        return KP_NO_MEMORY;
    status = kpi_sign(seed, out->data, out->size, signed_part + KEY_ID_SIZE);
    kp_buf_printf(out, "\n\xe2\x80\x94 %s ", origin);
    base64_add(out, signed_part, sizeof(signed_part));
    kp_buf_char(out, '\n');
    return status == KP_OK && out->failed ? KP_NO_MEMORY : status;
}

static int64_t note_place(const struct kp_io *io, struct kp_io_queue *queue, const char *dir,
                          struct kp_buf *note)
{
    char from[PATH_SIZE], to[PATH_SIZE];
    snprintf(from, sizeof(from), "%s/checkpoint.tmp", dir);
    snprintf(to, sizeof(to), "%s/checkpoint", dir);
    struct kp_io_file *file = NULL;
    io->unlink(io, from);
    int64_t result = io->open(io, from, KP_IO_RDWR | KP_IO_CREATE, &file);
    if (result != 0)
        return result;
    int64_t done = kp_io_once(io, queue, KP_IO_WRITE, file, note->data, note->size, 0);
    result = done == (int64_t)note->size ? 0 : done < 0 ? done : -EIO;
    if (result == 0)
        result = kp_io_once(io, queue, KP_IO_SYNC, file, NULL, 0, 0);
    io->close(io, file);
    return result == 0 ? io->rename(io, from, to) : result;
}

kp_status kpi_checkpoint_write(const struct kp_io *io, struct kp_io_queue *queue, const char *dir,
                               const uint8_t store_id[KPI_ID_SIZE], const struct kpi_merkle *tree,
                               const uint8_t sign_seed[KPI_SIGN_SEED_SIZE])
{
    struct kp_buf note = {0};
    kp_status status = note_make(store_id, tree, sign_seed, &note);
    if (status == KP_OK) {
        int64_t result = note_place(io, queue, dir, &note);
        status = result == 0 ? KP_OK : kp_status_from_errno((int)-result);
    }
    kp_buf_deinit(&note);
    return status;
}

/* ---------- reading ---------- */

static bool line_next(struct kp_str *text, struct kp_str *out)
{
    const char *end = text->len == 0 ? NULL : memchr(text->ptr, '\n', text->len);
    if (end == NULL)
        return false;
    *out = (struct kp_str){text->ptr, (uint32_t)(end - text->ptr)};
    text->len -= out->len + 1;
    text->ptr = end + 1;
    return true;
}

static bool size_read(struct kp_str text, uint64_t *out)
{
    uint64_t value = 0;
    for (uint32_t i = 0; i < text.len; i++)
        if (text.ptr[i] < '0' || text.ptr[i] > '9' || __builtin_mul_overflow(value, 10, &value) ||
            __builtin_add_overflow(value, (uint64_t)(text.ptr[i] - '0'), &value))
            return false;
    *out = value;
    return text.len > 0;
}

/* Looks for our line among the signatures; a witness may have added others. */
static bool signed_by(struct kp_str lines, const char *origin, const uint8_t *public_key,
                      struct kp_str body)
{
    char head[ORIGIN_SIZE + 8];
    uint8_t id[KEY_ID_SIZE], part[KEY_ID_SIZE + KPI_SIGNATURE_SIZE];
    struct kp_str line;
    size_t length = (size_t)snprintf(head, sizeof(head), "\xe2\x80\x94 %s ", origin);
    if (key_id(origin, public_key, id) != KP_OK)
        return false;
    while (line_next(&lines, &line)) {
        if (line.len <= length || memcmp(line.ptr, head, length) != 0)
            continue;
        struct kp_str text = {line.ptr + length, (uint32_t)(line.len - length)};
        if (base64_read(text, part, sizeof(part)) && memcmp(part, id, KEY_ID_SIZE) == 0 &&
            kpi_sign_verify(public_key, body.ptr, body.len, part + KEY_ID_SIZE))
            return true;
    }
    return false;
}

kp_status kpi_checkpoint_parse(struct kp_str text, const uint8_t store_id[KPI_ID_SIZE],
                               const uint8_t *public_key, struct kpi_checkpoint *out)
{
    char origin[ORIGIN_SIZE];
    struct kp_str rest = text, name, size, root, line = {"", 0};
    struct kpi_checkpoint found;
    origin_text(store_id, origin);
    if (!line_next(&rest, &name) || !line_next(&rest, &size) || !line_next(&rest, &root) ||
        !size_read(size, &found.size) || !base64_read(root, found.root.bytes, KPI_SHA_SIZE))
        return KP_INVALID;
    if (!kp_str_equal(name, kp_str_from(origin)))
        return KP_NOT_FOUND; /* of another store */
    do {
        if (!line_next(&rest, &line))
            return KP_INVALID;
    } while (line.len > 0);
    struct kp_str body = {text.ptr, (uint32_t)(line.ptr - text.ptr)};
    if (public_key != NULL && !signed_by(rest, origin, public_key, body))
        return KP_CORRUPT;
    *out = found;
    return KP_OK;
}
