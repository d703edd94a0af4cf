/* SPDX-License-Identifier: Apache-2.0
 *
 * Line editing with history and completion for the shell. The only libedit user.
 */
#ifndef KP_TOOLS_LINEEDIT_H
#define KP_TOOLS_LINEEDIT_H

#include "base/str.h"

struct kpi_lineedit;

/* Names for the word that ends at byte `at` of text: calls each(each_ctx, name, what). */
typedef void (*kpi_complete_fn)(void *ctx, struct kp_str text, uint32_t at,
                                void (*each)(void *each_ctx, struct kp_str name, const char *what),
                                void *each_ctx);

/* The line as it is to look: text and sequences that change colours, nothing that moves. */
typedef void (*kpi_paint_fn)(void *ctx, struct kp_str line, struct kp_buf *out);

/* Opens the terminal's editor. history_path may be NULL (no history kept); the file is made with
 * mode 0600. *interrupted is what the handler of SIGINT sets; the caller clears it. */
kp_status kpi_lineedit_open(const char *history_path, const _Atomic bool *interrupted,
                            kpi_complete_fn complete, void *ctx, struct kpi_lineedit **out) KP_MUST;
void kpi_lineedit_close(struct kpi_lineedit *edit);
/* One line into out (cleared first, no line end). END: Ctrl-D on an empty line; CANCELLED: Ctrl-C.
 * before: the lines of the unfinished statement so far, for completion. */
kp_status kpi_lineedit_read(struct kpi_lineedit *edit, const char *prompt, struct kp_str before,
                            struct kp_buf *out) KP_MUST;
/* More than one line was typed or pasted: it can be read without waiting for the user. */
bool kpi_lineedit_more(struct kpi_lineedit *edit);
/* Colours lines while they are typed; NULL = no more. */
void kpi_lineedit_paint(struct kpi_lineedit *edit, kpi_paint_fn how);
/* Remembers a whole statement as one entry; the same one twice in a row is kept once. */
void kpi_lineedit_remember(struct kpi_lineedit *edit, struct kp_str statement);

#endif
