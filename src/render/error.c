/* SPDX-License-Identifier: Apache-2.0
 *
 * An error as people read it:
 *
 *   kpq: unknown column 'comn' (line 1, column 21)
 *     sched_switch | where comn == "batch"
 *                          ^~~~
 *   hint: did you mean comm?
 */
#include "base/assert.h"
#include "render/render_int.h"

#define CARET_LINE_MAX 200 /* columns of query text shown around the caret, without a terminal */
#define CARET_LINE_MIN 20  /* a terminal narrower than this wraps it */

/* Line `number` (1-based) of text without its line end. */
static struct kp_str line_of(struct kp_str text, uint32_t number)
{
    uint32_t from = 0;
    for (uint32_t at = 0; at < text.len && number > 1; at++) {
        if (text.ptr[at] == '\n') {
            from = at + 1;
            number--;
        }
    }
    uint32_t to = from;
    while (to < text.len && text.ptr[to] != '\n' && text.ptr[to] != '\r')
        to++;
    return number > 1 ? (struct kp_str){NULL, 0} : (struct kp_str){text.ptr + from, to - from};
}

/* Adds a piece of the query line with tabs as spaces and the rest escaped; returns its columns. */
static uint32_t add_piece(struct kp_buf *out, struct kp_str piece)
{
    struct kp_buf text = {0};
    for (uint32_t i = 0; i < piece.len; i++) {
        if (piece.ptr[i] == '\t')
            kp_buf_char(&text, ' ');
        else
            kp_buf_char(&text, piece.ptr[i]);
    }
    struct kp_buf shown = {0};
    kpi_text_escape(&shown, (struct kp_str){text.data, (uint32_t)text.size});
    struct kp_str result = {shown.data, (uint32_t)shown.size};
    uint32_t width = kpi_text_width(result);
    kp_buf_str(out, result);
    kp_buf_deinit(&shown);
    kp_buf_deinit(&text);
    return width;
}

static uint32_t piece_width(struct kp_str line, uint32_t from, uint32_t to)
{
    struct kp_buf shown = {0};
    uint32_t width = add_piece(&shown, (struct kp_str){line.ptr + from, to - from});
    kp_buf_deinit(&shown);
    return width;
}

static bool inside_character(struct kp_str line, uint32_t at)
{
    return at > 0 && at < line.len && ((unsigned char)line.ptr[at] & 0xC0) == 0x80;
}

static uint32_t character_end(struct kp_str line, uint32_t at)
{
    do
        at++;
    while (inside_character(line, at));
    return KP_MIN(at, line.len);
}

static uint32_t character_begin(struct kp_str line, uint32_t at)
{
    while (inside_character(line, at))
        at--;
    return at;
}

/* Cuts the line to what stands around byte `at` in as many columns: two thirds before it. */
static void cut_around(struct kp_str line, uint32_t at, uint32_t columns, uint32_t *from,
                       uint32_t *to)
{
    *from = 0;
    *to = line.len;
    if (piece_width(line, 0, line.len) <= columns)
        return;
    *from = *to = at;
    uint32_t used = 0;
    for (uint32_t next = at; next > 0 && used < columns / 3 * 2; *from = next) {
        uint32_t before = character_begin(line, next - 1);
        used += piece_width(line, before, next);
        next = before;
    }
    while (*to < line.len) {
        uint32_t next = character_end(line, *to);
        used += piece_width(line, *to, next);
        if (used > columns)
            return;
        *to = next;
    }
}

static void add_caret(const struct kp_error *err, struct kp_str line, const struct kp_term *term,
                      struct kp_buf *out)
{
    uint32_t at = character_begin(line, KP_MIN(err->column - 1, line.len));
    uint32_t width = KP_MIN(KP_MAX(err->width, 1u), KP_MAX(line.len - at, 1u));
    uint32_t columns = term->width > CARET_LINE_MIN ? term->width - 3 : CARET_LINE_MAX;
    uint32_t from, to;
    cut_around(line, at, columns, &from, &to);
    uint32_t token_to = at < line.len ? character_end(line, at + width - 1) : at;
    token_to = KP_MIN(token_to, to);
    kp_buf_text(out, "  ");
    uint32_t before = add_piece(out, (struct kp_str){line.ptr + from, at - from});
    uint32_t marked = add_piece(out, (struct kp_str){line.ptr + at, KP_MAX(token_to, at) - at});
    add_piece(out, (struct kp_str){line.ptr + KP_MAX(token_to, at), to - KP_MAX(token_to, at)});
    kp_buf_printf(out, "\n%*s%s^", (int)before + 2, "", term->color ? "\033[1;31m" : "");
    for (uint32_t i = 1; i < marked; i++)
        kp_buf_char(out, '~');
    kp_buf_text(out, term->color ? "\033[0m\n" : "\n");
}

void kp_render_error(const struct kp_error *err, struct kp_str query_text, const char *program,
                     const struct kp_term *term, struct kp_buf *out)
{
    const char *text = err->text[0] != '\0' ? err->text : kp_status_text(err->code);
    kp_buf_printf(out, "%s%s:%s ", term->color ? "\033[1;31m" : "", program,
                  term->color ? "\033[0m" : "");
    kpi_text_escape(out, kp_str_from(text));
    if (err->line > 0 && err->column > 0)
        kp_buf_printf(out, " (line %u, column %u)", err->line, err->column);
    kp_buf_char(out, '\n');
    if (err->line > 0 && err->column > 0) {
        struct kp_str line = line_of(query_text, err->line);
        if (line.ptr != NULL && line.len > 0)
            add_caret(err, line, term, out);
    }
    if (err->hint[0] != '\0') {
        kp_buf_text(out, "hint: ");
        kpi_text_escape(out, kp_str_from(err->hint));
        kp_buf_char(out, '\n');
    }
}

void kp_render_error_json(const struct kp_error *err, struct kp_buf *out)
{
    const char *text = err->text[0] != '\0' ? err->text : kp_status_text(err->code);
    kp_buf_printf(out, "{\"code\":\"%s\",\"message\":", kp_status_name(err->code));
    kp_json_str(out, kp_str_from(text));
    kp_buf_printf(out, ",\"line\":%u,\"column\":%u,\"width\":%u,\"hint\":", err->line, err->column,
                  err->width);
    kp_json_str(out, kp_str_from(err->hint));
    kp_buf_char(out, '}');
}
