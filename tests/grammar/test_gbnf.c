/* GBNF: what grammars match, what is refused and why, characters one by one, damaged texts. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/hash.h"
#include "grammar/grammar.h"
#include "grammar/rig.h"
#include "tokenizer/utf8.h"

typedef struct example {
    const char *grammar, *has, *lacks; /* texts, one a line */
} example;

static const example examples[] = {
    {"root ::= \"yes\" | \"no\"", "yes\nno", "ye\nyesno\nYes"},
    {"root::=\"a\"", "a", "b"},
    {"# a comment\nroot ::= \"a\" # another\n\n  # and one more\n", "a", "a#"},
    {"root ::= a-1\r\na-1 ::= B_2\r\nB_2 ::= \"x\"", "x", "a-1"},
    {"root ::=\n  \"a\" |\n  \"b\"", "a\nb", "ab"},
    {"root ::= (\n  \"a\"\n  \"b\" # within\n  | \"c\"\n)", "ab\nc", "a\nb\nabc"},
    {"root ::= \"a\"? \"b\"* \"c\"+", "c\nac\nabbccc", "a\nb\naac"},
    {"root ::= \"ab\"{2} \"c\"{1,} \"d\"{0,2} \"e\"{ 1 , 2 }", "ababce\nababccddee",
     "abce\nababe\nababcddde\nababceee"},
    {"root ::= \"x\"{0} \"a\"", "a", "xa"},
    {"root ::= (\"a\" (\"b\" | \"c\")){2}? \"!\"", "!\nabac!", "ab!"},
    {"root ::= \"\"", "", "a"},
    {"root ::= \"a\" | ", "a", "aa"},
    {"root ::= \"\"* \"a\"", "a", ""},
    {"root ::= [abc]+ [^abc] [a-c0-9_-]",
     "axa\nabcd-\na!_\nb\xe4\xbd\xa0"
     "9",
     "aa\nd1\naxd"},
    {"root ::= [\\]\\[\\\\^-]+", "]\n[\n\\\n^\n-", "a"},
    {"root ::= [a-]+ [^-a]", "a-ab\n-b", "aa"},
    {"root ::= \"\\x41\\u00e9\\U0001F600\\t\\\\\\\"\\[\"", "A\xc3\xa9\xf0\x9f\x98\x80\t\\\"[", "A"},
    {"root ::= . .", "ab\n\xc3\xa9\xe2\x82\xac", "a\nabc"},
    {"root ::= \"(\" root \")\" | \"x\"", "x\n(x)\n(((x)))", "(x\nx)"},
    {"root ::= list\nlist ::= \"a\" (\",\" list)?", "a\na,a,a", "a,"},
    {"root ::= a b\na ::= b?\nb ::= \"x\" a", "x\nxx\nxxxxx", ""},
};

static void check_lines(const rig *r, const accllm_grammar *g, const char *lines, bool want, const char *grammar)
{
    char line[256];
    for (;;) {
        size_t n = strcspn(lines, "\n");
        (void)snprintf(line, sizeof line, "%.*s", (int)n, lines);
        if (rig_has(r, g, line) != want) fail_msg("%s: \"%s\" should %sbe matched", grammar, line, want ? "" : "not ");
        if (!lines[n]) return;
        lines += n + 1;
    }
}

static void examples_are_matched(void **state)
{
    rig r = rig_open();
    (void)state;
    for (size_t i = 0; i < sizeof examples / sizeof *examples; i++) {
        accllm_grammar *g = rig_grammar(examples[i].grammar);
        check_lines(&r, g, examples[i].has, true, examples[i].grammar);
        check_lines(&r, g, examples[i].lacks, false, examples[i].grammar);
        accllm_grammar_free(&g);
    }
    rig_close(&r);
}

static void bad_grammars_are_refused(void **state)
{
    static const struct {
        const char *text;
        accllm_status status;
        const char *says;
    } bad[] = {
        {"", ACCLLM_E_FORMAT, "no rule named root"},
        {"a ::= \"x\"", ACCLLM_E_FORMAT, "no rule named root"},
        {"root ::= \"a\"\n  = b", ACCLLM_E_FORMAT, "line 2"},
        {"root = \"a\"", ACCLLM_E_FORMAT, "::= was expected"},
        {"root ::= \"a\n", ACCLLM_E_FORMAT, "end of the literal"},
        {"root ::= [ab", ACCLLM_E_FORMAT, "end of the class"},
        {"root ::= [", ACCLLM_E_FORMAT, "end of the class"},
        {"root ::= []", ACCLLM_E_FORMAT, "no character"},
        {"root ::= [^\\x00-\\U0010ffff]", ACCLLM_E_FORMAT, "no character"},
        {"root ::= [z-a]", ACCLLM_E_FORMAT, "backwards"},
        {"root ::= (\"a\"", ACCLLM_E_FORMAT, "a ) was expected"},
        {"root ::= \"a\")", ACCLLM_E_FORMAT, "end of the line"},
        {"root ::= * \"a\"", ACCLLM_E_FORMAT, "to repeat"},
        {"root ::= \"a\"{", ACCLLM_E_FORMAT, "a number was expected"},
        {"root ::= \"a\"{,2}", ACCLLM_E_FORMAT, "a number was expected"},
        {"root ::= \"a\"{3,2}", ACCLLM_E_FORMAT, "larger"},
        {"root ::= \"a\"{2", ACCLLM_E_FORMAT, "a } was expected"},
        {"root ::= \"\\q\"", ACCLLM_E_FORMAT, "after \\"},
        {"root ::= \"\\", ACCLLM_E_FORMAT, "after \\"},
        {"root ::= \"\\x4\"", ACCLLM_E_FORMAT, "hexadecimal"},
        {"root ::= \"\\ud800\"", ACCLLM_E_FORMAT, "no character"},
        {"root ::= \"\\U00110000\"", ACCLLM_E_FORMAT, "no character"},
        {"root ::= \"a\" <b>", ACCLLM_E_FORMAT, "line 1"},
        {"root ::= \"\xff\"", ACCLLM_E_FORMAT, "UTF-8"},
        {"root ::= a", ACCLLM_E_FORMAT, "a has no definition"},
        {"root ::= \"a\"\nroot ::= \"b\"", ACCLLM_E_FORMAT, "no definition yet"},
        {"root ::= \"a\" root", ACCLLM_E_FORMAT, "root can never end"},
        {"root ::= a | b\na ::= \"x\" b\nb ::= a+", ACCLLM_E_FORMAT, "root can never end"},
        {"root ::= root \"a\" | \"b\"", ACCLLM_E_UNSUPPORTED, "root begins with itself"},
        {"root ::= a\na ::= \"\"? b \"x\" | \"y\"\nb ::= c*\nc ::= \"z\" | a", ACCLLM_E_UNSUPPORTED,
         "begins with itself"},
        {"root ::= (root | \"a\") \"b\"", ACCLLM_E_UNSUPPORTED, "begins with itself"},
        {"root ::= \"a\"{1000001}", ACCLLM_E_LIMIT, "1000000"},
        {"root ::= \"a\"{99999999999999999999}", ACCLLM_E_LIMIT, "1000000"},
        {"root ::= (\"a\"?){17}", ACCLLM_E_LIMIT, "may be empty"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        accllm_error err = {0};
        accllm_grammar *g;
        assert_int_equal(accllm_grammar_parse(&g, bad[i].text, strlen(bad[i].text), &err), bad[i].status);
        assert_null(g);
        if (!strstr(err.text, bad[i].says))
            fail_msg("%s: \"%s\" does not say \"%s\"", bad[i].text, err.text, bad[i].says);
    }
}

/* A text made of one piece again and again between two others. */
static accllm_status parse_pieces(const char *begin, const char *piece, size_t n, const char *end, accllm_error *err)
{
    size_t a = strlen(begin), b = strlen(piece), c = strlen(end);
    char *text = malloc(a + n * b + c + 1);
    accllm_grammar *g;
    assert_non_null(text);
    memcpy(text, begin, a);
    for (size_t i = 0; i < n; i++) memcpy(text + a + i * b, piece, b);
    memcpy(text + a + n * b, end, c + 1);
    accllm_status status = accllm_grammar_parse(&g, text, a + n * b + c, err);
    accllm_grammar_free(&g);
    free(text);
    return status;
}

static void size_is_limited(void **state)
{
    accllm_error err;
    (void)state;
    assert_int_equal(parse_pieces("root ::= ", "(", 100000, "", &err), ACCLLM_E_LIMIT);
    assert_non_null(strstr(err.text, "nested"));
    assert_int_equal(parse_pieces("root ::= ", "((((", 30, "\"a\"", &err), ACCLLM_E_FORMAT);
    assert_int_equal(parse_pieces("root ::= ", "\"aaaaaaaa\" ", 9000, "", &err), ACCLLM_E_LIMIT);
    assert_int_equal(parse_pieces("root ::= \"b\"", " | \"a\"", 60000, "", &err), ACCLLM_E_LIMIT);
    assert_int_equal(parse_pieces("root ::= ", "(\"a\") ", 17000, "", &err), ACCLLM_E_LIMIT);
    assert_int_equal(parse_pieces("root ::= \"a\"", " ", 1 << 20, "", &err), ACCLLM_E_LIMIT);
    assert_int_equal(parse_pieces("root ::= \"a\"", "*", 10000, "", &err), ACCLLM_OK);
}

/* Rules that lead to each other in a long line, the last first: no step of the check may be quadratic or recursive. */
static void a_long_chain_is_checked(void **state)
{
    enum { N = 15000 };
    const size_t size = (size_t)N * 32;
    char *text = malloc(size);
    size_t used = 0;
    accllm_grammar *g = NULL;
    (void)state;
    assert_non_null(text);
    rig_add(text, size, &used, "root ::= r0\n");
    for (int i = 0; i < N; i++) rig_add(text, size, &used, "r%d ::= r%d?\n", i, i + 1);
    rig_add(text, size, &used, "r%d ::= \"x\"\n", N);
    assert_int_equal(accllm_grammar_parse(&g, text, used, NULL), ACCLLM_OK);
    accllm_grammar_free(&g);
    free(text);
}

/* The characters of a class, all of them, by their bytes. */
static bool reads(const accllm_grammar *g, const char *bytes, size_t n)
{
    uint32_t node = g->element[g->rule[g->root] + 1].a;
    for (size_t i = 0; i < n; i++) {
        const acc_byte_node *k = &g->node[node];
        const acc_byte_range *found = NULL;
        if (node == 0) return false;
        for (uint32_t j = 0; j < k->n; j++)
            if (g->range[k->first + j].lo <= (uint8_t)bytes[i] && (uint8_t)bytes[i] <= g->range[k->first + j].hi)
                found = &g->range[k->first + j];
        if (!found) return false;
        node = found->to;
    }
    return node == 0;
}

static void classes_hold_their_characters(void **state)
{
    static const struct {
        const char *text;
        uint32_t lo, hi, lo2, hi2;
        bool negated;
    } classes[] = {
        {"root ::= [a-z]", 'a', 'z', 'a', 'a', false},
        {"root ::= [^a-z\xe2\x82\xac]", 'a', 'z', 0x20ac, 0x20ac, true},
        {"root ::= .", 0, 0x10ffff, 0, 0, false},
        {"root ::= [\\x7f-\\u0801\\uffff-\\U00010001]", 0x7f, 0x801, 0xffff, 0x10001, false},
        {"root ::= [\\ud7f0-\\ue010\\U00103fff-\\U00104001]", 0xd7f0, 0xe010, 0x103fff, 0x104001, false},
        {"root ::= [^\\u0fff-\\u1000\\U0003ffff-\\U00040000]", 0xfff, 0x1000, 0x3ffff, 0x40000, true},
    };
    (void)state;
    for (size_t i = 0; i < sizeof classes / sizeof *classes; i++) {
        const char *text = classes[i].text;
        accllm_grammar *g = rig_grammar(text);
        for (uint32_t cp = 0; cp <= 0x10ffff; cp++) {
            char bytes[4];
            unsigned n = acc_utf8_encode(cp, bytes);
            bool in = (cp >= classes[i].lo && cp <= classes[i].hi) || (cp >= classes[i].lo2 && cp <= classes[i].hi2);
            bool want = in != classes[i].negated && (cp < 0xd800 || cp > 0xdfff);
            if (reads(g, bytes, n) != want) fail_msg("%s: U+%04x", text, cp);
        }
        accllm_grammar_free(&g);
    }
}

/* Any three bytes: read as one character exactly if they are one. */
static void only_valid_utf8_is_read(void **state)
{
    accllm_grammar *g = rig_grammar("root ::= .");
    (void)state;
    for (uint32_t x = 0; x < 1 << 24; x += 1 + (x & 7) * 3) {
        const char bytes[3] = {(char)(x >> 16), (char)(x >> 8), (char)x};
        for (size_t n = 1; n <= 3; n++) {
            acc_utf8_seq q = acc_utf8_scan(bytes, n);
            bool want = q.state == ACC_UTF8_VALID && q.len == n;
            if (reads(g, bytes, n) != want) fail_msg("%06x, %zu bytes", x, n);
        }
    }
    accllm_grammar_free(&g);
}

/* Every beginning of a grammar, and thousands of changed ones: an error or a grammar that can be used. */
static void damaged_texts_do_no_harm(void **state)
{
    static const char good[] = "# list\nroot ::= \"[\" (item (\",\" ws item){0,3})? \"]\"\n"
                               "item ::= [a-z\\]^\\x41]+ | \"\\u00e9\" . | root\nws ::= [ \\t]* ( \"\\n\" | \"\" )\n";
    rig r = rig_open();
    char bad[sizeof good], text[256];
    unsigned made = 0;
    (void)state;
    for (uint64_t i = 0; i < sizeof good + 6000; i++) {
        size_t n = i < sizeof good ? i : sizeof good - 1;
        accllm_error err = {0};
        accllm_grammar *g;
        memcpy(bad, good, sizeof good);
        for (uint64_t k = 0; i >= sizeof good && k < 1 + i % 3; k++) {
            uint64_t x = acc_random(i, k);
            bad[x % n] = x >> 20 & 1 ? (char)(x >> 32) : "\"[](){}|*+?^-\\,.:=#\n a0"[(x >> 32) % 24];
        }
        accllm_status status = accllm_grammar_parse(&g, bad, n, &err);
        assert_true((status == ACCLLM_OK) == (g != NULL));
        assert_true(g || *err.text);
        made += g != NULL;
        if (g && i % 8 == 0) (void)rig_draw(&r, g, i, text, sizeof text);
        accllm_grammar_free(&g);
    }
    assert_in_range(made, 200, 6000);
    rig_close(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(examples_are_matched),
        cmocka_unit_test(bad_grammars_are_refused),
        cmocka_unit_test(size_is_limited),
        cmocka_unit_test(a_long_chain_is_checked),
        cmocka_unit_test(classes_hold_their_characters),
        cmocka_unit_test(only_valid_utf8_is_read),
        cmocka_unit_test(damaged_texts_do_no_harm),
    };
    return cmocka_run_group_tests_name("grammar-gbnf", tests, NULL, NULL);
}
