/* SPDX-License-Identifier: Apache-2.0
 *
 * The simulator's disk: a directory tree in memory that forgets what was not synced, fails where it
 * is told to, and does the same for the same seed every time.
 *
 * A file has the bytes the running system sees and the bytes that are on the platter; sync copies
 * the dirty sectors (512 bytes) from one to the other. A directory has its entries and a log of
 * changes since it was last synced. A crash keeps what was synced and, by policy, any subset of the
 * rest. A sync that fails marks its sectors clean without having written all of them, as Linux
 * does.
 *
 * For tests; not thread-safe. Paths start with "/".
 */
#ifndef KP_STORAGE_IO_SIM_H
#define KP_STORAGE_IO_SIM_H

#include "storage/io.h"

struct kp_sim;

enum kp_sim_point {
    KP_SIM_READ = 1,
    KP_SIM_WRITE = 2,
    KP_SIM_SYNC = 4,
    KP_SIM_OPEN = 8, /* of an existing file */
    KP_SIM_CREATE = 16,
    KP_SIM_TRUNCATE = 32,
    KP_SIM_RENAME = 64,
    KP_SIM_UNLINK = 128,
    KP_SIM_MKDIR = 256,
    KP_SIM_SYNC_DIR = 512,
    KP_SIM_LIST = 1024,
};

enum kp_sim_kind {
    KP_SIM_ERROR,     /* fails with `error`; a failed write may have left some sectors */
    KP_SIM_SHORT,     /* a read or write does half of it */
    KP_SIM_FLIP,      /* a read gives, or a write leaves, one wrong bit */
    KP_SIM_MISDIRECT, /* a read or write goes to the 4 KiB beside its place */
    KP_SIM_STALE,     /* a write is acknowledged and never done */
};

struct kp_sim_fault {
    uint32_t points; /* which operations count: KP_SIM_* ored */
    uint64_t nth;    /* the nth such operation from now on, from 1 */
    uint64_t times;  /* this many in a row; 0 = 1, UINT64_MAX = for ever */
    enum kp_sim_kind kind;
    int error; /* positive errno */
};

enum kp_sim_crash {
    KP_SIM_DROP, /* nothing that was not synced */
    KP_SIM_KEEP, /* everything */
    KP_SIM_SOME, /* any subset of sectors and, per directory, the first few of its changes */
    KP_SIM_TEAR, /* the same with sectors torn at any byte */
};

kp_status kp_sim_open(uint64_t seed, struct kp_sim **out) KP_MUST;
void kp_sim_close(struct kp_sim *sim);
/* The table of this disk; lives as long as the disk. */
const struct kp_io *kp_sim_io(struct kp_sim *sim);
/* A second disk in the same state (no open files, no locks, no faults); NULL = no memory. */
struct kp_sim *kp_sim_clone(const struct kp_sim *sim, uint64_t seed);

/* Adds a fault (at most 8 at once); clear removes all. hits = faults that happened so far. */
void kp_sim_fault_add(struct kp_sim *sim, const struct kp_sim_fault *fault);
void kp_sim_fault_clear(struct kp_sim *sim);
uint64_t kp_sim_hits(const struct kp_sim *sim);
/* Bytes the disk holds; a write beyond gives ENOSPC. 0 = no limit. */
void kp_sim_capacity(struct kp_sim *sim, uint64_t bytes);

/* Operations that changed something so far, and a call after each of them. */
uint64_t kp_sim_ops(const struct kp_sim *sim);
void kp_sim_watch(struct kp_sim *sim, void (*after)(void *ctx, struct kp_sim *sim), void *ctx);

/* The power goes; files opened before are dead. The disk can be used again at once. */
void kp_sim_crash(struct kp_sim *sim, enum kp_sim_crash policy);

/* What a read sees of a file, to look at or to damage; NULL when there is none. Valid until the
 * next operation. */
uint8_t *kp_sim_file(struct kp_sim *sim, const char *path, size_t *out_size);
/* A latent error: reads that touch these bytes give EIO until they are written again. One place per
 * file; clones do not have it. */
void kp_sim_rot(struct kp_sim *sim, const char *path, uint64_t offset, uint64_t size);
/* Hash over all names and bytes. */
uint64_t kp_sim_hash(const struct kp_sim *sim);

#endif
