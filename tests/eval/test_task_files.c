/* Task files: what each form comes to, and damaged ones: an error with the line, never a crash. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/hash.h"
#include "eval/task.h"

static acc_task_item item;

static accllm_status read_first(const char *text, size_t len, const char *type, acc_task_type *is, accllm_error *err)
{
    acc_task_reader r;
    accllm_status s = acc_task_open(&r, text, len, type, err);
    if (s == ACCLLM_OK) s = acc_task_next(&r, &item, err);
    if (is) *is = r.type;
    return s;
}

static void texts_of_every_form(void **state)
{
    (void)state;
    const struct {
        const char *line, *type;
        acc_task_type is;
        uint32_t n, gold;
        const char *context, *first, *last_context, *last;
    } cases[] = {
        {"{\"query\":\"Question: A?\\n\",\"choices\":[\"x y\",\"z\"],\"gold\":1}", NULL, ACC_TASK_QUESTION, 2, 1,
         "Question: A?\nAnswer:", " x y", "Question: A?\nAnswer:", " z"},
        {"{\"query\":\"Question: A?\\n\",\"choices\":[\"x y\",\"z\"],\"gold\":1}", "choice", ACC_TASK_CHOICE, 2, 1,
         "Question: A?\n", "x y", "Question: A?\n", "z"},
        {"{\"query\":\"The sea\",\"choices\":[\"is\",\" was\",\"x\"],\"label\":\"2\"}", NULL, ACC_TASK_CHOICE, 3, 2,
         "The sea", " is", "The sea", " x"},
        {"{\"query\":\"The sea\",\"choices\":[\"is\",\" was\"],\"gold\":0}", NULL, ACC_TASK_CHOICE, 2, 0, "The sea",
         " is", "The sea", " was"},
        {"{\"context\":\"a b\",\"continuation\":\"c\"}", NULL, ACC_TASK_WORD, 1, 0, "a b", " c", "a b", " c"},
        {"{\"context\":\"a b \",\"continuation\":\"c\"}", NULL, ACC_TASK_WORD, 1, 0, "a b ", "c", "a b ", "c"},
        {"{\"text\":\"a b c\"}", NULL, ACC_TASK_WORD, 1, 0, "a b", " c", "a b", " c"},
        {"{\"context_options\":[\"a\",\"b\"],\"continuation\":\"c.\",\"gold\":0}", NULL, ACC_TASK_SCHEMA, 2, 0, "a",
         " c.", "b", " c."},
        {"{\"activity_label\":\"Roof\",\"ctx_a\":\"A man [header] sits.\",\"ctx_b\":\"he THEN\",\"endings\":[\"falls  "
         "off. [title] X\",\"[step] y\"],\"label\":\"0\"}",
         NULL, ACC_TASK_HELLASWAG, 2, 0, "Roof: A man sits. He then", " falls off.. X", "Roof: A man sits. He then",
         " y"},
        {"Roof: A man sits. the lady\n3\nruns.\nfalls [x] off.\n sits.\nstands.\n", NULL, ACC_TASK_HELLASWAG, 4, 3,
         "Roof: A man sits. The lady", " runs.", "Roof: A man sits. The lady", " stands."},
        {"\xef\xbb\xbf\r\nHome: How to be. Do it.\r\n0\r\na\r\nb\r\nc\r\nd", "hellaswag", ACC_TASK_HELLASWAG, 4, 0,
         "Home: How to be. Do it.", " a", "Home: How to be. Do it.", " d"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        accllm_error err;
        acc_task_type is;
        if (read_first(cases[i].line, strlen(cases[i].line), cases[i].type, &is, &err) != ACCLLM_OK)
            fail_msg("case %zu: %s", i, err.text);
        assert_int_equal(is, cases[i].is);
        assert_int_equal(item.n, cases[i].n);
        assert_int_equal(item.gold, cases[i].gold);
        assert_string_equal(item.pair[0].context, cases[i].context);
        assert_string_equal(item.pair[0].continuation, cases[i].first);
        assert_string_equal(item.pair[item.n - 1].context, cases[i].last_context);
        assert_string_equal(item.pair[item.n - 1].continuation, cases[i].last);
    }
    acc_task_item_clear(&item);
}

static void bad_items_are_named_by_their_line(void **state)
{
    (void)state;
    static const char good[] = "{\"query\":\"q\",\"choices\":[\"a\",\"b\"],\"gold\":0}\n\n";
    const struct {
        const char *line, *says;
    } cases[] = {
        {"{\"query\":\"q\",\"choices\":[\"a\",\"b\"],\"gold\":2}", "line 3: \"gold\" is not the number of a choice"},
        {"{\"query\":\"q\",\"choices\":[\"a\",\"b\"],\"gold\":-1}", "line 3: \"gold\""},
        {"{\"query\":\"q\",\"choices\":[\"a\",\"b\"],\"gold\":1.5}", "line 3: \"gold\""},
        {"{\"query\":\"q\",\"choices\":[\"a\",\"b\"],\"gold\":99999999999999999999}", "line 3, column"},
        {"{\"query\":\"q\",\"choices\":[\"a\",\"b\"]}", "line 3: \"gold\" is missing"},
        {"{\"query\":\"q\",\"choices\":[\"a\"],\"gold\":0}", "line 3: \"choices\" is not a list of 2 to 64"},
        {"{\"query\":\"q\",\"choices\":{\"a\":1},\"gold\":0}", "line 3: \"choices\" is not a list"},
        {"{\"query\":\"q\",\"choices\":[\"a\",7],\"gold\":0}", "line 3: \"choices\": entry 1 is not a text"},
        {"{\"query\":\"q\",\"choices\":[\"a\",\" \"],\"gold\":0}", "line 3: choice 1 is empty"},
        {"{\"query\":7,\"choices\":[\"a\",\"b\"],\"gold\":0}", "line 3: \"query\" is not a text"},
        {"{\"choices\":[\"a\",\"b\"],\"gold\":0}", "line 3: \"query\" is missing"},
        {"{\"context\":\"a\",\"continuation\":\"b\"}", "line 3: \"query\" is missing"}, /* another form */
        {"{\"query\":\"q\",\"query\":\"q\",\"choices\":[\"a\",\"b\"],\"gold\":0}", "line 3, column"},
        {"[1,2]", "line 3: not a JSON object"},
        {"{\"query\":\"q\\u0000\",\"choices\":[\"a\",\"b\"],\"gold\":0}", "line 3, column"},
        {"{\"query\":\"\xff\",\"choices\":[\"a\",\"b\"],\"gold\":0}", "line 3, column"},
        {"{\"query\":", "line 3, column"},
        {"nonsense", "line 3, column 8: '[' or '{' expected near 'nonsense'"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char text[512];
        accllm_error err = {0};
        acc_task_reader r;
        (void)snprintf(text, sizeof text, "%s%s\n", good, cases[i].line);
        assert_int_equal(acc_task_open(&r, text, strlen(text), NULL, &err), ACCLLM_OK);
        assert_int_equal(acc_task_next(&r, &item, &err), ACCLLM_OK);
        assert_int_equal(acc_task_next(&r, &item, &err), ACCLLM_E_FORMAT);
        if (strncmp(err.text, cases[i].says, strlen(cases[i].says)) != 0) fail_msg("case %zu: %s", i, err.text);
        assert_int_equal(item.n, 0);
    }
}

static void bad_files_are_refused(void **state)
{
    (void)state;
    const struct {
        const char *text;
        size_t len;
        const char *type, *says;
    } cases[] = {
        {"BZh91AY&SY", 10, NULL, "compressed"},
        {"\x1f\x8b\x08\0", 4, NULL, "compressed"},
        {"a text\nthat goes on\n", 20, NULL, "line 2: not the number of an ending"},
        {"a\n4\nb\nc\nd\ne\n", 12, NULL, "line 2: not the number of an ending"},
        {"a\n1\nb\nc\n", 8, NULL, "line 4: the file ends inside a task"},
        {"a\n1\nb\nc\n[x]\nd\n", 14, NULL, "line 1: choice 2 is empty"},
        {"a\0b\n1\nb\nc\nd\ne\n", 14, NULL, "line 1: a zero byte"},
        {"a\n1\nb\nc\nd\ne\n", 12, "question", "line 1: items of type question are lines of JSON"},
        {"{}", 2, NULL, "line 1: no known form of a task"},
        {"{\"text\":\"word\"}", 15, NULL, "line 1: \"text\" is a single word"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        accllm_error err = {0};
        assert_int_equal(read_first(cases[i].text, cases[i].len, cases[i].type, NULL, &err), ACCLLM_E_FORMAT);
        if (!strstr(err.text, cases[i].says)) fail_msg("case %zu: %s", i, err.text);
    }
}

static void a_line_has_a_greatest_length(void **state)
{
    (void)state;
    size_t n = ACC_TASK_MAX_LINE + 100;
    char *text = malloc(n);
    accllm_error err;
    assert_non_null(text);
    memset(text, 'a', n);
    memcpy(text, "{\"text\":\"", 9);
    assert_int_equal(read_first(text, n, NULL, NULL, &err), ACCLLM_E_FORMAT);
    assert_non_null(strstr(err.text, "line 1: "));
    memset(text, '[', n); /* nesting */
    assert_int_equal(read_first(text, ACC_TASK_MAX_LINE, NULL, NULL, &err), ACCLLM_E_FORMAT);
    free(text);
}

/* Brackets without an end are read once, not once each. */
static void open_brackets_take_no_time(void **state)
{
    enum { MANY = 3 << 20 };
    static const char begin[] = "{\"ctx\":\"A b", end[] = "\",\"endings\":[\"c\",\"d\"],\"label\":0}";
    static char text[MANY + sizeof begin + sizeof end];
    acc_task_reader r;
    accllm_error err;
    (void)state;
    memcpy(text, begin, sizeof begin - 1);
    memset(text + sizeof begin - 1, '[', MANY);
    memcpy(text + sizeof begin - 1 + MANY, end, sizeof end);
    assert_int_equal(acc_task_open(&r, text, strlen(text), NULL, &err), ACCLLM_OK);
    if (acc_task_next(&r, &item, &err) != ACCLLM_OK) fail_msg("%s", err.text);
    assert_int_equal(item.n, 2);
    acc_task_item_clear(&item);
}

/* Reads to the end or to the first fault. */
static void read_all(const char *text, size_t len)
{
    acc_task_reader r;
    accllm_error err;
    char *copy = malloc(len ? len : 1); /* of the exact size, so that a sanitizer sees what is read beyond */
    assert_non_null(copy);
    memcpy(copy, text, len);
    accllm_status s = acc_task_open(&r, copy, len, NULL, &err);
    for (int i = 0; s == ACCLLM_OK && i < 100; i++) {
        s = acc_task_next(&r, &item, &err);
        if (s == ACCLLM_OK && item.n == 0) break;
        if (s == ACCLLM_OK) assert_true(item.gold < item.n && item.n <= ACC_TASK_MAX_CHOICES);
    }
    assert_true(s == ACCLLM_OK || (s == ACCLLM_E_FORMAT && err.text[0]));
    acc_task_item_clear(&item);
    free(copy);
}

static void any_bytes_give_items_or_an_error(void **state)
{
    (void)state;
    static const char *const files[] = {
        "{\"query\":\"Question: A?\\n\",\"choices\":[\"x y\",\"z\"],\"gold\":1}\n{\"query\":\"\",\"choices\":[]}\n",
        "{\"ctx_a\":\"A [h] s.\",\"ctx_b\":\"he\",\"endings\":[\"f  o. [title] X\",\"y\"],\"label\":\"0\"}\n",
        "{\"context_options\":[\"a\",\"b\"],\"continuation\":\"c.\",\"gold\":0}\n",
        "{\"text\":\"a b c\"}\n{\"context\":\"a b \",\"continuation\":\"c\"}\n",
        "R: A [title] man. the lady\n3\nruns.\nfalls [x] off.\n sits.\nstands.\nx\n0\na\nb\nc\nd\n",
    };
    for (size_t f = 0; f < sizeof files / sizeof *files; f++) {
        size_t len = strlen(files[f]);
        char text[512];
        for (size_t cut = 0; cut <= len; cut++) read_all(files[f], cut);
        for (uint64_t i = 0; i < 4000; i++) {
            memcpy(text, files[f], len);
            uint64_t x = acc_random(f, i);
            for (unsigned k = 0; k <= x % 3; k++) {
                uint64_t y = acc_random(x, k);
                text[y % len] = (char)(y >> 32 & 1 ? y >> 40 : (uint64_t) "[]{}\",:\n \\u0"[(y >> 40) % 12]);
            }
            read_all(text, len);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(texts_of_every_form),        cmocka_unit_test(bad_items_are_named_by_their_line),
        cmocka_unit_test(bad_files_are_refused),      cmocka_unit_test(a_line_has_a_greatest_length),
        cmocka_unit_test(open_brackets_take_no_time), cmocka_unit_test(any_bytes_give_items_or_an_error),
    };
    return cmocka_run_group_tests_name("task files", tests, NULL, NULL);
}
