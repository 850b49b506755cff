/* The text of a grammar into rules; the dialect is described in accllm/grammar.h. */
#include <string.h>

#include "core/memory.h"
#include "grammar/builder.h"
#include "tokenizer/maps.h"
#include "tokenizer/utf8.h"

typedef struct rule_name {
    const char *s;
    size_t n;
} rule_name;

typedef struct parser {
    const char *text, *at, *end;
    acc_builder b;
    acc_text_map rules; /* by name */
    rule_name *name;    /* [most_rules]; NULL: a group */
    unsigned depth;
    accllm_error *err;
} parser;

static accllm_status wrong(const parser *p, const char *what)
{
    size_t line = 1;
    for (const char *c = p->text; c < p->at; c++) line += *c == '\n';
    size_t n = (size_t)(p->end - p->at) < 12 ? (size_t)(p->end - p->at) : 12;
    if (n == 0) return acc_fail(p->err, ACCLLM_E_FORMAT, "grammar, line %zu: %s, not its end", line, what);
    return acc_fail(p->err, ACCLLM_E_FORMAT, "grammar, line %zu: %s, not \"%.*s\"", line, what, (int)n, p->at);
}

static bool is_word(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
}

static bool next_is(const parser *p, char c)
{
    return p->at < p->end && *p->at == c;
}

/* Blanks and comments; lines: also the ends of lines. */
static void skip(parser *p, bool lines)
{
    while (p->at < p->end) {
        char c = *p->at;
        if (c == '#')
            while (p->at < p->end && *p->at != '\n' && *p->at != '\r') p->at++;
        else if (c == ' ' || c == '\t' || (lines && (c == '\n' || c == '\r')))
            p->at++;
        else
            return;
    }
}

/* A word into the number of its rule, which may be defined later. */
static accllm_status read_name(parser *p, uint32_t *rule)
{
    const char *s = p->at;
    while (p->at < p->end && is_word(*p->at)) p->at++;
    size_t n = (size_t)(p->at - s);
    if (n == 0) return wrong(p, "a rule's name was expected");
    int32_t known = acc_text_map_get(&p->rules, s, n);
    if (known >= 0) {
        *rule = (uint32_t)known;
        return ACCLLM_OK;
    }
    ACC_TRY(acc_builder_new_rule(&p->b, rule, p->err));
    p->name[*rule] = (rule_name){s, n};
    return acc_text_map_put(&p->rules, s, n, (int32_t)*rule, p->err);
}

static int hex_digit(char c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

static accllm_status read_hex(parser *p, unsigned digits, uint32_t *cp)
{
    *cp = 0;
    for (unsigned i = 0; i < digits; i++) {
        int d = p->at < p->end ? hex_digit(*p->at) : -1;
        if (d < 0) return wrong(p, "a hexadecimal digit was expected");
        *cp = *cp << 4 | (uint32_t)d;
        p->at++;
    }
    if (*cp > 0x10ffff || (*cp >= 0xd800 && *cp <= 0xdfff)) return wrong(p, "the escape before this is no character");
    return ACCLLM_OK;
}

/* One character of a literal or a class; the text is valid UTF-8. */
static accllm_status read_char(parser *p, uint32_t *cp)
{
    static const char plain[] = "\\\"[]", named[] = "nrt", value[] = "\n\r\t";
    if (p->at == p->end) return wrong(p, "a character was expected");
    if (*p->at != '\\') {
        unsigned len = acc_utf8_scan(p->at, (size_t)(p->end - p->at)).len;
        *cp = acc_utf8_decode(p->at, len);
        p->at += len;
        return ACCLLM_OK;
    }
    char c = ++p->at < p->end ? *p->at : '\0';
    const char *name = c ? strchr(named, c) : NULL;
    if (c == 'x' || c == 'u' || c == 'U') {
        p->at++;
        return read_hex(p, c == 'x' ? 2 : c == 'u' ? 4 : 8, cp);
    }
    if (!name && (!c || !strchr(plain, c))) return wrong(p, "one of n r t \\ \" [ ] x u U was expected after \\");
    *cp = name ? (uint8_t)value[name - named] : (uint8_t)c;
    p->at++;
    return ACCLLM_OK;
}

static accllm_status read_literal(parser *p)
{
    char bytes[4];
    uint32_t cp;
    p->at++;
    while (!next_is(p, '"')) {
        if (p->at == p->end) return wrong(p, "a \" was expected at the end of the literal");
        ACC_TRY(read_char(p, &cp));
        unsigned n = acc_utf8_encode(cp, bytes);
        for (unsigned i = 0; i < n; i++) ACC_TRY(acc_builder_byte(&p->b, (uint8_t)bytes[i], p->err));
    }
    p->at++;
    return ACCLLM_OK;
}

static accllm_status read_class(parser *p, acc_chars *set)
{
    p->at++;
    bool negate = next_is(p, '^');
    if (negate) p->at++;
    while (!next_is(p, ']')) {
        uint32_t lo, hi;
        if (p->at == p->end) return wrong(p, "a ] was expected at the end of the class");
        ACC_TRY(read_char(p, &lo));
        hi = lo;
        if (next_is(p, '-') && p->end - p->at > 1 && p->at[1] != ']') {
            p->at++;
            ACC_TRY(read_char(p, &hi));
            if (hi < lo) return wrong(p, "the range before this runs backwards");
        }
        ACC_TRY(acc_chars_add(set, lo, hi, p->err));
    }
    p->at++;
    ACC_TRY(acc_chars_settle(set, negate, p->err));
    if (set->n == 0) return wrong(p, "the class before this has no character");
    return acc_builder_chars(&p->b, set, p->err);
}

/* [class], or any character. */
static accllm_status read_chars(parser *p)
{
    acc_chars set = {0};
    accllm_status status;
    if (*p->at == '[') {
        status = read_class(p, &set);
    } else {
        p->at++;
        status = acc_chars_settle(&set, true, p->err);
        if (status == ACCLLM_OK) status = acc_builder_chars(&p->b, &set, p->err);
    }
    acc_chars_free(&set);
    return status;
}

static accllm_status read_alternatives(parser *p, uint32_t rule, bool nested);

static accllm_status read_group(parser *p)
{
    uint32_t rule;
    if (p->depth == ACC_GRAMMAR_DEPTH)
        return acc_fail(p->err, ACCLLM_E_LIMIT, "grammar: groups are nested more than %d deep", ACC_GRAMMAR_DEPTH);
    p->depth++;
    p->at++;
    skip(p, true);
    ACC_TRY(acc_builder_new_rule(&p->b, &rule, p->err));
    p->name[rule] = (rule_name){0};
    ACC_TRY(read_alternatives(p, rule, true));
    if (!next_is(p, ')')) return wrong(p, "a ) was expected");
    p->at++;
    p->depth--;
    return acc_builder_push(&p->b, (acc_element){.kind = ACC_RULE, .a = rule}, p->err);
}

static accllm_status read_number(parser *p, uint32_t *x)
{
    const char *s = p->at;
    *x = 0;
    for (; p->at < p->end && *p->at >= '0' && *p->at <= '9'; p->at++) {
        *x = *x * 10 + (uint32_t)(*p->at - '0');
        if (*x > ACC_GRAMMAR_REPEAT)
            return acc_fail(p->err, ACCLLM_E_LIMIT, "grammar: a repetition above %d", ACC_GRAMMAR_REPEAT);
    }
    return p->at > s ? ACCLLM_OK : wrong(p, "a number was expected");
}

/* "{m}", "{m,}", "{m,n}" */
static accllm_status read_counts(parser *p, uint32_t *min, uint32_t *max)
{
    p->at++;
    skip(p, true);
    ACC_TRY(read_number(p, min));
    *max = *min;
    skip(p, true);
    if (next_is(p, ',')) {
        p->at++;
        skip(p, true);
        *max = ACC_ENDLESS;
        if (!next_is(p, '}')) ACC_TRY(read_number(p, max));
        skip(p, true);
    }
    if (!next_is(p, '}')) return wrong(p, "a } was expected");
    if (*min > *max) return wrong(p, "the repetition's first number is the larger one");
    return ACCLLM_OK;
}

/* The work from `from` on, as a rule that can be repeated. */
static accllm_status make_item(parser *p, size_t from, uint32_t *rule)
{
    acc_builder *b = &p->b;
    if (b->n_work == from + 1 && b->work[from].kind == ACC_RULE) {
        *rule = b->work[from].a;
        b->n_work = from;
        return ACCLLM_OK;
    }
    ACC_TRY(acc_builder_new_rule(b, rule, p->err));
    p->name[*rule] = (rule_name){0};
    ACC_TRY(acc_builder_push(b, (acc_element){.kind = ACC_END}, p->err));
    memmove(b->work + from + 1, b->work + from, (b->n_work - from - 1) * sizeof *b->work);
    b->work[from] = (acc_element){.kind = ACC_ALTERNATIVE};
    ACC_TRY(acc_builder_push(b, (acc_element){.kind = ACC_END}, p->err));
    return acc_builder_define(b, *rule, from, p->err);
}

/* What stands from `from` on is repeated. */
static accllm_status read_repetition(parser *p, size_t from)
{
    acc_element e = {.kind = ACC_REPEAT, .min = *p->at == '+', .max = *p->at == '?' ? 1 : ACC_ENDLESS};
    if (*p->at == '{') ACC_TRY(read_counts(p, &e.min, &e.max));
    p->at++;
    if (p->b.n_work == from) return ACCLLM_OK; /* of nothing */
    ACC_TRY(make_item(p, from, &e.a));
    return e.max == 0 ? ACCLLM_OK : acc_builder_push(&p->b, e, p->err);
}

static accllm_status read_sequence(parser *p, bool nested)
{
    size_t last = SIZE_MAX; /* where the last symbol stands in the work */
    for (;; skip(p, nested)) {
        char c = p->at < p->end ? *p->at : '\0';
        if (c == '*' || c == '+' || c == '?' || c == '{') {
            if (last == SIZE_MAX) return wrong(p, "a symbol to repeat was expected");
            ACC_TRY(read_repetition(p, last));
            continue;
        }
        size_t from = p->b.n_work;
        acc_element e = {.kind = ACC_RULE};
        if (c == '"') {
            ACC_TRY(read_literal(p));
        } else if (c == '[' || c == '.') {
            ACC_TRY(read_chars(p));
        } else if (c == '(') {
            ACC_TRY(read_group(p));
        } else if (is_word(c)) {
            ACC_TRY(read_name(p, &e.a));
            ACC_TRY(acc_builder_push(&p->b, e, p->err));
        } else {
            return ACCLLM_OK;
        }
        last = from;
    }
}

static accllm_status read_alternatives(parser *p, uint32_t rule, bool nested)
{
    size_t base = p->b.n_work;
    for (;;) {
        ACC_TRY(acc_builder_push(&p->b, (acc_element){.kind = ACC_ALTERNATIVE}, p->err));
        ACC_TRY(read_sequence(p, nested));
        ACC_TRY(acc_builder_push(&p->b, (acc_element){.kind = ACC_END}, p->err));
        if (!next_is(p, '|')) break;
        p->at++;
        skip(p, true);
    }
    return acc_builder_define(&p->b, rule, base, p->err);
}

static accllm_status read_rule(parser *p)
{
    uint32_t rule;
    const char *start = p->at;
    ACC_TRY(read_name(p, &rule));
    if (p->b.g->rule[rule]) {
        p->at = start;
        return wrong(p, "a rule that has no definition yet was expected");
    }
    skip(p, false);
    if (p->end - p->at < 3 || memcmp(p->at, "::=", 3) != 0) return wrong(p, "::= was expected");
    p->at += 3;
    skip(p, true);
    ACC_TRY(read_alternatives(p, rule, false));
    if (p->at < p->end && *p->at != '\n' && *p->at != '\r')
        return wrong(p, "a symbol or the end of the line was expected");
    skip(p, true);
    return ACCLLM_OK;
}

static const char *name_of(void *user, uint32_t rule, int *len)
{
    static const char group[] = "a group";
    const rule_name *name = &((const parser *)user)->name[rule];
    *len = name->s ? (int)(name->n < 64 ? name->n : 64) : (int)sizeof group - 1;
    return name->s ? name->s : group;
}

static accllm_status read_all(parser *p)
{
    size_t len = (size_t)(p->end - p->text), most = len < ACC_GRAMMAR_RULES ? len : ACC_GRAMMAR_RULES;
    void *names = NULL;
    ACC_TRY(acc_builder_init(&p->b, p->err));
    ACC_TRY(acc_text_map_init(&p->rules, most, p->err));
    ACC_TRY(acc_alloc(&names, ACC_GRAMMAR_RULES, sizeof *p->name, "grammar", p->err));
    p->name = names;
    skip(p, true);
    while (p->at < p->end) ACC_TRY(read_rule(p));
    int32_t root = acc_text_map_get(&p->rules, "root", 4);
    if (root < 0) return acc_fail(p->err, ACCLLM_E_FORMAT, "grammar: there is no rule named root");
    p->b.g->root = (uint32_t)root;
    return acc_grammar_check(p->b.g, name_of, p, p->err);
}

accllm_status accllm_grammar_parse(accllm_grammar **out, const char *text, size_t len, accllm_error *err)
{
    if (!out || !text) return acc_fail(err, ACCLLM_E_ARG, "grammar: no text or no place for it");
    *out = NULL;
    if (len > ACC_GRAMMAR_TEXT)
        return acc_fail(err, ACCLLM_E_LIMIT, "the grammar has %zu bytes (limit %d)", len, ACC_GRAMMAR_TEXT);
    if (acc_utf8_valid(text, len) != len) return acc_fail(err, ACCLLM_E_FORMAT, "the grammar is not valid UTF-8");
    parser p = {.text = text, .at = text, .end = text + len, .err = err};
    accllm_status status = read_all(&p);
    if (status == ACCLLM_OK) {
        *out = p.b.g;
        p.b.g = NULL;
    }
    acc_builder_free(&p.b);
    acc_text_map_free(&p.rules);
    acc_free(p.name);
    return status;
}
