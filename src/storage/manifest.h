/* SPDX-License-Identifier: Apache-2.0
 *
 * The manifest's writer. The reader is kpi_manifest_read in storage_int.h.
 *
 * Invariants: a record is the commit point of its segment; a manifest file that failed once is not
 * written again but replaced by a new one with the whole state; `super` names a file only after
 * that file and its name are durable, and the old file goes only after `super` is.
 */
#ifndef KP_STORAGE_MANIFEST_H
#define KP_STORAGE_MANIFEST_H

#include "storage/format.h"
#include "storage/storage_int.h"

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
/* The state as last written; valid until the next add. */
const struct kpi_manifest *kpi_manifest_state(const struct kpi_manifest_log *log);
/* Name of the file in use, for cleaning up after a crash. */
uint64_t kpi_manifest_file_no(const struct kpi_manifest_log *log);
void kpi_manifest_close(struct kpi_manifest_log *log);

/* Number of a manifest file's name, or false. */
bool kpi_manifest_name(const char *name, uint64_t *out_file_no);

#endif
