/* SPDX-License-Identifier: Apache-2.0
 *
 * DIFF CAUSES OF a VS b: two partitions side by side. Rows of both are aligned by the names of the
 * spans around them, by kind, and by object class; ids and thread numbers differ between any two
 * transactions and do not count. Each side sums to its wall time.
 */
#include <stdlib.h>

#include "base/assert.h"
#include "causal/cause.h"
#include "causal/cursor.h"

#define PATH_MAX_SPANS 64

enum diff_column {
    D_SPAN,
    D_KIND,
    D_COMM,
    D_OBJECT,
    D_A,
    D_B,
    D_DELTA,
    D_ONLY,
    D_CULPRIT_A,
    D_CULPRIT_B,
    D_STRENGTH
};

static const struct kp_field diff_fields[] = {
    [D_SPAN] = {KP_STR("span_path"), KP_TYPE_STR, KP_UNIT_NONE},
    [D_KIND] = {KP_STR("kind"), KP_TYPE_STR, KP_UNIT_NONE},
    [D_COMM] = {KP_STR("comm"), KP_TYPE_STR, KP_UNIT_NONE},
    [D_OBJECT] = {KP_STR("object"), KP_TYPE_STR, KP_UNIT_NONE},
    [D_A] = {KP_STR("dur_a"), KP_TYPE_DUR, KP_UNIT_NS},
    [D_B] = {KP_STR("dur_b"), KP_TYPE_DUR, KP_UNIT_NS},
    [D_DELTA] = {KP_STR("delta"), KP_TYPE_DUR, KP_UNIT_NS},
    [D_ONLY] = {KP_STR("only"), KP_TYPE_STR, KP_UNIT_NONE},
    [D_CULPRIT_A] = {KP_STR("culprit_a"), KP_TYPE_STR, KP_UNIT_NONE},
    [D_CULPRIT_B] = {KP_STR("culprit_b"), KP_TYPE_STR, KP_UNIT_NONE},
    [D_STRENGTH] = {KP_STR("strength"), KP_TYPE_STR, KP_UNIT_NONE},
};
static const struct kp_schema diff_schema = {diff_fields, KP_ARRAY_LEN(diff_fields)};

const struct kp_schema *kp_diff_schema(void)
{
    return &diff_schema;
}

enum side { SIDE_A, SIDE_B, SIDES };

struct pair {
    struct kp_str path, kind, class;
    kp_dur dur[SIDES], weak;
    const struct kpi_cause *largest[SIDES];
    uint32_t order;
};

/* The names of the spans around a slice, root first. */
static struct kp_str path_of(const struct kpi_world *world, uint32_t span, struct kp_arena *arena)
{
    struct kp_str path = KP_STR("");
    for (uint32_t n = 0; span != KPI_NONE && n < PATH_MAX_SPANS; n++) {
        const struct kpi_span *s = &world->spans[span];
        path = kpi_text(arena, "%.*s:%.*s%s%.*s", (int)s->service.len, s->service.ptr,
                        (int)s->name.len, s->name.ptr, path.len > 0 ? " > " : "", (int)path.len,
                        path.ptr);
        span = s->up;
    }
    return path;
}

static struct pair *pair_of(struct kpi_list *list, struct kp_str path, struct kp_str kind,
                            struct kp_str class)
{
    for (uint32_t i = 0; i < list->count; i++) {
        struct pair *pair = kpi_list_at(list, i);
        if (kp_str_equal(pair->kind, kind) && kp_str_equal(pair->class, class) &&
            kp_str_equal(pair->path, path))
            return pair;
    }
    struct pair *made = kpi_list_add(list);
    *made = (struct pair){.path = path, .kind = kind, .class = class, .order = list->count};
    return made;
}

static void side_add(struct kpi_list *list, const struct kpi_answer *answer, enum side side,
                     struct kp_arena *arena)
{
    for (uint32_t i = 0; i < answer->causes.list.count && !list->failed; i++) {
        const struct kpi_cause *cause = answer->ranked[i];
        struct pair *pair = pair_of(list, path_of(answer->world, cause->largest.span, arena),
                                    kpi_kind_text(arena, &cause->largest), cause->object_class);
        if (pair->largest[side] == NULL || cause->dur > pair->largest[side]->dur)
            pair->largest[side] = cause;
        pair->dur[side] += cause->dur;
        pair->weak += cause->weak;
    }
}

static kp_dur delta_of(const struct pair *pair)
{
    return pair->dur[SIDE_A] - pair->dur[SIDE_B];
}

static int pair_compare(const void *a, const void *b)
{
    const struct pair *x = a, *y = b;
    kp_dur p = delta_of(x) < 0 ? -delta_of(x) : delta_of(x);
    kp_dur q = delta_of(y) < 0 ? -delta_of(y) : delta_of(y);
    if (p != q)
        return p > q ? -1 : 1;
    return x->order < y->order ? -1 : x->order > y->order;
}

static struct kp_str culprit_text(const struct kpi_answer *answer, const struct kpi_cause *cause,
                                  struct kp_arena *arena)
{
    if (cause == NULL)
        return KP_STR("");
    const struct kpi_slice *slice = &cause->largest;
    const struct kp_actor *actor = kp_actors_get(answer->world->actors, slice->culprit_actor);
    if (slice->culprit_actor == KP_ACTOR_UNKNOWN)
        return slice->object;
    return kpi_text(arena, "%.*s(%u)", (int)actor->comm.len, actor->comm.ptr, actor->pid);
}

static void put_pair(struct kp_rows *rows, struct kpi_answer *const *answers,
                     const struct pair *pair, struct kp_arena *arena)
{
    uint32_t bar = 0;
    while (bar < pair->class.len && pair->class.ptr[bar] != '|')
        bar++;
    uint32_t detail = KP_MIN(bar + 1, pair->class.len);
    bool a = pair->largest[SIDE_A] != NULL, b = pair->largest[SIDE_B] != NULL;
    kpi_rows_add(rows);
    kpi_rows_str(rows, D_SPAN, pair->path);
    kpi_rows_str(rows, D_KIND, pair->kind);
    kpi_rows_str(rows, D_COMM, (struct kp_str){pair->class.ptr, bar});
    kpi_rows_str(rows, D_OBJECT,
                 (struct kp_str){pair->class.ptr + detail, pair->class.len - detail});
    kpi_rows_i64(rows, D_A, pair->dur[SIDE_A]);
    kpi_rows_i64(rows, D_B, pair->dur[SIDE_B]);
    kpi_rows_i64(rows, D_DELTA, delta_of(pair));
    kpi_rows_str(rows, D_ONLY, a && b ? KP_STR("") : a ? KP_STR("a") : KP_STR("b"));
    kpi_rows_str(rows, D_CULPRIT_A, culprit_text(answers[SIDE_A], pair->largest[SIDE_A], arena));
    kpi_rows_str(rows, D_CULPRIT_B, culprit_text(answers[SIDE_B], pair->largest[SIDE_B], arena));
    kp_dur sum = pair->dur[SIDE_A] + pair->dur[SIDE_B];
    kpi_rows_str(rows, D_STRENGTH, pair->weak > sum / 10 ? KP_STR("weak") : KP_STR("strong"));
}

static void put_note(struct kp_rows *rows, const char *name, const struct kpi_answer *answer)
{
    char wall[KP_DUR_TEXT_MAX];
    kp_dur_format(answer->causes.wall, wall);
    kpi_rows_note(rows, "%s: txn %.*s \"%.*s\" of %.*s  wall %s (%lld ns)", name,
                  (int)answer->txn.id.len, answer->txn.id.ptr, (int)answer->txn.name.len,
                  answer->txn.name.ptr, (int)answer->txn.service.len, answer->txn.service.ptr, wall,
                  (long long)answer->causes.wall);
    kp_dur gap = 0;
    for (uint32_t i = 0; i < answer->causes.list.count; i++)
        gap += kpi_cause_at(&answer->causes, i)->gap;
    if (gap > 0)
        kpi_rows_note(rows, "gaps: in %lld ns of %s events may be missing", (long long)gap, name);
}

kp_status kp_diff_open(struct kp_snapshot *snapshot, const struct kp_causes_req *a,
                       const struct kp_causes_req *b, struct kp_arena *arena, struct kp_rows **out,
                       struct kp_error *err)
{
    struct kpi_reader reader = {.snapshot = snapshot, .stop = arena->stop};
    const struct kp_causes_req *reqs[SIDES] = {a, b};
    struct kpi_answer *answers[SIDES];
    struct kp_rows *rows = NULL;
    struct kpi_list list;
    arena->owner = "DIFF";
    kpi_list_init(&list, arena, sizeof(struct pair));
    for (int side = 0; side < SIDES; side++) {
        kp_status status = kpi_answer_make(&reader, reqs[side], arena, &answers[side], err);
        if (status != KP_OK)
            return status;
        side_add(&list, answers[side], (enum side)side, arena);
    }
    struct pair *pairs = kpi_list_flat(&list);
    if (list.failed || kpi_rows_open(arena, &diff_schema, &rows) != KP_OK)
        return kp_arena_error(arena, err);
    if (pairs != NULL)
        qsort(pairs, list.count, sizeof(*pairs), pair_compare);
    put_note(rows, "a", answers[SIDE_A]);
    put_note(rows, "b", answers[SIDE_B]);
    for (uint32_t i = 0; i < list.count; i++)
        put_pair(rows, answers, &pairs[i], arena);
    kpi_rows_read(rows, &reader);
    kp_status status = kpi_rows_check(rows, err);
    if (status == KP_OK)
        *out = rows;
    return status;
}
