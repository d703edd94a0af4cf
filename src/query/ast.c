/* SPDX-License-Identifier: Apache-2.0
 *
 * Builds the tree. After the first failure every function gives NULL, so that grammar actions need
 * no checks of their own.
 */
#include "query/ast.h"

#include "base/assert.h"

static struct kpi_node *node_new(struct kpi_ctx *ctx, enum kpi_node_kind kind,
                                 struct kpi_place place)
{
    struct kpi_node *node = kpi_new(ctx, 1, sizeof(*node));
    if (node == NULL)
        return NULL;
    node->kind = kind;
    node->place = place;
    node->depth = 1;
    return node;
}

struct kpi_node *kpi_node_value(struct kpi_ctx *ctx, const struct kpi_token *token)
{
    struct kpi_node *node = node_new(ctx, KPI_NODE_VALUE, token->place);
    if (node == NULL)
        return NULL;
    node->value = token->value;
    node->name = token->text;
    node->quoted_double = token->quoted_double;
    return node;
}

struct kpi_node *kpi_node_name(struct kpi_ctx *ctx, const struct kpi_token *token)
{
    struct kpi_node *node = node_new(ctx, KPI_NODE_NAME, token->place);
    if (node == NULL)
        return NULL;
    node->name = token->text;
    return node;
}

struct kpi_node *kpi_node_star(struct kpi_ctx *ctx, const struct kpi_token *token)
{
    return node_new(ctx, KPI_NODE_STAR, token->place);
}

struct kpi_node *kpi_node_whole(struct kpi_ctx *ctx, struct kpi_pipe *pipe)
{
    struct kpi_node *node =
        pipe == NULL ? NULL : node_new(ctx, KPI_NODE_TABLE, pipe->source->place);
    if (node != NULL)
        node->pipe = pipe;
    return node;
}

struct kpi_node *kpi_node_label(struct kpi_node *node, const struct kpi_token *label)
{
    if (node != NULL)
        node->label = label->text;
    return node;
}

static bool grow_args(struct kpi_ctx *ctx, struct kpi_node *node)
{
    uint32_t capacity = node->args_capacity == 0 ? 4 : node->args_capacity * 2;
    struct kpi_node **args = kpi_new(ctx, capacity, sizeof(struct kpi_node *));
    if (args == NULL)
        return false;
    for (uint32_t i = 0; i < node->args_count; i++)
        args[i] = node->args[i];
    node->args = args;
    node->args_capacity = capacity;
    return true;
}

struct kpi_node *kpi_node_append(struct kpi_ctx *ctx, struct kpi_node *list, struct kpi_node *arg)
{
    if (arg == NULL || ctx->status != KP_OK)
        return NULL;
    if (list == NULL)
        list = node_new(ctx, KPI_NODE_CALL, arg->place);
    if (list == NULL || (list->args_count == list->args_capacity && !grow_args(ctx, list)))
        return NULL;
    list->args[list->args_count++] = arg;
    if (arg->depth + 1 > list->depth)
        list->depth = arg->depth + 1;
    if (list->depth > KPI_DEPTH_MAX) {
        kpi_fail(ctx, KP_LIMIT, arg->place, "the expression is nested more than %d deep",
                 KPI_DEPTH_MAX);
        kpi_hint(ctx, "split it with extend or let");
        return NULL;
    }
    return list;
}

struct kpi_node *kpi_node_call(struct kpi_ctx *ctx, const struct kpi_token *name,
                               struct kpi_node *a, struct kpi_node *b, struct kpi_node *c)
{
    struct kpi_node *args[] = {a, b, c}, *list = NULL;
    for (uint32_t i = 0; i < 3 && args[i] != NULL; i++)
        list = kpi_node_append(ctx, list, args[i]);
    if (list == NULL)
        return NULL;
    list->name = name->text;
    list->place = name->place;
    return list;
}

struct kpi_node *kpi_node_finish(struct kpi_ctx *ctx, struct kpi_node *list,
                                 const struct kpi_token *name, struct kpi_node *first)
{
    if (ctx->status != KP_OK)
        return NULL;
    if (list == NULL)
        list = node_new(ctx, KPI_NODE_CALL, name->place);
    if (list == NULL)
        return NULL;
    if (first != NULL) {
        list = kpi_node_append(ctx, list, first);
        if (list == NULL)
            return NULL;
        for (uint32_t i = list->args_count - 1; i > 0; i--)
            list->args[i] = list->args[i - 1];
        list->args[0] = first;
    }
    list->name = name->text;
    list->place = name->place;
    return list;
}

struct kpi_node *kpi_node_logic(struct kpi_ctx *ctx, const struct kpi_token *name,
                                struct kpi_node *left, struct kpi_node *right)
{
    bool chain = left != NULL && left->kind == KPI_NODE_CALL && !left->parens &&
                 kp_str_equal_nocase(left->name, name->text);
    if (chain)
        return kpi_node_append(ctx, left, right);
    return kpi_node_call(ctx, name, left, right, NULL);
}

struct kpi_item *kpi_item_new(struct kpi_ctx *ctx, const struct kpi_token *name,
                              struct kpi_node *expr)
{
    struct kpi_item *item = kpi_new(ctx, 1, sizeof(*item));
    if (item == NULL)
        return NULL;
    item->expr = expr;
    if (name != NULL)
        item->name = name->text;
    item->place = name != NULL ? name->place : expr != NULL ? expr->place : (struct kpi_place){0};
    return item;
}

struct kpi_items kpi_items_add(struct kpi_items items, struct kpi_item *item)
{
    if (item == NULL)
        return items;
    if (items.last == NULL)
        items.first = item;
    else
        items.last->next = item;
    items.last = item;
    items.count++;
    return items;
}

struct kpi_stage *kpi_stage_new(struct kpi_ctx *ctx, enum kpi_stage_kind kind,
                                const struct kpi_token *word)
{
    struct kpi_stage *stage = kpi_new(ctx, 1, sizeof(*stage));
    if (stage == NULL)
        return NULL;
    stage->kind = kind;
    stage->place = word->place;
    return stage;
}

struct kpi_stage *kpi_stage_items(struct kpi_ctx *ctx, enum kpi_stage_kind kind,
                                  const struct kpi_token *word, struct kpi_items items)
{
    struct kpi_stage *stage = kpi_stage_new(ctx, kind, word);
    if (stage != NULL)
        stage->items = items;
    return stage;
}

struct kpi_stage *kpi_stage_beside(struct kpi_ctx *ctx, enum kpi_stage_kind kind,
                                   const struct kpi_token *word, struct kpi_pipe *pipe,
                                   struct kpi_items items)
{
    struct kpi_stage *stage = kpi_stage_items(ctx, kind, word, items);
    if (stage != NULL)
        stage->pipes = pipe;
    return stage;
}

struct kpi_source *kpi_source_new(struct kpi_ctx *ctx, enum kpi_source_kind kind,
                                  const struct kpi_token *word, struct kp_str name)
{
    struct kpi_source *source = kpi_new(ctx, 1, sizeof(*source));
    if (source == NULL)
        return NULL;
    source->kind = kind;
    source->place = word->place;
    source->name = name;
    return source;
}

struct kpi_source *kpi_source_verb(struct kpi_ctx *ctx, enum kpi_source_kind kind,
                                   const struct kpi_token *word, const struct kpi_root *root)
{
    struct kpi_source *source = kpi_source_new(ctx, kind, word, root->name);
    if (source != NULL)
        source->root = *root;
    return source;
}

struct kpi_source *kpi_source_table(struct kpi_ctx *ctx, const struct kpi_token *name)
{
    return kpi_source_new(ctx, KPI_SOURCE_TABLE, name, name->text);
}

struct kpi_source *kpi_source_call(struct kpi_ctx *ctx, struct kpi_node *call)
{
    if (call == NULL)
        return NULL;
    struct kpi_token word = {.place = call->place};
    struct kpi_source *source = kpi_source_new(ctx, KPI_SOURCE_CALL, &word, call->name);
    if (source != NULL)
        source->values = call;
    return source;
}

struct kpi_function *kpi_function_new(struct kpi_ctx *ctx, struct kpi_items params,
                                      struct kpi_items lets, struct kpi_node *body)
{
    struct kpi_function *function = body == NULL ? NULL : kpi_new(ctx, 1, sizeof(*function));
    if (function != NULL)
        *function = (struct kpi_function){params, lets, body};
    return function;
}

struct kpi_step *kpi_step_new(struct kpi_ctx *ctx, const struct kpi_token *name,
                              struct kpi_node *condition, struct kpi_items assignments)
{
    struct kpi_step *step = kpi_new(ctx, 1, sizeof(*step));
    if (step == NULL)
        return NULL;
    step->name = name->text;
    step->place = name->place;
    step->condition = condition;
    step->assignments = assignments;
    return step;
}

struct kpi_steps kpi_steps_add(struct kpi_steps steps, struct kpi_step *step)
{
    if (step == NULL)
        return steps;
    if (steps.last == NULL)
        steps.first = step;
    else
        steps.last->next = step;
    steps.last = step;
    steps.count++;
    return steps;
}

struct kpi_pipe *kpi_pipe_new(struct kpi_ctx *ctx, struct kpi_source *source)
{
    struct kpi_pipe *pipe = kpi_new(ctx, 1, sizeof(*pipe));
    if (pipe == NULL || ctx->status != KP_OK)
        return NULL;
    pipe->source = source;
    return pipe;
}

/* A picture of when things were is drawn from stretches, not from their sums. */
static bool draws_stretches(const struct kpi_stage *stage)
{
    static const char *const names[] = {"states", "spans", "timeline", "svg"};
    bool draws = stage->kind == KPI_STAGE_EMIT || stage->kind == KPI_STAGE_RENDER;
    for (size_t i = 0; draws && stage->expr != NULL && i < KP_ARRAY_LEN(names); i++)
        if (kp_str_equal_nocase(stage->expr->name, kp_str_from(names[i])))
            return true;
    return false;
}

struct kpi_pipe *kpi_pipe_add(struct kpi_ctx *ctx, struct kpi_pipe *pipe, struct kpi_stage *stage)
{
    if (pipe == NULL || stage == NULL || ctx->status != KP_OK)
        return NULL;
    if (++pipe->count > KPI_STAGES_MAX) {
        kpi_fail(ctx, KP_LIMIT, stage->place, "more than %d operators in one query",
                 KPI_STAGES_MAX);
        return NULL;
    }
    if (pipe->source != NULL && draws_stretches(stage))
        pipe->source->parts = true;
    if (pipe->last == NULL)
        pipe->first = stage;
    else
        pipe->last->next = stage;
    pipe->last = stage;
    return pipe;
}

struct kpi_pipe *kpi_pipe_join(struct kpi_pipe *list, struct kpi_pipe *pipe)
{
    if (list == NULL)
        return NULL;
    struct kpi_pipe *last = list;
    while (last->next != NULL)
        last = last->next;
    last->next = pipe;
    return list;
}
