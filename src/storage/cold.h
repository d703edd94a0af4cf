/* SPDX-License-Identifier: Apache-2.0
 *
 * The cold tier: sealed segments that are old enough are rewritten once, neighbours joined, in the
 * strongest coding. A thread of its own writes the new file, slowly; the sealer puts it into the
 * manifest between two seals.
 */
#ifndef KP_STORAGE_COLD_H
#define KP_STORAGE_COLD_H

#include "storage/store_int.h"

/* Mono time to look again; INT64_MAX: nothing is to become cold. Lock held, as below. */
int64_t kpi_cold_next(const struct kp_store *store);
bool kpi_cold_due(const struct kp_store *store, int64_t now);
/* Writes one cold file, if there is something to write; then store->cold waits for kpi_cold_take.
 * Called and returns with the lock held; it is given up meanwhile. False: nothing was to do. */
bool kpi_cold_make(struct kp_store *store, int64_t now);
/* The sealer's: puts the file that waits into the manifest, or gives it up. Lock as above. */
void kpi_cold_take(struct kp_store *store, int64_t now);
/* Removes files whose place was taken, once readers had time to leave them; all: at once. */
void kpi_cold_tidy(struct kp_store *store, int64_t now, bool all);
void *kpi_cold_main(void *arg);

#endif
