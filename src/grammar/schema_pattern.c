/*
 * Regular expressions (the common part of ECMA-262's and Python's) into rules over the text of a JSON string, where a
 * quote, a backslash and control characters are written as escapes. As JSON Schema has it a pattern may match anywhere;
 * ^ and $ at the ends of an alternative fix it. Where the dialects differ, what is allowed by all of them is written:
 * \d, \w, \s and what is made of their complements are ASCII.
 */
#include <string.h>

#include "grammar/builder.h"
#include "grammar/schema.h"
#include "tokenizer/utf8.h"

enum { DEPTH = 32, LAST_ASCII = 0x7f, LAST_CHAR = 0x10ffff };

typedef struct pattern {
    acc_schema *s;
    const char *at;
    unsigned depth;
    acc_writing *out;
} pattern;

static accllm_status refuse(const pattern *p, const char *what)
{
    return acc_fail(p->s->err, ACCLLM_E_UNSUPPORTED, "JSON schema: pattern: %s is not supported (at \"%.24s\")", what,
                    p->at);
}

static uint32_t next_char(pattern *p)
{
    unsigned len = acc_utf8_scan(p->at, strnlen(p->at, 4)).len;
    uint32_t cp = acc_utf8_decode(p->at, len);
    p->at += len;
    return cp;
}

/* One character as it is written in a JSON string. */
static void write_char(acc_writing *out, uint32_t cp)
{
    static const char control[] = "\b\f\n\r\t", letter[] = "bfnrt";
    char bytes[8] = {0};
    const char *known = cp > 0 && cp < ' ' ? strchr(control, (int)cp) : NULL;
    if (known)
        acc_write(out, "\"\\\\%c\" ", letter[known - control]);
    else if (cp < ' ')
        acc_write(out, "\"\\\\u%04x\" ", cp);
    else if (cp == '"' || cp == '\\')
        acc_write(out, "\"\\\\\\%c\" ", (char)cp);
    else {
        (void)acc_utf8_encode(cp, bytes);
        acc_write_literal(out, bytes, strlen(bytes));
        acc_write(out, " ");
    }
}

static bool has(const acc_chars *set, uint32_t cp)
{
    for (size_t i = 0; i < set->n; i++)
        if (set->r[i].lo <= cp && cp <= set->r[i].hi) return true;
    return false;
}

/* What of a set may stand in a JSON string as it is. */
static accllm_status plain_part(const acc_chars *set, acc_chars *plain, accllm_error *err)
{
    for (size_t i = 0; i < set->n; i++) ACC_TRY(acc_chars_add(plain, set->r[i].lo, set->r[i].hi, err));
    ACC_TRY(acc_chars_settle(plain, true, err));
    ACC_TRY(acc_chars_add(plain, 0, ' ' - 1, err));
    ACC_TRY(acc_chars_add(plain, '"', '"', err));
    ACC_TRY(acc_chars_add(plain, '\\', '\\', err));
    return acc_chars_settle(plain, true, err);
}

/* A settled set: what may stand as it is, then what needs an escape. */
static accllm_status write_set(const pattern *p, const acc_chars *set)
{
    static const char escaped[] = "\"\\\n\r\t";
    acc_chars plain = {0};
    const char *bar = "";
    accllm_status status = plain_part(set, &plain, p->s->err);
    acc_write(p->out, "(%s", plain.n ? "[" : "");
    for (size_t i = 0; i < plain.n; i++) {
        acc_write_class_char(p->out, plain.r[i].lo);
        if (plain.r[i].hi > plain.r[i].lo) acc_write(p->out, "-");
        if (plain.r[i].hi > plain.r[i].lo) acc_write_class_char(p->out, plain.r[i].hi);
        bar = "] | ";
    }
    for (const char *c = escaped; *c; c++) {
        if (!has(set, (unsigned char)*c)) continue;
        acc_write(p->out, "%s", bar);
        write_char(p->out, (unsigned char)*c);
        bar = " | ";
    }
    acc_write(p->out, "%s) ", *bar == ']' ? "]" : "");
    acc_chars_free(&plain);
    if (status == ACCLLM_OK && !*bar) return refuse(p, "a class that no character of a string is in");
    return status;
}

static accllm_status add_named(const pattern *p, acc_chars *set, char name)
{
    static const char *const ranges[] = {"d09", "w09AZ__az", "s  \t\r", NULL};
    accllm_error *err = p->s->err;
    char kind = (char)(name | 0x20);
    acc_chars named = {0};
    accllm_status status = ACCLLM_OK;
    for (size_t i = 0; ranges[i]; i++)
        for (const char *r = ranges[i] + 1; *ranges[i] == kind && *r && status == ACCLLM_OK; r += 2)
            status = acc_chars_add(&named, (unsigned char)r[0], (unsigned char)r[1], err);
    if (status == ACCLLM_OK && kind != name) status = acc_chars_add(&named, LAST_ASCII, LAST_CHAR, err);
    if (status == ACCLLM_OK && kind != name) status = acc_chars_add(&named, 0, ' ' - 1, err);
    if (status == ACCLLM_OK) status = acc_chars_settle(&named, kind != name, err);
    for (size_t i = 0; i < named.n && status == ACCLLM_OK; i++)
        status = acc_chars_add(set, named.r[i].lo, named.r[i].hi, err);
    acc_chars_free(&named);
    return status;
}

static accllm_status read_hex(pattern *p, unsigned digits, uint32_t *cp)
{
    *cp = 0;
    for (unsigned i = 0; i < digits; i++, p->at++) {
        static const char known[] = "0123456789abcdef";
        char c = *p->at >= 'A' && *p->at <= 'F' ? (char)(*p->at | 0x20) : *p->at;
        const char *digit = c ? strchr(known, c) : NULL;
        if (!digit) return refuse(p, "an escape without its digits");
        *cp = *cp << 4 | (uint32_t)(digit - known);
    }
    return *cp >= 0xd800 && *cp <= 0xdfff ? refuse(p, "half of a surrogate pair") : ACCLLM_OK;
}

/* Behind a backslash: a character, or *name says which set. */
static accllm_status read_escape(pattern *p, uint32_t *cp, char *name)
{
    static const char letters[] = "tnrfv", value[] = "\t\n\r\f\v";
    char c = *p->at;
    const char *letter = c ? strchr(letters, c) : NULL;
    *name = '\0';
    if (c && strchr("dwsDWS", c)) {
        *name = c;
        p->at++;
        return ACCLLM_OK;
    }
    if (c == 'x' || c == 'u') {
        p->at++;
        return read_hex(p, c == 'x' ? 2 : 4, cp);
    }
    if (letter) {
        *cp = (unsigned char)value[letter - letters];
        p->at++;
        return ACCLLM_OK;
    }
    if (!c || (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'))
        return refuse(p, "an escape of this letter or digit");
    *cp = next_char(p);
    return ACCLLM_OK;
}

/* A member of a class: a character, or a named set that goes into the class at once (*name). */
static accllm_status read_member(pattern *p, acc_chars *set, uint32_t *cp, char *name)
{
    *name = '\0';
    if (*p->at == '\0') return refuse(p, "a class without its end");
    if (*p->at == '[') return refuse(p, "[ within a class");
    if (*p->at != '\\') {
        *cp = next_char(p);
        return ACCLLM_OK;
    }
    p->at++;
    ACC_TRY(read_escape(p, cp, name));
    return *name ? add_named(p, set, *name) : ACCLLM_OK;
}

static accllm_status read_members(pattern *p, acc_chars *set)
{
    bool negate = *p->at == '^', named = false;
    p->at += negate;
    if (*p->at == ']') return refuse(p, "] at the beginning of a class");
    while (*p->at != ']') {
        uint32_t lo = 0, hi = 0;
        char name, second = '\0';
        ACC_TRY(read_member(p, set, &lo, &name));
        named |= name != '\0';
        hi = lo;
        if (*p->at == '-' && p->at[1] != ']' && p->at[1]) {
            if (!name) p->at++;
            if (!name) ACC_TRY(read_member(p, set, &hi, &second));
            if (name || second || hi < lo) return refuse(p, "this range of characters");
        }
        if (!name) ACC_TRY(acc_chars_add(set, lo, hi, p->s->err));
    }
    p->at++;
    if (negate && named) ACC_TRY(acc_chars_add(set, LAST_ASCII, LAST_CHAR, p->s->err));
    return acc_chars_settle(set, negate, p->s->err);
}

/* One of: [class], any but the ends of lines, \d and the like. */
static accllm_status write_class(pattern *p, char kind)
{
    acc_chars set = {0};
    accllm_status status;
    if (kind == '[') {
        status = read_members(p, &set);
    } else if (kind == '.') {
        status = acc_chars_add(&set, '\n', '\r', p->s->err);
        if (status == ACCLLM_OK) status = acc_chars_add(&set, 0x85, 0x85, p->s->err);
        if (status == ACCLLM_OK) status = acc_chars_add(&set, 0x2028, 0x2029, p->s->err);
        if (status == ACCLLM_OK) status = acc_chars_settle(&set, true, p->s->err);
    } else {
        status = add_named(p, &set, kind);
        if (status == ACCLLM_OK) status = acc_chars_settle(&set, false, p->s->err);
    }
    if (status == ACCLLM_OK) status = write_set(p, &set);
    acc_chars_free(&set);
    return status;
}

static accllm_status write_expression(pattern *p, bool outermost);

static accllm_status write_group(pattern *p)
{
    if (*p->at == '?' && p->at[1] != ':') return refuse(p, "this kind of group");
    if (*p->at == '?') p->at += 2;
    if (p->depth == DEPTH) return refuse(p, "so many groups in each other");
    p->depth++;
    acc_write(p->out, "(");
    ACC_TRY(write_expression(p, false));
    if (*p->at != ')') return refuse(p, "a group without its end");
    p->at++;
    p->depth--;
    acc_write(p->out, ") ");
    return ACCLLM_OK;
}

static accllm_status write_atom(pattern *p)
{
    uint32_t cp;
    char name;
    if (*p->at && strchr("*+?{}^$])", *p->at)) return refuse(p, "this character here");
    if (*p->at == '(' || *p->at == '[' || *p->at == '.') {
        char kind = *p->at++;
        return kind == '(' ? write_group(p) : write_class(p, kind);
    }
    if (*p->at != '\\') {
        write_char(p->out, next_char(p));
        return ACCLLM_OK;
    }
    p->at++;
    ACC_TRY(read_escape(p, &cp, &name));
    if (name) return write_class(p, name);
    write_char(p->out, cp);
    return ACCLLM_OK;
}

/* Counts are written as they stand: the grammar's are the same. Lazy ones match the same texts. */
static accllm_status write_quantifier(pattern *p)
{
    size_t n = 1;
    if (*p->at == '{') {
        size_t digits = strspn(p->at + 1, "0123456789");
        n = 1 + digits;
        if (p->at[n] == ',') n += 1 + strspn(p->at + n + 1, "0123456789");
        if (digits == 0 || p->at[n++] != '}') return refuse(p, "this {");
    } else if (*p->at != '*' && *p->at != '+' && *p->at != '?') {
        return ACCLLM_OK;
    }
    acc_write(p->out, "%.*s ", (int)n, p->at);
    p->at += n;
    if (*p->at == '?') p->at++;
    return *p->at && strchr("*+?{", *p->at) ? refuse(p, "a second quantifier") : ACCLLM_OK;
}

static accllm_status write_alternative(pattern *p, bool outermost)
{
    bool from_start = outermost && *p->at == '^', to_end = false;
    if (from_start) p->at++;
    if (outermost && !from_start) acc_write(p->out, "char* ");
    acc_write(p->out, "\"\" ");
    while (*p->at && *p->at != '|' && *p->at != ')') {
        to_end = outermost && *p->at == '$' && (p->at[1] == '\0' || p->at[1] == '|');
        if (to_end) {
            p->at++;
            break;
        }
        ACC_TRY(write_atom(p));
        ACC_TRY(write_quantifier(p));
        ACC_TRY(acc_schema_fits(p->s, p->out));
    }
    if (outermost && !to_end) acc_write(p->out, "char* ");
    return ACCLLM_OK;
}

static accllm_status write_expression(pattern *p, bool outermost)
{
    for (;;) {
        ACC_TRY(write_alternative(p, outermost));
        if (*p->at != '|') return ACCLLM_OK;
        p->at++;
        acc_write(p->out, "| ");
    }
}

accllm_status acc_schema_pattern(acc_schema *s, const char *text, acc_writing *body)
{
    pattern p = {.s = s, .at = text, .out = body};
    acc_write(body, "(");
    ACC_TRY(write_expression(&p, true));
    if (*p.at) return refuse(&p, "this character here");
    acc_write(body, ")");
    return ACCLLM_OK;
}
