/* SPDX-License-Identifier: Apache-2.0
 *
 * DuckDB through the same few functions of its C API as the tests use, ClickHouse through chDB's.
 * Of the latter's API only what is needed is declared here, as its documentation gives it.
 */
#include "bench/peer.h"

#include <dlfcn.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "duckdb.h"

#if defined(__aarch64__)
#define CHDB "build/peers/node_modules/@chdb/lib-linux-arm64-gnu/libchdb.so"
#else
#define CHDB "build/peers/node_modules/@chdb/lib-linux-x64-gnu/libchdb.so"
#endif

struct kpi_peer {
    enum kpi_peer_kind kind;
    struct duck *duck;
    void **chdb;
    char name[48];
    char *error;
};

#define FUNCTIONS(F)                                       \
    F(void **, connect, (int, char **))                    \
    F(void, close_conn, (void **))                         \
    F(void *, query, (void *, const char *, const char *)) \
    F(void, destroy_query_result, (void *))                \
    F(char *, result_buffer, (void *))                     \
    F(size_t, result_length, (void *))                     \
    F(const char *, result_error, (void *))

#define MEMBER(type, name, args) type(*name) args;
static struct {
    FUNCTIONS(MEMBER)
} chdb;

static const char *chdb_load(void)
{
#define LOOK_UP(type, name, args) {"chdb_" #name, (void **)(void *)&chdb.name},
    static const struct {
        const char *name;
        void **to;
    } names[] = {FUNCTIONS(LOOK_UP)};
    void *library = dlopen(getenv("KP_CHDB") != NULL ? getenv("KP_CHDB") : CHDB, RTLD_NOW);
    if (library == NULL)
        return dlerror();
    for (size_t i = 0; i < KP_ARRAY_LEN(names); i++)
        if ((*names[i].to = dlsym(library, names[i].name)) == NULL)
            return "libchdb.so lacks a function of the C API";
    return NULL;
}

static const char *clickhouse_open(struct kpi_peer *peer, const char *dir, unsigned threads)
{
    char path[500], sql[100];
    char program[] = "clickhouse", *args[] = {program, path};
    const char *why = chdb_load();
    if (why != NULL)
        return why;
    snprintf(path, sizeof(path), "--path=%s", dir);
    peer->chdb = chdb.connect(2, args);
    if (peer->chdb == NULL)
        return "chDB cannot open its directory";
    snprintf(sql, sizeof(sql), "SET max_threads = %u, max_insert_threads = %u", threads, threads);
    if (!kpi_peer_run(peer, sql, NULL, &why) ||
        !kpi_peer_run(peer, "SET use_query_condition_cache = 0", NULL, &why))
        return why;
    return NULL;
}

static const char *duckdb_open(struct kpi_peer *peer, const char *dir, unsigned threads)
{
    char path[500];
    const char *why = duck_missing();
    if (why != NULL)
        return why;
    snprintf(path, sizeof(path), "%s/duckdb", dir);
    peer->duck = duck_open(path, threads);
    return peer->duck == NULL ? "DuckDB cannot open its file" : NULL;
}

struct kpi_peer *kpi_peer_open(enum kpi_peer_kind kind, const char *dir, unsigned threads,
                               const char **out_why)
{
    struct kpi_peer *peer = calloc(1, sizeof(*peer));
    kp_assert(peer != NULL);
    peer->kind = kind;
    const char *why =
        kind == KPI_DUCKDB ? duckdb_open(peer, dir, threads) : clickhouse_open(peer, dir, threads);
    if (why == NULL)
        return peer;
    *out_why = why;
    kpi_peer_close(peer);
    return NULL;
}

void kpi_peer_close(struct kpi_peer *peer)
{
    duck_close(peer->duck);
    if (peer->chdb != NULL)
        chdb.close_conn(peer->chdb);
    free(peer->error);
    free(peer);
}

static bool clickhouse_run(struct kpi_peer *peer, const char *sql, struct kp_buf *out)
{
    void *result = chdb.query(*peer->chdb, sql, out == NULL ? "Native" : "TSVRaw");
    const char *error = result == NULL ? "no answer" : chdb.result_error(result);
    if (error != NULL)
        peer->error = strdup(error);
    else if (out != NULL)
        kp_buf_add(out, chdb.result_buffer(result), chdb.result_length(result));
    if (result != NULL)
        chdb.destroy_query_result(result);
    return error == NULL;
}

static void put_cell(struct kp_buf *out, const struct duck_cell *cell)
{
    if (cell->null)
        return;
    if (cell->type == DUCK_STR)
        kp_buf_str(out, cell->str);
    else if (cell->type == DUCK_F64)
        kp_buf_printf(out, "%.17g", cell->f64);
    else if (cell->type == DUCK_OTHER)
        kp_buf_text(out, "?"); /* differs from every answer: the text should have a cast */
    else
        kp_buf_printf(out, "%" PRId64, cell->i64);
}

static bool duckdb_run(struct kpi_peer *peer, const char *sql, struct kp_buf *out)
{
    struct duck_rows *rows = duck_query(peer->duck, sql, &peer->error);
    const struct duck_cell *cells;
    if (rows == NULL)
        return false;
    while (out != NULL && (cells = duck_rows_next(rows)) != NULL) {
        for (uint32_t c = 0; c < duck_rows_width(rows); c++) {
            if (c > 0)
                kp_buf_char(out, '\t');
            put_cell(out, &cells[c]);
        }
        kp_buf_char(out, '\n');
    }
    duck_rows_close(rows);
    return true;
}

bool kpi_peer_run(struct kpi_peer *peer, const char *sql, struct kp_buf *out, const char **why)
{
    free(peer->error);
    peer->error = NULL;
    bool done =
        peer->kind == KPI_DUCKDB ? duckdb_run(peer, sql, out) : clickhouse_run(peer, sql, out);
    if (!done)
        *why = peer->error;
    return done;
}

const char *kpi_peer_name(struct kpi_peer *peer)
{
    struct kp_buf text = {0};
    const char *why;
    if (peer->kind == KPI_DUCKDB)
        snprintf(peer->name, sizeof(peer->name), "DuckDB %s", duck_version());
    else if (kpi_peer_run(peer, "SELECT version()", &text, &why))
        snprintf(peer->name, sizeof(peer->name), "ClickHouse %.20s", kp_buf_cstr(&text));
    kp_buf_deinit(&text);
    peer->name[strcspn(peer->name, "\n")] = '\0';
    return peer->name;
}
