/* SPDX-License-Identifier: Apache-2.0
 *
 * The table is filled up to the largest id of a batch: ids are dense and never reused, and all
 * below one that was handed out are in the registry.
 */
#include "query/actor_columns.h"

#include "base/assert.h"
#include "base/hash.h"

#define ACTORS_MIN 256u
#define TEXTS_MIN  64u

bool kpi_actor_attr(enum kp_attr attr)
{
    return attr == KP_ATTR_TID || attr == KP_ATTR_PID || attr == KP_ATTR_COMM ||
           attr == KP_ATTR_CGROUP || attr == KP_ATTR_HOST;
}

static bool is_number(enum kp_attr attr)
{
    return attr == KP_ATTR_TID || attr == KP_ATTR_PID;
}

void kpi_actor_column_init(struct kpi_actor_column *column, struct kpi_ctx *ctx,
                           const struct kp_actors *actors, enum kp_attr attr)
{
    *column = (struct kpi_actor_column){
        .ctx = ctx, .actors = actors, .attr = attr, .dict = {.lasting = true}};
}

static bool grow_actors(struct kpi_actor_column *column, uint32_t needed)
{
    uint32_t capacity = KP_MAX(column->capacity * 2, ACTORS_MIN);
    while (capacity < needed)
        capacity *= 2;
    if (is_number(column->attr)) {
        int64_t *numbers = kpi_new(column->ctx, capacity, sizeof(*numbers));
        if (numbers == NULL)
            return false;
        if (column->known > 0)
            memcpy(numbers, column->numbers, column->known * sizeof(*numbers));
        column->numbers = numbers;
    } else {
        uint32_t *codes = kpi_new(column->ctx, capacity, sizeof(*codes));
        if (codes == NULL)
            return false;
        if (column->known > 0)
            memcpy(codes, column->codes, column->known * sizeof(*codes));
        column->codes = codes;
    }
    column->capacity = capacity;
    return true;
}

static bool grow_texts(struct kpi_actor_column *column)
{
    uint32_t capacity = KP_MAX(column->texts_capacity * 2, TEXTS_MIN);
    uint32_t slots_capacity = capacity * 2;
    struct kp_str *texts = kpi_new(column->ctx, capacity, sizeof(*texts));
    uint32_t *slots = kpi_new(column->ctx, slots_capacity, sizeof(*slots));
    if (texts == NULL || slots == NULL)
        return false;
    for (uint32_t i = 0; i < column->dict.count; i++) {
        texts[i] = column->texts[i];
        uint32_t at = (uint32_t)kp_hash64(texts[i].ptr, texts[i].len, 0) & (slots_capacity - 1);
        while (slots[at] != 0)
            at = (at + 1) & (slots_capacity - 1);
        slots[at] = i + 1;
    }
    column->texts = texts;
    column->texts_capacity = capacity;
    column->slots = slots;
    column->slots_capacity = slots_capacity;
    return true;
}

/* Code of a text, made on first sight; UINT32_MAX with the error set. Texts lie in the registry. */
static uint32_t text_code(struct kpi_actor_column *column, struct kp_str text)
{
    if (column->dict.count == column->texts_capacity && !grow_texts(column))
        return UINT32_MAX;
    uint32_t mask = column->slots_capacity - 1;
    uint32_t at = (uint32_t)kp_hash64(text.ptr, text.len, 0) & mask;
    for (; column->slots[at] != 0; at = (at + 1) & mask)
        if (kp_str_equal(column->texts[column->slots[at] - 1], text))
            return column->slots[at] - 1;
    column->texts[column->dict.count] = text;
    column->slots[at] = ++column->dict.count;
    return column->dict.count - 1;
}

static struct kp_str text_of(const struct kp_actor *actor, enum kp_attr attr)
{
    return attr == KP_ATTR_COMM ? actor->comm : attr == KP_ATTR_HOST ? actor->host : actor->cgroup;
}

static bool learn(struct kpi_actor_column *column, uint32_t last)
{
    if (last >= column->capacity && !grow_actors(column, last + 1))
        return false;
    for (; column->known <= last; column->known++) {
        const struct kp_actor *actor = kp_actors_get(column->actors, column->known);
        if (is_number(column->attr)) {
            column->numbers[column->known] = column->attr == KP_ATTR_TID ? actor->tid : actor->pid;
            continue;
        }
        uint32_t code = text_code(column, text_of(actor, column->attr));
        if (code == UINT32_MAX)
            return false;
        column->codes[column->known] = code;
    }
    return true;
}

bool kpi_actor_column_fill(struct kpi_actor_column *column, const int64_t *ids, uint32_t rows,
                           void *room, struct kp_vec *out)
{
    int64_t last = 0;
    for (uint32_t i = 0; i < rows; i++)
        last = KP_MAX(last, ids[i]);
    if ((uint32_t)last >= column->known && !learn(column, (uint32_t)last))
        return false;
    if (is_number(column->attr)) {
        int64_t *numbers = room;
        for (uint32_t i = 0; i < rows; i++)
            numbers[i] = column->numbers[ids[i]];
        *out = (struct kp_vec){.type = KP_TYPE_I64, .i64 = numbers};
        return true;
    }
    uint32_t *codes = room;
    for (uint32_t i = 0; i < rows; i++)
        codes[i] = column->codes[ids[i]];
    column->dict.values = column->texts;
    *out = (struct kp_vec){.type = KP_TYPE_STR, .dict = &column->dict, .codes = codes};
    return true;
}
