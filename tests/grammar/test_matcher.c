/* Masks against PCRE2: every token of a small vocabulary, at every step of random texts. Memory that runs out, texts
 * that end, the blank that begins a text. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include "core/hash.h"
#include "grammar/matcher.h"
#include "grammar/rig.h"

#define EOS 257

/* The same language twice; the expression is over bytes. */
typedef struct pair {
    const char *grammar, *expression;
} pair;

#define UTF8_TAIL                                                                                         \
    "[\\xc2-\\xdf][\\x80-\\xbf]|\\xe0[\\xa0-\\xbf][\\x80-\\xbf]|[\\xe1-\\xec\\xee\\xef][\\x80-\\xbf]{2}|" \
    "\\xed[\\x80-\\x9f][\\x80-\\xbf]|\\xf0[\\x90-\\xbf][\\x80-\\xbf]{2}|[\\xf1-\\xf3][\\x80-\\xbf]{3}|"   \
    "\\xf4[\\x80-\\x8f][\\x80-\\xbf]{2}"

static const pair pairs[] = {
    {"root ::= \"ab\"* \"c\"?", "(?:ab)*c?"},
    {"root ::= (\"a\" | \"aa\" | \"aaaa\" | \"b\")+", "(?:a|aa|aaaa|b)+"},
    {"root ::= \"a\"{3} \"b\"{2,} \"a\"{0,2}", "a{3}b{2,}a{0,2}"},
    {"root ::= (\"a\" | \"ab\"){2,5} \"c\"", "(?:a|ab){2,5}c"},
    {"root ::= ((\"a\"?){3} | \"b\"*)* \"c\"", "[ab]*c"},
    {"root ::= x x\nx ::= y? \"a\" | y\ny ::= \"b\" x | ", "(?<x>(?<y>b(?&x)|)?a|(?&y))(?&x)"},
    {"root ::= [a-c]{2} [^a-z\"]+ \"x\"", "[a-c]{2}(?:[\\x00-!#-`{-\\x7f]|" UTF8_TAIL ")+x"},
    {"root ::= . . \"b\"", "(?:[\\x00-\\x7f]|" UTF8_TAIL "){2}b"},
    {"root ::= [\xc3\xa9\xc3\xa8]+ | [\\u00e0-\\u017f]{1,3} \"b\" | \"\\U0001F600\"",
     "(?:\\xc3[\\xa9\\xa8])+|(?:\\xc3[\\xa0-\\xbf]|\\xc4[\\x80-\\xbf]|\\xc5[\\x80-\\xbf]){1,3}b|\\xf0\\x9f\\x98\\x80"},
    {"root ::= \"(\" root \")\" | \"a\" root \"b\" | \"a\" root \"ab\" | \"\"", "(?<r>\\((?&r)\\)|a(?&r)b|a(?&r)ab|)"},
    {"root ::= v\nv ::= \"{\" (s \":\" v (\",\" s \":\" v)*)? \"}\" | \"[\" (v (\",\" v)*)? \"]\" | s | n | \"true\"\n"
     "s ::= \"\\\"\" [^\\x00-\\x1f\"\\\\\\x80-\\U0010ffff]* \"\\\"\"\n"
     "n ::= \"-\"? [0-9]+ (\".\" [0-9]+)? (\"e\" [0-9]+)?",
     "(?(DEFINE)(?<s>\"[ !#-\\[\\]-\\x7f]*\")(?<n>-?[0-9]+(?:\\.[0-9]+)?(?:e[0-9]+)?)"
     "(?<v>\\{(?:(?&s):(?&v)(?:,(?&s):(?&v))*)?\\}|\\[(?:(?&v)(?:,(?&v))*)?\\]|(?&s)|(?&n)|true))(?&v)"},
};

typedef struct oracle {
    pcre2_code *code;
    pcre2_match_data *data;
} oracle;

static oracle open_oracle(const char *expression)
{
    char anchored[2048];
    int why;
    PCRE2_SIZE at;
    (void)snprintf(anchored, sizeof anchored, "^(?:%s)\\z", expression);
    oracle o = {.code = pcre2_compile((PCRE2_SPTR)anchored, PCRE2_ZERO_TERMINATED, PCRE2_DOTALL, &why, &at, NULL)};
    if (!o.code) fail_msg("%s: error %d at %zu", expression, why, at);
    o.data = pcre2_match_data_create_from_pattern(o.code, NULL);
    assert_non_null(o.data);
    return o;
}

static void close_oracle(oracle *o)
{
    pcre2_match_data_free(o->data);
    pcre2_code_free(o->code);
}

static bool matches(const oracle *o, const char *text, size_t len, bool begins)
{
    int rc = pcre2_match(o->code, (PCRE2_SPTR)text, len, 0, begins ? PCRE2_PARTIAL_SOFT : 0, o->data, NULL);
    assert_true(rc > 0 || rc == PCRE2_ERROR_NOMATCH || rc == PCRE2_ERROR_PARTIAL);
    return rc > 0 || rc == PCRE2_ERROR_PARTIAL;
}

static bool expected(const rig *r, const oracle *o, char *text, size_t len, int32_t id)
{
    size_t n;
    const char *bytes = accllm_token_bytes(r->tok, id, &n);
    if (accllm_token_ends_text(r->tok, id)) return matches(o, text, len, false);
    memcpy(text + len, bytes, n);
    return n > 0 && matches(o, text, len + n, true);
}

static int32_t pick(const rig *r, const uint64_t *mask, uint32_t n, uint64_t random)
{
    uint32_t k = (uint32_t)(random % n);
    for (int32_t id = 0; id < (int32_t)r->n_vocab; id++)
        if (rig_allowed(mask, id) && k-- == 0) return id;
    fail_msg("fewer tokens than counted");
    return -1;
}

/* One random text; returns the steps taken. */
static unsigned compare(const rig *r, const pair *p, const oracle *o, const accllm_grammar *g, uint64_t seed)
{
    accllm_matcher *m;
    char text[512];
    size_t len = 0, n_bytes;
    unsigned step = 0;
    assert_int_equal(accllm_matcher_create(&m, g, r->vocab, false, NULL), ACCLLM_OK);
    for (; step < 20 && len < 200; step++) {
        uint32_t n, count = 0;
        const uint64_t *mask = accllm_matcher_mask(m, &n);
        for (int32_t id = 0; id < (int32_t)r->n_vocab; id++) {
            bool want = expected(r, o, text, len, id), have = rig_allowed(mask, id);
            count += have;
            if (want == have) continue;
            fail_msg("%s: token %d (%s) behind \"%.*s\" is %sallowed", p->grammar, id, accllm_token_text(r->tok, id),
                     (int)len, text, have ? "" : "not ");
        }
        assert_int_equal(n, count);
        assert_int_equal(accllm_matcher_can_end(m), len > 0 ? matches(o, text, len, false) : rig_allowed(mask, EOS));
        if (n == 0) break;
        int32_t bad = (int32_t)(acc_random(seed, step) % r->n_vocab), id = pick(r, mask, n, acc_random(seed + 1, step));
        if (!rig_allowed(mask, bad)) assert_false(accllm_matcher_accept(m, bad));
        assert_true(accllm_matcher_accept(m, id));
        if (id == EOS) break;
        const char *bytes = accllm_token_bytes(r->tok, id, &n_bytes);
        memcpy(text + len, bytes, n_bytes);
        len += n_bytes;
    }
    accllm_matcher_free(&m);
    return step;
}

static void masks_equal_pcre2(void **state)
{
    rig r = rig_open();
    (void)state;
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
        unsigned steps = 0;
        oracle o = open_oracle(pairs[i].expression);
        accllm_grammar *g = rig_grammar(pairs[i].grammar);
        for (uint64_t seed = 0; seed < 8; seed++) steps += compare(&r, &pairs[i], &o, g, 1000 * i + 2 * seed);
        assert_true(steps > 8);
        accllm_grammar_free(&g);
        close_oracle(&o);
    }
    rig_close(&r);
}

/* A matcher that reads the whole text anew allows the same. */
static void check_anew(const rig *r, const accllm_grammar *g, const int32_t *ids, unsigned n_ids, const uint64_t *mask)
{
    accllm_matcher *m;
    uint32_t n;
    assert_int_equal(accllm_matcher_create(&m, g, r->vocab, false, NULL), ACCLLM_OK);
    for (unsigned i = 0; i < n_ids; i++) assert_true(accllm_matcher_accept(m, ids[i]));
    assert_memory_equal(accllm_matcher_mask(m, &n), mask, m->mask_words * sizeof *mask);
    accllm_matcher_free(&m);
}

/* Many words, so that the matcher's memory does not hold all their beginnings. */
static void a_dictionary_spills_and_stays_exact(void **state)
{
    enum { WORDS = 3000, STEPS = 900, SIZE = 1 << 20 };
    rig r = rig_open();
    char *text = malloc(SIZE);
    int32_t ids[STEPS];
    unsigned spilled = 0;
    size_t used = 0;
    (void)state;
    assert_non_null(text);
    rig_add(text, SIZE, &used, "root ::= word (\" \" word)*\nword ::= ");
    for (unsigned i = 0; i < WORDS; i++) {
        rig_add(text, SIZE, &used, "%s\"", i ? " | " : "");
        for (unsigned k = 0; k < 3 + i % 9; k++) text[used++] = (char)('a' + acc_random(i, k) % 8);
        text[used++] = '"';
    }
    text[used] = '\0';
    accllm_grammar *g = rig_grammar(text);
    accllm_matcher *m;
    assert_int_equal(accllm_matcher_create(&m, g, r.vocab, false, NULL), ACCLLM_OK);
    for (unsigned step = 0; step < STEPS; step++) {
        uint32_t n;
        const uint64_t *mask = accllm_matcher_mask(m, &n);
        assert_true(n > 0 && m->top.frames <= ACC_FRAMES && m->top.sets <= ACC_SETS);
        spilled += m->spilling;
        if (step % 150 == 149) check_anew(&r, g, ids, step, mask);
        ids[step] = pick(&r, mask, n, acc_random(7, step));
        if (accllm_token_ends_text(r.tok, ids[step])) ids[step] = ' ';
        assert_true(accllm_matcher_accept(m, ids[step])); /* what is allowed can be taken */
    }
    assert_true(spilled > 0);
    accllm_matcher_free(&m);
    accllm_grammar_free(&g);
    free(text);
    rig_close(&r);
}

/* Deeper than the memory: the way down closes, the way back stays open. */
static void depth_is_bounded(void **state)
{
    rig r = rig_open();
    accllm_grammar *g = rig_grammar("root ::= \"a\" root \"b\" | \"c\"");
    accllm_matcher *m;
    uint32_t depth = 0, n;
    (void)state;
    assert_int_equal(accllm_matcher_create(&m, g, r.vocab, false, NULL), ACCLLM_OK);
    while (depth < 100000 && accllm_matcher_accept(m, 'a')) depth++;
    assert_in_range(depth, 4000, ACC_FRAMES);
    const uint64_t *mask = accllm_matcher_mask(m, &n);
    assert_true(rig_allowed(mask, 'c') && !rig_allowed(mask, 'a') && !rig_allowed(mask, 'b'));
    assert_true(accllm_matcher_accept(m, 'c'));
    for (uint32_t i = 0; i < 500; i++) {
        assert_false(accllm_matcher_can_end(m));
        assert_true(accllm_matcher_accept(m, 'b'));
    }
    assert_false(accllm_matcher_accept(m, 'c'));
    accllm_matcher_free(&m);
    accllm_grammar_free(&g);
    rig_close(&r);
}

/* Two ways for every byte, all of them to be remembered: fewer are allowed than there are, none that is wrong. */
static void ambiguity_is_bounded(void **state)
{
    rig r = rig_open();
    accllm_grammar *g = rig_grammar("root ::= \"a\" root \"b\" | \"a\" root \"c\" | \"d\"");
    accllm_matcher *m;
    uint32_t depth = 0, n;
    (void)state;
    assert_int_equal(accllm_matcher_create(&m, g, r.vocab, false, NULL), ACCLLM_OK);
    while (depth < 1000 && accllm_matcher_accept(m, 'a')) depth++;
    assert_in_range(depth, 8, 20);
    const uint64_t *mask = accllm_matcher_mask(m, &n);
    assert_true(rig_allowed(mask, 'd') && !rig_allowed(mask, 'a'));
    assert_true(accllm_matcher_accept(m, 'd'));
    for (uint32_t i = 0; i < depth; i++) assert_true(accllm_matcher_accept(m, i % 3 ? 'b' : 'c'));
    assert_true(accllm_matcher_must_end(m));
    accllm_matcher_free(&m);
    accllm_grammar_free(&g);
    g = rig_grammar(
        "root ::= a a a a a a a a a a a a a a\na ::= (\"x\" b | \"x\" c)?\nb ::= a | a \"y\"\nc ::= a \"z\"");
    assert_int_equal(accllm_matcher_create(&m, g, r.vocab, false, NULL), ACCLLM_OK);
    for (unsigned i = 0; i < 40 && accllm_matcher_accept(m, 'x'); i++) (void)accllm_matcher_mask(m, &n);
    accllm_matcher_free(&m);
    accllm_grammar_free(&g);
    rig_close(&r);
}

/* The ways to begin double with every rule. */
static void too_many_beginnings_are_refused(void **state)
{
    rig r = rig_open();
    char text[4096];
    size_t used = 0;
    accllm_error err = {0};
    accllm_matcher *m;
    (void)state;
    rig_add(text, sizeof text, &used, "root ::= r0\n");
    for (unsigned i = 0; i < 20; i++)
        rig_add(text, sizeof text, &used, "r%u ::= r%u \"a\" | r%u \"b\"\n", i, i + 1, i + 1);
    rig_add(text, sizeof text, &used, "r20 ::= \"c\"\n");
    accllm_grammar *g = rig_grammar(text);
    assert_int_equal(accllm_matcher_create(&m, g, r.vocab, false, &err), ACCLLM_E_LIMIT);
    assert_non_null(strstr(err.text, "ambiguous"));
    accllm_grammar_free(&g);
    rig_close(&r);
}

static void a_long_text_needs_no_more_memory(void **state)
{
    rig r = rig_open();
    accllm_grammar *g =
        rig_grammar("root ::= \"[\" (item (\",\" item)*)? \"]\"\nitem ::= \"[\" [ab]{2,9} \"]\" | [0-9]{1,900}");
    accllm_matcher *m;
    uint32_t n;
    (void)state;
    assert_int_equal(accllm_matcher_create(&m, g, r.vocab, false, NULL), ACCLLM_OK);
    for (uint64_t step = 0; step < 20000; step++) {
        const uint64_t *mask = accllm_matcher_mask(m, &n);
        assert_true(n > 0);
        int32_t id = pick(&r, mask, n, acc_random(3, step));
        if (accllm_matcher_can_end(m)) break;
        if (id == ']' && step < 19000 && m->set[m->now].n > 1) id = rig_allowed(mask, ',') ? ',' : id;
        assert_true(accllm_matcher_accept(m, id));
        assert_true(m->top.frames <= ACC_KEPT_FRAMES + 64);
        if (accllm_matcher_must_end(m)) break;
    }
    accllm_matcher_free(&m);
    accllm_grammar_free(&g);
    rig_close(&r);
}

static void the_end_comes_once(void **state)
{
    rig r = rig_open();
    accllm_grammar *g = rig_grammar("root ::= \"a\" \"b\"?");
    accllm_matcher *m;
    uint32_t n;
    (void)state;
    assert_int_equal(accllm_matcher_create(&m, g, r.vocab, false, NULL), ACCLLM_OK);
    assert_false(accllm_matcher_can_end(m) || accllm_matcher_accept(m, EOS));
    assert_true(accllm_matcher_accept(m, 'a'));
    assert_true(accllm_matcher_can_end(m) && !accllm_matcher_must_end(m));
    const uint64_t *mask = accllm_matcher_mask(m, &n);
    assert_true(n == 3 && rig_allowed(mask, 'b') && rig_allowed(mask, EOS)); /* b is a byte and a piece */
    assert_false(rig_allowed(mask, 256));                                    /* another control token */
    assert_true(accllm_matcher_accept(m, EOS));
    assert_true(accllm_matcher_can_end(m) && accllm_matcher_must_end(m));
    assert_false(accllm_matcher_accept(m, EOS) || accllm_matcher_accept(m, 'b'));
    (void)accllm_matcher_mask(m, &n);
    assert_int_equal(n, 0);
    accllm_matcher_free(&m);
    accllm_grammar_free(&g);
    rig_close(&r);
}

static void a_blank_that_begins_the_text_is_stripped(void **state)
{
    enum { BLANK = 256 + 17, TWO = 256 + 18, BLANK_BRACE = 256 + 19 };
    rig r = rig_open();
    accllm_grammar *g = rig_grammar("root ::= \"{\" \" \"? \"}\"");
    (void)state;
    for (unsigned at_start = 0; at_start < 2; at_start++) {
        accllm_matcher *m;
        uint32_t n;
        assert_int_equal(accllm_matcher_create(&m, g, r.vocab, at_start, NULL), ACCLLM_OK);
        const uint64_t *mask = accllm_matcher_mask(m, &n);
        assert_true(rig_allowed(mask, '{'));
        assert_int_equal(rig_allowed(mask, BLANK_BRACE), at_start);
        assert_int_equal(rig_allowed(mask, BLANK), at_start);
        assert_false(rig_allowed(mask, TWO));
        assert_true(accllm_matcher_accept(m, at_start ? BLANK_BRACE : '{'));
        mask = accllm_matcher_mask(m, &n);
        assert_true(rig_allowed(mask, BLANK) && rig_allowed(mask, '}') && !rig_allowed(mask, BLANK_BRACE));
        accllm_matcher_free(&m);
    }
    accllm_matcher *m; /* a blank alone: no other blank is stripped behind it */
    uint32_t n;
    assert_int_equal(accllm_matcher_create(&m, g, r.vocab, true, NULL), ACCLLM_OK);
    assert_true(rig_allowed(accllm_matcher_mask(m, &n), BLANK));
    assert_true(accllm_matcher_accept(m, BLANK));
    const uint64_t *mask = accllm_matcher_mask(m, &n);
    assert_true(rig_allowed(mask, '{') && !rig_allowed(mask, BLANK) && !rig_allowed(mask, BLANK_BRACE));
    accllm_matcher_free(&m);
    accllm_grammar_free(&g);
    rig_close(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(masks_equal_pcre2),
        cmocka_unit_test(a_dictionary_spills_and_stays_exact),
        cmocka_unit_test(depth_is_bounded),
        cmocka_unit_test(ambiguity_is_bounded),
        cmocka_unit_test(too_many_beginnings_are_refused),
        cmocka_unit_test(a_long_text_needs_no_more_memory),
        cmocka_unit_test(the_end_comes_once),
        cmocka_unit_test(a_blank_that_begins_the_text_is_stripped),
    };
    return cmocka_run_group_tests_name("grammar-matcher", tests, NULL, NULL);
}
