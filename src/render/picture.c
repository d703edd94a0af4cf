/* SPDX-License-Identifier: Apache-2.0
 *
 * Rows to stretches and nodes. Columns are found by name, so every table that has a dur and says
 * what the time was can be drawn: CAUSES, CHAIN, BLOCKERS, EFFECTS, thread_state, spans.
 */
#include "render/picture.h"

#include <inttypes.h>
#include <stdlib.h>

#include "base/assert.h"

enum column {
    COL_START,
    COL_TS,
    COL_DUR,
    COL_ROOT,
    COL_LEVEL,
    COL_KIND,
    COL_STATE,
    COL_NAME,
    COL_SERVICE,
    COL_COMM,
    COL_TID,
    COL_PID,
    COL_HOST,
    COL_CPU,
    COL_TXN,
    COL_WHO,
    COL_CULPRIT_COMM,
    COL_CULPRIT_TID,
    COL_CULPRIT_PID,
    COL_OBJECT,
    COL_RULE,
    COL_STRENGTH,
    COL_EDGE,
    COL_OWN, /* of EFFECTS */
    COLS
};

static const struct {
    const char *name;
    enum kp_type type;
} columns[COLS] = {
    [COL_START] = {"start", KP_TYPE_TIME},
    [COL_TS] = {"ts", KP_TYPE_TIME},
    [COL_DUR] = {"dur", KP_TYPE_DUR},
    [COL_ROOT] = {"root", KP_TYPE_BOOL},
    [COL_LEVEL] = {"level", KP_TYPE_I64},
    [COL_KIND] = {"kind", KP_TYPE_STR},
    [COL_STATE] = {"state", KP_TYPE_STR},
    [COL_NAME] = {"name", KP_TYPE_STR},
    [COL_SERVICE] = {"service", KP_TYPE_STR},
    [COL_COMM] = {"comm", KP_TYPE_STR},
    [COL_TID] = {"tid", KP_TYPE_I64},
    [COL_PID] = {"pid", KP_TYPE_I64},
    [COL_HOST] = {"host", KP_TYPE_STR},
    [COL_CPU] = {"cpu", KP_TYPE_I64},
    [COL_TXN] = {"txn", KP_TYPE_STR},
    [COL_WHO] = {"who", KP_TYPE_STR},
    [COL_CULPRIT_COMM] = {"culprit_comm", KP_TYPE_STR},
    [COL_CULPRIT_TID] = {"culprit_tid", KP_TYPE_I64},
    [COL_CULPRIT_PID] = {"culprit_pid", KP_TYPE_I64},
    [COL_OBJECT] = {"object", KP_TYPE_STR},
    [COL_RULE] = {"rule", KP_TYPE_STR},
    [COL_STRENGTH] = {"strength", KP_TYPE_STR},
    [COL_EDGE] = {"edge", KP_TYPE_STR},
    [COL_OWN] = {"own", KP_TYPE_DUR},
};

kp_status kpi_picture_begin(struct kp_render *render, struct kpi_picture **out)
{
    struct kpi_picture *picture = kp_arena_zalloc(&render->arena, 1, sizeof(*picture));
    _Static_assert(sizeof(picture->cols) / sizeof(picture->cols[0]) >= COLS, "room for columns");
    if (picture == NULL)
        return KP_NO_MEMORY;
    for (int i = 0; i < COLS; i++) {
        int at = kp_schema_find(render->schema, kp_str_from(columns[i].name));
        picture->cols[i] = at >= 0 && render->schema->fields[at].type == columns[i].type ? at : -1;
    }
    const int *cols = picture->cols;
    if (cols[COL_DUR] < 0 || (cols[COL_KIND] < 0 && cols[COL_STATE] < 0 && cols[COL_NAME] < 0))
        return KP_INVALID;
    picture->chain = cols[COL_LEVEL] >= 0;
    bool blames = cols[COL_CULPRIT_COMM] >= 0 || cols[COL_WHO] >= 0 || cols[COL_OWN] >= 0;
    picture->causal = picture->chain || (cols[COL_KIND] >= 0 && blames);
    picture->timed = cols[COL_START] >= 0 || cols[COL_TS] >= 0;
    picture->stretches =
        kp_arena_zalloc(&render->arena, KPI_PICTURE_ROWS, sizeof(*picture->stretches));
    if (picture->stretches == NULL)
        return KP_NO_MEMORY;
    *out = picture;
    return KP_OK;
}

/* ---------- cells ---------- */

static bool has(const struct kpi_picture *picture, const struct kp_batch *batch, enum column col,
                uint32_t row)
{
    return picture->cols[col] >= 0 && !kp_vec_null(&batch->cols[picture->cols[col]], row);
}

static struct kp_str text_of(const struct kpi_picture *picture, const struct kp_batch *batch,
                             enum column col, uint32_t row)
{
    return has(picture, batch, col, row) ? kp_vec_str(&batch->cols[picture->cols[col]], row)
                                         : KP_STR("");
}

static int64_t number_of(const struct kpi_picture *picture, const struct kp_batch *batch,
                         enum column col, uint32_t row, int64_t none)
{
    return has(picture, batch, col, row) ? batch->cols[picture->cols[col]].i64[row] : none;
}

static struct kp_str keep(struct kp_render *render, struct kpi_picture *picture)
{
    struct kp_str text = {picture->text.data, (uint32_t)picture->text.size};
    struct kp_str copy = kp_arena_str(&render->arena, text);
    kp_buf_clear(&picture->text);
    return copy;
}

/* comm(tid) on host; else the service, the transaction, the CPU. */
static struct kp_str lane_of(struct kp_render *render, struct kpi_picture *picture,
                             const struct kp_batch *batch, uint32_t row)
{
    struct kp_str comm = text_of(picture, batch, COL_COMM, row);
    struct kp_str service = text_of(picture, batch, COL_SERVICE, row);
    struct kp_str txn = text_of(picture, batch, COL_TXN, row);
    struct kp_str host = text_of(picture, batch, COL_HOST, row);
    int64_t tid = number_of(picture, batch, COL_TID, row, 0);
    if (comm.len > 0) {
        kp_buf_str(&picture->text, comm);
        if (tid > 0)
            kp_buf_printf(&picture->text, "(%" PRId64 ")", tid);
    } else if (service.len > 0) {
        kp_buf_str(&picture->text, service);
        if (txn.len > 0)
            kp_buf_printf(&picture->text, " txn %.*s", (int)txn.len, txn.ptr);
    } else if (txn.len > 0) {
        kp_buf_printf(&picture->text, "txn %.*s", (int)txn.len, txn.ptr);
    } else if (has(picture, batch, COL_CPU, row)) {
        kp_buf_printf(&picture->text, "cpu %" PRId64, number_of(picture, batch, COL_CPU, row, 0));
    }
    if (host.len > 0)
        kp_buf_printf(&picture->text, "%s%.*s", picture->text.size > 0 ? " " : "", (int)host.len,
                      host.ptr);
    return keep(render, picture);
}

static struct kp_str who_of(struct kp_render *render, struct kpi_picture *picture,
                            const struct kp_batch *batch, uint32_t row)
{
    struct kp_str who = text_of(picture, batch, COL_WHO, row);
    struct kp_str comm = text_of(picture, batch, COL_CULPRIT_COMM, row);
    struct kp_str object = text_of(picture, batch, COL_OBJECT, row);
    int64_t tid = number_of(picture, batch, COL_CULPRIT_TID, row, 0);
    if (tid == 0)
        tid = number_of(picture, batch, COL_CULPRIT_PID, row, 0);
    bool own = tid > 0 && tid == number_of(picture, batch, COL_TID, row, 0);
    if (who.len > 0)
        kp_buf_str(&picture->text, who);
    else if (comm.len > 0 && !own)
        kp_buf_printf(&picture->text, "%.*s(%" PRId64 ")", (int)comm.len, comm.ptr, tid);
    if (object.len > 0 && !kp_str_equal(object, who))
        kp_buf_printf(&picture->text, "%s%.*s", picture->text.size > 0 ? " " : "", (int)object.len,
                      object.ptr);
    return keep(render, picture);
}

static struct kp_str kept_text(struct kp_render *render, struct kpi_picture *picture,
                               const struct kp_batch *batch, enum column col, uint32_t row)
{
    return kp_arena_str(&render->arena, text_of(picture, batch, col, row));
}

static void stretch_add(struct kp_render *render, struct kpi_picture *picture,
                        const struct kp_batch *batch, uint32_t row)
{
    struct kpi_stretch *stretch = &picture->stretches[picture->count++];
    enum column what = picture->cols[COL_STATE] >= 0 ? COL_STATE : COL_NAME;
    if (picture->causal || picture->cols[what] < 0)
        what = COL_KIND; /* of a span the kind says less than its name */
    if (text_of(picture, batch, what, row).len == 0)
        what = COL_STATE; /* CHAIN: only its last row has a kind */
    stretch->lane = lane_of(render, picture, batch, row);
    stretch->what = kept_text(render, picture, batch, what, row);
    stretch->who = who_of(render, picture, batch, row);
    stretch->rule = kept_text(render, picture, batch, COL_RULE, row);
    stretch->strength = kept_text(render, picture, batch, COL_STRENGTH, row);
    stretch->edge = kept_text(render, picture, batch, COL_EDGE, row);
    stretch->dur = KP_MAX(number_of(picture, batch, COL_DUR, row, 0), 0);
    stretch->level = number_of(picture, batch, COL_LEVEL, row, -1);
    stretch->root = number_of(picture, batch, COL_ROOT, row, 0) != 0;
    stretch->timed = has(picture, batch, COL_START, row) || has(picture, batch, COL_TS, row);
    stretch->start = number_of(picture, batch, COL_TS, row, 0) - stretch->dur;
    if (has(picture, batch, COL_START, row))
        stretch->start = number_of(picture, batch, COL_START, row, 0);
    picture->sum += stretch->dur;
}

void kpi_picture_batch(struct kp_render *render, struct kpi_picture *picture,
                       const struct kp_batch *batch)
{
    for (uint32_t i = 0; i < kp_batch_count(batch); i++) {
        uint32_t row = kp_batch_row(batch, i);
        if (picture->count == KPI_PICTURE_ROWS || !has(picture, batch, COL_DUR, row))
            picture->skipped++;
        else
            stretch_add(render, picture, batch, row);
    }
}

/* ---------- nodes ---------- */

#define SHARES 10000 /* parts of the whole that a share is told in */
#define NONE   UINT32_MAX

static struct kpi_node *node_of(struct kpi_picture *picture, uint32_t layer, uint32_t up,
                                struct kp_str title, struct kp_str kind)
{
    for (uint32_t i = 0; i < picture->nodes_count; i++) {
        struct kpi_node *node = &picture->nodes[i];
        if (node->layer == layer && node->up == up && kp_str_equal(node->title, title) &&
            kp_str_equal(node->kind, kind))
            return node;
    }
    struct kpi_node *made = &picture->nodes[picture->nodes_count++];
    *made = (struct kpi_node){.title = title, .kind = kind, .layer = layer, .up = up};
    return made;
}

static void node_add(struct kpi_node *node, const struct kpi_stretch *stretch)
{
    bool cause = node->layer == 0;
    node->dur += stretch->dur;
    node->root |= cause && stretch->root;
    node->weak |= cause && kp_str_equal(stretch->strength, KP_STR("weak"));
    node->rows++;
}

static int node_compare(const void *a, const void *b)
{
    const struct kpi_node *x = a, *y = b;
    if (x->layer != y->layer)
        return x->layer > y->layer ? -1 : 1;
    if (x->up != y->up)
        return x->up < y->up ? -1 : 1;
    if (x->dur != y->dur)
        return x->dur > y->dur ? -1 : 1;
    int order = kp_str_compare(x->title, y->title);
    return order != 0 ? order : kp_str_compare(x->kind, y->kind);
}

/* Each row of CHAIN is a node that points to the one before it. */
static void chain_nodes(struct kpi_picture *picture)
{
    for (uint32_t i = 0; i < picture->count; i++) {
        const struct kpi_stretch *stretch = &picture->stretches[i];
        struct kpi_node *node = &picture->nodes[picture->nodes_count++];
        *node = (struct kpi_node){.title = stretch->lane,
                                  .kind = stretch->what,
                                  .edge = i == 0 ? KP_STR("") : stretch->edge,
                                  .dur = stretch->dur,
                                  .weak = kp_str_equal(stretch->strength, KP_STR("weak")),
                                  .up = i == 0 ? NONE : i - 1,
                                  .layer = i == 0 ? 2 : 1,
                                  .rows = 1};
    }
    if (picture->count > 0 && picture->stretches[picture->count - 1].who.len > 0) {
        const struct kpi_stretch *last = &picture->stretches[picture->count - 1];
        picture->nodes[picture->nodes_count++] = (struct kpi_node){.title = last->who,
                                                                   .kind = last->what,
                                                                   .dur = last->dur,
                                                                   .up = picture->count - 1,
                                                                   .rows = 1};
    }
}

static int dur_compare(const void *a, const void *b)
{
    const kp_dur *x = a, *y = b;
    return *x > *y ? -1 : *x < *y;
}

/* The duration below which nodes [from, count) are too many to be drawn one by one. */
static kp_dur least_drawn(struct kp_render *render, const struct kpi_picture *picture,
                          uint32_t from)
{
    uint32_t count = picture->nodes_count - from;
    kp_dur *durs = kp_arena_alloc(&render->arena, (count + 1) * sizeof(*durs));
    if (durs == NULL || count <= KPI_PICTURE_NODES)
        return 0;
    for (uint32_t i = 0; i < count; i++)
        durs[i] = picture->nodes[from + i].dur;
    qsort(durs, count, sizeof(*durs), dur_compare);
    return durs[KPI_PICTURE_NODES - 1] + 1; /* equals of the last one go with those below it */
}

/* Stretches of the smallest lanes go to one lane, in the graph and on the axis. */
static void lanes_fold(struct kp_render *render, struct kpi_picture *picture)
{
    for (uint32_t i = 0; i < picture->count; i++)
        node_add(node_of(picture, 1, 0, picture->stretches[i].lane, KP_STR("")),
                 &picture->stretches[i]);
    kp_dur least = least_drawn(render, picture, 0);
    uint32_t folded = 0;
    for (uint32_t i = 0; i < picture->nodes_count; i++)
        folded += picture->nodes[i].dur < least;
    kp_buf_printf(&picture->text, "%" PRIu32 " smaller", folded);
    struct kp_str together = keep(render, picture);
    for (uint32_t i = 0; folded > 0 && i < picture->count; i++)
        if (node_of(picture, 1, 0, picture->stretches[i].lane, KP_STR(""))->dur < least)
            picture->stretches[i].folded = true;
    for (uint32_t i = 0; i < picture->count; i++)
        if (picture->stretches[i].folded)
            picture->stretches[i].lane = together;
    picture->nodes_count = 0;
}

/* The smallest causes of each lane become one, of more than a screen all that have next to no
 * share; the root cause stays. */
static void causes_fold(struct kp_render *render, struct kpi_picture *picture, uint32_t first)
{
    kp_dur least = least_drawn(render, picture, first);
    uint32_t kept = first;
    if (picture->nodes_count - first > KPI_PICTURE_SCREEN)
        least = KP_MAX(least, picture->sum / SHARES);
    for (uint32_t i = first; i < picture->nodes_count; i++) {
        const struct kpi_node node = picture->nodes[i];
        struct kpi_node *last = kept > first ? &picture->nodes[kept - 1] : NULL;
        bool small = node.dur < least && !node.root;
        if (small && last != NULL && last->folded > 0 && last->up == node.up) {
            last->dur += node.dur;
            last->rows += node.rows;
            last->folded++;
        } else {
            picture->nodes[kept] = node;
            picture->nodes[kept++].folded = small;
        }
    }
    picture->nodes_count = kept;
    for (uint32_t i = first; i < kept; i++) {
        struct kpi_node *node = &picture->nodes[i];
        if (node->folded < 2)
            continue;
        kp_buf_printf(&picture->text, "%" PRIu32 " smaller", node->folded);
        node->kind = keep(render, picture);
        node->title = KP_STR("");
        node->weak = false;
    }
}

/* Lanes below the whole, then causes below lanes; a layer is sorted before the next is made, so
 * that `up` stays valid. */
static void layer_nodes(struct kp_render *render, struct kpi_picture *picture)
{
    lanes_fold(render, picture);
    struct kpi_node *whole = node_of(picture, 2, NONE, KP_STR("all of it"), KP_STR(""));
    whole->dur = picture->sum;
    whole->rows = picture->count;
    for (uint32_t i = 0; i < picture->count; i++)
        node_add(node_of(picture, 1, 0, picture->stretches[i].lane, KP_STR("")),
                 &picture->stretches[i]);
    qsort(picture->nodes, picture->nodes_count, sizeof(*picture->nodes), node_compare);
    for (uint32_t i = 0; i < picture->count; i++) {
        const struct kpi_stretch *stretch = &picture->stretches[i];
        struct kpi_node *lane = node_of(picture, 1, 0, stretch->lane, KP_STR(""));
        node_add(
            node_of(picture, 0, (uint32_t)(lane - picture->nodes), stretch->who, stretch->what),
            stretch);
    }
    qsort(picture->nodes, picture->nodes_count, sizeof(*picture->nodes), node_compare);
    uint32_t first = 0;
    while (first < picture->nodes_count && picture->nodes[first].layer > 0)
        first++;
    causes_fold(render, picture, first);
}

bool kpi_picture_nodes(struct kp_render *render, struct kpi_picture *picture)
{
    size_t most = 2 * (size_t)picture->count + 2;
    picture->nodes = kp_arena_zalloc(&render->arena, most, sizeof(*picture->nodes));
    if (picture->nodes == NULL)
        return false;
    if (picture->chain)
        chain_nodes(picture);
    else
        layer_nodes(render, picture);
    return true;
}

void kpi_picture_share(const struct kpi_picture *picture, kp_dur dur, struct kp_buf *out)
{
    kp_dur whole = KP_MAX(picture->sum, 1);
    int64_t hundredths = (int64_t)((__int128)dur * SHARES / whole);
    if (hundredths == 0 && dur > 0)
        kp_buf_text(out, "<0.01 %");
    else
        kp_buf_printf(out, "%" PRId64 ".%02" PRId64 " %%", hundredths / 100, hundredths % 100);
}

const char *kpi_picture_color(struct kp_str kind)
{
    static const struct {
        const char *prefix, *color;
    } colors[] = {
        {"runnable.queued", "#e27d72"},
        {"runnable.throttled", "#7d1a14"},
        {"block_io.queue", "#7ba7d7"},
        {"running", "#2e8b57"},
        {"busy", "#2e8b57"},
        {"syscall", "#66a61e"},
        {"runnable", "#c8382e"},
        {"idle_exit", "#e8963c"},
        {"irq", "#b0589a"},
        {"softirq", "#8e5bb0"},
        {"lock", "#d4a017"},
        {"block", "#2f6fb5"},
        {"net", "#3a9fb5"},
        {"remote", "#5f7f9f"},
        {"reclaim", "#a0522d"},
        {"page_fault", "#a0522d"},
        {"timer", "#8a8a8a"},
        {"stopped", "#555555"},
        {"frozen", "#7fb4d9"},
        {"idle", "#cccccc"},
        {"unknown", "#bbbbbb"},
        {"dead", "#cccccc"},
    };
    for (size_t i = 0; i < KP_ARRAY_LEN(colors); i++) {
        size_t length = strlen(colors[i].prefix);
        if (kind.len >= length && memcmp(kind.ptr, colors[i].prefix, length) == 0)
            return colors[i].color;
    }
    return "#7a8794";
}
