/* JSON schemas: values that must and must not be written, keywords that are refused, random values that are JSON. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>

#include "core/hash.h"
#include "grammar/rig.h"
#include "grammar/schema.h"

/* Schemas and values are written with ' for ", values one a line. */
typedef struct example {
    const char *schema, *has, *lacks;
} example;

static const example examples[] = {
    {"{}", "{}\n[]\n'a'\n-0.5e+10\ntrue\nnull\n{'a': [1, {'b':null}]}", "\n01\n1.\n.5\n'\nnul\n{'a'}\n[1,]\n{'a':1,}"},
    {"true", "1", "x"},
    {"{'type':'object'}", "{}\n{ }\n{'a':1,'b':2}", "[]\n1\n{'a':1} "},
    {"{'type':'boolean'}", "true\nfalse", "null\nTrue"},
    {"{'type':['null','boolean']}", "null\ntrue", "0"},
    {"{'const':{'b':[1,2.5,'x']}}", "{'b':[1,2.5,'x']}", "{'b':[1,2.5,'y']}\n{}"},
    {"{'enum':['a','b\\'c',1,0.1,null]}", "'a'\n'b\\'c'\n1\n0.1\nnull", "'b'\n2\n'null'"},
    {"{'type':'string','enum':['a',1]}", "'a'", "1"},
    {"{'type':'integer','enum':[1,2.0,2.5]}", "1\n2.0", "2.5"},
    /* strings */
    {"{'type':'string'}", "''\n'a\xc3\xa9\xf0\x9f\x98\x80'\n'\\n\\u00e9\\\\\\/'", "a\n'\t'\n'\\x'\n'\\ud83d'\n'a''"},
    {"{'type':'string','minLength':2,'maxLength':3}", "'ab'\n'\xc3\xa9\\n\\u00e9'", "'a'\n'abcd'\n''"},
    {"{'type':'string','maxLength':100000}", "''\n'a'", "a"},
    {"{'type':'string','pattern':'^[a-c]+\\\\d{2,3}$'}", "'a12'\n'abc123'", "'12'\n'a1'\n'a1234'\n'xa12'"},
    {"{'type':'string','pattern':'b.d'}", "'bxd'\n'aabzdcc'", "'bd'\n'acd'"},
    {"{'type':'string','pattern':'^(x|yz)*?(?:-[^a-z\\\\s])?$'}", "''\n'xyzx'\n'x-A'\n'-\\''\n'-\\\\'",
     "'y'\n'-a'\n'- '\n'--x'"},
    {"{'type':'string','pattern':'^a|b$'}", "'a'\n'axx'\n'xb'", "'xa'\n'bx'"},
    {"{'type':'string','pattern':'^\\\\w\\\\W\\\\S\\\\.\\\\/\\\\u00e9\\\\x41$'}",
     "'a-!./\xc3\xa9"
     "A'\n'_ z./\xc3\xa9"
     "A'",
     "'aaa./\xc3\xa9"
     "A'\n'a- ./\xc3\xa9"
     "A'"},
    {"{'type':'string','pattern':'^\\\\\\\\\\\\n[\\\\\\\\\\\\]-]$'}", "'\\\\\\n\\\\'\n'\\\\\\n]'\n'\\\\\\n-'",
     "'\\\\\\na'\n'\\n]'"},
    {"{'type':'string','format':'date'}", "'2024-02-29'\n'2000-02-29'\n'2023-12-31'\n'2023-02-28'",
     "'2023-02-29'\n'1900-02-29'\n'2023-04-31'\n'2023-13-01'\n'2023-1-1'"},
    {"{'type':'string','format':'date-time'}", "'2024-01-31T23:59:59Z'\n'2024-01-31T00:00:00.5+02:00'",
     "'2024-01-31'\n'2024-01-31T24:00:00Z'\n'2024-01-31T10:00:00'"},
    {"{'type':'string','format':'uuid'}", "'01234567-89ab-cdef-0123-456789abcdef'", "'0123'"},
    {"{'type':'string','format':'ipv4'}", "'127.0.0.1'\n'255.249.99.0'", "'256.0.0.1'\n'1.2.3'\n'01.2.3.4'"},
    {"{'type':'string','format':'email'}", "'a.b@example.org'", "'a@b'\n'@a.b'\n'a b@c.d'"},
    {"{'type':'string','format':'hostname'}", "'a'\n'www.ex-ample.org'", "'-a'\n'a..b'\n'a-'"},
    /* numbers */
    {"{'type':'integer'}", "0\n-12\n123456789012345", "1.0\n01\n-\n1e3\n1234567890123456"},
    {"{'type':'number'}", "0\n-12.50\n1e-9\n3E+5", "+1\n1.\n1e\n1e999\nNaN"},
    {"{'type':'integer','minimum':3,'maximum':12}", "3\n9\n10\n12", "2\n13\n03\n1\n-3"},
    {"{'type':'integer','minimum':-15,'exclusiveMaximum':2}", "-15\n-9\n-1\n0\n1", "-16\n2\n-0"},
    {"{'type':'integer','exclusiveMinimum':98}", "99\n100\n123456", "98\n9"},
    {"{'type':'integer','maximum':-7}", "-7\n-10\n-999", "-6\n0\n7"},
    {"{'type':'integer','minimum':1.5,'maximum':2.5}", "2", "1\n3"},
    {"{'type':'integer','exclusiveMinimum':0.5,'exclusiveMaximum':2.5}", "1\n2", "0\n3"},
    {"{'minimum':0,'maximum':1}", "0\n1\n0.25\n1.0\n0.999999", "1.1\n-0.1\n2\n1.000001\n00.5\n-1\n1e0"},
    {"{'type':'number','exclusiveMinimum':0,'exclusiveMaximum':1}", "0.1\n0.000001\n0.50001", "0\n0.0\n1\n1.0\n0.10"},
    {"{'type':'number','minimum':-2,'maximum':10}", "-2\n-2.0\n-1.5\n-0.1\n0\n7.25\n10\n10.0", "-2.1\n10.1\n-3\n11"},
    {"{'type':'number','exclusiveMaximum':-1}", "-1.5\n-2\n-12345.5", "-1\n-0.5\n0\n1"},
    {"{'type':'number','minimum':5,'maximum':5}", "5\n5.0", "5.1\n4"},
    /* objects */
    {"{'type':'object','properties':{'a':{'type':'integer'},'b':{'type':'boolean'},'c':{'type':'null'}},'required':['b'"
     "]}",
     "{'b':true}\n{'a':1,'b':false}\n{'b':true,'c':null}\n{'a':1, 'b': true, 'c':null}\n{\n  'b': true\n}",
     "{}\n{'a':1}\n{'b':true,'a':1}\n{'b':true,}\n{'b':true,'d':1}\n{'a':'x','b':true}\n{,'b':true}"},
    {"{'properties':{'a':true,'b':true}}", "{}\n{'a':1}\n{'b':2}\n{'a':1,'b':2}", "{'b':1,'a':2}\n{'c':1}\n{,}"},
    {"{'type':'object','additionalProperties':{'type':'integer'}}", "{}\n{'x':1,'y':2}", "{'x':'a'}"},
    {"{'type':'object','properties':{},'additionalProperties':false}", "{}", "{'a':1}"},
    {"{'type':'object','properties':{'ab':{'type':'null'},'a-':true},'additionalProperties':{'type':'integer'},'"
     "required':['ab']}",
     "{'ab':null}\n{'ab':null,'a-':'x','a':1,'abc':2,'b':3,'':4}",
     "{'ab':null,'ab':1}\n{'ab':null,'a-':1,'a-':2}\n{'ab':null,'a':null}\n{'a':1}"},
    {"{'type':'object','required':['x','y'],'properties':{'y':{'const':1}}}", "{'y':1,'x':[2]}",
     "{'y':1}\n{'x':1,'y':1}"},
    {"{'type':'object','properties':{'q\\'\\\\':{'const':0}},'required':['q\\'\\\\']}", "{'q\\'\\\\':0}", "{}"},
    /* lists */
    {"{'type':'array'}", "[]\n[1, 'a', [ ]]", "[1,]\n{}"},
    {"{'items':{'type':'integer'},'minItems':1,'maxItems':3}", "[1]\n[1,2,3]\n[1, 2]", "[]\n[1,2,3,4]\n['a']"},
    {"{'type':'array','items':{'type':'integer'},'minItems':2}", "[1,2]\n[1,2,3,4]", "[1]\n[]"},
    {"{'type':'array','maxItems':0}", "[]\n[ ]", "[1]"},
    {"{'type':'array','items':false}", "[]", "[1]"},
    {"{'type':'array','prefixItems':[{'type':'integer'},{'type':'string'}]}", "[1,'a']", "[1]\n[1,'a',2]\n['a',1]\n[]"},
    {"{'type':'array','prefixItems':[{'const':1}],'items':{'const':2},'minItems':2,'maxItems':3}", "[1,2]\n[1,2,2]",
     "[1]\n[1,2,2,2]"},
    /* several */
    {"{'anyOf':[{'type':'integer'},{'type':'null'}],'title':'x'}", "1\nnull", "'a'"},
    {"{'oneOf':[{'type':'string'},{'type':'integer'},{'enum':[1.5,true]}]}", "'a'\n1\n1.5\ntrue", "2.5\nfalse"},
    {"{'oneOf':[{'$ref':'#/$defs/a'},{'$ref':'#/$defs/b'}],'discriminator':{},'$defs':{"
     "'a':{'type':'object','properties':{'k':{'const':'a'},'x':{'type':'integer'}},'required':['k','x']},"
     "'b':{'type':'object','properties':{'k':{'const':'b'}},'required':['k']}}}",
     "{'k':'a','x':1}\n{'k':'b'}", "{'k':'a'}\n{'k':'c'}"},
    {"{'allOf':[{'$ref':'#/definitions/a%20b~1'}],'description':'','definitions':{'a b/':{'const':1}}}", "1", "2"},
    {"{'$ref':'#/$defs/t','$defs':{'t':{'type':'object','properties':{'next':{'anyOf':[{'$ref':'#/$defs/"
     "t'},{'type':'null'}]}},"
     "'required':['next']}}}",
     "{'next':null}\n{'next':{'next':{'next':null}}}", "{}\n{'next':1}"},
    {"{'type':'array','items':{'$ref':'#'}}", "[]\n[[],[[]]]", "[1]"},
};

static char *with_quotes(const char *s)
{
    char *copy = strdup(s);
    assert_non_null(copy);
    for (char *c = copy; *c; c++)
        if (*c == '\'') *c = '"';
    return copy;
}

static accllm_grammar *compile(const char *schema)
{
    char *json = with_quotes(schema);
    accllm_error err = {0};
    accllm_grammar *g;
    if (accllm_grammar_from_json_schema(&g, json, strlen(json), &err) != ACCLLM_OK) fail_msg("%s: %s", json, err.text);
    free(json);
    return g;
}

/* Lines at top level end values; a line end within a value is written as it is where braces are open. */
static size_t value_length(const char *s)
{
    int depth = 0;
    size_t n = 0;
    for (; s[n] && !(s[n] == '\n' && depth == 0); n++)
        depth += (s[n] == '{' && s[n + 1] == '\n') - (s[n] == '}' && depth);
    return n;
}

static void check_values(const rig *r, const accllm_grammar *g, const char *values, bool want, const char *schema)
{
    char *text = with_quotes(values);
    for (char *at = text;;) {
        size_t n = value_length(at);
        bool last = at[n] == '\0';
        at[n] = '\0';
        if (rig_has(r, g, at) != want) fail_msg("%s: %s should %sbe written", schema, at, want ? "" : "not ");
        if (last) break;
        at += n + 1;
    }
    free(text);
}

static void examples_are_kept_to(void **state)
{
    rig r = rig_open();
    (void)state;
    for (size_t i = 0; i < sizeof examples / sizeof *examples; i++) {
        accllm_grammar *g = compile(examples[i].schema);
        check_values(&r, g, examples[i].has, true, examples[i].schema);
        check_values(&r, g, examples[i].lacks, false, examples[i].schema);
        accllm_grammar_free(&g);
    }
    rig_close(&r);
}

/* What tokens at random make of it is JSON. */
static void random_values_are_json(void **state)
{
    rig r = rig_open();
    char text[4096];
    unsigned ended = 0;
    (void)state;
    for (size_t i = 0; i < sizeof examples / sizeof *examples; i++) {
        accllm_grammar *g = compile(examples[i].schema);
        for (uint64_t seed = 0; seed < 6; seed++) {
            if (rig_draw(&r, g, 100 * i + seed, text, sizeof text) == SIZE_MAX) continue;
            json_error_t why;
            json_t *v = json_loads(text, JSON_DECODE_ANY | JSON_ALLOW_NUL, &why);
            if (!v) fail_msg("%s: %s: %s", examples[i].schema, text, why.text);
            json_decref(v);
            ended++;
        }
        accllm_grammar_free(&g);
    }
    assert_true(ended > 150);
    rig_close(&r);
}

static void what_cannot_be_kept_is_refused(void **state)
{
    static const struct {
        const char *schema;
        accllm_status status;
        const char *says;
    } bad[] = {
        {"{", ACCLLM_E_FORMAT, "line 1"},
        {"{'type':'a','type':'b'}", ACCLLM_E_FORMAT, "duplicate"},
        {"1", ACCLLM_E_FORMAT, "must be an object"},
        {"false", ACCLLM_E_FORMAT, "allows no value"},
        {"{'type':'text'}", ACCLLM_E_FORMAT, "no type text"},
        {"{'type':[]}", ACCLLM_E_FORMAT, "type"},
        {"{'type':[1]}", ACCLLM_E_UNSUPPORTED, "type"},
        {"{'enum':[]}", ACCLLM_E_FORMAT, "enum"},
        {"{'type':'string','enum':[1]}", ACCLLM_E_FORMAT, "enum"},
        {"{'anyOf':[]}", ACCLLM_E_FORMAT, "anyOf"},
        {"{'anyOf':[true],'type':'object'}", ACCLLM_E_UNSUPPORTED, "type beside anyOf"},
        {"{'allOf':[true,true]}", ACCLLM_E_UNSUPPORTED, "allOf"},
        {"{'oneOf':[{'type':'number'},{'type':'integer'}]}", ACCLLM_E_UNSUPPORTED, "alternatives 0 and 1"},
        {"{'oneOf':[{'type':'object'},{'type':'object'}]}", ACCLLM_E_UNSUPPORTED, "oneOf"},
        {"{'oneOf':[{'const':1},{'const':1.0}]}", ACCLLM_E_UNSUPPORTED, "oneOf"},
        {"{'oneOf':[{'type':'string'},{'const':'a'}]}", ACCLLM_E_UNSUPPORTED, "oneOf"},
        {"{'not':{}}", ACCLLM_E_UNSUPPORTED, "not: not supported"},
        {"{'if':{},'then':{}}", ACCLLM_E_UNSUPPORTED, "if"},
        {"{'$ref':'http://example.org/a'}", ACCLLM_E_UNSUPPORTED, "$ref"},
        {"{'$ref':'#/$defs/a'}", ACCLLM_E_FORMAT, "leads nowhere"},
        {"{'$ref':'#'}", ACCLLM_E_FORMAT, "can never end"},
        {"{'anyOf':[{'$ref':'#'},{'type':'null'}]}", ACCLLM_E_UNSUPPORTED, "begins with itself"},
        {"{'$ref':'#/a','minLength':1,'a':true}", ACCLLM_E_UNSUPPORTED, "minLength beside $ref"},
        {"{'type':'object','patternProperties':{}}", ACCLLM_E_UNSUPPORTED, "patternProperties"},
        {"{'type':'object','minProperties':1}", ACCLLM_E_UNSUPPORTED, "minProperties"},
        {"{'type':'object','properties':1}", ACCLLM_E_FORMAT, "properties"},
        {"{'type':'object','required':['a'],'additionalProperties':false}", ACCLLM_E_FORMAT, "required: a"},
        {"{'dependentRequired':{}}", ACCLLM_E_UNSUPPORTED, "dependentRequired"},
        {"{'type':'array','uniqueItems':true}", ACCLLM_E_UNSUPPORTED, "uniqueItems"},
        {"{'type':'array','contains':{}}", ACCLLM_E_UNSUPPORTED, "contains"},
        {"{'type':'array','items':[{}]}", ACCLLM_E_UNSUPPORTED, "prefixItems"},
        {"{'type':'array','minItems':3,'maxItems':2}", ACCLLM_E_FORMAT, "minItems"},
        {"{'type':'array','maxItems':-1}", ACCLLM_E_FORMAT, "maxItems"},
        {"{'type':'array','minItems':1e9}", ACCLLM_E_UNSUPPORTED, "minItems"},
        {"{'type':'string','minLength':'a'}", ACCLLM_E_FORMAT, "minLength"},
        {"{'type':'string','minLength':2,'maxLength':1}", ACCLLM_E_FORMAT, "minLength"},
        {"{'type':'string','format':'uri'}", ACCLLM_E_UNSUPPORTED, "format: uri"},
        {"{'type':'string','format':'date','minLength':1}", ACCLLM_E_UNSUPPORTED, "format"},
        {"{'type':'string','pattern':'a(?=b)'}", ACCLLM_E_UNSUPPORTED, "pattern: this kind of group"},
        {"{'type':'string','pattern':'(a)\\\\1'}", ACCLLM_E_UNSUPPORTED, "pattern"},
        {"{'type':'string','pattern':'\\\\bx'}", ACCLLM_E_UNSUPPORTED, "pattern"},
        {"{'type':'string','pattern':'a**'}", ACCLLM_E_UNSUPPORTED, "second quantifier"},
        {"{'type':'string','pattern':'(a'}", ACCLLM_E_UNSUPPORTED, "without its end"},
        {"{'type':'string','pattern':'a)'}", ACCLLM_E_UNSUPPORTED, "pattern"},
        {"{'type':'string','pattern':'[a'}", ACCLLM_E_UNSUPPORTED, "without its end"},
        {"{'type':'string','pattern':'[\\\\x01]'}", ACCLLM_E_UNSUPPORTED, "no character"},
        {"{'type':'string','pattern':'x{2000000}'}", ACCLLM_E_LIMIT, "1000000"},
        {"{'type':'number','minimum':0.5}", ACCLLM_E_UNSUPPORTED, "minimum"},
        {"{'type':'number','multipleOf':2}", ACCLLM_E_UNSUPPORTED, "multipleOf"},
        {"{'type':'integer','exclusiveMinimum':true}", ACCLLM_E_UNSUPPORTED, "exclusiveMinimum"},
        {"{'type':'integer','minimum':3,'maximum':2}", ACCLLM_E_FORMAT, "bounds"},
        {"{'type':'integer','maximum':1e18}", ACCLLM_E_UNSUPPORTED, "maximum"},
        {"{'type':'number','exclusiveMinimum':1,'maximum':1}", ACCLLM_E_FORMAT, "bounds"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        char *json = with_quotes(bad[i].schema);
        accllm_error err = {0};
        accllm_grammar *g;
        accllm_status status = accllm_grammar_from_json_schema(&g, json, strlen(json), &err);
        assert_null(g);
        if (status != bad[i].status || !strstr(err.text, bad[i].says))
            fail_msg("%s: %d, \"%s\" does not say \"%s\"", json, status, err.text, bad[i].says);
        free(json);
    }
}

static void deep_and_large_schemas_are_refused(void **state)
{
    enum { DEPTH = 1000, MANY = 20000, SIZE = MANY * 40 };
    char *text = malloc(SIZE);
    size_t used = 0;
    accllm_grammar *g;
    accllm_error err = {0};
    (void)state;
    assert_non_null(text);
    for (unsigned i = 0; i < DEPTH; i++) rig_add(text, SIZE, &used, "{\"items\":");
    rig_add(text, SIZE, &used, "true");
    for (unsigned i = 0; i < DEPTH; i++) text[used++] = '}';
    assert_int_equal(accllm_grammar_from_json_schema(&g, text, used, &err), ACCLLM_E_LIMIT);
    used = 0;
    rig_add(text, SIZE, &used, "{\"properties\":{\"a\":true");
    for (unsigned i = 0; i < MANY; i++) rig_add(text, SIZE, &used, ",\"p%u\":true", i);
    rig_add(text, SIZE, &used, "}}");
    assert_int_equal(accllm_grammar_from_json_schema(&g, text, used, &err), ACCLLM_E_LIMIT);
    free(text);
}

static void assert_refused(const char *text, size_t n, accllm_status why)
{
    accllm_grammar *g;
    accllm_error err = {0};
    assert_int_equal(accllm_grammar_from_json_schema(&g, text, n, &err), why);
    assert_null(g);
}

/* A schema that fails in the middle of an object leaves nothing behind. */
static void failures_within_objects_are_clean(void **state)
{
    enum { SIZE = 1 << 17, RULES = 8192 };
    char *text = malloc(SIZE);
    (void)state;
    assert_non_null(text);
    for (unsigned left = 0; left < 5; left++) {
        size_t used = 0;
        rig_add(text, SIZE, &used, "{\"anyOf\":[");
        for (unsigned i = 0; i < RULES - left; i++) rig_add(text, SIZE, &used, "true,");
        rig_add(text, SIZE, &used, "{\"type\":\"object\",\"properties\":{\"a\":true},\"additionalProperties\":{}}]}");
        assert_refused(text, used, ACCLLM_E_LIMIT);
        used = 0;
        rig_add(text, SIZE, &used, "{\"anyOf\":[");
        for (unsigned i = 0; i < RULES - left; i++) rig_add(text, SIZE, &used, "true,");
        rig_add(text, SIZE, &used, "{\"type\":\"object\"}]}");
        assert_refused(text, used, ACCLLM_E_LIMIT);
    }
    size_t used = 0;
    rig_add(text, SIZE, &used, "{\"properties\":{\"");
    for (unsigned i = 0; i < 4097; i++) text[used++] = 'n';
    rig_add(text, SIZE, &used, "\":true},\"additionalProperties\":true}");
    assert_refused(text, used, ACCLLM_E_UNSUPPORTED);
    free(text);
}

/* Work is bounded by what is written, not by what is read: each of these would take minutes. */
static void long_schemas_are_refused_at_once(void **state)
{
    enum { SIZE = 5 << 20, LONG = 1 << 20, DEEP = 2000, NAMES = 200000 };
    static const char *const pieces[] = {"a", "\\\\W"};
    char *text = malloc(SIZE);
    size_t used;
    (void)state;
    assert_non_null(text);
    for (size_t p = 0; p < 2; p++) {
        used = 0;
        rig_add(text, SIZE, &used, "{\"pattern\":\"");
        for (unsigned i = 0; i < LONG; i++) rig_add(text, SIZE, &used, "%s", pieces[p]);
        rig_add(text, SIZE, &used, "\"}");
        assert_refused(text, used, ACCLLM_E_LIMIT);
    }
    char *ref = malloc(3 * DEEP);
    size_t n = 0;
    assert_non_null(ref);
    rig_add(ref, 3 * DEEP, &n, "{\"$ref\":\"#");
    for (unsigned i = 0; i < DEEP; i++) rig_add(ref, 3 * DEEP, &n, "/x");
    rig_add(ref, 3 * DEEP, &n, "\"}");
    used = 0;
    rig_add(text, SIZE, &used, "{\"oneOf\":[");
    for (unsigned k = 0; k < 2; k++) {
        rig_add(text, SIZE, &used, "%s{\"type\":\"object\",\"properties\":{\"p\":%s},\"required\":[\"p\"", k ? "," : "",
                ref);
        for (unsigned i = 0; i < NAMES; i++) rig_add(text, SIZE, &used, ",\"p\"");
        rig_add(text, SIZE, &used, "]}");
    }
    rig_add(text, SIZE, &used, "]");
    for (unsigned i = 1; i < DEEP; i++) rig_add(text, SIZE, &used, "%s\"x\":", i > 1 ? "{" : ",");
    rig_add(text, SIZE, &used, "{\"x\":%s}", ref);
    for (unsigned i = 1; i < DEEP; i++) text[used++] = '}';
    assert_refused(text, used, ACCLLM_E_UNSUPPORTED);
    free(ref);
    free(text);
}

/* So is the work of telling alternatives apart: lists of types, and texts that are nearly the same. */
static void alternatives_that_take_long_are_refused_at_once(void **state)
{
    enum { SIZE = 4 << 20, REQUIRED = 300000, TYPES = 1000000, TEXTS = 1000, LONG = 1000 };
    char *text = malloc(SIZE);
    size_t used = 0;
    (void)state;
    assert_non_null(text);
    rig_add(text, SIZE, &used,
            "{\"oneOf\":[{\"type\":\"object\",\"properties\":{\"\":{\"type\":\"string\"}}},"
            "{\"type\":\"object\",\"properties\":{\"\":{\"type\":[0");
    for (unsigned i = 0; i < TYPES; i++) rig_add(text, SIZE, &used, ",0");
    rig_add(text, SIZE, &used, "]}},\"required\":[\"\"");
    for (unsigned i = 0; i < REQUIRED; i++) rig_add(text, SIZE, &used, ",\"\"");
    rig_add(text, SIZE, &used, "]}]}");
    assert_refused(text, used, ACCLLM_E_UNSUPPORTED);
    used = 0;
    rig_add(text, SIZE, &used, "{\"oneOf\":[");
    for (unsigned k = 0; k < 2; k++) {
        rig_add(text, SIZE, &used, "{\"enum\":[");
        for (unsigned i = 0; i < TEXTS; i++) rig_add(text, SIZE, &used, "%s\"%0*u\"", i ? "," : "", LONG, 2 * i + k);
        rig_add(text, SIZE, &used, k ? "]}]}" : "]},");
    }
    assert_refused(text, used, ACCLLM_E_UNSUPPORTED);
    free(text);
}

/* Targets are written once, however many spellings of their references there are. */
static void spellings_of_a_reference_are_one(void **state)
{
    static const char one[] = "{'anyOf':[{'$ref':'#/a'},{'$ref':'#/a'}],'a':{'const':1}}",
                      two[] = "{'anyOf':[{'$ref':'#/a'},{'$ref':'#/%61'}],'a':{'const':1}}";
    char *json[] = {with_quotes(one), with_quotes(two)}, *text[2];
    accllm_error err = {0};
    (void)state;
    for (size_t i = 0; i < 2; i++)
        assert_int_equal(acc_schema_text(&text[i], json[i], strlen(json[i]), &err), ACCLLM_OK);
    assert_string_equal(text[0], text[1]);
    for (size_t i = 0; i < 2; i++) {
        free(json[i]);
        free(text[i]);
    }
}

/* Every beginning of a schema, and thousands of changed ones. */
static void damaged_schemas_do_no_harm(void **state)
{
    char *good =
        with_quotes("{'type':'object','properties':{'a':{'type':['string','null'],'pattern':'^a[b-d]{2}(x|\\\\d)$'},"
                    "'b':{'$ref':'#/$defs/x'},'c':{'type':'number','minimum':-3,'maximum':120}},'required':['a'],"
                    "'additionalProperties':{'type':'integer','minimum':7},'$defs':{'x':{'type':'array','prefixItems':"
                    "[{'enum':[1,'x']}],'items':{'oneOf':[{'const':1},{'type':'null'}]},'maxItems':4}}}");
    size_t len = strlen(good);
    unsigned made = 0;
    (void)state;
    for (uint64_t i = 0; i < len + 4000; i++) {
        char *bad = strdup(good);
        size_t n = i < len ? i : len;
        accllm_error err = {0};
        accllm_grammar *g;
        assert_non_null(bad);
        for (uint64_t k = 0; i >= len && k < 1 + i % 2; k++) {
            uint64_t x = acc_random(i, k);
            bad[x % len] = "\"[]{}:,\\0123456789aetx-^$()|*+?."[(x >> 32) % 32];
        }
        accllm_status status = accllm_grammar_from_json_schema(&g, bad, n, &err);
        assert_true((status == ACCLLM_OK) == (g != NULL));
        assert_true(g || *err.text);
        made += g != NULL;
        accllm_grammar_free(&g);
        free(bad);
    }
    assert_in_range(made, 100, 4000);
    free(good);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(examples_are_kept_to),
        cmocka_unit_test(random_values_are_json),
        cmocka_unit_test(what_cannot_be_kept_is_refused),
        cmocka_unit_test(deep_and_large_schemas_are_refused),
        cmocka_unit_test(failures_within_objects_are_clean),
        cmocka_unit_test(long_schemas_are_refused_at_once),
        cmocka_unit_test(alternatives_that_take_long_are_refused_at_once),
        cmocka_unit_test(spellings_of_a_reference_are_one),
        cmocka_unit_test(damaged_schemas_do_no_harm),
    };
    return cmocka_run_group_tests_name("grammar-schema", tests, NULL, NULL);
}
