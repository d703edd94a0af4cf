/* SPDX-License-Identifier: Apache-2.0
 *
 * Actor tables: numbers as nested chunks, then the strings. Written once per block or page, so that
 * all rows together pay for a thread's name once.
 */
#include "storage/actors.h"

#include <stdlib.h>

#include "base/assert.h"

static uint32_t slots_count(uint32_t entries_max)
{
    uint32_t capacity = 16;
    while (capacity < entries_max * 2)
        capacity *= 2;
    return capacity;
}

size_t kpi_actor_set_memory(uint32_t entries_max)
{
    return entries_max * sizeof(kp_actor_id) +
           slots_count(entries_max) * (sizeof(kp_actor_id) + sizeof(uint32_t));
}

kp_status kpi_actor_set_init(struct kpi_actor_set *set, uint32_t entries_max)
{
    uint32_t capacity = slots_count(entries_max);
    *set = (struct kpi_actor_set){.mask = capacity - 1,
                                  .ids = malloc((size_t)entries_max * sizeof(*set->ids)),
                                  .slots = malloc((size_t)capacity * sizeof(*set->slots)),
                                  .locals = calloc(capacity, sizeof(*set->locals))};
    return set->ids == NULL || set->slots == NULL || set->locals == NULL ? KP_NO_MEMORY : KP_OK;
}

void kpi_actor_set_deinit(struct kpi_actor_set *set)
{
    free(set->ids);
    free(set->slots);
    free(set->locals);
}

uint32_t kpi_actor_set_local(struct kpi_actor_set *set, kp_actor_id id)
{
    if (id == KP_ACTOR_UNKNOWN || set->identity)
        return id;
    uint32_t at = (uint32_t)kp_hash_mix(id) & set->mask;
    while (set->locals[at] != 0 && set->slots[at] != id)
        at = (at + 1) & set->mask;
    if (set->locals[at] == 0) {
        set->ids[set->count++] = id;
        set->slots[at] = id;
        set->locals[at] = set->count;
    }
    return set->locals[at];
}

/* Newest first: who came before lies where it is looked for. */
void kpi_actor_set_cut(struct kpi_actor_set *set, uint32_t count)
{
    for (; set->count > count; set->count--) {
        uint32_t at = (uint32_t)kp_hash_mix(set->ids[set->count - 1]) & set->mask;
        while (set->locals[at] != set->count)
            at = (at + 1) & set->mask;
        set->locals[at] = 0;
    }
}

/* Numbers of an actor, in the order they are stored. Strings are indexes into one list. */
enum actor_field {
    FIELD_TID,
    FIELD_PID,
    FIELD_START,
    FIELD_KTHREAD,
    FIELD_HOST,
    FIELD_COMM,
    FIELD_CGROUP,
    FIELD_BOOT, /* not in KPI_CHUNK_ACTORS */
    FIELD_COUNT
};

static void actor_numbers(const struct kp_actor *actor, int64_t *column, uint32_t stride)
{
    column[FIELD_TID * stride] = actor->tid;
    column[FIELD_PID * stride] = actor->pid;
    column[FIELD_START * stride] = actor->start;
    column[FIELD_KTHREAD * stride] = actor->kthread;
}

/* Body: for each number a nested chunk; for each of host, comm, cgroup (and boot) a STR chunk. */
static kp_status actor_strings_encode(const struct kp_actors *actors,
                                      const struct kpi_actor_set *set, enum actor_field field,
                                      struct kp_buf *out)
{
    struct kp_str *strs = malloc((size_t)set->count * sizeof(*strs));
    struct kp_buf chunk = {0};
    if (strs == NULL)
        return KP_NO_MEMORY;
    for (uint32_t i = 0; i < set->count; i++) {
        const struct kp_actor *actor = kp_actors_get(actors, set->ids[i]);
        strs[i] = field == FIELD_HOST     ? actor->host
                  : field == FIELD_COMM   ? actor->comm
                  : field == FIELD_CGROUP ? actor->cgroup
                                          : actor->boot;
    }
    struct kp_vec vec = {.type = KP_TYPE_STR, .strs = strs};
    kp_status status = kpi_strs_encode(&vec, set->count, KPI_LEVEL_HOT, &chunk);
    if (status == KP_OK)
        kpi_str_add(out, (struct kp_str){chunk.data, (uint32_t)chunk.size});
    kp_buf_deinit(&chunk);
    free(strs);
    return status;
}

static kp_status actor_numbers_encode(const struct kp_actors *actors,
                                      const struct kpi_actor_set *set, struct kp_buf *out)
{
    int64_t *numbers = malloc((size_t)set->count * FIELD_HOST * sizeof(*numbers));
    if (numbers == NULL)
        return KP_NO_MEMORY;
    for (uint32_t i = 0; i < set->count; i++)
        actor_numbers(kp_actors_get(actors, set->ids[i]), numbers + i, set->count);
    kp_status status = KP_OK;
    for (uint32_t field = 0; status == KP_OK && field < FIELD_HOST; field++)
        status =
            kpi_ints_nest(numbers + (size_t)field * set->count, set->count, KPI_LEVEL_HOT, out);
    free(numbers);
    return status;
}

static bool boots_known(const struct kp_actors *actors, const struct kpi_actor_set *set)
{
    for (uint32_t i = 0; i < set->count; i++)
        if (kp_actors_get(actors, set->ids[i])->boot.len > 0)
            return true;
    return false;
}

kp_status kpi_actor_set_encode(const struct kpi_actor_set *set, const struct kp_actors *actors,
                               enum kpi_level level, struct kp_buf *out)
{
    if (set->count == 0)
        return KP_OK;
    if (set->count > KPI_BLOCK_ACTORS_MAX)
        return KP_LIMIT;
    size_t at = out->size;
    bool boots = boots_known(actors, set);
    enum actor_field fields = boots ? FIELD_COUNT : FIELD_BOOT;
    kp_buf_char(out, boots ? KPI_CHUNK_ACTORS_BOOT : KPI_CHUNK_ACTORS);
    kp_status status = actor_numbers_encode(actors, set, out);
    for (enum actor_field field = FIELD_HOST; status == KP_OK && field < fields; field++)
        status = actor_strings_encode(actors, set, field, out);
    if (status == KP_OK)
        status = kpi_zstd_shrink(out, at, level);
    return out->failed ? KP_NO_MEMORY : status;
}

static kp_status actor_strings_decode(struct kp_reader *in, uint32_t count, struct kp_arena *arena,
                                      struct kp_vec *out)
{
    struct kp_str chunk = kpi_str_read(in);
    if (in->bad)
        return KP_CORRUPT;
    return kpi_strs_decode(chunk.ptr, chunk.len, count, arena, out);
}

static kp_status actor_numbers_decode(struct kp_reader *in, uint32_t count, int64_t *numbers,
                                      struct kp_actor *actors)
{
    for (uint32_t field = 0; field < FIELD_HOST; field++) {
        kp_status status = kpi_ints_unnest(in, count, numbers);
        if (status != KP_OK)
            return status;
        for (uint32_t i = 0; i < count; i++) {
            if (field == FIELD_TID)
                actors[i].tid = (uint32_t)numbers[i];
            else if (field == FIELD_PID)
                actors[i].pid = (uint32_t)numbers[i];
            else if (field == FIELD_START)
                actors[i].start = numbers[i];
            else
                actors[i].kthread = numbers[i] != 0;
        }
    }
    return KP_OK;
}

static kp_status actors_decode(struct kp_reader *in, uint8_t code, uint32_t count,
                               struct kp_arena *arena, struct kp_actor *actors)
{
    if (code != KPI_CHUNK_ACTORS && code != KPI_CHUNK_ACTORS_BOOT)
        return KP_CORRUPT;
    int fields = code == KPI_CHUNK_ACTORS_BOOT ? FIELD_COUNT : FIELD_BOOT;
    int64_t *numbers = malloc((size_t)count * sizeof(*numbers));
    if (numbers == NULL)
        return KP_NO_MEMORY;
    kp_status status = actor_numbers_decode(in, count, numbers, actors);
    free(numbers);
    struct kp_vec strings[FIELD_COUNT] = {0};
    for (int field = FIELD_HOST; status == KP_OK && field < fields; field++)
        status = actor_strings_decode(in, count, arena, &strings[field]);
    for (uint32_t i = 0; status == KP_OK && i < count; i++) {
        actors[i].host = kp_vec_str(&strings[FIELD_HOST], i);
        actors[i].comm = kp_vec_str(&strings[FIELD_COMM], i);
        actors[i].cgroup = kp_vec_str(&strings[FIELD_CGROUP], i);
        if (fields == FIELD_COUNT)
            actors[i].boot = kp_vec_str(&strings[FIELD_BOOT], i);
    }
    return status == KP_OK && kp_reader_left(in) != 0 ? KP_CORRUPT : status;
}

kp_status kpi_actors_decode(const void *chunk, size_t size, uint32_t count, struct kp_arena *arena,
                            struct kp_actor *out)
{
    uint8_t code;
    struct kp_reader body;
    void *owned;
    kp_status status = kpi_chunk_body(chunk, size, NULL, &code, &body, &owned);
    if (status != KP_OK)
        return status;
    status = actors_decode(&body, code, count, arena, out);
    free(owned);
    return status;
}
