/* SPDX-License-Identifier: Apache-2.0
 *
 * Spans of few transactions and traces for tests of finding: which one a row belongs to follows
 * from its event number, so a reader can ask for any of them and knows nothing is made up.
 */
#ifndef KP_TESTS_SPANS_H
#define KP_TESTS_SPANS_H

#include "storage/storage.h"

#define SPANS_TXNS 40u

/* The text of transaction n; out has room for 32 bytes. */
struct kp_str spans_txn(uint64_t n, char out[32]);
struct kp_str spans_trace(uint64_t n, char out[48]);
/* Appends rows of `spans` with fresh event numbers and times of 10 ns each; every fifth has no
 * transaction. */
kp_status spans_append(struct kp_store *store, uint32_t rows, uint64_t *out_ticket);
/* Rows with this value as a plain scan (no index) and as one that may use every index see them.
 * Compares numbers, order and times; false: they differ. column: "txn" or "trace_id". */
bool spans_lookup_agrees(struct kp_snapshot *snapshot, const char *column, struct kp_str value,
                         uint32_t *out_rows);
/* The same for all transactions and traces; *out_rows = rows found in all. */
bool spans_lookups_agree(struct kp_snapshot *snapshot, uint32_t *out_rows);

#endif
