/* SPDX-License-Identifier: Apache-2.0
 *
 * The evolving key (Bellare and Yee, "Forward-Security in Private-Key Cryptography", CT-RSA 2003,
 * in its simplest form): key n+1 = SHA-256(label | key n). Who takes the machine finds key n and
 * can make seal n and later ones, but no earlier one.
 *
 * The file has two slots, 4096 bytes apart. The new key goes into the other slot and is synced,
 * then the old slot is overwritten with zeros and synced: at every moment one whole key is there.
 * The key is in use only after its predecessor's seal is durable, so a crash leaves key n beside
 * seal n-1 (usual) or seal n (the writer died in between).
 */
#include "storage/chain.h"

#include <errno.h>
#include <stdio.h>
#include <sys/random.h>

#include "base/assert.h"

#define PATH_SIZE    4096u
#define KEY_MAGIC    0x594b504bu /* "KPKY" */
#define SLOT_SPACING 4096u

struct slot {
    uint32_t magic;
    uint16_t version;
    uint16_t reserved;
    uint64_t number;
    struct kpi_sha secret;
    uint8_t sign_seed[KPI_SIGN_SEED_SIZE];
    struct kp_hash128 sum; /* over the bytes before */
};
_Static_assert(sizeof(struct slot) == 96, "key slot is 96 bytes");

/* ---------- the key ---------- */

static kp_status labelled(const char *label, const struct kpi_sha *secret, struct kpi_sha *out)
{
    const struct kpi_piece parts[] = {{label, strlen(label)}, {secret->bytes, KPI_SHA_SIZE}};
    return kpi_sha256(parts, 2, out);
}

kp_status kpi_key_next(struct kpi_key *key)
{
    struct kpi_sha next;
    kp_status status = labelled("kprobe seal key: next", &key->secret, &next);
    if (status != KP_OK)
        return status;
    key->secret = next;
    key->number++;
    kpi_wipe(&next, sizeof(next));
    return KP_OK;
}

kp_status kpi_key_id(const struct kpi_sha *secret, struct kpi_sha *out)
{
    return labelled("kprobe seal key: id", secret, out);
}

kp_status kpi_key_make(uint64_t seed, struct kpi_key *out)
{
    struct kpi_key key = {.number = 1};
    if (seed != 0) {
        struct kpi_piece part = {&seed, sizeof(seed)};
        struct kpi_sha sign;
        kp_status status = kpi_sha256(&part, 1, &key.secret);
        if (status == KP_OK)
            status = labelled("kprobe signing key", &key.secret, &sign);
        if (status != KP_OK)
            return status;
        memcpy(key.sign_seed, sign.bytes, sizeof(key.sign_seed));
    } else if (getrandom(&key.secret, sizeof(key.secret), 0) != sizeof(key.secret) ||
               getrandom(key.sign_seed, sizeof(key.sign_seed), 0) != sizeof(key.sign_seed)) {
        return KP_IO;
    }
    *out = key;
    kpi_wipe(&key, sizeof(key));
    return KP_OK;
}

/* ---------- the file ---------- */

static void key_path(char *out, const char *dir, const char *name)
{
    snprintf(out, PATH_SIZE, "%s/evidence/%s", dir, name);
}

static int64_t slot_write(const struct kp_io *io, struct kp_io_queue *queue,
                          struct kp_io_file *file, uint64_t place, const struct slot *slot)
{
    uint8_t sector[KPI_SECTOR] = {0};
    memcpy(sector, slot, sizeof(*slot));
    int64_t done =
        kp_io_once(io, queue, KP_IO_WRITE, file, sector, sizeof(sector), place * SLOT_SPACING);
    kpi_wipe(sector, sizeof(sector));
    if (done != (int64_t)sizeof(sector))
        return done < 0 ? done : -EIO;
    return kp_io_once(io, queue, KP_IO_SYNC, file, NULL, 0, 0);
}

static struct slot slot_of(const struct kpi_key *key)
{
    struct slot slot = {.magic = KEY_MAGIC,
                        .version = KPI_CHAIN_VERSION,
                        .number = key->number,
                        .secret = key->secret};
    memcpy(slot.sign_seed, key->sign_seed, sizeof(slot.sign_seed));
    slot.sum = kp_hash128(&slot, offsetof(struct slot, sum), 0);
    return slot;
}

kp_status kpi_key_create(const struct kp_io *io, struct kp_io_queue *queue, const char *dir,
                         const struct kpi_key *key, struct kp_error *err)
{
    char from[PATH_SIZE], to[PATH_SIZE];
    key_path(from, dir, "key.tmp");
    key_path(to, dir, "key");
    struct slot slot = slot_of(key);
    struct kp_io_file *file = NULL;
    io->unlink(io, from);
    int64_t result = io->open(io, from, KP_IO_RDWR | KP_IO_CREATE | KP_IO_PRIVATE, &file);
    if (result == 0) {
        result = slot_write(io, queue, file, key->number % 2, &slot);
        io->close(io, file);
    }
    kpi_wipe(&slot, sizeof(slot));
    if (result == 0)
        result = io->rename(io, from, to);
    if (result == 0) {
        key_path(from, dir, "");
        from[strlen(from) - 1] = '\0';
        result = io->sync_dir(io, from);
    }
    return result == 0 ? KP_OK
                       : kp_error_os(err, kp_status_from_errno((int)-result), (int)-result,
                                     "cannot write the sealing key %s", to);
}

kp_status kpi_key_replace(const struct kp_io *io, struct kp_io_queue *queue, const char *dir,
                          const struct kpi_key *key)
{
    char path[PATH_SIZE];
    key_path(path, dir, "key");
    struct slot slot = slot_of(key), none = {0};
    struct kp_io_file *file = NULL;
    int64_t result = io->open(io, path, KP_IO_RDWR, &file);
    if (result == 0) {
        result = slot_write(io, queue, file, key->number % 2, &slot);
        if (result == 0)
            result = slot_write(io, queue, file, (key->number + 1) % 2, &none);
        io->close(io, file);
    }
    kpi_wipe(&slot, sizeof(slot));
    return result == 0 ? KP_OK : kp_status_from_errno((int)-result);
}

kp_status kpi_key_read(const struct kp_io *io, struct kp_io_queue *queue, const char *dir,
                       struct kpi_key *out)
{
    char path[PATH_SIZE];
    key_path(path, dir, "key");
    struct kp_io_file *file = NULL;
    int result = io->open(io, path, KP_IO_RDONLY, &file);
    if (result != 0)
        return kp_status_from_errno(-result);
    struct kpi_key best = {0};
    kp_status status = KP_CORRUPT;
    for (uint64_t place = 0; place < 2; place++) {
        struct slot slot;
        int64_t got =
            kp_io_once(io, queue, KP_IO_READ, file, &slot, sizeof(slot), place * SLOT_SPACING);
        struct kp_hash128 sum = kp_hash128(&slot, offsetof(struct slot, sum), 0);
        if (got != (int64_t)sizeof(slot) || slot.magic != KEY_MAGIC ||
            !kpi_hash_equal(slot.sum, sum) || slot.number <= best.number)
            continue;
        best.number = slot.number;
        best.secret = slot.secret;
        memcpy(best.sign_seed, slot.sign_seed, sizeof(best.sign_seed));
        kpi_wipe(&slot, sizeof(slot));
        status = KP_OK;
    }
    io->close(io, file);
    if (status == KP_OK)
        *out = best;
    kpi_wipe(&best, sizeof(best));
    return status;
}
