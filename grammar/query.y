/* SPDX-License-Identifier: Apache-2.0
 *
 * The grammar. Rules only call ast.c; words that are keywords in their place come from parse.c and
 * fall back to names elsewhere. Conflicts: none, and the build fails when there is one.
 */
%include {
#include "query/ast.h"
}
%name kpi_parser
%token_type {struct kpi_token}
%extra_argument {struct kpi_parse *parse}
%stack_size 500

%fallback IDENT BY ASC DESC NULLS FIRST LAST FROM TO STEP AND OR IN BETWEEN STROP MATCHES REGEX OF
    WITHIN AT BASELINE MIN NONE ROW TXN TABLES COLUMNS NOTWORD ON
    SPAN THREAD PID WAIT EVENT IO HOST DEPTH EDGES PARTS ORACLE VS
    WITH WITH_ITEMINDEX BAGEXPANSION AS LIMIT DEFAULT OPTIONAL OUTPUT.

%left OR.
%left AND.
%left EQ LT STROP NOTWORD IN BETWEEN MATCHES ASSIGN.
%left PLUS MINUS.
%left STAR SLASH.
%right NEGATIVE.

%stack_overflow {
    struct kpi_token end = {.text = KP_STR("")};
    kpi_fail(parse->ctx, KP_LIMIT, end.place, "the query is nested too deeply");
    kpi_hint(parse->ctx, "split it with let or extend");
}
%syntax_error {
    const char *expected[YYNTOKEN];
    uint32_t count = 0;
    YYACTIONTYPE name = yy_find_shift_action(IDENT, yypParser->yytos->stateno);
    for (int code = 1; code < YYNTOKEN; code++) {
        YYACTIONTYPE action = yy_find_shift_action((YYCODETYPE)code, yypParser->yytos->stateno);
        bool as_name = code != IDENT && yyFallback[code] == IDENT && action == name;
        if (action != YY_ERROR_ACTION && !as_name)
            expected[count++] = yyTokenName[code];
    }
    if (yy_find_shift_action(0, yypParser->yytos->stateno) != YY_ERROR_ACTION)
        expected[count++] = "$";
    kpi_parse_unexpected(parse, &TOKEN, expected, count);
}

%type expr {struct kpi_node *}
%type primary {struct kpi_node *}
%type arguments {struct kpi_node *}
%type list {struct kpi_node *}
%type pipe {struct kpi_pipe *}
%type table {struct kpi_pipe *}
%type made {struct kpi_source *}
%type pipes {struct kpi_pipe *}
%type source {struct kpi_source *}
%type verb {struct kpi_source *}
%type culprits {struct kpi_source *}
%type root {struct kpi_root}
%type root_word {struct kpi_token}
%type stage {struct kpi_stage *}
%type params {struct kpi_items}
%type expand_params {struct kpi_items}
%type expansions {struct kpi_items}
%type expansion {struct kpi_item *}
%type parts {struct kpi_items}
%type part {struct kpi_item *}
%type settings {struct kpi_items}
%type hinted {struct kpi_items}
%type param {struct kpi_item *}
%type word {struct kpi_node *}
%type beside {struct kpi_pipe *}
%type items {struct kpi_items}
%type item {struct kpi_item *}
%type keys {struct kpi_items}
%type key {struct kpi_item *}
%type direction {struct kpi_item}
%type nulls {int}
%type call {struct kpi_node *}
%type argument {struct kpi_node *}
%type value {struct kpi_node *}
%type lambda {struct kpi_function *}
%type lets {struct kpi_items}
%type parameters {struct kpi_items}
%type parameter {struct kpi_item *}
%type several {struct kpi_items}
%type apply {struct kpi_pipe *}
%type series {struct kpi_items}
%type one_series {struct kpi_item *}
%type axis {struct kpi_stage *}
%type kind {struct kpi_node *}
%type declarations {struct kpi_items}
%type declaration {struct kpi_item *}
%type steps {struct kpi_steps}
%type scan_step {struct kpi_step *}
%type step_head {struct kpi_step *}
%type evaluation {struct kpi_stage *}
%type column_name {struct kpi_token}
%type rows_limit {struct kpi_node *}
%type sought {struct kpi_node *}
%type predicate {struct kpi_node *}
%type found {struct kpi_items}
%type found_columns {struct kpi_items}
%type found_column {struct kpi_item *}
%type levels {struct kpi_stage *}
%type level {struct kpi_stage *}
%type level_of {struct kpi_stage *}
%type columns {struct kpi_items}
%type patterns {struct kpi_items}
%type pattern {struct kpi_item *}

start ::= statement.
start ::= statement SEMI.

statement ::= lets(L) pipe(P). {
    parse->statement->lets = L;
    parse->statement->pipe = P;
}
statement ::= lets(L) EXPLAIN pipe(P). {
    parse->statement->explain = true;
    parse->statement->lets = L;
    parse->statement->pipe = P;
}
statement ::= lets(L) EXPLAIN ANALYZE pipe(P). {
    parse->statement->explain = parse->statement->analyze = true;
    parse->statement->lets = L;
    parse->statement->pipe = P;
}

lets(A) ::= . { A = (struct kpi_items){0}; }
lets(A) ::= lets(L) LET IDENT(N) ASSIGN expr(E) SEMI. {
    A = kpi_items_add(L, kpi_item_new(parse->ctx, &N, E));
}
lets(A) ::= lets(L) LET IDENT(N) ASSIGN table(P) SEMI. {
    struct kpi_item *let = kpi_item_new(parse->ctx, &N, NULL);
    if (let != NULL)
        let->pipe = P;
    A = kpi_items_add(L, let);
}
lets(A) ::= lets(L) LET IDENT(N) ASSIGN lambda(F) SEMI. {
    struct kpi_item *let = kpi_item_new(parse->ctx, &N, NULL);
    if (let != NULL)
        let->function = F;
    A = kpi_items_add(L, let);
}

/* --- functions of a query: (a: long, b: string = 'x', T: (*)) { let ...; body } --- */
lambda(A) ::= LPAREN RPAREN LBRACE lets(L) value(V) RBRACE. {
    A = kpi_function_new(parse->ctx, (struct kpi_items){0}, L, V);
}
lambda(A) ::= LPAREN parameters(P) RPAREN LBRACE lets(L) value(V) RBRACE. {
    A = kpi_function_new(parse->ctx, P, L, V);
}
lambda(A) ::= VIEW lambda(F). { A = F; }
value(A) ::= expr(E). { A = E; }
value(A) ::= expr(E) SEMI. { A = E; }
value(A) ::= table(P). { A = kpi_node_whole(parse->ctx, P); }
value(A) ::= table(P) SEMI. { A = kpi_node_whole(parse->ctx, P); }
parameters(A) ::= parameter(P). { A = kpi_items_add((struct kpi_items){0}, P); }
parameters(A) ::= parameters(L) COMMA parameter(P). { A = kpi_items_add(L, P); }
parameter(A) ::= declaration(D). { A = D; }
parameter(A) ::= IDENT(N) COLON LPAREN columns RPAREN. { A = kpi_item_new(parse->ctx, &N, NULL); }
parameter(A) ::= IDENT(N) COLON LPAREN STAR RPAREN. { A = kpi_item_new(parse->ctx, &N, NULL); }
declaration(A) ::= IDENT(N) COLON IDENT(T). {
    A = kpi_item_new(parse->ctx, &N, NULL);
    if (A != NULL)
        A->type = T.text;
}
declaration(A) ::= IDENT(N) COLON IDENT(T) ASSIGN expr(E). {
    A = kpi_item_new(parse->ctx, &N, E);
    if (A != NULL)
        A->type = T.text;
}

table(A) ::= made(S). { A = kpi_pipe_new(parse->ctx, S); }
table(A) ::= IDENT(N) PIPE stage(S). {
    A = kpi_pipe_new(parse->ctx, kpi_source_table(parse->ctx, &N));
    A = kpi_pipe_add(parse->ctx, A, S);
}
table(A) ::= call(C) PIPE stage(S). {
    A = kpi_pipe_new(parse->ctx, kpi_source_call(parse->ctx, C));
    A = kpi_pipe_add(parse->ctx, A, S);
}
table(A) ::= LPAREN table(P) RPAREN PIPE stage(S). { A = kpi_pipe_add(parse->ctx, P, S); }
table(A) ::= table(P) PIPE stage(S). { A = kpi_pipe_add(parse->ctx, P, S); }

pipe(A) ::= source(S). { A = kpi_pipe_new(parse->ctx, S); }
pipe(A) ::= LPAREN pipe(P) RPAREN. { A = P; }
pipe(A) ::= pipe(P) PIPE stage(S). { A = kpi_pipe_add(parse->ctx, P, S); }

/* --- sources --- */
source(A) ::= IDENT(N). { A = kpi_source_table(parse->ctx, &N); }
source(A) ::= LBRACKET STRING(N) RBRACKET. {
    N.text = N.value.str;
    A = kpi_source_table(parse->ctx, &N);
}
source(A) ::= call(C). { A = kpi_source_call(parse->ctx, C); }
source(A) ::= made(S). { A = S; }
made(A) ::= PRINT(W) items(I). {
    A = kpi_source_new(parse->ctx, KPI_SOURCE_PRINT, &W, W.text);
    if (A != NULL)
        A->items = I;
}
made(A) ::= RANGE(W) IDENT(N) FROM expr(F) TO expr(T) STEP expr(S). {
    A = kpi_source_new(parse->ctx, KPI_SOURCE_RANGE, &W, N.text);
    if (A != NULL)
        A->values = kpi_node_call(parse->ctx, &W, F, T, S);
}
made(A) ::= DATATABLE(W) LPAREN columns(C) RPAREN LBRACKET arguments(V) RBRACKET. {
    A = kpi_source_new(parse->ctx, KPI_SOURCE_DATATABLE, &W, W.text);
    if (A != NULL) {
        A->items = C;
        A->values = V;
    }
}
made(A) ::= UNION(W) params(O) pipes(P). {
    A = kpi_source_new(parse->ctx, KPI_SOURCE_UNION, &W, W.text);
    if (A != NULL) {
        A->params = O;
        A->pipes = P;
    }
}
made(A) ::= SEARCH(W) params(O) predicate(E). {
    A = kpi_source_new(parse->ctx, KPI_SOURCE_SEARCH, &W, W.text);
    if (A != NULL) {
        A->params = O;
        A->values = E;
    }
}
made(A) ::= SEARCH(W) params(O) IN LPAREN pipes(P) RPAREN predicate(E). {
    A = kpi_source_new(parse->ctx, KPI_SOURCE_SEARCH, &W, W.text);
    if (A != NULL) {
        A->params = O;
        A->pipes = P;
        A->values = E;
    }
}
made(A) ::= FIND(W) params(O) sought(E) found(C). {
    A = kpi_source_new(parse->ctx, KPI_SOURCE_FIND, &W, W.text);
    if (A != NULL) {
        A->params = O;
        A->values = E;
        A->items = C;
    }
}
made(A) ::= FIND(W) params(O) IN LPAREN pipes(P) RPAREN sought(E) found(C). {
    A = kpi_source_new(parse->ctx, KPI_SOURCE_FIND, &W, W.text);
    if (A != NULL) {
        A->params = O;
        A->pipes = P;
        A->values = E;
        A->items = C;
    }
}
sought(A) ::= predicate(E). { A = E; }
sought(A) ::= WHERE predicate(E). { A = E; }
predicate(A) ::= expr(E). { A = E; }
predicate(A) ::= STAR(S). { A = kpi_node_star(parse->ctx, &S); }
found(A) ::= . { A = (struct kpi_items){0}; }
found(A) ::= PROJECT_SMART. { A = (struct kpi_items){0}; }
found(A) ::= PROJECT found_columns(C). { A = C; }
found_columns(A) ::= found_column(C). { A = kpi_items_add((struct kpi_items){0}, C); }
found_columns(A) ::= found_columns(L) COMMA found_column(C). { A = kpi_items_add(L, C); }
found_column(A) ::= column_name(N). {
    A = kpi_item_new(parse->ctx, &N, kpi_node_name(parse->ctx, &N));
}
found_column(A) ::= column_name(N) COLON IDENT(T). {
    A = kpi_item_new(parse->ctx, &N, kpi_node_name(parse->ctx, &N));
    if (A != NULL)
        A->type = T.text;
}
found_column(A) ::= call(C). { A = kpi_item_new(parse->ctx, NULL, C); }
made(A) ::= SHOW(W) TABLES. {
    A = kpi_source_new(parse->ctx, KPI_SOURCE_SHOW_TABLES, &W, W.text);
}
made(A) ::= SHOW COLUMNS IDENT(N). {
    A = kpi_source_new(parse->ctx, KPI_SOURCE_SHOW_COLUMNS, &N, N.text);
}
made(A) ::= verb(V). { A = V; }

column_name(A) ::= IDENT(N). { A = N; }
column_name(A) ::= LBRACKET STRING(N) RBRACKET. {
    N.text = N.value.str;
    A = N;
}
columns(A) ::= column_name(N) COLON IDENT(T). {
    A = kpi_items_add((struct kpi_items){0},
                      kpi_item_new(parse->ctx, &N, kpi_node_name(parse->ctx, &T)));
}
columns(A) ::= columns(C) COMMA column_name(N) COLON IDENT(T). {
    A = kpi_items_add(C, kpi_item_new(parse->ctx, &N, kpi_node_name(parse->ctx, &T)));
}

pipes(A) ::= beside(P). { A = P; }
pipes(A) ::= pipes(L) COMMA beside(P). { A = kpi_pipe_join(L, P); }
pipes(A) ::= IDENT(N) STAR. {
    struct kpi_source *source = kpi_source_new(parse->ctx, KPI_SOURCE_PATTERN, &N, N.text);
    A = kpi_pipe_new(parse->ctx, source);
}
pipes(A) ::= pipes(L) COMMA IDENT(N) STAR. {
    struct kpi_source *source = kpi_source_new(parse->ctx, KPI_SOURCE_PATTERN, &N, N.text);
    A = kpi_pipe_join(L, kpi_pipe_new(parse->ctx, source));
}
pipes(A) ::= STAR(N). {
    struct kpi_source *source = kpi_source_new(parse->ctx, KPI_SOURCE_PATTERN, &N, KP_STR(""));
    A = kpi_pipe_new(parse->ctx, source);
}

/* --- causal verbs: parse.c hands names of roots and hosts over as one STRING --- */
root_word(A) ::= TXN|SPAN|THREAD|PID|WAIT|EVENT|IO(W). { A = W; }
root(A) ::= root_word(W) STRING(N). {
    A = (struct kpi_root){.word = W.code, .place = W.place, .name = N.value.str};
}
root(A) ::= root_word(W) STRING(N) BETWEEN primary(F) AND primary(T). {
    A = (struct kpi_root){.word = W.code, .place = W.place, .name = N.value.str, .from = F, .to = T};
}
verb(A) ::= CAUSES(W) OF root(R). { A = kpi_source_verb(parse->ctx, KPI_SOURCE_CAUSES, &W, &R); }
verb(A) ::= EVIDENCE(W) OF root(R). {
    A = kpi_source_verb(parse->ctx, KPI_SOURCE_EVIDENCE, &W, &R);
}
verb(A) ::= CHAIN(W) OF root(R). { A = kpi_source_verb(parse->ctx, KPI_SOURCE_CHAIN, &W, &R); }
verb(A) ::= BLOCKERS(W) OF root(R). {
    A = kpi_source_verb(parse->ctx, KPI_SOURCE_BLOCKERS, &W, &R);
}
verb(A) ::= EFFECTS(W) OF root(R). { A = kpi_source_verb(parse->ctx, KPI_SOURCE_EFFECTS, &W, &R); }
verb(A) ::= DIFF(W) CAUSES OF root(R) VS root(B). {
    A = kpi_source_verb(parse->ctx, KPI_SOURCE_DIFF, &W, &R);
    if (A != NULL)
        A->other = B;
}
verb(A) ::= culprits(V). { A = V; }
verb(A) ::= culprits(V) VS LPAREN pipe(P) RPAREN. {
    A = V;
    if (A != NULL)
        A->pipes = kpi_pipe_join(A->pipes, P);
}
culprits(A) ::= CULPRITS(W) OF LPAREN pipe(P) RPAREN. {
    A = kpi_source_new(parse->ctx, KPI_SOURCE_CULPRITS, &W, W.text);
    if (A != NULL)
        A->pipes = P;
}
verb(A) ::= verb(V) WITHIN expr(E). { A = V; if (A != NULL) A->within = E; }
verb(A) ::= verb(V) AT expr(E). { A = V; if (A != NULL) A->at = E; }
verb(A) ::= verb(V) AT ORDINAL(N). { A = V; if (A != NULL) A->pick = kpi_node_value(parse->ctx, &N); }
verb(A) ::= verb(V) AT HOST STRING(N). { A = V; if (A != NULL) A->host = N; }
verb(A) ::= verb(V) ORDINAL(N). { A = V; if (A != NULL) A->pick = kpi_node_value(parse->ctx, &N); }
verb(A) ::= verb(V) MIN expr(E). { A = V; if (A != NULL) A->min = E; }
verb(A) ::= verb(V) DEPTH expr(E). { A = V; if (A != NULL) A->depth = E; }
verb(A) ::= verb(V) EDGES IDENT(N). { A = V; if (A != NULL) A->edges = N; }
verb(A) ::= verb(V) ORACLE IDENT(N). { A = V; if (A != NULL) A->oracle = N; }
verb(A) ::= verb(V) PARTS. { A = V; if (A != NULL) A->parts = true; }
verb(A) ::= verb(V) BASELINE NONE. { A = V; if (A != NULL) A->baseline_none = true; }
verb(A) ::= verb(V) BASELINE LAST expr(E). { A = V; if (A != NULL) A->last = E; }
verb(A) ::= verb(V) BASELINE LPAREN pipe(P) RPAREN. { A = V; if (A != NULL) A->baseline = P; }
verb(A) ::= verb(V) ROW expr(E). { A = V; if (A != NULL) A->row = E; }

/* --- operators --- */
stage(A) ::= WHERE(W) expr(E). {
    A = kpi_stage_new(parse->ctx, KPI_STAGE_WHERE, &W);
    if (A != NULL)
        A->expr = E;
}
stage(A) ::= PROJECT(W) items(I). { A = kpi_stage_items(parse->ctx, KPI_STAGE_PROJECT, &W, I); }
stage(A) ::= EXTEND(W) items(I). { A = kpi_stage_items(parse->ctx, KPI_STAGE_EXTEND, &W, I); }
stage(A) ::= PROJECT_RENAME(W) items(I). {
    A = kpi_stage_items(parse->ctx, KPI_STAGE_PROJECT_RENAME, &W, I);
}
stage(A) ::= PROJECT_AWAY(W) patterns(I). {
    A = kpi_stage_items(parse->ctx, KPI_STAGE_PROJECT_AWAY, &W, I);
}
stage(A) ::= PROJECT_KEEP(W) patterns(I). {
    A = kpi_stage_items(parse->ctx, KPI_STAGE_PROJECT_KEEP, &W, I);
}
stage(A) ::= PROJECT_REORDER(W) patterns(I). {
    A = kpi_stage_items(parse->ctx, KPI_STAGE_PROJECT_REORDER, &W, I);
}
stage(A) ::= SUMMARIZE(W) hints items(I). {
    A = kpi_stage_items(parse->ctx, KPI_STAGE_SUMMARIZE, &W, I);
}
stage(A) ::= SUMMARIZE(W) hints items(I) BY items(B). {
    A = kpi_stage_items(parse->ctx, KPI_STAGE_SUMMARIZE, &W, I);
    if (A != NULL)
        A->by = B;
}
stage(A) ::= SUMMARIZE(W) hints BY items(B). {
    A = kpi_stage_new(parse->ctx, KPI_STAGE_SUMMARIZE, &W);
    if (A != NULL)
        A->by = B;
}
stage(A) ::= DISTINCT(W) hints items(I). {
    A = kpi_stage_items(parse->ctx, KPI_STAGE_DISTINCT, &W, I);
}
stage(A) ::= DISTINCT(W) hints STAR. { A = kpi_stage_new(parse->ctx, KPI_STAGE_DISTINCT, &W); }
stage(A) ::= COUNT(W). { A = kpi_stage_new(parse->ctx, KPI_STAGE_COUNT, &W); }
stage(A) ::= SORT(W) BY keys(K). { A = kpi_stage_items(parse->ctx, KPI_STAGE_SORT, &W, K); }
stage(A) ::= TOP(W) expr(E) BY keys(K). {
    A = kpi_stage_items(parse->ctx, KPI_STAGE_TOP, &W, K);
    if (A != NULL)
        A->expr = E;
}
stage(A) ::= TAKE(W) expr(E). {
    A = kpi_stage_new(parse->ctx, KPI_STAGE_TAKE, &W);
    if (A != NULL)
        A->expr = E;
}
stage(A) ::= UNION(W) params(O) pipes(P). {
    A = kpi_stage_new(parse->ctx, KPI_STAGE_UNION, &W);
    if (A != NULL) {
        A->params = O;
        A->pipes = P;
    }
}
stage(A) ::= SEARCH(W) params(O) predicate(E). {
    A = kpi_stage_new(parse->ctx, KPI_STAGE_SEARCH, &W);
    if (A != NULL) {
        A->params = O;
        A->expr = E;
    }
}
stage(A) ::= CONSUME(W) params. { A = kpi_stage_new(parse->ctx, KPI_STAGE_CONSUME, &W); }
stage(A) ::= PROJECT_BY_NAMES(W) items(I). {
    A = kpi_stage_items(parse->ctx, KPI_STAGE_PROJECT_BY_NAMES, &W, I);
}
stage(A) ::= ASSERT_SCHEMA(W) LPAREN columns(C) RPAREN. {
    A = kpi_stage_items(parse->ctx, KPI_STAGE_ASSERT_SCHEMA, &W, C);
}
stage(A) ::= REDUCE(W) params BY expr(E). {
    A = kpi_stage_new(parse->ctx, KPI_STAGE_REDUCE, &W);
    if (A != NULL)
        A->expr = E;
}
stage(A) ::= REDUCE(W) params BY expr(E) WITH settings(S). {
    A = kpi_stage_new(parse->ctx, KPI_STAGE_REDUCE, &W);
    if (A != NULL) {
        A->expr = E;
        A->params = S;
    }
}
stage(A) ::= levels(L). { A = L; }
levels(A) ::= TOP_NESTED(W) level(L). {
    A = L;
    if (A != NULL)
        A->place = W.place;
}
levels(A) ::= TOP_NESTED(W) level(L) COMMA levels(M). {
    A = L;
    if (A != NULL) {
        A->place = W.place;
        A->below = M;
    }
}
level(A) ::= OF level_of(L). { A = L; }
level(A) ::= expr(N) OF level_of(L). {
    A = L;
    if (A != NULL)
        A->expr = N;
}
level_of(A) ::= item(K) BY(W) item(B) direction(D). {
    A = kpi_stage_items(parse->ctx, KPI_STAGE_TOP_NESTED, &W,
                        kpi_items_add((struct kpi_items){0}, K));
    if (A != NULL && B != NULL) {
        B->ascending = D.ascending;
        A->by = kpi_items_add(A->by, B);
    }
}
level_of(A) ::= item(K) WITH IDENT ASSIGN expr(O) BY(W) item(B) direction(D). {
    A = kpi_stage_items(parse->ctx, KPI_STAGE_TOP_NESTED, &W,
                        kpi_items_add((struct kpi_items){0}, K));
    if (A != NULL && B != NULL && K != NULL) {
        K->otherwise = O;
        B->ascending = D.ascending;
        A->by = kpi_items_add(A->by, B);
    }
}
stage(A) ::= AS(W) hints IDENT(N). {
    A = kpi_stage_items(parse->ctx, KPI_STAGE_AS, &W,
                        kpi_items_add((struct kpi_items){0}, kpi_item_new(parse->ctx, &N, NULL)));
}
stage(A) ::= SERIALIZE(W). { A = kpi_stage_new(parse->ctx, KPI_STAGE_SERIALIZE, &W); }
stage(A) ::= SERIALIZE(W) items(I). { A = kpi_stage_items(parse->ctx, KPI_STAGE_SERIALIZE, &W, I); }
stage(A) ::= GETSCHEMA(W). { A = kpi_stage_new(parse->ctx, KPI_STAGE_GETSCHEMA, &W); }

stage(A) ::= JOIN(W) hinted(P) beside(T) ON items(K). {
    A = kpi_stage_beside(parse->ctx, KPI_STAGE_JOIN, &W, T, K);
    if (A != NULL)
        A->params = P;
}
stage(A) ::= LOOKUP(W) hinted(P) beside(T) ON items(K). {
    A = kpi_stage_beside(parse->ctx, KPI_STAGE_LOOKUP, &W, T, K);
    if (A != NULL)
        A->params = P;
}
stage(A) ::= ASOF(W) JOIN beside(T). {
    A = kpi_stage_beside(parse->ctx, KPI_STAGE_ASOF_JOIN, &W, T, (struct kpi_items){0});
}
stage(A) ::= ASOF(W) JOIN beside(T) ON items(K). {
    A = kpi_stage_beside(parse->ctx, KPI_STAGE_ASOF_JOIN, &W, T, K);
}

stage(A) ::= MV_EXPAND(W) expand_params(P) expansions(I) rows_limit(E). {
    A = kpi_stage_items(parse->ctx, KPI_STAGE_MV_EXPAND, &W, I);
    if (A != NULL) {
        A->params = P;
        A->expr = E;
    }
}
rows_limit(A) ::= . { A = NULL; }
rows_limit(A) ::= LIMIT expr(E). { A = E; }
stage(A) ::= PARSE(W) params(P) expr(E) WITH parts(I). {
    A = kpi_stage_items(parse->ctx, KPI_STAGE_PARSE, &W, I);
    if (A != NULL) {
        A->params = P;
        A->expr = E;
    }
}
stage(A) ::= PARSE_WHERE(W) params(P) expr(E) WITH parts(I). {
    A = kpi_stage_items(parse->ctx, KPI_STAGE_PARSE_WHERE, &W, I);
    if (A != NULL) {
        A->params = P;
        A->expr = E;
    }
}
stage(A) ::= PARSE_KV(W) expr(E) AS LPAREN columns(C) RPAREN. {
    A = kpi_stage_items(parse->ctx, KPI_STAGE_PARSE_KV, &W, C);
    if (A != NULL)
        A->expr = E;
}
stage(A) ::= PARSE_KV(W) expr(E) AS LPAREN columns(C) RPAREN WITH LPAREN settings(S) RPAREN. {
    A = kpi_stage_items(parse->ctx, KPI_STAGE_PARSE_KV, &W, C);
    if (A != NULL) {
        A->expr = E;
        A->params = S;
    }
}

stage(A) ::= INTERSECT(W) beside(T). {
    A = kpi_stage_beside(parse->ctx, KPI_STAGE_INTERSECT, &W, T, (struct kpi_items){0});
}
stage(A) ::= INTERSECT(W) beside(T) ON items(K). {
    A = kpi_stage_beside(parse->ctx, KPI_STAGE_INTERSECT, &W, T, K);
}
stage(A) ::= SUBTRACT(W) beside(T). {
    A = kpi_stage_beside(parse->ctx, KPI_STAGE_SUBTRACT, &W, T, (struct kpi_items){0});
}
stage(A) ::= SUBTRACT(W) beside(T) ON items(K). {
    A = kpi_stage_beside(parse->ctx, KPI_STAGE_SUBTRACT, &W, T, K);
}
stage(A) ::= WITHIN(W) expr(E) OF beside(T). {
    A = kpi_stage_beside(parse->ctx, KPI_STAGE_WITHIN, &W, T, (struct kpi_items){0});
    if (A != NULL)
        A->expr = E;
}
stage(A) ::= WITHIN(W) expr(E) OF beside(T) ON items(K). {
    A = kpi_stage_beside(parse->ctx, KPI_STAGE_WITHIN, &W, T, K);
    if (A != NULL)
        A->expr = E;
}
stage(A) ::= FLATTEN(W). { A = kpi_stage_new(parse->ctx, KPI_STAGE_FLATTEN, &W); }
stage(A) ::= FLATTEN(W) BY items(B). {
    A = kpi_stage_new(parse->ctx, KPI_STAGE_FLATTEN, &W);
    if (A != NULL)
        A->by = B;
}
stage(A) ::= COVERAGE(W). { A = kpi_stage_new(parse->ctx, KPI_STAGE_COVERAGE, &W); }
stage(A) ::= COVERAGE(W) BY items(B). {
    A = kpi_stage_new(parse->ctx, KPI_STAGE_COVERAGE, &W);
    if (A != NULL)
        A->by = B;
}

stage(A) ::= SELF_TIME(W). { A = kpi_stage_new(parse->ctx, KPI_STAGE_SELF_TIME, &W); }
stage(A) ::= SELF_TIME(W) BY items(B). {
    A = kpi_stage_new(parse->ctx, KPI_STAGE_SELF_TIME, &W);
    if (A != NULL)
        A->by = B;
}

stage(A) ::= EMIT(W) IDENT(N). {
    A = kpi_stage_new(parse->ctx, KPI_STAGE_EMIT, &W);
    if (A != NULL)
        A->expr = kpi_node_name(parse->ctx, &N);
}
stage(A) ::= SAMPLE(W) expr(E). {
    A = kpi_stage_new(parse->ctx, KPI_STAGE_SAMPLE, &W);
    if (A != NULL)
        A->expr = E;
}
stage(A) ::= SAMPLE_DISTINCT(W) expr(E) OF expr(C). {
    A = kpi_stage_items(parse->ctx, KPI_STAGE_SAMPLE_DISTINCT, &W,
                        kpi_items_add((struct kpi_items){0}, kpi_item_new(parse->ctx, NULL, C)));
    if (A != NULL)
        A->expr = E;
}
stage(A) ::= TOP_HITTERS(W) expr(E) OF item(C). {
    A = kpi_stage_items(parse->ctx, KPI_STAGE_TOP_HITTERS, &W,
                        kpi_items_add((struct kpi_items){0}, C));
    if (A != NULL)
        A->expr = E;
}
stage(A) ::= TOP_HITTERS(W) expr(E) OF item(C) BY item(B). {
    A = kpi_stage_items(parse->ctx, KPI_STAGE_TOP_HITTERS, &W,
                        kpi_items_add((struct kpi_items){0}, C));
    if (A != NULL) {
        A->expr = E;
        A->by = kpi_items_add((struct kpi_items){0}, B);
    }
}
stage(A) ::= PARTITION(W) hints BY IDENT(N) LPAREN apply(P) RPAREN. {
    struct kpi_item *key = kpi_item_new(parse->ctx, &N, kpi_node_name(parse->ctx, &N));
    A = kpi_stage_beside(parse->ctx, KPI_STAGE_PARTITION, &W, P,
                         kpi_items_add((struct kpi_items){0}, key));
}
stage(A) ::= MV_APPLY(W) expand_params(P) expansions(I) rows_limit(E) ON LPAREN apply(T) RPAREN. {
    A = kpi_stage_beside(parse->ctx, KPI_STAGE_MV_APPLY, &W, T, I);
    if (A != NULL) {
        A->params = P;
        A->expr = E;
    }
}
apply(A) ::= stage(S). { A = kpi_pipe_add(parse->ctx, kpi_pipe_new(parse->ctx, NULL), S); }
apply(A) ::= apply(P) PIPE stage(S). { A = kpi_pipe_add(parse->ctx, P, S); }

kind(A) ::= . { A = NULL; }
kind(A) ::= KIND ASSIGN word(K). { A = K; }
stage(A) ::= MAKE_SERIES(W) hints kind(K) series(I) axis(X). {
    A = X;
    if (A != NULL) {
        A->expr = K;
        A->place = W.place;
        A->items = I;
    }
}
stage(A) ::= MAKE_SERIES(W) hints kind(K) series(I) axis(X) BY items(B). {
    A = X;
    if (A != NULL) {
        A->expr = K;
        A->place = W.place;
        A->items = I;
        A->by = B;
    }
}
series(A) ::= one_series(S). { A = kpi_items_add((struct kpi_items){0}, S); }
series(A) ::= series(L) COMMA one_series(S). { A = kpi_items_add(L, S); }
one_series(A) ::= item(I). { A = I; }
one_series(A) ::= item(I) DEFAULT ASSIGN expr(D). {
    A = I;
    if (A != NULL)
        A->otherwise = D;
}
axis(A) ::= ON(W) item(T) FROM expr(F) TO expr(U) STEP expr(S). {
    A = kpi_stage_new(parse->ctx, KPI_STAGE_MAKE_SERIES, &W);
    if (A != NULL) {
        A->params = kpi_items_add((struct kpi_items){0}, T);
        A->from = F;
        A->to = U;
        A->step = S;
    }
}
axis(A) ::= ON(W) expr(T) IN call(C). {
    A = kpi_stage_new(parse->ctx, KPI_STAGE_MAKE_SERIES, &W);
    if (A != NULL && C != NULL && C->args_count == 3) {
        A->params = kpi_items_add((struct kpi_items){0}, kpi_item_new(parse->ctx, NULL, T));
        A->from = C->args[0];
        A->to = C->args[1];
        A->step = C->args[2];
    }
}
axis(A) ::= ON(W) item(T) STEP expr(S). {
    A = kpi_stage_new(parse->ctx, KPI_STAGE_MAKE_SERIES, &W);
    if (A != NULL) {
        A->params = kpi_items_add((struct kpi_items){0}, T);
        A->step = S;
    }
}

stage(A) ::= SCAN(W) params(P) WITH LPAREN steps(S) RPAREN. {
    A = kpi_stage_new(parse->ctx, KPI_STAGE_SCAN, &W);
    if (A != NULL) {
        A->params = P;
        A->steps = S;
    }
}
stage(A) ::= SCAN(W) params(P) DECLARE LPAREN declarations(D) RPAREN WITH LPAREN steps(S) RPAREN. {
    A = kpi_stage_items(parse->ctx, KPI_STAGE_SCAN, &W, D);
    if (A != NULL) {
        A->params = P;
        A->steps = S;
    }
}
declarations(A) ::= declaration(D). { A = kpi_items_add((struct kpi_items){0}, D); }
declarations(A) ::= declarations(L) COMMA declaration(D). { A = kpi_items_add(L, D); }
steps(A) ::= scan_step(S). { A = kpi_steps_add((struct kpi_steps){0}, S); }
steps(A) ::= steps(L) scan_step(S). { A = kpi_steps_add(L, S); }
scan_step(A) ::= step_head(H) COLON expr(E) SEMI. {
    A = H;
    if (A != NULL)
        A->condition = E;
}
scan_step(A) ::= step_head(H) COLON expr(E) ARROW items(I) SEMI. {
    A = H;
    if (A != NULL) {
        A->condition = E;
        A->assignments = I;
    }
}
step_head(A) ::= STEP IDENT(N). {
    A = kpi_step_new(parse->ctx, &N, NULL, (struct kpi_items){0});
}
step_head(A) ::= step_head(H) OPTIONAL. { A = H; if (A != NULL) A->optional = true; }
step_head(A) ::= step_head(H) OUTPUT ASSIGN IDENT(N). { A = H; if (A != NULL) A->output = N.text; }

stage(A) ::= evaluation(E). { A = E; }
stage(A) ::= evaluation(E) COLON LPAREN columns(C) RPAREN. {
    A = E;
    if (A != NULL)
        A->items = C;
}
evaluation(A) ::= EVALUATE(W) hints call(C). {
    A = kpi_stage_new(parse->ctx, KPI_STAGE_EVALUATE, &W);
    if (A != NULL)
        A->expr = C;
}
stage(A) ::= INVOKE(W) call(C). {
    A = kpi_stage_new(parse->ctx, KPI_STAGE_INVOKE, &W);
    if (A != NULL)
        A->expr = C;
}
stage(A) ::= RENDER(W) IDENT(N) params. {
    A = kpi_stage_new(parse->ctx, KPI_STAGE_RENDER, &W);
    if (A != NULL)
        A->expr = kpi_node_name(parse->ctx, &N);
}
stage(A) ::= RENDER(W) IDENT(N) params WITH LPAREN settings RPAREN. {
    A = kpi_stage_new(parse->ctx, KPI_STAGE_RENDER, &W);
    if (A != NULL)
        A->expr = kpi_node_name(parse->ctx, &N);
}

/* --- parts of operators --- */
expand_params(A) ::= . { A = (struct kpi_items){0}; }
expand_params(A) ::= expand_params(L) WITH_ITEMINDEX|BAGEXPANSION(N) ASSIGN word(V). {
    A = kpi_items_add(L, kpi_item_new(parse->ctx, &N, V));
}
expansions(A) ::= expansion(I). { A = kpi_items_add((struct kpi_items){0}, I); }
expansions(A) ::= expansions(L) COMMA expansion(I). { A = kpi_items_add(L, I); }
expansion(A) ::= item(I). { A = I; }
expansion(A) ::= item(I) TO IDENT LPAREN IDENT(T) RPAREN. {
    A = I;
    if (A != NULL)
        A->type = T.text;
}
parts(A) ::= part(I). { A = kpi_items_add((struct kpi_items){0}, I); }
parts(A) ::= parts(L) part(I). { A = kpi_items_add(L, I); }
part(A) ::= STAR(S). { A = kpi_item_new(parse->ctx, NULL, kpi_node_star(parse->ctx, &S)); }
part(A) ::= STRING(S). { A = kpi_item_new(parse->ctx, NULL, kpi_node_value(parse->ctx, &S)); }
part(A) ::= IDENT(N). { A = kpi_item_new(parse->ctx, &N, NULL); }
part(A) ::= IDENT(N) COLON IDENT(T). {
    A = kpi_item_new(parse->ctx, &N, NULL);
    if (A != NULL)
        A->type = T.text;
}
settings(A) ::= param(P). { A = kpi_items_add((struct kpi_items){0}, P); }
settings(A) ::= settings(L) COMMA param(P). { A = kpi_items_add(L, P); }
settings(A) ::= settings(L) COMMA IDENT. { A = L; }

params(A) ::= . { A = (struct kpi_items){0}; }
params(A) ::= params(L) param(P). { A = kpi_items_add(L, P); }
param(A) ::= IDENT(N) ASSIGN word(V). { A = kpi_item_new(parse->ctx, &N, V); }
hinted(A) ::= . { A = (struct kpi_items){0}; }
hinted(A) ::= hinted(L) param(P). { A = kpi_items_add(L, P); }
hinted(A) ::= hinted(L) HINT DOT IDENT ASSIGN word. { A = L; }
hints ::= .
hints ::= hints HINT DOT IDENT ASSIGN word.
word(A) ::= IDENT(N). { A = kpi_node_name(parse->ctx, &N); }
word(A) ::= VALUE|DURATION|STRING(T). { A = kpi_node_value(parse->ctx, &T); }
word(A) ::= MINUS VALUE(T). { A = kpi_node_value(parse->ctx, &T); }
word(A) ::= LBRACKET STRING(T) RBRACKET. {
    T.text = T.value.str;
    A = kpi_node_name(parse->ctx, &T);
}
beside(A) ::= LPAREN pipe(P) RPAREN. { A = P; }
beside(A) ::= IDENT(N). { A = kpi_pipe_new(parse->ctx, kpi_source_table(parse->ctx, &N)); }
beside(A) ::= call(C). { A = kpi_pipe_new(parse->ctx, kpi_source_call(parse->ctx, C)); }

items(A) ::= item(I). { A = kpi_items_add((struct kpi_items){0}, I); }
items(A) ::= items(L) COMMA item(I). { A = kpi_items_add(L, I); }
item(A) ::= expr(E). { A = kpi_item_new(parse->ctx, NULL, E); }
item(A) ::= IDENT(N) ASSIGN expr(E). { A = kpi_item_new(parse->ctx, &N, E); }

item(A) ::= LPAREN IDENT(N) COMMA several(M) RPAREN ASSIGN expr(E). {
    A = kpi_item_new(parse->ctx, &N, E);
    if (A != NULL) {
        A->names = kpi_items_add((struct kpi_items){0}, kpi_item_new(parse->ctx, &N, NULL));
        A->names.last->next = M.first;
        A->names.last = M.last;
        A->names.count += M.count;
    }
}
several(A) ::= IDENT(N). {
    A = kpi_items_add((struct kpi_items){0}, kpi_item_new(parse->ctx, &N, NULL));
}
several(A) ::= several(L) COMMA IDENT(N). {
    A = kpi_items_add(L, kpi_item_new(parse->ctx, &N, NULL));
}
item(A) ::= LBRACKET STRING(N) RBRACKET ASSIGN expr(E). {
    N.text = N.value.str;
    A = kpi_item_new(parse->ctx, &N, E);
}

keys(A) ::= key(I). { A = kpi_items_add((struct kpi_items){0}, I); }
keys(A) ::= keys(L) COMMA key(I). { A = kpi_items_add(L, I); }
key(A) ::= expr(E) direction(D) nulls(N). {
    A = kpi_item_new(parse->ctx, NULL, E);
    if (A != NULL) {
        A->ascending = D.ascending;
        A->nulls_first = N < 0 ? D.ascending : N > 0;
    }
}
direction(A) ::= . { A = (struct kpi_item){.ascending = false}; }
direction(A) ::= ASC. { A = (struct kpi_item){.ascending = true}; }
direction(A) ::= DESC. { A = (struct kpi_item){.ascending = false}; }
nulls(A) ::= . { A = -1; }
nulls(A) ::= NULLS FIRST. { A = 1; }
nulls(A) ::= NULLS LAST. { A = 0; }

patterns(A) ::= pattern(I). { A = kpi_items_add((struct kpi_items){0}, I); }
patterns(A) ::= patterns(L) COMMA pattern(I). { A = kpi_items_add(L, I); }
pattern(A) ::= IDENT(N). { A = kpi_item_new(parse->ctx, &N, NULL); }
pattern(A) ::= IDENT(N) STAR(S). {
    A = kpi_item_new(parse->ctx, &N, kpi_node_star(parse->ctx, &S));
}
pattern(A) ::= STAR(S). { A = kpi_item_new(parse->ctx, NULL, kpi_node_star(parse->ctx, &S)); }
pattern(A) ::= LBRACKET STRING(N) RBRACKET. {
    N.text = N.value.str;
    A = kpi_item_new(parse->ctx, &N, NULL);
}

/* --- expressions --- */
expr(A) ::= primary(P). { A = P; }
expr(A) ::= expr(L) OR(O) expr(R). { A = kpi_node_logic(parse->ctx, &O, L, R); }
expr(A) ::= expr(L) AND(O) expr(R). { A = kpi_node_logic(parse->ctx, &O, L, R); }
expr(A) ::= expr(L) EQ|LT|STROP|NOTWORD(O) expr(R). {
    A = kpi_node_call(parse->ctx, &O, L, R, NULL);
}
expr(A) ::= expr(L) PLUS|MINUS(O) expr(R). { A = kpi_node_call(parse->ctx, &O, L, R, NULL); }
expr(A) ::= expr(L) STAR|SLASH(O) expr(R). { A = kpi_node_call(parse->ctx, &O, L, R, NULL); }
expr(A) ::= expr(L) MATCHES(O) REGEX expr(R). [EQ] {
    A = kpi_node_call(parse->ctx, &O, L, R, NULL);
}
expr(A) ::= expr(L) IN(O) LPAREN list(R) RPAREN. { A = kpi_node_finish(parse->ctx, R, &O, L); }
expr(A) ::= expr(L) IN(O) LPAREN table(P) RPAREN. {
    A = kpi_node_call(parse->ctx, &O, L, kpi_node_whole(parse->ctx, P), NULL);
}
expr(A) ::= expr(L) BETWEEN(O) LPAREN expr(F) DOTDOT expr(T) RPAREN. {
    A = kpi_node_call(parse->ctx, &O, L, F, T);
}
expr(A) ::= MINUS(O) expr(E). [NEGATIVE] {
    O.text = KP_STR("negate");
    A = kpi_node_call(parse->ctx, &O, E, NULL, NULL);
}
expr(A) ::= PLUS expr(E). [NEGATIVE] { A = E; }

primary(A) ::= VALUE|DURATION|STRING(T). { A = kpi_node_value(parse->ctx, &T); }
primary(A) ::= IDENT(N). { A = kpi_node_name(parse->ctx, &N); }
primary(A) ::= LBRACKET STRING(N) RBRACKET. {
    N.text = N.value.str;
    A = kpi_node_name(parse->ctx, &N);
}
primary(A) ::= LPAREN expr(E) RPAREN. { A = E; if (A != NULL) A->parens = true; }
primary(A) ::= LPAREN table(P) RPAREN. { A = kpi_node_whole(parse->ctx, P); }
primary(A) ::= call(C). { A = C; }
call(A) ::= IDENT(N) LPAREN arguments(L) RPAREN. { A = kpi_node_finish(parse->ctx, L, &N, NULL); }
expr(A) ::= STAR(S) STROP|EQ(O) expr(R). {
    A = kpi_node_call(parse->ctx, &O, kpi_node_star(parse->ctx, &S), R, NULL);
}
primary(A) ::= primary(P) DOT(O) IDENT(N). {
    O.text = KP_STR("member");
    N.value = (struct kpi_value){.type = KP_TYPE_STR, .str = N.text};
    A = kpi_node_call(parse->ctx, &O, P, kpi_node_value(parse->ctx, &N), NULL);
}
primary(A) ::= primary(P) LBRACKET(O) expr(E) RBRACKET. {
    O.text = KP_STR("member");
    A = kpi_node_call(parse->ctx, &O, P, E, NULL);
}

arguments(A) ::= . { A = NULL; }
arguments(A) ::= list(L). { A = L; }
arguments(A) ::= list(L) COMMA. { A = L; }
arguments(A) ::= table(P). { A = kpi_node_append(parse->ctx, NULL, kpi_node_whole(parse->ctx, P)); }
list(A) ::= argument(E). { A = kpi_node_append(parse->ctx, NULL, E); }
list(A) ::= list(L) COMMA argument(E). { A = kpi_node_append(parse->ctx, L, E); }
argument(A) ::= expr(E). { A = E; }
argument(A) ::= STAR(S). { A = kpi_node_star(parse->ctx, &S); }
argument(A) ::= IDENT(N) ASSIGN expr(E). { A = kpi_node_label(E, &N); }
