/* SPDX-License-Identifier: Apache-2.0
 *
 * Makes a query that disagrees smaller: stages, items and keys are taken out, expressions are
 * replaced by their parts, as long as the verdict stays the same. Each step is tried and undone.
 */
#include "oracle.h"

#include <string.h>

struct shrinking {
    const struct universe *universe;
    struct pipe *pipe;
    uint32_t way;
    const struct outcome *first;
    uint32_t left; /* trials */
    bool smaller;
};

/* The same verdict, and the same message of a failure. */
static bool alike(const struct outcome *a, const struct outcome *b)
{
    bool failed = a->verdict == OURS_FAILED || a->verdict == SQL_FAILED;
    return a->verdict == b->verdict &&
           (!failed || (a->detail.size == b->detail.size &&
                        memcmp(a->detail.data, b->detail.data, a->detail.size) == 0));
}

/* True when the changed pipe still disagrees so. */
static bool holds(struct shrinking *s)
{
    struct columns columns;
    struct outcome outcome = {0};
    if (s->left == 0 || !pipe_columns(s->pipe, s->pipe->count, &columns))
        return false;
    s->left--;
    ask(s->universe, s->pipe, s->way, &outcome);
    bool same = alike(&outcome, s->first);
    kp_buf_deinit(&outcome.detail);
    s->smaller |= same;
    return same;
}

static void shrink_node(struct shrinking *s, struct node **at)
{
    struct node *node = *at;
    if (node->form == NULL)
        return;
    for (uint32_t i = 0; node->form->args[i] != '\0'; i++) {
        if (node->args[i]->type != node->type)
            continue;
        *at = node->args[i];
        if (holds(s)) {
            shrink_node(s, at);
            return;
        }
        *at = node;
    }
    for (uint32_t i = 0; node->form->args[i] != '\0'; i++)
        shrink_node(s, &node->args[i]);
}

/* Aggregates and row functions stay; their arguments get smaller. */
static void shrink_args(struct shrinking *s, struct node *node)
{
    for (uint32_t i = 0; node->form != NULL && node->form->args[i] != '\0'; i++)
        shrink_node(s, &node->args[i]);
}

static void shrink_items(struct shrinking *s, struct item *items, uint32_t *count, uint32_t least,
                         bool whole)
{
    for (uint32_t i = 0; i < *count;) {
        struct item gone = items[i];
        uint32_t after = *count - i - 1;
        if (*count > least) {
            memmove(&items[i], &items[i + 1], after * sizeof(*items));
            --*count;
            if (holds(s))
                continue;
            memmove(&items[i + 1], &items[i], after * sizeof(*items));
            ++*count;
            items[i] = gone;
        }
        if (whole)
            shrink_node(s, &items[i].node);
        else
            shrink_args(s, items[i].node);
        i++;
    }
}

static void shrink_stages(struct shrinking *s, struct pipe *pipe)
{
    for (uint32_t i = pipe->count; i-- > 0;) {
        struct stage *gone = pipe->stages[i];
        uint32_t after = pipe->count - i - 1;
        memmove(&pipe->stages[i], &pipe->stages[i + 1], after * sizeof(gone));
        pipe->count--;
        if (holds(s))
            continue;
        memmove(&pipe->stages[i + 1], &pipe->stages[i], after * sizeof(gone));
        pipe->stages[i] = gone;
        pipe->count++;
        if (gone->other != NULL)
            shrink_stages(s, gone->other);
        bool whole = gone->kind != STAGE_SUMMARIZE && gone->kind != STAGE_SERIALIZE &&
                     gone->kind != STAGE_DISTINCT;
        shrink_items(s, gone->items, &gone->items_count, gone->keys_count == 0, whole);
        shrink_items(s, gone->keys, &gone->keys_count, gone->items_count == 0, true);
    }
}

/* Columns that do not matter go last: one projection to what is left of the answer. */
void shrink(const struct universe *universe, struct pipe *pipe, uint32_t way,
            const struct outcome *outcome)
{
    struct shrinking s = {universe, pipe, way, outcome, 400, true};
    while (s.smaller && s.left > 0) {
        s.smaller = false;
        shrink_stages(&s, pipe);
    }
}
