/* SPDX-License-Identifier: Apache-2.0
 *
 * Tokens of the query language. Words are all IDENT here: which of them are keywords depends on
 * where they stand, and parse.c decides that, so that columns may be called `count` or `order`.
 * Literals arrive with their value: durations in ns, datetimes in ns since the epoch.
 */
#include "base/assert.h"
#include "build/gen/query.h"
#include "query/parse.h"

#define YYCTYPE unsigned char

struct kpi_lexer kpi_lexer_init(struct kpi_ctx *ctx)
{
    const unsigned char *text = (const unsigned char *)ctx->text.ptr;
    return (struct kpi_lexer){ctx, text, text + ctx->text.len};
}

static void set_text(struct kpi_lexer *lexer, const unsigned char *from, int code,
                     struct kpi_token *out)
{
    const unsigned char *start = (const unsigned char *)lexer->ctx->text.ptr;
    *out = (struct kpi_token){.code = code};
    out->place = (struct kpi_place){(uint32_t)(from - start), (uint32_t)(lexer->at - from)};
    out->text = (struct kp_str){(const char *)from, out->place.len};
}

static void refuse(struct kpi_lexer *lexer, struct kpi_token *out, const char *what,
                   const char *hint)
{
    kpi_fail(lexer->ctx, KP_INVALID, out->place, "%s", what);
    kpi_hint(lexer->ctx, "%s", hint);
    out->code = -1;
}

static void unclosed(struct kpi_lexer *lexer, struct kpi_token *out, const char *what,
                     const char *hint)
{
    refuse(lexer, out, what, hint);
    lexer->ctx->ended_early = true;
}

static void literal(struct kpi_lexer *lexer, struct kpi_token *out, bool good)
{
    if (!good && lexer->ctx->status == KP_OK) {
        kpi_fail(lexer->ctx, KP_INVALID, out->place, "'%.*s' is not a value",
                 (int)KP_MIN(out->text.len, 60u), out->text.ptr);
        kpi_hint(lexer->ctx, "longs fit in 64 bits; decimal(12.50), datetime(2026-11-23T03:47:00.123456789Z), "
                             "timespan(01:02:03.5), 'text' with \\n \\t \\\\ \\' \\u0041");
    }
    if (lexer->ctx->status != KP_OK)
        out->code = -1;
}

/* A string; the h before an obfuscated one (h'...') is no part of it. */
static void quoted(struct kpi_lexer *lexer, const unsigned char *from, struct kpi_token *out)
{
    set_text(lexer, from, STRING, out);
    if (*from == 'h' || *from == 'H') {
        out->text.ptr++;
        out->text.len--;
    }
}

/* dynamic( has been read: the text up to its closing bracket, strings respected. */
static void dynamic_tail(struct kpi_lexer *lexer, const unsigned char *from, struct kpi_token *out)
{
    const unsigned char *body = lexer->at;
    int depth = 1;
    unsigned char quote = 0;
    for (; lexer->at < lexer->end; lexer->at++) {
        unsigned char c = *lexer->at;
        if (quote != 0) {
            if (c == '\\' && lexer->at + 1 < lexer->end)
                lexer->at++;
            else if (c == quote)
                quote = 0;
        } else if (c == '"' || c == '\'') {
            quote = c;
        } else if (c == '(') {
            depth++;
        } else if (c == ')' && --depth == 0) {
            break;
        }
    }
    struct kp_str text = {(const char *)body, (uint32_t)(lexer->at - body)};
    bool closed = lexer->at < lexer->end;
    lexer->at += closed;
    set_text(lexer, from, VALUE, out);
    if (!closed)
        unclosed(lexer, out, "dynamic( is not closed", "add the missing )");
    else
        literal(lexer, out, kpi_literal_dynamic(lexer->ctx, text, &out->value));
}

/* type(text) has been read; when the text is no literal only the word counts: it is a call. */
static void typed_literal(struct kpi_lexer *lexer, const unsigned char *from, struct kpi_token *out)
{
    int good = kpi_literal_typed(out->text, &out->value);
    if (good == 0) {
        lexer->at = from;
        while (*lexer->at >= 'a' && *lexer->at <= 'z')
            lexer->at++;
        set_text(lexer, from, IDENT, out);
    }
    literal(lexer, out, good >= 0);
}

void kpi_lex(struct kpi_lexer *lexer, struct kpi_token *out)
{
    const unsigned char *marker, *from;
#define YYCURSOR lexer->at
#define YYLIMIT  lexer->end
#define YYMARKER marker
#define TOKEN(code_) do { set_text(lexer, from, code_, out); return; } while (0)
    for (;;) {
        from = lexer->at;
        /*!re2c
        re2c:yyfill:enable = 0;
        re2c:eof = 0;
        re2c:flags:tags = 0;

        blank   = [ \t\r\n];
        digit   = [0-9];
        letter  = [A-Za-z_];
        ident   = letter (letter | digit)*;
        exp     = [eE] [-+]? digit+;
        number  = digit+ ("." digit+)?;
        hidden  = [hH]?;
        single  = ['] ([^'\\\x00] | "\\" [^\x00])*;
        double  = ["] ([^"\\\x00] | "\\" [^\x00])*;
        raw1    = "@'" ([^'\x00] | "''")*;
        raw2    = "@\"" ([^"\x00] | "\"\"")*;
        typed   = "long" | "int" | "real" | "double" | "bool" | "boolean" | "string"
                | "datetime" | "date" | "timespan" | "time" | "decimal";
        plain   = [^()\x00\n'",=<>]*;

        $               { TOKEN(0); }
        blank+          { continue; }
        "//" [^\n\x00]* { continue; }

        digit+          { set_text(lexer, from, VALUE, out);
                          literal(lexer, out, kpi_literal_long(out->text, &out->value)); return; }
        "0" [xX] [0-9a-fA-F]+
                        { set_text(lexer, from, VALUE, out);
                          literal(lexer, out, kpi_literal_long(out->text, &out->value)); return; }
        digit+ "." digit+ exp? | digit+ exp
                        { set_text(lexer, from, VALUE, out);
                          literal(lexer, out, kpi_literal_real(out->text, &out->value)); return; }
        digit+ "." / [^.0-9a-zA-Z_]
                        { set_text(lexer, from, VALUE, out);
                          literal(lexer, out, kpi_literal_real(out->text, &out->value)); return; }
        number letter+
                        { set_text(lexer, from, DURATION, out);
                          if (!kpi_literal_duration(out->text, &out->value))
                              refuse(lexer, out, "not a number or a duration",
                                     "durations are 5ns 5us 5ms 5s 5m 5h 5d");
                          return; }

        hidden (single ['] | double ["])
                        { quoted(lexer, from, out);
                          out->quoted_double = *out->text.ptr == '"';
                          literal(lexer, out, kpi_literal_string(lexer->ctx, out->text, &out->value));
                          return; }
        hidden (raw1 ['] | raw2 ["])
                        { quoted(lexer, from, out);
                          literal(lexer, out, kpi_literal_raw(lexer->ctx, out->text, &out->value));
                          return; }
        hidden (single | double | raw1 | raw2)
                        { set_text(lexer, from, STRING, out);
                          unclosed(lexer, out, "this string is not closed", "add the closing quote");
                          return; }

        typed blank* "(" plain ")"
                        { set_text(lexer, from, VALUE, out);
                          typed_literal(lexer, from, out); return; }
        "dynamic" blank* "("
                        { dynamic_tail(lexer, from, out); return; }

        ident           { TOKEN(IDENT); }
        "$left" | "$right" | "$table"
                        { TOKEN(IDENT); }
        "in~"           { TOKEN(IN); }
        "!" ident "~"?  { TOKEN(NOTWORD); }
        "#" digit+      { set_text(lexer, from, ORDINAL, out);
                          struct kp_str number = {out->text.ptr + 1, out->text.len - 1};
                          literal(lexer, out, kpi_literal_long(number, &out->value)); return; }

        "|"  { TOKEN(PIPE); }     ";"  { TOKEN(SEMI); }     ","  { TOKEN(COMMA); }
        "("  { TOKEN(LPAREN); }   ")"  { TOKEN(RPAREN); }
        "["  { TOKEN(LBRACKET); } "]"  { TOKEN(RBRACKET); }
        "{"  { TOKEN(LBRACE); }   "}"  { TOKEN(RBRACE); }   "=>" { TOKEN(ARROW); }
        ".." { TOKEN(DOTDOT); }   "."  { TOKEN(DOT); }      ":"  { TOKEN(COLON); }
        "==" { TOKEN(EQ); }       "=~" { TOKEN(EQ); }       "!~" { TOKEN(EQ); }
        "!=" { TOKEN(EQ); }       "<>" { TOKEN(EQ); }       "="  { TOKEN(ASSIGN); }
        "<"  { TOKEN(LT); }       "<=" { TOKEN(LT); }
        ">"  { TOKEN(LT); }       ">=" { TOKEN(LT); }
        "+"  { TOKEN(PLUS); }     "-"  { TOKEN(MINUS); }
        "*"  { TOKEN(STAR); }     "/"  { TOKEN(SLASH); }    "%"  { TOKEN(SLASH); }

        *    { set_text(lexer, from, 0, out);
               if (*from == '`') {
                   kpi_fail(lexer->ctx, KP_UNSUPPORTED, out->place, "a backquote is no part of a query");
                   kpi_hint(lexer->ctx, "nearest form: ['such a name'], 'such a text'");
               }
               refuse(lexer, out, *from < 0x20 || *from == 0x7f ? "a control character is not allowed here"
                                  : *from >= 0x80 ? "letters outside ASCII belong in quotes"
                                                  : "this character has no meaning here",
                      "names are letters, digits and _; text goes in 'quotes'"); return; }
        */
    }
}

static void skip_blanks(struct kpi_lexer *lexer)
{
    while (*lexer->at == ' ' || *lexer->at == '\t' || *lexer->at == '\r' || *lexer->at == '\n')
        lexer->at++;
}

static void take(struct kpi_lexer *lexer, struct kpi_token *out, const char *extra)
{
    const unsigned char *from = lexer->at;
    for (; lexer->at < lexer->end; lexer->at++) {
        unsigned char c = *lexer->at;
        bool letter = (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
        if (!letter && (c == 0 || strchr(extra, c) == NULL))
            break;
    }
    set_text(lexer, from, lexer->at > from ? IDENT : 0, out);
}

void kpi_lex_word(struct kpi_lexer *lexer, struct kpi_token *out)
{
    skip_blanks(lexer);
    if (*lexer->at == '\'' || *lexer->at == '"' || *lexer->at == '@')
        kpi_lex(lexer, out);
    else
        take(lexer, out, "_-.:/+@$%&=~");
}

void kpi_lex_operator(struct kpi_lexer *lexer, struct kpi_token *out)
{
    skip_blanks(lexer);
    take(lexer, out, "_-");
}
