/* SPDX-License-Identifier: Apache-2.0
 *
 * Damage on its way to `gaps`: what the store's own threads meet while they read (the sealer in the
 * log, the scrub in segments) becomes rows, each place once; the reader goes on past it when they
 * are durable.
 */
#ifndef KP_STORAGE_DAMAGE_H
#define KP_STORAGE_DAMAGE_H

#include "storage/store_int.h"

#define KPI_GAP_DETAIL_MAX 256

/* Rows of one reader. Zero-initialised is valid. */
struct kpi_damage_rows {
    struct kp_buf blocks; /* of gaps, encoded */
    uint32_t rows;
    struct kpi_notes notes; /* of their places */
    kp_status status;       /* of the first that could not be made */
};

/* What the row of a place says in `detail`; names the place, so it tells whether two are the same.
 */
void kpi_gap_detail(const struct kp_damage *damage, char out[KPI_GAP_DETAIL_MAX]);
/* One row of `gaps` as an encoded block. Without a known range its time is `at`. */
kp_status kpi_gap_damage(struct kp_store *store, const struct kp_damage *damage, kp_time at,
                         struct kp_buf *out) KP_MUST;
/* Adds the row of a place that was not told of and that has rows. Without the lock. */
void kpi_damage_add(struct kp_store *store, struct kpi_damage_rows *rows, kp_time at,
                    const struct kp_damage *damage);
/* Hands the rows to the committer; store->telling is empty again once they are durable or lost.
 * False: no room now. Lock held. */
bool kpi_damage_tell(struct kp_store *store, struct kpi_damage_rows *rows, kp_time at, int64_t now);
void kpi_damage_rows_deinit(struct kpi_damage_rows *rows);

/* scrub.c: sealed segments are read again and what is damaged told of. Run: as kpi_retain_run, one
 * step. */
void kpi_scrub_begin(struct kp_store *store, int64_t now); /* at open */
bool kpi_scrub_due(const struct kp_store *store, int64_t now);
int64_t kpi_scrub_next(const struct kp_store *store);
void kpi_scrub_run(struct kp_store *store, int64_t now);

#endif
