/* SPDX-License-Identifier: Apache-2.0
 *
 * The causal graph in two texts: a tree for the terminal, the whole at its root and its causes as
 * leaves, and the language of Graphviz (https://graphviz.org/doc/info/lang.html) with the causes on
 * the left.
 *
 *   740.000 us  100.00 %  all of it
 *   440.000 us   59.45 %  |- payment-handler(2652)
 *   440.000 us   59.45 %  |  `- running
 *   270.000 us   36.48 %  `- settlement-svc(2841)
 *   100.000 us   13.51 %     `- runnable.preempted <- batch(4721)
 */
#include "base/assert.h"
#include "render/picture.h"

#define INDENT_MAX 128

static kp_status graph_begin(struct kp_render *render)
{
    struct kpi_picture *picture = NULL;
    kp_status status = kpi_picture_begin(render, &picture);
    if (status == KP_OK && !picture->causal)
        status = KP_INVALID;
    render->state = picture;
    return status;
}

static void graph_batch(struct kp_render *render, const struct kp_batch *batch)
{
    kpi_picture_batch(render, render->state, batch);
}

static void graph_deinit(struct kp_render *render)
{
    struct kpi_picture *picture = render->state;
    if (picture != NULL)
        kp_buf_deinit(&picture->text);
}

/* ---------- tree ---------- */

struct indent {
    bool last[INDENT_MAX]; /* per depth: nothing of it follows */
    uint32_t depth;
};

static void draw_indent(struct kp_render *render, const struct indent *indent)
{
    bool utf8 = render->term.utf8;
    for (uint32_t i = 0; i + 1 < indent->depth; i++)
        kp_buf_text(&render->out, indent->last[i] ? "   " : utf8 ? "\xE2\x94\x82  " : "|  ");
    if (indent->depth == 0)
        return;
    if (indent->last[indent->depth - 1])
        kp_buf_text(&render->out, utf8 ? "\xE2\x94\x94\xE2\x94\x80 " : "`- ");
    else
        kp_buf_text(&render->out, utf8 ? "\xE2\x94\x9C\xE2\x94\x80 " : "|- ");
}

static void draw_number(struct kp_render *render, struct kp_str text, uint32_t width)
{
    kpi_text_pad(&render->out, text, width, true, render->term.utf8);
    kp_buf_text(&render->out, "  ");
}

static void draw_node(struct kp_render *render, const struct kpi_picture *picture,
                      const struct kpi_node *node, const struct indent *indent)
{
    struct kp_buf *out = &render->out;
    struct kp_buf share = {0};
    char dur[KP_DUR_TEXT_MAX];
    kp_dur_format(node->dur, dur);
    kpi_picture_share(picture, node->dur, &share);
    draw_number(render, kp_str_from(dur), 10);
    if (!picture->chain)
        draw_number(render, (struct kp_str){share.data, (uint32_t)share.size}, 8);
    draw_indent(render, indent);
    kp_buf_deinit(&share);
    if (render->term.color && node->root)
        kp_buf_text(out, "\033[1;31m");
    bool cause = node->layer == 0;
    kpi_text_escape(out, cause ? node->kind : node->title);
    if (cause && node->title.len > 0) {
        kp_buf_text(out, " <- ");
        kpi_text_escape(out, node->title);
    } else if (node->kind.len > 0 && !cause) {
        kp_buf_text(out, "  ");
        kpi_text_escape(out, node->kind);
    }
    if (node->edge.len > 0)
        kp_buf_printf(out, "  by %.*s", (int)node->edge.len, node->edge.ptr);
    if (node->weak)
        kp_buf_text(out, "  (weak)");
    if (node->root)
        kp_buf_text(out, "  * root cause");
    if (render->term.color && node->root)
        kp_buf_text(out, "\033[0m");
    kp_buf_char(out, '\n');
}

/* The children of `up` from node i on; UINT32_MAX when there is none. */
static uint32_t next_child(const struct kpi_picture *picture, uint32_t up, uint32_t i)
{
    for (; i < picture->nodes_count; i++)
        if (picture->nodes[i].up == up)
            return i;
    return UINT32_MAX;
}

static void draw_tree(struct kp_render *render, const struct kpi_picture *picture, uint32_t at,
                      struct indent *indent)
{
    draw_node(render, picture, &picture->nodes[at], indent);
    if (indent->depth == INDENT_MAX)
        return;
    uint32_t child = next_child(picture, at, 0);
    while (child != UINT32_MAX) {
        uint32_t next = next_child(picture, at, child + 1);
        indent->last[indent->depth++] = next == UINT32_MAX;
        draw_tree(render, picture, child, indent);
        indent->depth--;
        child = next;
    }
}

static void graph_end(struct kp_render *render)
{
    struct kpi_picture *picture = render->state;
    struct indent indent = {.depth = 0};
    kpi_render_notes(render);
    if (picture->count == 0) {
        kp_buf_text(&render->out, "(no rows)\n");
        return;
    }
    if (!kpi_picture_nodes(render, picture)) {
        render->out.failed = true;
        return;
    }
    draw_tree(render, picture, 0, &indent);
    if (picture->skipped > 0)
        kp_buf_printf(&render->out, "(%llu more rows are not drawn)\n",
                      (unsigned long long)picture->skipped);
}

/* ---------- Graphviz ---------- */

/* Text inside a quoted string; \n begins a new line there. */
static void dot_text(struct kp_buf *out, struct kp_str text)
{
    struct kp_buf plain = {0};
    kpi_text_escape(&plain, text);
    for (size_t i = 0; i < plain.size; i++) {
        if (plain.data[i] == '"' || plain.data[i] == '\\')
            kp_buf_char(out, '\\');
        kp_buf_char(out, plain.data[i]);
    }
    kp_buf_deinit(&plain);
}

static void dot_node(struct kp_render *render, const struct kpi_picture *picture, uint32_t at)
{
    const struct kpi_node *node = &picture->nodes[at];
    struct kp_buf *out = &render->out;
    char dur[KP_DUR_TEXT_MAX];
    kp_dur_format(node->dur, dur);
    kp_buf_printf(out, "  n%u [label=\"", at);
    if (node->kind.len > 0) {
        dot_text(out, node->kind);
        kp_buf_text(out, "\\n");
    }
    if (node->title.len > 0) {
        dot_text(out, node->title);
        kp_buf_text(out, "\\n");
    }
    kp_buf_text(out, dur);
    kp_buf_printf(out, "\" color=\"%s\"",
                  node->kind.len > 0 ? kpi_picture_color(node->kind) : "#334455");
    kp_buf_text(out, node->root ? " penwidth=3" : "");
    kp_buf_text(out, node->weak ? " style=\"rounded,dashed\"];\n" : "];\n");
}

static void dot_edge(struct kp_render *render, const struct kpi_picture *picture, uint32_t at)
{
    const struct kpi_node *node = &picture->nodes[at];
    struct kp_buf *out = &render->out;
    kp_buf_printf(out, "  n%u -> n%u [label=\"", at, node->up);
    if (!picture->chain)
        kpi_picture_share(picture, node->dur, out);
    else if (at < picture->count)
        dot_text(out, picture->stretches[at].edge);
    kp_buf_printf(out, "\" penwidth=%d%s];\n",
                  1 + (int)((__int128)node->dur * 7 / KP_MAX(picture->sum, 1)),
                  node->weak ? " style=dashed" : "");
}

static void dot_comments(struct kp_render *render)
{
    for (uint32_t i = 0; i < render->notes_count; i++) {
        kp_buf_text(&render->out, "// ");
        kpi_text_escape(&render->out, render->notes[i]);
        kp_buf_char(&render->out, '\n');
    }
    if (render->failure != NULL) {
        kp_buf_text(&render->out, "// error: ");
        kpi_text_escape(&render->out, kp_str_from(render->failure->text));
        kp_buf_char(&render->out, '\n');
    }
}

static void dot_end(struct kp_render *render)
{
    struct kpi_picture *picture = render->state;
    if (!kpi_picture_nodes(render, picture)) {
        render->out.failed = true;
        return;
    }
    dot_comments(render);
    kp_buf_text(&render->out, "digraph causes {\n  rankdir=LR;\n"
                              "  node [shape=box style=rounded fontname=\"sans-serif\"];\n");
    for (uint32_t i = 0; i < picture->nodes_count; i++)
        dot_node(render, picture, i);
    for (uint32_t i = 0; i < picture->nodes_count; i++)
        if (picture->nodes[i].up != UINT32_MAX)
            dot_edge(render, picture, i);
    kp_buf_text(&render->out, "}\n");
}

const struct kpi_format kpi_format_graph = {
    "graph", "text/plain; charset=utf-8", true, graph_begin, graph_batch, graph_end, graph_deinit};
const struct kpi_format kpi_format_dot = {
    "dot",       "text/vnd.graphviz; charset=utf-8", true, graph_begin, graph_batch, dot_end,
    graph_deinit};
