/* SPDX-License-Identifier: Apache-2.0
 *
 * DuckDB as a second opinion: its library comes from npm's package @duckdb/node-api, is opened with
 * dlopen and spoken to by its documented C API. Nothing of it is linked or kept in the tree.
 * One thread at a time per struct duck.
 */
#ifndef KP_TESTS_DUCKDB_H
#define KP_TESTS_DUCKDB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/str.h"

struct duck;
struct duck_rows;

enum duck_type { DUCK_BOOL, DUCK_I64, DUCK_F64, DUCK_STR, DUCK_OTHER };

struct duck_cell {
    enum duck_type type;
    bool null;
    int64_t i64; /* BOOL too; all integers up to 64 bits */
    double f64;
    struct kp_str str; /* until the next duck_rows_next */
};

/* Finds the library, KP_DUCKDB first, then build/peers, where npm puts it when it is not there.
 * NULL when it can be used from now on, else the reason why not. */
const char *duck_missing(void);
const char *duck_version(void);

/* A database in memory (path NULL) or in a file. NULL when it cannot be opened. */
struct duck *duck_open(const char *path, unsigned threads);
void duck_close(struct duck *duck);
/* Runs statements without rows. On false *err (freed by the caller) says why. */
bool duck_run(struct duck *duck, const char *sql, char **err);

/* Rows of one query, in order. NULL with *err (freed by the caller) when it failed. */
struct duck_rows *duck_query(struct duck *duck, const char *sql, char **err);
uint32_t duck_rows_width(const struct duck_rows *rows);
/* The next row's cells, or NULL after the last. */
const struct duck_cell *duck_rows_next(struct duck_rows *rows);
void duck_rows_close(struct duck_rows *rows);

/* Rows into a table that exists: one cell after the other, then end_row. NULL or false: failed. */
struct duck_appender;
struct duck_appender *duck_append_open(struct duck *duck, const char *table);
void duck_append_i64(struct duck_appender *to, int64_t value);
void duck_append_f64(struct duck_appender *to, double value);
void duck_append_bool(struct duck_appender *to, bool value);
void duck_append_str(struct duck_appender *to, struct kp_str value);
void duck_append_null(struct duck_appender *to);
void duck_append_row(struct duck_appender *to);
/* False when any of it failed. */
bool duck_append_close(struct duck_appender *to);

#endif
