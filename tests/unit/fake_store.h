/* SPDX-License-Identifier: Apache-2.0
 *
 * A store in memory for tests of ingest: it keeps every row that was appended and fails on demand.
 * Its definitions beat those of the library at link time; include it in one file of a test only.
 */
#ifndef KP_TESTS_FAKE_STORE_H
#define KP_TESTS_FAKE_STORE_H

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "storage/storage.h"

struct fake_row {
    const struct kp_stream *stream;
    int64_t i64[KP_STORED_MAX];
    char *str[KP_STORED_MAX]; /* NULL = not a string column */
};

struct kp_store {
    pthread_mutex_t lock;
    struct kp_actors *actors;
    struct fake_row *rows;
    uint32_t count, capacity;
    uint64_t seq;
    uint64_t ticket;
    uint64_t appended;
    kp_status fail; /* answer of the next fail_count appends */
    uint32_t fail_count;
    uint32_t appends;
};

static struct kp_store *fake_open(void)
{
    struct kp_store *store = calloc(1, sizeof(*store));
    kp_assert(store != NULL);
    pthread_mutex_init(&store->lock, NULL);
    kp_status status = kp_actors_init(&store->actors);
    kp_assert(status == KP_OK);
    store->seq = 1;
    return store;
}

static void fake_clear(struct kp_store *store)
{
    for (uint32_t i = 0; i < store->count; i++)
        for (uint32_t c = 0; c < KP_STORED_MAX; c++)
            free(store->rows[i].str[c]);
    store->count = 0;
}

static void fake_close(struct kp_store *store)
{
    fake_clear(store);
    free(store->rows);
    kp_actors_deinit(store->actors);
    pthread_mutex_destroy(&store->lock);
    free(store);
}

struct kp_actors *kp_store_actors(struct kp_store *store)
{
    return store->actors;
}

kp_actor_id kp_store_actor(struct kp_store *store, const struct kp_actor *actor)
{
    pthread_mutex_lock(&store->lock);
    kp_actor_id id = kp_actors_intern(store->actors, actor);
    pthread_mutex_unlock(&store->lock);
    return id;
}

uint64_t kp_store_seq(struct kp_store *store, uint32_t count)
{
    pthread_mutex_lock(&store->lock);
    uint64_t first = store->seq;
    store->seq += count;
    pthread_mutex_unlock(&store->lock);
    return first;
}

void kp_store_stat(struct kp_store *store, struct kp_store_stat *out)
{
    pthread_mutex_lock(&store->lock);
    *out = (struct kp_store_stat){.rows_appended = store->appended};
    pthread_mutex_unlock(&store->lock);
}

static void fake_keep(struct kp_store *store, const struct kp_batch *batch, uint32_t row)
{
    if (store->count == store->capacity) {
        store->capacity = store->capacity == 0 ? 256 : store->capacity * 2;
        store->rows = realloc(store->rows, store->capacity * sizeof(*store->rows));
        kp_assert(store->rows != NULL);
    }
    struct fake_row *to = &store->rows[store->count++];
    memset(to, 0, sizeof(*to));
    to->stream = batch->stream;
    for (uint32_t c = 0; c < batch->cols_count; c++) {
        if (kp_type_phys(batch->cols[c].type) == KP_PHYS_STR) {
            struct kp_str text = kp_vec_str(&batch->cols[c], row);
            to->str[c] = strndup(text.ptr == NULL ? "" : text.ptr, text.len);
        } else {
            to->i64[c] = batch->cols[c].i64[row];
        }
    }
}

kp_status kp_store_append(struct kp_store *store, const struct kp_batch *batch,
                          uint64_t *out_ticket)
{
    pthread_mutex_lock(&store->lock);
    kp_status status = KP_OK;
    store->appends++;
    if (store->fail_count > 0) {
        store->fail_count--;
        status = store->fail;
    } else {
        for (uint32_t i = 0; i < kp_batch_count(batch); i++)
            fake_keep(store, batch, kp_batch_row(batch, i));
        store->appended += kp_batch_count(batch);
        store->ticket++;
        if (out_ticket != NULL)
            *out_ticket = store->ticket;
    }
    pthread_mutex_unlock(&store->lock);
    return status;
}

/* Row `index` of a stream in order of arrival; NULL when there are fewer. */
static inline struct fake_row *fake_row(struct kp_store *store, uint32_t stream, uint32_t index)
{
    for (uint32_t i = 0; i < store->count; i++)
        if (store->rows[i].stream->number == stream && index-- == 0)
            return &store->rows[i];
    return NULL;
}

static inline uint32_t fake_count(struct kp_store *store, uint32_t stream)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < store->count; i++)
        count += store->rows[i].stream->number == stream;
    return count;
}

static inline int64_t fake_i64(const struct fake_row *row, const char *column)
{
    int at = kp_stream_stored(row->stream, column);
    kp_assert(at >= 0);
    return row->i64[at];
}

static inline const char *fake_str(const struct fake_row *row, const char *column)
{
    int at = kp_stream_stored(row->stream, column);
    kp_assert(at >= 0 && row->str[at] != NULL);
    return row->str[at];
}

static inline const struct kp_actor *fake_actor(struct kp_store *store, const struct fake_row *row,
                                                const char *column)
{
    return kp_actors_get(store->actors, (kp_actor_id)fake_i64(row, column));
}

#endif
