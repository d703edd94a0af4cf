/* SPDX-License-Identifier: Apache-2.0
 *
 * SVG 1.1: the causal graph, and below it the same rows on an axis in nanoseconds. What the rows
 * cannot give is left out: no graph without kinds, no timeline without instants.
 *
 * Three columns from left to right: what the time was and who was behind it, whose time it was, the
 * whole. The width of an edge is its share. All positions are integers, so the same rows give the
 * same bytes; texts are escaped, and characters that XML does not have become U+FFFD.
 */
#include <inttypes.h>

#include "base/assert.h"
#include "render/picture.h"

#define WIDTH      1180
#define MARGIN     20
#define NODE_W     310
#define NODE_H     46
#define NODE_STEP  58
#define MIDDLE     (MARGIN + NODE_W + 105) /* left of the middle column */
#define LANE_GAP   14                      /* more, between the causes of two lanes */
#define CHAIN_MAX  80
#define LANE_H     30
#define LANE_LABEL 250
#define LINE_H     16
#define TICKS      5
#define LABEL_MAX  40     /* narrow characters that fit in a box */
#define WIDE_FROM  0x1100 /* Hangul, and what follows: taken for twice as wide */

static kp_status svg_begin(struct kp_render *render)
{
    struct kpi_picture *picture = NULL;
    kp_status status = kpi_picture_begin(render, &picture);
    if (status == KP_OK && !picture->causal && !picture->timed)
        status = KP_INVALID;
    render->state = picture;
    return status;
}

static void svg_batch(struct kp_render *render, const struct kp_batch *batch)
{
    kpi_picture_batch(render, render->state, batch);
}

static void svg_deinit(struct kp_render *render)
{
    struct kpi_picture *picture = render->state;
    if (picture != NULL)
        kp_buf_deinit(&picture->text);
}

/* ---------- text ---------- */

static bool is_xml(uint32_t code)
{
    return code == '\t' || (code >= 0x20 && code <= 0xd7ff) || (code >= 0xe000 && code <= 0xfffd) ||
           code >= 0x10000;
}

static void xml_char(struct kp_buf *out, struct kp_str text, uint32_t at, uint32_t length)
{
    switch (text.ptr[at]) {
    case '&':
        kp_buf_text(out, "&amp;");
        return;
    case '<':
        kp_buf_text(out, "&lt;");
        return;
    case '>':
        kp_buf_text(out, "&gt;");
        return;
    case '"':
        kp_buf_text(out, "&quot;");
        return;
    default:
        kp_buf_add(out, text.ptr + at, length);
    }
}

/* At most `limit` narrow characters, or half as many wide ones (0 = all), then an ellipsis. Which
 * are wide does not depend on the locale: the same rows give the same bytes. */
static void xml_text(struct kp_buf *out, struct kp_str text, uint32_t limit)
{
    for (uint32_t at = 0, shown = 0; at < text.len;) {
        uint32_t code = 0, length = kpi_utf8_next(text, at, &code);
        shown += code >= WIDE_FROM ? 2 : 1;
        if (limit > 0 && shown > limit) {
            kp_buf_text(out, "\xE2\x80\xA6");
            return;
        }
        if (length == 0 || !is_xml(code))
            kp_buf_text(out, "\xEF\xBF\xBD");
        else
            xml_char(out, text, at, length);
        at += KP_MAX(length, 1u);
    }
}

static void line_text(struct kp_buf *out, int x, int y, const char *class, struct kp_str text,
                      uint32_t limit)
{
    kp_buf_printf(out, "<text x=\"%d\" y=\"%d\"%s%s%s>", x, y, class[0] != '\0' ? " class=\"" : "",
                  class, class[0] != '\0' ? "\"" : "");
    xml_text(out, text, limit);
    kp_buf_text(out, "</text>\n");
}

/* ---------- graph ---------- */

struct place {
    int x, y;
};

static struct kp_str buf_str(const struct kp_buf *buf)
{
    return (struct kp_str){buf->data, (uint32_t)buf->size};
}

static struct kp_str node_title(const struct kpi_node *node)
{
    return node->layer == 0 ? node->kind : node->title;
}

static void node_detail(const struct kpi_picture *picture, const struct kpi_node *node,
                        struct kp_buf *out)
{
    char dur[KP_DUR_TEXT_MAX];
    kp_dur_format(node->dur, dur);
    kp_buf_text(out, dur);
    if (!picture->chain) {
        kp_buf_text(out, "  ");
        kpi_picture_share(picture, node->dur, out);
    }
    struct kp_str more = node->layer == 0 ? node->title : node->kind;
    if (more.len > 0)
        kp_buf_printf(out, "  %.*s", (int)more.len, more.ptr);
    if (node->edge.len > 0)
        kp_buf_printf(out, ", by %.*s", (int)node->edge.len, node->edge.ptr);
}

static void draw_node(struct kp_render *render, const struct kpi_picture *picture, uint32_t at,
                      struct place place)
{
    const struct kpi_node *node = &picture->nodes[at];
    struct kp_buf *out = &render->out, detail = {0};
    const char *color = node->kind.len > 0 ? kpi_picture_color(node->kind) : "#334455";
    node_detail(picture, node, &detail);
    kp_buf_text(out, "<g><title>");
    xml_text(out, node_title(node), 0);
    kp_buf_text(out, "  ");
    xml_text(out, buf_str(&detail), 0);
    kp_buf_printf(out, " (%" PRId64 " ns, %u rows)</title>\n", node->dur, node->rows);
    kp_buf_printf(out,
                  "<rect x=\"%d\" y=\"%d\" width=\"%d\" height=\"%d\" rx=\"6\" class=\"node\" "
                  "stroke=\"%s\" stroke-width=\"%d\"%s/>\n",
                  place.x, place.y, NODE_W, NODE_H, color, node->root ? 4 : 2,
                  node->weak ? " stroke-dasharray=\"5 3\"" : "");
    line_text(out, place.x + 10, place.y + 19, node->root ? "root" : "head", node_title(node),
              LABEL_MAX - 6);
    line_text(out, place.x + 10, place.y + 37, "", buf_str(&detail), LABEL_MAX);
    kp_buf_text(out, "</g>\n");
    kp_buf_deinit(&detail);
}

static void draw_edge(struct kp_render *render, const struct kpi_picture *picture, uint32_t at,
                      const struct place *places)
{
    const struct kpi_node *node = &picture->nodes[at];
    struct place from = places[at], to = places[node->up];
    bool down = from.x == to.x; /* of a chain: one below the other */
    int x1 = from.x + (down ? NODE_W / 2 : NODE_W), y1 = from.y + (down ? 0 : NODE_H / 2);
    int x2 = to.x + (down ? NODE_W / 2 : 0), y2 = to.y + (down ? NODE_H : NODE_H / 2);
    int bend = down ? x1 : x1 + (x2 - x1) / 2, back = down ? x2 : x2 - (x2 - x1) / 2;
    kp_buf_printf(&render->out,
                  "<path d=\"M%d %d C%d %d %d %d %d %d\" class=\"edge\" stroke=\"%s\" "
                  "stroke-width=\"%d\"%s/>\n",
                  x1, y1, bend, y1, back, y2, x2, y2,
                  node->kind.len > 0 ? kpi_picture_color(node->kind) : "#334455",
                  1 + (int)((__int128)node->dur * 9 / KP_MAX(picture->sum, 1)),
                  node->weak ? " stroke-dasharray=\"6 4\"" : "");
}

/* A chain goes down in the middle column. Returns the height. */
static int place_chain(const struct kpi_picture *picture, struct place *places, int top)
{
    uint32_t drawn = KP_MIN(picture->nodes_count, (uint32_t)CHAIN_MAX);
    for (uint32_t i = 0; i < picture->nodes_count; i++)
        places[i] =
            i < drawn ? (struct place){MIDDLE, top + (int)i * NODE_STEP} : (struct place){-1, -1};
    return (int)drawn * NODE_STEP;
}

/* A node in the middle of those that point to it. */
static void centre(const struct kpi_picture *picture, struct place *places, uint32_t at, int top)
{
    int first = -1, last = top;
    for (uint32_t i = 0; i < picture->nodes_count; i++) {
        if (picture->nodes[i].up != at)
            continue;
        first = first < 0 ? places[i].y : first;
        last = places[i].y;
    }
    places[at].y = ((first < 0 ? top : first) + last) / 2;
}

/* Causes from top to bottom, lane by lane; lanes and the whole beside the middle of what is theirs.
 * Returns the height. */
static int place_nodes(const struct kpi_picture *picture, struct place *places, int top)
{
    static const int lefts[] = {MARGIN, MIDDLE, 2 * MIDDLE - MARGIN};
    uint32_t lane = UINT32_MAX;
    int y = top;
    if (picture->chain)
        return place_chain(picture, places, top);
    for (uint32_t i = 0; i < picture->nodes_count; i++) {
        const struct kpi_node *node = &picture->nodes[i];
        places[i] = (struct place){lefts[node->layer], top};
        if (node->layer > 0)
            continue;
        y += lane != UINT32_MAX && lane != node->up ? LANE_GAP : 0;
        lane = node->up;
        places[i].y = y;
        y += NODE_STEP;
    }
    for (uint32_t layer = 1; layer <= 2; layer++)
        for (uint32_t i = 0; i < picture->nodes_count; i++)
            if (picture->nodes[i].layer == layer)
                centre(picture, places, i, top);
    return KP_MAX(y - top, NODE_STEP);
}

static void draw_graph(struct kp_render *render, const struct kpi_picture *picture,
                       const struct place *places)
{
    for (uint32_t i = 0; i < picture->nodes_count; i++) {
        uint32_t up = picture->nodes[i].up;
        if (places[i].x >= 0 && up != UINT32_MAX && places[up].x >= 0)
            draw_edge(render, picture, i, places);
    }
    for (uint32_t i = 0; i < picture->nodes_count; i++)
        if (places[i].x >= 0)
            draw_node(render, picture, i, places[i]);
}

/* ---------- timeline ---------- */

struct axis {
    kp_time from;
    kp_dur length;
    struct kp_str lanes[KPI_PICTURE_NODES];
    uint32_t lanes_count;
};

static void axis_make(const struct kpi_picture *picture, struct axis *axis)
{
    kp_time to = KP_TIME_MIN;
    *axis = (struct axis){.from = KP_TIME_MAX};
    for (uint32_t i = 0; i < picture->count; i++) {
        const struct kpi_stretch *stretch = &picture->stretches[i];
        uint32_t lane = 0;
        if (!stretch->timed)
            continue;
        axis->from = KP_MIN(axis->from, stretch->start);
        to = KP_MAX(to, stretch->start + stretch->dur);
        while (lane < axis->lanes_count && !kp_str_equal(axis->lanes[lane], stretch->lane))
            lane++;
        if (lane == axis->lanes_count && lane < KPI_PICTURE_NODES)
            axis->lanes[axis->lanes_count++] = stretch->lane;
    }
    axis->length = axis->lanes_count == 0 ? 0 : KP_MAX(to - axis->from, 1);
}

static int x_of(const struct axis *axis, kp_time at)
{
    int room = WIDTH - 2 * MARGIN - LANE_LABEL;
    return MARGIN + LANE_LABEL + (int)((__int128)(at - axis->from) * room / axis->length);
}

static void draw_ticks(struct kp_render *render, const struct axis *axis, int top, int bottom)
{
    struct kp_buf *out = &render->out;
    for (int i = 0; i <= TICKS; i++) {
        kp_dur offset = (kp_dur)((__int128)axis->length * i / TICKS);
        struct kp_buf label = {0};
        int x = x_of(axis, axis->from + offset);
        kp_buf_char(&label, '+');
        kp_text_count(&label, offset);
        kp_buf_text(&label, i == TICKS ? " ns" : "");
        kp_buf_printf(out, "<path d=\"M%d %d V%d\" class=\"tick\"/>\n", x, top, bottom);
        kp_buf_printf(out, "<text x=\"%d\" y=\"%d\" class=\"%s\">", x, bottom + LINE_H,
                      i == TICKS ? "end" : "mid");
        xml_text(out, buf_str(&label), 0);
        kp_buf_text(out, "</text>\n");
        kp_buf_deinit(&label);
    }
}

static void draw_bar(struct kp_render *render, const struct axis *axis,
                     const struct kpi_stretch *stretch, int y)
{
    struct kp_buf *out = &render->out;
    int x = x_of(axis, stretch->start), end = x_of(axis, stretch->start + stretch->dur);
    kp_buf_text(out, "<g><title>");
    xml_text(out, stretch->what, 0);
    if (stretch->who.len > 0) {
        kp_buf_text(out, " &lt;- ");
        xml_text(out, stretch->who, 0);
    }
    kp_buf_text(out, "  +");
    kp_text_count(out, stretch->start - axis->from);
    kp_buf_text(out, " ns  ");
    kp_text_count(out, stretch->dur);
    kp_buf_printf(out,
                  " ns</title><rect x=\"%d\" y=\"%d\" width=\"%d\" height=\"%d\" fill=\"%s\"%s/>"
                  "</g>\n",
                  x, y + 4, KP_MAX(end - x, 1), LANE_H - 8, kpi_picture_color(stretch->what),
                  stretch->root ? " class=\"hot\"" : "");
}

static void draw_lanes(struct kp_render *render, const struct kpi_picture *picture,
                       const struct axis *axis, int top)
{
    for (uint32_t lane = 0; lane < axis->lanes_count; lane++) {
        int y = top + (int)lane * LANE_H;
        line_text(&render->out, MARGIN, y + 20, "", axis->lanes[lane], 36);
        for (uint32_t i = 0; i < picture->count; i++)
            if (picture->stretches[i].timed &&
                kp_str_equal(picture->stretches[i].lane, axis->lanes[lane]))
                draw_bar(render, axis, &picture->stretches[i], y);
    }
}

/* The kinds that occur, with their colours. */
static void draw_legend(struct kp_render *render, const struct kpi_picture *picture, int y)
{
    struct kp_str seen[24];
    uint32_t count = 0;
    int x = MARGIN;
    for (uint32_t i = 0; i < picture->count; i++) {
        struct kp_str what = picture->stretches[i].what;
        uint32_t k = 0;
        while (k < count && !kp_str_equal(seen[k], what))
            k++;
        if (k < count || count == KP_ARRAY_LEN(seen) || x > WIDTH - 180)
            continue;
        seen[count++] = what;
        kp_buf_printf(&render->out,
                      "<rect x=\"%d\" y=\"%d\" width=\"12\" height=\"12\" fill=\"%s\"/>\n", x,
                      y - 11, kpi_picture_color(what));
        line_text(&render->out, x + 18, y, "", what, 30);
        x += 40 + 8 * (int)KP_MIN(kpi_text_width(what), 31u);
    }
}

static int draw_timeline(struct kp_render *render, const struct kpi_picture *picture,
                         const struct axis *axis, int top)
{
    char from[KP_TIME_TEXT_MAX];
    struct kp_buf head = {0};
    int lanes = top + 3 * LINE_H, bottom = lanes + (int)axis->lanes_count * LANE_H;
    kp_time_format(axis->from, from);
    kp_buf_printf(&head, "from %s, ", from);
    kp_text_count(&head, axis->length);
    kp_buf_text(&head, " ns");
    line_text(&render->out, MARGIN, top, "head", buf_str(&head), 0);
    kp_buf_deinit(&head);
    draw_legend(render, picture, top + LINE_H + 8);
    draw_ticks(render, axis, lanes, bottom);
    draw_lanes(render, picture, axis, lanes);
    return bottom + 2 * LINE_H;
}

/* ---------- document ---------- */

static void draw_head(struct kp_render *render, int height)
{
    kp_buf_printf(&render->out,
                  "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%d\" "
                  "viewBox=\"0 0 %d %d\">\n"
                  "<style>text{font:13px sans-serif;fill:#1c2733}.head{font-weight:bold}"
                  ".root{font-weight:bold;fill:#b3261e}.note{font-size:12px;fill:#5a6672}"
                  ".mid{text-anchor:middle;font-size:11px}.end{text-anchor:end;font-size:11px}"
                  ".node{fill:#ffffff}.edge{fill:none;opacity:0.6}.tick{stroke:#d5dbe1;fill:none}"
                  ".hot{stroke:#b3261e;stroke-width:2}</style>\n"
                  "<rect width=\"100%%\" height=\"100%%\" fill=\"#f7f9fb\"/>\n",
                  WIDTH, height, WIDTH, height);
}

static uint32_t notes_lines(const struct kp_render *render)
{
    return render->notes_count + (render->failure != NULL);
}

static void draw_notes(struct kp_render *render)
{
    int y = MARGIN + 4;
    for (uint32_t i = 0; i < render->notes_count; i++, y += LINE_H)
        line_text(&render->out, MARGIN, y, "note", render->notes[i], 160);
    if (render->failure != NULL)
        line_text(&render->out, MARGIN, y, "root", kp_str_from(render->failure->text), 160);
}

static void svg_end(struct kp_render *render)
{
    struct kpi_picture *picture = render->state;
    struct axis *axis = kp_arena_alloc(&render->arena, sizeof(*axis));
    if (axis == NULL || !kpi_picture_nodes(render, picture)) {
        render->out.failed = true;
        return;
    }
    struct place *places =
        kp_arena_alloc(&render->arena, (picture->nodes_count + 1) * sizeof(*places));
    if (places == NULL) {
        render->out.failed = true;
        return;
    }
    int top = MARGIN + (int)notes_lines(render) * LINE_H + 10;
    int graph = picture->causal ? place_nodes(picture, places, top) : 0;
    axis_make(picture, axis);
    int below = top + graph + 2 * LINE_H;
    int lanes = axis->lanes_count == 0 ? 0 : ((int)axis->lanes_count * LANE_H + 6 * LINE_H);
    draw_head(render, below + lanes + MARGIN);
    draw_notes(render);
    if (picture->count == 0)
        line_text(&render->out, MARGIN, top + LINE_H, "head", KP_STR("no rows"), 0);
    else if (picture->causal)
        draw_graph(render, picture, places);
    if (axis->lanes_count > 0)
        draw_timeline(render, picture, axis, below);
    kp_buf_text(&render->out, "</svg>\n");
}

const struct kpi_format kpi_format_svg = {"svg",     "image/svg+xml", true,      svg_begin,
                                          svg_batch, svg_end,         svg_deinit};
