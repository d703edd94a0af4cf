/* SPDX-License-Identifier: Apache-2.0
 *
 * The manifest: writer, and what the files of it share. The reader's door is kpi_manifest_read in
 * storage_int.h.
 *
 * Invariants: a record is the commit point of its segment; a manifest file that failed once is not
 * written again but replaced by a new one with the whole state; `super` names a file only after
 * that file and its name are durable, and the old file goes only after `super` is.
 */
#ifndef KP_STORAGE_MANIFEST_H
#define KP_STORAGE_MANIFEST_H

#include "storage/manifest_life.h"

struct kpi_manifest_log;

/* Id of the store in dir. NOT_FOUND when there is no store. */
kp_status kpi_manifest_store_id(const struct kp_io *io, const char *dir, uint8_t out[KPI_ID_SIZE],
                                struct kp_error *err) KP_MUST;
/* Starts writing: puts the whole state (copied) into a new file. A queue is needed by each call
 * that writes; calls come from one thread at a time. */
kp_status kpi_manifest_open(const struct kp_io *io, struct kp_io_queue *queue, const char *dir,
                            const struct kpi_manifest *state, struct kpi_manifest_log **out,
                            struct kp_error *err) KP_MUST;
/* Makes one segment part of the store. On an error it is not known whether it is; the next call
 * puts it right. */
kp_status kpi_manifest_add(struct kpi_manifest_log *log, struct kp_io_queue *queue,
                           const struct kpi_segment_meta *segment, uint64_t seq_next,
                           struct kp_hash128 wal_hash, struct kp_error *err) KP_MUST;
/* Puts a cold segment in place of those whose log records it holds, in one step. On an error they
 * stay. */
kp_status kpi_manifest_cold(struct kpi_manifest_log *log, struct kp_io_queue *queue,
                            const struct kpi_segment_meta *segment, struct kp_error *err) KP_MUST;
/* Takes a segment out of the store and leaves a tombstone, which is durable on return; the file is
 * the caller's to remove. On an error the segment stays. */
kp_status kpi_manifest_drop(struct kpi_manifest_log *log, struct kp_io_queue *queue, uint64_t id,
                            enum kpi_drop_reason reason, kp_time at, struct kp_error *err) KP_MUST;
/* Adds a hold, or puts it in place of the one with its id. */
kp_status kpi_manifest_hold(struct kpi_manifest_log *log, struct kp_io_queue *queue,
                            const struct kp_hold *hold, struct kp_error *err) KP_MUST;
/* Adds a run in place of those whose ranges lie in its own; bytes == 0: only takes those out. */
kp_status kpi_manifest_run(struct kpi_manifest_log *log, struct kp_io_queue *queue,
                           const struct kpi_run_meta *run, struct kp_error *err) KP_MUST;
/* The state as last written; valid until the next change. */
const struct kpi_manifest *kpi_manifest_state(const struct kpi_manifest_log *log);
/* Name of the file in use, for cleaning up after a crash. */
uint64_t kpi_manifest_file_no(const struct kpi_manifest_log *log);
void kpi_manifest_close(struct kpi_manifest_log *log);

/* ---------- manifest_read.c ---------- */

#define KPI_MANIFEST_PATH 4096u
#define KPI_SUPER_SPACING 4096u /* between the two superblocks */

/* Bytes a record takes in its file. */
static inline uint64_t kpi_manifest_record_size(const struct kpi_manifest_header *header)
{
    return kpi_round_up(sizeof(*header) + (uint64_t)header->payload_size, KPI_SECTOR);
}

/* Room for one more segment behind the others; NULL: no memory. */
struct kpi_segment_meta *kpi_manifest_slot(struct kpi_manifest *state, uint32_t *capacity);
/* True when the manifest says now that retention took this segment, or a cold one its place. */
bool kpi_manifest_dropped(const struct kp_io *io, const char *dir,
                          const struct kpi_segment_meta *meta);
/* True when the manifest names this run now. */
bool kpi_manifest_names_run(const struct kp_io *io, const char *dir, uint64_t id);
void kpi_manifest_path(char *out, const char *dir, uint64_t file_no);
/* File number and generation to go on from: above everything that is there, whatever it holds. */
void kpi_manifest_numbers(const struct kp_io *io, struct kp_io_queue *queue, const char *dir,
                          uint64_t *out_file_no, uint64_t *out_generation);
/* Number of a manifest file's name, or false. */
bool kpi_manifest_name(const char *name, uint64_t *out_file_no);

#endif
