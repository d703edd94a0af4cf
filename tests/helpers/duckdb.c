/* SPDX-License-Identifier: Apache-2.0
 *
 * The few functions of DuckDB's C API that are needed, declared here as its documentation gives
 * them, so that no header of it has to be present. The table of their names is what dlsym looks up.
 */
#include "duckdb.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/assert.h"

#define PACKAGE "@duckdb/node-api@1.5.6-r.1"
#define FOLDER  "build/peers"
#if defined(__aarch64__)
#define LIBRARY FOLDER "/node_modules/@duckdb/node-bindings-linux-arm64/libduckdb.so"
#else
#define LIBRARY FOLDER "/node_modules/@duckdb/node-bindings-linux-x64/libduckdb.so"
#endif

typedef uint64_t idx;
struct result { /* duckdb_result: passed by value to fetch_chunk */
    idx counts[3];
    void *columns;
    char *message;
    void *internal;
};
struct string { /* duckdb_string_t */
    uint32_t length;
    char inlined[4];
    const char *pointer;
};
enum { T_BOOLEAN = 1, T_TINYINT, T_SMALLINT, T_INTEGER, T_BIGINT, T_DOUBLE = 11, T_VARCHAR = 17 };

#define FUNCTIONS(F)                                                       \
    F(const char *, library_version, (void))                               \
    F(int, create_config, (void **))                                       \
    F(int, set_config, (void *, const char *, const char *))               \
    F(void, destroy_config, (void **))                                     \
    F(int, open_ext, (const char *, void **, void *, char **))             \
    F(void, close, (void **))                                              \
    F(int, connect, (void *, void **))                                     \
    F(void, disconnect, (void **))                                         \
    F(int, query, (void *, const char *, struct result *))                 \
    F(const char *, result_error, (struct result *))                       \
    F(void, destroy_result, (struct result *))                             \
    F(idx, column_count, (struct result *))                                \
    F(int, column_type, (struct result *, idx))                            \
    F(void *, fetch_chunk, (struct result))                                \
    F(void, destroy_data_chunk, (void **))                                 \
    F(idx, data_chunk_get_size, (void *))                                  \
    F(void *, data_chunk_get_vector, (void *, idx))                        \
    F(void *, vector_get_data, (void *))                                   \
    F(uint64_t *, vector_get_validity, (void *))                           \
    F(int, appender_create, (void *, const char *, const char *, void **)) \
    F(int, append_int64, (void *, int64_t))                                \
    F(int, append_double, (void *, double))                                \
    F(int, append_bool, (void *, bool))                                    \
    F(int, append_varchar_length, (void *, const char *, idx))             \
    F(int, append_null, (void *))                                          \
    F(int, appender_end_row, (void *))                                     \
    F(int, appender_destroy, (void **))

#define MEMBER(type, name, args) type(*name) args;
static struct {
    FUNCTIONS(MEMBER)
} api;

struct duck {
    void *database, *connection;
};

struct duck_rows {
    struct result result;
    void *chunk;
    idx at, count; /* row of the chunk */
    uint32_t width;
    int *types;
    struct duck_cell *cells;
};

struct duck_appender {
    void *handle;
    bool failed;
};

static bool look_up(void *library)
{
#define LOOK_UP(type, name, args) {"duckdb_" #name, (void **)(void *)&api.name},
    static const struct {
        const char *name;
        void **to;
    } names[] = {FUNCTIONS(LOOK_UP)};
    for (size_t i = 0; i < KP_ARRAY_LEN(names); i++)
        if ((*names[i].to = dlsym(library, names[i].name)) == NULL)
            return false;
    return true;
}

/* Where the library is; npm is asked for it when it is nowhere yet. */
static const char *find_library(void)
{
    const char *given = getenv("KP_DUCKDB");
    if (given != NULL)
        return given;
    if (access(LIBRARY, R_OK) != 0 &&
        system("timeout 120 npm install --silent --no-audit --no-fund --prefix " FOLDER " " PACKAGE
               " >/dev/null 2>&1") != 0)
        return NULL;
    return LIBRARY;
}

const char *duck_missing(void)
{
    static char reason[300];
    if (api.query != NULL)
        return NULL;
    const char *path = find_library();
    void *library = path == NULL ? NULL : dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (path == NULL)
        snprintf(reason, sizeof(reason), "npm could not install %s", PACKAGE);
    else if (library == NULL)
        snprintf(reason, sizeof(reason), "%.250s", dlerror());
    else if (!look_up(library))
        snprintf(reason, sizeof(reason), "%.200s lacks a function of the C API", path);
    else
        return NULL;
    memset(&api, 0, sizeof(api));
    return reason;
}

const char *duck_version(void)
{
    return api.library_version();
}

struct duck *duck_open(const char *path, unsigned threads)
{
    struct duck *duck = calloc(1, sizeof(*duck));
    void *config = NULL;
    char number[16];
    snprintf(number, sizeof(number), "%u", threads);
    if (duck == NULL || api.create_config(&config) != 0)
        return free(duck), NULL;
    bool opened = api.set_config(config, "threads", number) == 0 &&
                  api.open_ext(path, &duck->database, config, NULL) == 0 &&
                  api.connect(duck->database, &duck->connection) == 0;
    api.destroy_config(&config);
    if (!opened) {
        duck_close(duck);
        return NULL;
    }
    return duck;
}

void duck_close(struct duck *duck)
{
    if (duck == NULL)
        return;
    if (duck->connection != NULL)
        api.disconnect(&duck->connection);
    if (duck->database != NULL)
        api.close(&duck->database);
    free(duck);
}

static bool query(struct duck *duck, const char *sql, struct result *out, char **err)
{
    if (api.query(duck->connection, sql, out) == 0)
        return true;
    const char *message = api.result_error(out);
    *err = strdup(message == NULL ? "no reason given" : message);
    api.destroy_result(out);
    return false;
}

bool duck_run(struct duck *duck, const char *sql, char **err)
{
    struct result result;
    if (!query(duck, sql, &result, err))
        return false;
    api.destroy_result(&result);
    return true;
}

struct duck_rows *duck_query(struct duck *duck, const char *sql, char **err)
{
    struct duck_rows *rows = calloc(1, sizeof(*rows));
    if (rows == NULL || !query(duck, sql, &rows->result, err)) {
        free(rows);
        return NULL;
    }
    rows->width = (uint32_t)api.column_count(&rows->result);
    rows->types = calloc(rows->width + 1, sizeof(*rows->types));
    rows->cells = calloc(rows->width + 1, sizeof(*rows->cells));
    kp_assert(rows->types != NULL && rows->cells != NULL);
    for (uint32_t i = 0; i < rows->width; i++)
        rows->types[i] = api.column_type(&rows->result, i);
    return rows;
}

uint32_t duck_rows_width(const struct duck_rows *rows)
{
    return rows->width;
}

static struct kp_str string_at(const void *data, idx row)
{
    const struct string *string = (const struct string *)data + row;
    bool inlined = string->length <= 12;
    return (struct kp_str){inlined ? string->inlined : string->pointer, string->length};
}

static void read_integer(struct duck_cell *cell, int type, const void *data, idx row)
{
    cell->type = DUCK_I64;
    switch (type) {
    case T_TINYINT:
        cell->i64 = ((const int8_t *)data)[row];
        break;
    case T_SMALLINT:
        cell->i64 = ((const int16_t *)data)[row];
        break;
    case T_INTEGER:
        cell->i64 = ((const int32_t *)data)[row];
        break;
    default:
        cell->i64 = ((const int64_t *)data)[row];
    }
}

static void read_cell(struct duck_cell *cell, int type, const void *data, idx row)
{
    switch (type) {
    case T_BOOLEAN:
        cell->type = DUCK_BOOL;
        cell->i64 = ((const uint8_t *)data)[row];
        break;
    case T_TINYINT:
    case T_SMALLINT:
    case T_INTEGER:
    case T_BIGINT:
        read_integer(cell, type, data, row);
        break;
    case T_DOUBLE:
        cell->type = DUCK_F64;
        cell->f64 = ((const double *)data)[row];
        break;
    case T_VARCHAR:
        cell->type = DUCK_STR;
        cell->str = string_at(data, row);
        break;
    default:
        cell->type = DUCK_OTHER;
    }
}

static bool next_chunk(struct duck_rows *rows)
{
    if (rows->chunk != NULL)
        api.destroy_data_chunk(&rows->chunk);
    rows->chunk = api.fetch_chunk(rows->result);
    rows->at = 0;
    rows->count = rows->chunk == NULL ? 0 : api.data_chunk_get_size(rows->chunk);
    return rows->count > 0;
}

const struct duck_cell *duck_rows_next(struct duck_rows *rows)
{
    if (rows->at == rows->count && !next_chunk(rows))
        return NULL;
    for (uint32_t c = 0; c < rows->width; c++) {
        void *vector = api.data_chunk_get_vector(rows->chunk, c);
        const uint64_t *valid = api.vector_get_validity(vector);
        struct duck_cell *cell = &rows->cells[c];
        memset(cell, 0, sizeof(*cell));
        read_cell(cell, rows->types[c], api.vector_get_data(vector), rows->at);
        cell->null = valid != NULL && (valid[rows->at >> 6] >> (rows->at & 63) & 1) == 0;
    }
    rows->at++;
    return rows->cells;
}

void duck_rows_close(struct duck_rows *rows)
{
    if (rows == NULL)
        return;
    if (rows->chunk != NULL)
        api.destroy_data_chunk(&rows->chunk);
    api.destroy_result(&rows->result);
    free(rows->types);
    free(rows->cells);
    free(rows);
}

struct duck_appender *duck_append_open(struct duck *duck, const char *table)
{
    struct duck_appender *to = calloc(1, sizeof(*to));
    if (to != NULL && api.appender_create(duck->connection, NULL, table, &to->handle) != 0) {
        duck_append_close(to);
        return NULL;
    }
    return to;
}

void duck_append_i64(struct duck_appender *to, int64_t value)
{
    to->failed |= api.append_int64(to->handle, value) != 0;
}

void duck_append_f64(struct duck_appender *to, double value)
{
    to->failed |= api.append_double(to->handle, value) != 0;
}

void duck_append_bool(struct duck_appender *to, bool value)
{
    to->failed |= api.append_bool(to->handle, value) != 0;
}

void duck_append_str(struct duck_appender *to, struct kp_str value)
{
    to->failed |= api.append_varchar_length(to->handle, value.ptr, value.len) != 0;
}

void duck_append_null(struct duck_appender *to)
{
    to->failed |= api.append_null(to->handle) != 0;
}

void duck_append_row(struct duck_appender *to)
{
    to->failed |= api.appender_end_row(to->handle) != 0;
}

bool duck_append_close(struct duck_appender *to)
{
    bool done = api.appender_destroy(&to->handle) == 0 && !to->failed;
    free(to);
    return done;
}
