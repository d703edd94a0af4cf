/* SPDX-License-Identifier: Apache-2.0
 *
 * CULPRITS OF (A) VS (B): per cause the mean time over the transactions of A less that over B, with
 * the interval in which 95 % of the differences lie when both sets are drawn again with
 * replacement.
 *
 * A cause is (kind, rule, who waited, culprit, object), threads by the name of their pool. Every
 * nanosecond of every transaction is in one cause, so the totals sum to the wall time of the set.
 * One draw of transactions serves all causes, and a cause holds only the transactions it appears
 * in: the bootstrap costs draws x (transactions + entries). The seed is fixed: same store and
 * query, same bytes.
 */
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/hash.h"
#include "causal/cohort.h"
#include "causal/cursor.h"

#define DRAWS     400
#define DRAW_LOW  (DRAWS * 25 / 1000)
#define DRAW_HIGH (DRAWS - 1 - DRAW_LOW)
#define SLOTS     1024
#define SEED      0x6b70726f6265ull

enum culprits_column {
    G_RANK,
    G_KIND,
    G_COMM,
    G_CULPRIT,
    G_OBJECT,
    G_RULE,
    G_DIFF,
    G_LOW,
    G_HIGH,
    G_MEAN_A,
    G_MEAN_B,
    G_TXNS_A,
    G_TXNS_B,
    G_TOTAL_A,
    G_TOTAL_B,
    G_STRENGTH
};

static const struct kp_field culprits_fields[] = {
    [G_RANK] = {KP_STR("rank"), KP_TYPE_I64, KP_UNIT_NONE},
    [G_KIND] = {KP_STR("kind"), KP_TYPE_STR, KP_UNIT_NONE},
    [G_COMM] = {KP_STR("comm"), KP_TYPE_STR, KP_UNIT_NONE},
    [G_CULPRIT] = {KP_STR("culprit_comm"), KP_TYPE_STR, KP_UNIT_NONE},
    [G_OBJECT] = {KP_STR("object"), KP_TYPE_STR, KP_UNIT_NONE},
    [G_RULE] = {KP_STR("rule"), KP_TYPE_STR, KP_UNIT_NONE},
    [G_DIFF] = {KP_STR("diff"), KP_TYPE_DUR, KP_UNIT_NS},
    [G_LOW] = {KP_STR("diff_low"), KP_TYPE_DUR, KP_UNIT_NS},
    [G_HIGH] = {KP_STR("diff_high"), KP_TYPE_DUR, KP_UNIT_NS},
    [G_MEAN_A] = {KP_STR("mean_a"), KP_TYPE_DUR, KP_UNIT_NS},
    [G_MEAN_B] = {KP_STR("mean_b"), KP_TYPE_DUR, KP_UNIT_NS},
    [G_TXNS_A] = {KP_STR("txns_a"), KP_TYPE_I64, KP_UNIT_COUNT},
    [G_TXNS_B] = {KP_STR("txns_b"), KP_TYPE_I64, KP_UNIT_COUNT},
    [G_TOTAL_A] = {KP_STR("total_a"), KP_TYPE_DUR, KP_UNIT_NS},
    [G_TOTAL_B] = {KP_STR("total_b"), KP_TYPE_DUR, KP_UNIT_NS},
    [G_STRENGTH] = {KP_STR("strength"), KP_TYPE_STR, KP_UNIT_NONE},
};
static const struct kp_schema culprits_schema = {culprits_fields, KP_ARRAY_LEN(culprits_fields)};

const struct kp_schema *kp_culprits_schema(void)
{
    return &culprits_schema;
}

enum side { SIDE_A, SIDE_B, SIDES };

/* ns of one transaction under one cause. */
struct entry {
    uint32_t txn;
    kp_dur ns;
    struct entry *next;
};

struct culprit {
    enum kpi_kind kind;
    enum kpi_rule rule;
    struct kp_str kind_text, comm, who, object;
    struct entry *entries[SIDES];
    uint32_t txns[SIDES];
    __int128 total[SIDES];
    kp_dur weak, sum;
    kp_dur diff, low, high;
    kp_dur draws[DRAWS];
    uint32_t order;
    struct culprit *next; /* in the hash chain */
};

struct culprits {
    struct kp_arena *arena;
    struct kpi_list list; /* struct culprit * */
    struct culprit *slots[SLOTS];
    enum side side; /* being filled */
    bool compared;  /* there is a B */
    uint32_t count[SIDES];
    __int128 wall[SIDES];
    uint32_t gaps[SIDES]; /* transactions in which events may be missing */
    bool failed;
};

/* ---------- summing up ---------- */

/* The part of an object class before its bar, or after it. */
static struct kp_str class_part(struct kp_str class, bool after)
{
    uint32_t bar = 0;
    while (bar < class.len && class.ptr[bar] != '|')
        bar++;
    if (!after)
        return (struct kp_str){class.ptr, bar};
    uint32_t from = KP_MIN(bar + 1, class.len);
    return (struct kp_str){class.ptr + from, class.len - from};
}

static uint64_t str_hash(struct kp_str text, uint64_t seed)
{
    return text.len == 0 ? kp_hash_mix(seed) : kp_hash64(text.ptr, text.len, seed);
}

static bool same(const struct culprit *culprit, const struct kpi_slice *slice,
                 struct kp_str kind_text, struct kp_str class, struct kp_str who)
{
    return culprit->kind == slice->kind && culprit->rule == slice->rule &&
           kp_str_equal(culprit->comm, class_part(class, false)) &&
           kp_str_equal(culprit->object, class_part(class, true)) &&
           kp_str_equal(culprit->who, who) && kp_str_equal(culprit->kind_text, kind_text);
}

static struct culprit *culprit_new(struct culprits *culprits, const struct kpi_slice *slice,
                                   struct culprit **slot)
{
    struct culprit *culprit = kp_arena_zalloc(culprits->arena, 1, sizeof(*culprit));
    if (culprit == NULL) {
        culprits->failed = true;
        return NULL;
    }
    *(struct culprit **)kpi_list_add(&culprits->list) = culprit;
    culprit->kind = slice->kind;
    culprit->rule = slice->rule;
    culprit->order = culprits->list.count;
    culprit->next = *slot;
    *slot = culprit;
    return culprit;
}

static struct culprit *culprit_of(struct culprits *culprits, const struct kpi_causes *causes,
                                  const struct kpi_cause *cause)
{
    const struct kpi_slice *slice = &cause->largest;
    struct kp_str kind_text = kpi_kind_text(causes->arena, slice);
    struct kp_str who =
        kpi_pool_name(kp_actors_get(causes->world->actors, slice->culprit_actor)->comm);
    if (slice->culprit_actor == KP_ACTOR_UNKNOWN)
        who = KP_STR("");
    uint64_t hash = str_hash(cause->object_class, (uint64_t)slice->kind << 8 | slice->rule);
    hash = str_hash(who, hash);
    struct culprit **slot = &culprits->slots[hash % SLOTS];
    for (struct culprit *known = *slot; known != NULL; known = known->next)
        if (same(known, slice, kind_text, cause->object_class, who))
            return known;
    struct culprit *made = culprit_new(culprits, slice, slot);
    if (made == NULL)
        return NULL;
    made->kind_text = kp_arena_str(culprits->arena, kind_text);
    made->comm = kp_arena_str(culprits->arena, class_part(cause->object_class, false));
    made->object = kp_arena_str(culprits->arena, class_part(cause->object_class, true));
    made->who = kp_arena_str(culprits->arena, who);
    return made;
}

static void cause_add(struct culprits *culprits, struct culprit *culprit,
                      const struct kpi_cause *cause, uint32_t txn)
{
    enum side side = culprits->side;
    struct entry *entry = culprit->entries[side];
    if (entry == NULL || entry->txn != txn) {
        entry = kp_arena_zalloc(culprits->arena, 1, sizeof(*entry));
        if (entry == NULL) {
            culprits->failed = true;
            return;
        }
        *entry = (struct entry){.txn = txn, .next = culprit->entries[side]};
        culprit->entries[side] = entry;
        culprit->txns[side]++;
    }
    entry->ns += cause->dur;
    culprit->total[side] += cause->dur;
    culprit->sum += cause->dur;
    culprit->weak += cause->weak;
    culprits->wall[side] += cause->dur;
}

static void culprits_each(void *ctx, const struct kpi_causes *causes, uint32_t index)
{
    struct culprits *culprits = ctx;
    bool gap = false;
    for (uint32_t i = 0; i < causes->list.count && !culprits->failed; i++) {
        const struct kpi_cause *cause = kpi_cause_at(causes, i);
        gap |= cause->gap > 0;
        struct culprit *culprit = culprit_of(culprits, causes, cause);
        if (culprit != NULL)
            cause_add(culprits, culprit, cause, index);
    }
    culprits->gaps[culprits->side] += gap;
}

/* ---------- bootstrap ---------- */

static kp_dur mean_of(__int128 sum, uint32_t count)
{
    return count == 0 ? 0 : (kp_dur)(sum / count);
}

static kp_dur drawn_mean(const struct culprits *culprits, const struct culprit *culprit,
                         enum side side, const uint16_t *times)
{
    __int128 sum = 0;
    for (const struct entry *entry = culprit->entries[side]; entry != NULL; entry = entry->next)
        sum += (__int128)entry->ns * times[entry->txn];
    return mean_of(sum, culprits->count[side]);
}

/* How often each transaction of a side is drawn. */
static void draw(uint16_t *times, uint32_t count, uint64_t *state)
{
    memset(times, 0, count * sizeof(*times));
    for (uint32_t i = 0; i < count; i++) {
        *state += 0x9e3779b97f4a7c15ull;
        uint64_t random = kp_hash_mix(*state) >> 32;
        uint32_t at = (uint32_t)(random * count >> 32);
        times[at] += times[at] < UINT16_MAX;
    }
}

static int dur_compare(const void *a, const void *b)
{
    kp_dur x = *(const kp_dur *)a, y = *(const kp_dur *)b;
    return x < y ? -1 : x > y;
}

static bool bootstrap(struct culprits *culprits, struct culprit **list)
{
    uint64_t state = SEED;
    uint16_t *times[SIDES];
    for (int side = 0; side < SIDES; side++) {
        times[side] = kp_arena_zalloc(culprits->arena, culprits->count[side] + 1, sizeof(uint16_t));
        if (times[side] == NULL)
            return false;
    }
    for (uint32_t d = 0; d < DRAWS; d++) {
        for (int side = 0; side < SIDES; side++)
            draw(times[side], culprits->count[side], &state);
        for (uint32_t i = 0; i < culprits->list.count; i++)
            list[i]->draws[d] = drawn_mean(culprits, list[i], SIDE_A, times[SIDE_A]) -
                                drawn_mean(culprits, list[i], SIDE_B, times[SIDE_B]);
    }
    for (uint32_t i = 0; i < culprits->list.count; i++) {
        struct culprit *culprit = list[i];
        qsort(culprit->draws, DRAWS, sizeof(kp_dur), dur_compare);
        culprit->low = culprit->draws[DRAW_LOW];
        culprit->high = culprit->draws[DRAW_HIGH];
        culprit->diff = mean_of(culprit->total[SIDE_A], culprits->count[SIDE_A]) -
                        mean_of(culprit->total[SIDE_B], culprits->count[SIDE_B]);
    }
    return true;
}

/* ---------- rows ---------- */

static int culprit_compare(const void *a, const void *b)
{
    const struct culprit *x = *(struct culprit *const *)a, *y = *(struct culprit *const *)b;
    if (x->diff != y->diff)
        return x->diff > y->diff ? -1 : 1;
    if (x->total[SIDE_A] != y->total[SIDE_A])
        return x->total[SIDE_A] > y->total[SIDE_A] ? -1 : 1;
    return x->order < y->order ? -1 : x->order > y->order;
}

static void put_side(struct kp_rows *rows, const struct culprits *culprits,
                     const struct culprit *culprit, enum side side)
{
    bool b = side == SIDE_B;
    kpi_rows_i64(rows, b ? G_MEAN_B : G_MEAN_A,
                 mean_of(culprit->total[side], culprits->count[side]));
    kpi_rows_i64(rows, b ? G_TXNS_B : G_TXNS_A, culprit->txns[side]);
    kpi_rows_i64(rows, b ? G_TOTAL_B : G_TOTAL_A, (int64_t)culprit->total[side]);
}

static void put_culprit(struct kp_rows *rows, const struct culprits *culprits,
                        const struct culprit *culprit, uint32_t rank)
{
    kpi_rows_add(rows);
    kpi_rows_i64(rows, G_RANK, rank);
    kpi_rows_str(rows, G_KIND, culprit->kind_text);
    kpi_rows_str(rows, G_COMM, culprit->comm);
    kpi_rows_str(rows, G_CULPRIT, culprit->who);
    kpi_rows_str(rows, G_OBJECT, culprit->object);
    kpi_rows_str(rows, G_RULE, kp_str_from(kpi_rule_name(culprit->rule)));
    kpi_rows_i64(rows, G_DIFF, culprit->diff);
    kpi_rows_i64(rows, G_LOW, culprit->low);
    kpi_rows_i64(rows, G_HIGH, culprit->high);
    put_side(rows, culprits, culprit, SIDE_A);
    put_side(rows, culprits, culprit, SIDE_B);
    if (!culprits->compared) {
        kpi_rows_null(rows, G_MEAN_B);
        kpi_rows_null(rows, G_TXNS_B);
        kpi_rows_null(rows, G_TOTAL_B);
    }
    bool weak = culprit->weak > culprit->sum / 10;
    kpi_rows_str(rows, G_STRENGTH,
                 culprit->kind == KPI_UNKNOWN ? KP_STR("-")
                                              : (weak ? KP_STR("weak") : KP_STR("strong")));
}

static void note_side(struct kp_rows *rows, const struct culprits *culprits, enum side side)
{
    char wall[KP_DUR_TEXT_MAX];
    kp_dur_format(mean_of(culprits->wall[side], culprits->count[side]), wall);
    kpi_rows_note(rows, "%c: %u transactions, mean wall %s", "AB"[side], culprits -> count[side],
                  wall);
    if (culprits->gaps[side] > 0)
        kpi_rows_note(rows, "gaps: in %u of %c events may be missing", culprits->gaps[side],
                      "AB"[side]);
}

static void put_notes(struct kp_rows *rows, const struct culprits *culprits)
{
    note_side(rows, culprits, SIDE_A);
    if (culprits->compared)
        note_side(rows, culprits, SIDE_B);
    kpi_rows_note(rows, "diff_low .. diff_high hold 95 %% of %d draws of the same transactions",
                  DRAWS);
}

static kp_status side_fill(struct kpi_reader *reader, struct culprits *culprits, enum side side,
                           const struct kp_txn_set *set, struct kp_error *err)
{
    struct kpi_cohort cohort = {
        .reader = reader, .arena = culprits->arena, .each = culprits_each, .ctx = culprits};
    kp_status status = KP_OK;
    culprits->side = side;
    if (set != NULL && set->count > 0)
        status = kpi_txns_find(reader, set, culprits->arena, &cohort.txns, &cohort.count, err);
    culprits->count[side] = cohort.count;
    if (status == KP_OK)
        status = kpi_cohort_walk(&cohort, err);
    if (status == KP_OK && culprits->failed)
        status = kp_arena_error(culprits->arena, err);
    return status;
}

kp_status kp_culprits_open(struct kp_snapshot *snapshot, const struct kp_txn_set *a,
                           const struct kp_txn_set *b, struct kp_arena *arena, struct kp_rows **out,
                           struct kp_error *err)
{
    struct kpi_reader reader = {.snapshot = snapshot, .stop = arena->stop};
    struct culprits *culprits = kp_arena_zalloc(arena, 1, sizeof(*culprits));
    struct kp_rows *rows = NULL;
    arena->owner = "CULPRITS";
    if (culprits == NULL || kpi_rows_open(arena, &culprits_schema, &rows) != KP_OK)
        return kp_arena_error(arena, err);
    culprits->arena = arena;
    culprits->compared = b != NULL;
    kpi_list_init(&culprits->list, arena, sizeof(struct culprit *));
    kp_status status = side_fill(&reader, culprits, SIDE_A, a, err);
    if (status == KP_OK)
        status = side_fill(&reader, culprits, SIDE_B, b, err);
    if (status != KP_OK)
        return status;
    struct culprit **list = kpi_list_flat(&culprits->list);
    if (culprits->list.failed || !bootstrap(culprits, list))
        return kp_arena_error(arena, err);
    if (list != NULL)
        qsort(list, culprits->list.count, sizeof(struct culprit *), culprit_compare);
    for (uint32_t i = 0; i < culprits->list.count; i++)
        put_culprit(rows, culprits, list[i], i + 1);
    put_notes(rows, culprits);
    kpi_rows_read(rows, &reader);
    status = kpi_rows_check(rows, err);
    if (status == KP_OK)
        *out = rows;
    return status;
}
