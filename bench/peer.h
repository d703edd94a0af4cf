/* SPDX-License-Identifier: Apache-2.0
 *
 * The systems that are measured beside this one: libraries inside the process, opened with dlopen
 * and spoken to in SQL. Both come from npm (bench/peers.sh puts them below build/peers). One peer
 * at a time and one thread; a process that forks afterwards has none.
 */
#ifndef KP_BENCH_PEER_H
#define KP_BENCH_PEER_H

#include "base/str.h"

struct kpi_peer;

enum kpi_peer_kind { KPI_DUCKDB, KPI_CLICKHOUSE };

/* Opens the database in `dir`, made when it is not there. NULL: *out_why (not freed) says why. */
struct kpi_peer *kpi_peer_open(enum kpi_peer_kind kind, const char *dir, unsigned threads,
                               const char **out_why);
void kpi_peer_close(struct kpi_peer *peer);
/* One statement. `out` gets its rows, cells between tabs and rows between newlines; NULL: they are
 * thrown away as they come out of the system, which is what is timed. False: *why, until the next
 * statement. */
bool kpi_peer_run(struct kpi_peer *peer, const char *sql, struct kp_buf *out, const char **why);
/* Name and version. */
const char *kpi_peer_name(struct kpi_peer *peer);

#endif
