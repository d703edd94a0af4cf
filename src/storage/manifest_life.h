/* SPDX-License-Identifier: Apache-2.0
 *
 * Tombstones, holds and runs in the state of a manifest; the same for its writer and its reader, so
 * that what a record takes out of the state need not be written down.
 */
#ifndef KP_STORAGE_MANIFEST_LIFE_H
#define KP_STORAGE_MANIFEST_LIFE_H

#include "storage/format.h"
#include "storage/storage_int.h"

/* Adds a tombstone and takes its segment out. False: no memory. */
bool kpi_manifest_take_drop(struct kpi_manifest *state, const struct kpi_manifest_drop *drop);
/* Puts a cold segment in place of those whose log records it holds. False: no memory. */
bool kpi_manifest_take_cold(struct kpi_manifest *state, const struct kpi_segment_meta *segment,
                            uint32_t *capacity);
/* True when the cold segment was made of that one. */
bool kpi_manifest_made_of(const struct kpi_segment_meta *cold,
                          const struct kpi_segment_meta *segment);
/* Adds a hold or puts it in place of the one with its id. False: no memory. */
bool kpi_manifest_take_hold(struct kpi_manifest *state, const struct kp_hold *hold);
/* Payloads of the records. False when one makes no sense; size of the text written. */
bool kpi_manifest_drop_read(const uint8_t *payload, uint32_t size, struct kpi_manifest_drop *out);
bool kpi_manifest_hold_read(const uint8_t *payload, uint32_t size, struct kp_hold *out);
#define KPI_HOLD_PAYLOAD_MAX (sizeof(struct kpi_manifest_hold) + KP_HOLD_REASON_MAX)
uint32_t kpi_manifest_hold_write(const struct kp_hold *hold, uint8_t out[KPI_HOLD_PAYLOAD_MAX]);
/* As kpi_manifest_run says; false: no memory. Drops take out runs that are left without segments.
 */
bool kpi_manifest_take_run(struct kpi_manifest *state, const struct kpi_run_meta *run);
bool kpi_manifest_run_read(const uint8_t *payload, uint32_t size, struct kpi_run_meta *out);
/* A deep copy; on false nothing is left to free. */
bool kpi_manifest_copy(const struct kpi_manifest *from, struct kpi_manifest *out);
/* Folds the oldest tombstones into one until at most `most` are left. */
void kpi_manifest_fold(struct kpi_manifest *state, uint32_t most);
/* True when a hold in force keeps this segment. */
bool kpi_manifest_held(const struct kpi_manifest *state, const struct kpi_segment_meta *segment);

#endif
