#include "grammar/schema.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "grammar/grammar.h"

/* What every grammar of a schema may use. Blanks between the parts of a value are few, so that no model goes on with
 * them for ever; numbers stay within what a double holds; \u escapes spell no half of a surrogate pair. */
static const char common[] =
    "ws ::= (\" \" | \"\\n\" \" \"{0,16})?\n"
    "plain ::= [^\"\\\\\\x00-\\x1f\\x7f]\n"
    "char ::= plain | \"\\\\\" ([\"\\\\/bfnrt] | \"u\" ([0-9abcefABCEF] hex{3} | [dD] [0-7] hex{2}))\n"
    "hex ::= [0-9a-fA-F]\n"
    "string ::= \"\\\"\" char* \"\\\"\"\n"
    "integer ::= \"-\"? (\"0\" | [1-9] [0-9]{0,14})\n"
    "number ::= integer (\".\" [0-9]{1,15})? ([eE] [-+]? [0-9]{1,2})?\n"
    "object ::= \"{\" ws (string \":\" ws value (\",\" ws string \":\" ws value)* ws)? \"}\"\n"
    "array ::= \"[\" ws (value (\",\" ws value)* ws)? \"]\"\n"
    "value ::= object | array | string | number | \"true\" | \"false\" | \"null\"\n";

/* All keywords that constrain a value; what is not among them is a note for people. */
static const char *const constraints[] = {"type",
                                          "enum",
                                          "const",
                                          "properties",
                                          "required",
                                          "additionalProperties",
                                          "patternProperties",
                                          "propertyNames",
                                          "minProperties",
                                          "maxProperties",
                                          "dependentRequired",
                                          "dependentSchemas",
                                          "dependencies",
                                          "unevaluatedProperties",
                                          "items",
                                          "prefixItems",
                                          "additionalItems",
                                          "contains",
                                          "minContains",
                                          "maxContains",
                                          "minItems",
                                          "maxItems",
                                          "uniqueItems",
                                          "unevaluatedItems",
                                          "minLength",
                                          "maxLength",
                                          "pattern",
                                          "format",
                                          "minimum",
                                          "maximum",
                                          "exclusiveMinimum",
                                          "exclusiveMaximum",
                                          "multipleOf",
                                          "allOf",
                                          "anyOf",
                                          "oneOf",
                                          "not",
                                          "if",
                                          "then",
                                          "else",
                                          "$ref",
                                          "$dynamicRef",
                                          "$recursiveRef"};
static const char *const never[] = {"not", "if", "then", "else", "$dynamicRef", "$recursiveRef", NULL};

accllm_status acc_schema_refuse(const acc_schema *s, const char *keyword, const char *why)
{
    return acc_fail(s->err, ACCLLM_E_UNSUPPORTED, "JSON schema: %.64s: %s", keyword, why);
}

accllm_status acc_schema_without(const acc_schema *s, const json_t *schema, const char *const *keywords)
{
    for (; *keywords; keywords++) {
        const json_t *v = json_object_get(schema, *keywords);
        if (v && !(strcmp(*keywords, "uniqueItems") == 0 && json_is_false(v)))
            return acc_schema_refuse(s, *keywords, "not supported");
    }
    return ACCLLM_OK;
}

/* Of what constrains, the schema may have this keyword and `also` (NULL: nothing) alone. */
static accllm_status alone(const acc_schema *s, const json_t *schema, const char *keyword, const char *also)
{
    for (size_t i = 0; i < sizeof constraints / sizeof *constraints; i++) {
        const char *k = constraints[i];
        if (strcmp(k, keyword) == 0 || (also && strcmp(k, also) == 0) || !json_object_get(schema, k)) continue;
        return acc_fail(s->err, ACCLLM_E_UNSUPPORTED, "JSON schema: %s beside %s is not supported", k, keyword);
    }
    return ACCLLM_OK;
}

accllm_status acc_schema_fits(const acc_schema *s, const acc_writing *w)
{
    if (!w->failed) return ACCLLM_OK;
    return acc_fail(s->err, ACCLLM_E_LIMIT, "the JSON schema is too large, or there is no memory for it");
}

static accllm_status new_name(acc_schema *s, char name[ACC_RULE_NAME])
{
    if (s->n_rules == ACC_SCHEMA_RULES)
        return acc_fail(s->err, ACCLLM_E_LIMIT, "the JSON schema is too large: it has more than %d parts",
                        ACC_SCHEMA_RULES);
    (void)snprintf(name, ACC_RULE_NAME, "r%u", s->n_rules++);
    return ACCLLM_OK;
}

static accllm_status add_named(acc_schema *s, acc_writing *body, const char *name)
{
    if (body->failed) s->text.failed = true;
    acc_write(&s->text, "%s ::= %s\n", name, body->data ? body->data : "\"\"");
    free(body->data);
    *body = (acc_writing){0};
    return acc_schema_fits(s, &s->text);
}

accllm_status acc_schema_add(acc_schema *s, acc_writing *body, char name[ACC_RULE_NAME])
{
    accllm_status status = new_name(s, name);
    if (status == ACCLLM_OK) return add_named(s, body, name);
    free(body->data);
    *body = (acc_writing){0};
    return status;
}

accllm_status acc_schema_count(const acc_schema *s, const json_t *schema, const char *keyword, uint32_t *out)
{
    const json_t *v = json_object_get(schema, keyword);
    if (!v) return ACCLLM_OK;
    double x = json_is_number(v) ? json_number_value(v) : -1;
    if (x > ACC_GRAMMAR_REPEAT) return acc_schema_refuse(s, keyword, "above 1,000,000");
    if (x < 0 || x != (double)(uint32_t)x)
        return acc_fail(s->err, ACCLLM_E_FORMAT, "JSON schema: %s must be a whole number, 0 or more", keyword);
    *out = (uint32_t)x;
    return ACCLLM_OK;
}

enum { KEY = 32 };

/* A target's key among the references: it may be spelled in many ways. */
static const char *key_of(const json_t *target, char key[KEY])
{
    (void)snprintf(key, KEY, "%p", (const void *)target);
    return key;
}

/* A reference's rule is written later, and once, so that schemas may refer to themselves. */
static accllm_status reference(acc_schema *s, const json_t *schema, char name[ACC_RULE_NAME])
{
    const char *ref = json_string_value(json_object_get(schema, "$ref"));
    const json_t *target;
    char key[KEY];
    if (!ref) return acc_fail(s->err, ACCLLM_E_FORMAT, "JSON schema: $ref must be a string");
    ACC_TRY(alone(s, schema, "$ref", NULL));
    ACC_TRY(acc_schema_target(s, ref, &target));
    const json_t *known = json_object_get(s->refs, key_of(target, key));
    if (!known) {
        ACC_TRY(new_name(s, name));
        if (json_object_set_new(s->refs, key, json_string(name)) == 0 &&
            json_array_append(s->pending, (json_t *)(uintptr_t)target) == 0)
            return ACCLLM_OK;
        return acc_fail(s->err, ACCLLM_E_NOMEM, "out of memory: JSON schema");
    }
    (void)snprintf(name, ACC_RULE_NAME, "%s", json_string_value(known));
    return ACCLLM_OK;
}

static accllm_status any_of(acc_schema *s, const json_t *schema, const char *keyword, acc_writing *body)
{
    const json_t *list = json_object_get(schema, keyword), *item;
    char name[ACC_RULE_NAME];
    size_t i;
    ACC_TRY(alone(s, schema, keyword, NULL));
    if (json_array_size(list) == 0)
        return acc_fail(s->err, ACCLLM_E_FORMAT, "JSON schema: %s must be a list that is not empty", keyword);
    json_array_foreach(list, i, item)
    {
        for (size_t k = 0; strcmp(keyword, "oneOf") == 0 && k < i; k++)
            if (!acc_schemas_apart(s, json_array_get(list, k), item))
                return acc_fail(
                    s->err, ACCLLM_E_UNSUPPORTED,
                    "JSON schema: oneOf: a value may fit alternatives %zu and %zu; use anyOf, or a required "
                    "property with another const in each",
                    k, i);
        ACC_TRY(acc_schema_rule(s, item, name));
        acc_write(body, "%s%s", i ? " | " : "", name);
    }
    return ACCLLM_OK;
}

static bool has_type(const json_t *v, const char *type)
{
    if (strcmp(type, "integer") == 0)
        return json_is_integer(v) || (json_is_real(v) && json_real_value(v) == floor(json_real_value(v)));
    return strcmp(type, json_is_object(v)    ? "object"
                        : json_is_array(v)   ? "array"
                        : json_is_string(v)  ? "string"
                        : json_is_number(v)  ? "number"
                        : json_is_boolean(v) ? "boolean"
                                             : "null") == 0;
}

/* Is the value of a type that the schema has, if it names any? */
static bool fits_type(const json_t *schema, const json_t *v)
{
    const json_t *type = json_object_get(schema, "type"), *item;
    size_t i;
    if (json_is_string(type)) return has_type(v, json_string_value(type));
    json_array_foreach(type, i, item) if (json_is_string(item) && has_type(v, json_string_value(item))) return true;
    return !type;
}

static accllm_status values(acc_schema *s, const json_t *schema, const char *keyword, acc_writing *body)
{
    const json_t *list = json_object_get(schema, keyword);
    bool one = strcmp(keyword, "const") == 0;
    size_t n = one ? 1 : json_array_size(list), used = 0;
    ACC_TRY(alone(s, schema, keyword, "type"));
    for (size_t i = 0; i < n; i++) {
        const json_t *v = one ? list : json_array_get(list, i);
        if (!fits_type(schema, v)) continue;
        acc_write(body, "%s", used++ ? " | " : "");
        if (!acc_write_value(body, v)) return acc_fail(s->err, ACCLLM_E_NOMEM, "out of memory: JSON schema");
    }
    if (used > 0) return ACCLLM_OK;
    return acc_fail(s->err, ACCLLM_E_FORMAT, "JSON schema: %s has no value%s", keyword, n ? " of the type" : "");
}

static accllm_status of_type(acc_schema *s, const json_t *schema, const char *type, acc_writing *body)
{
    if (strcmp(type, "object") == 0) return acc_schema_object(s, schema, body);
    if (strcmp(type, "array") == 0) return acc_schema_array(s, schema, body);
    if (strcmp(type, "string") == 0) return acc_schema_string(s, schema, body);
    if (strcmp(type, "number") == 0) return acc_schema_number(s, schema, false, body);
    if (strcmp(type, "integer") == 0) return acc_schema_number(s, schema, true, body);
    if (strcmp(type, "boolean") == 0)
        acc_write(body, "\"true\" | \"false\"");
    else if (strcmp(type, "null") == 0)
        acc_write(body, "\"null\"");
    else
        return acc_fail(s->err, ACCLLM_E_FORMAT, "JSON schema: there is no type %.32s", type);
    return ACCLLM_OK;
}

/* The type of a schema that names none but has keywords of one. Other types would be allowed too. */
static const char *implied_type(const json_t *schema)
{
    static const struct {
        const char *keyword, *type;
    } implied[] = {{"properties", "object"},
                   {"required", "object"},
                   {"additionalProperties", "object"},
                   {"patternProperties", "object"},
                   {"minProperties", "object"},
                   {"maxProperties", "object"},
                   {"propertyNames", "object"},
                   {"items", "array"},
                   {"prefixItems", "array"},
                   {"minItems", "array"},
                   {"maxItems", "array"},
                   {"contains", "array"},
                   {"uniqueItems", "array"},
                   {"minLength", "string"},
                   {"maxLength", "string"},
                   {"pattern", "string"},
                   {"format", "string"},
                   {"minimum", "number"},
                   {"maximum", "number"},
                   {"exclusiveMinimum", "number"},
                   {"exclusiveMaximum", "number"},
                   {"multipleOf", "number"}};
    for (size_t i = 0; i < sizeof implied / sizeof *implied; i++)
        if (json_object_get(schema, implied[i].keyword)) return implied[i].type;
    return NULL;
}

static accllm_status by_type(acc_schema *s, const json_t *schema, acc_writing *body)
{
    static const char *const unclear[] = {"dependentRequired", "dependentSchemas",      "dependencies",
                                          "additionalItems",   "unevaluatedProperties", "unevaluatedItems",
                                          "minContains",       "maxContains",           NULL};
    const json_t *type = json_object_get(schema, "type"), *item;
    const char *implied = implied_type(schema);
    size_t i;
    if (json_is_string(type)) return of_type(s, schema, json_string_value(type), body);
    if (!type && implied) return of_type(s, schema, implied, body);
    if (!type) {
        acc_write(body, "value");
        return acc_schema_without(s, schema, unclear);
    }
    if (json_array_size(type) == 0)
        return acc_fail(s->err, ACCLLM_E_FORMAT, "JSON schema: type must be a name or a list of names");
    json_array_foreach(type, i, item)
    {
        acc_writing part = {0};
        char name[ACC_RULE_NAME];
        accllm_status status = json_is_string(item) ? of_type(s, schema, json_string_value(item), &part)
                                                    : acc_schema_refuse(s, "type", "a name was expected");
        if (status != ACCLLM_OK) free(part.data);
        ACC_TRY(status);
        ACC_TRY(acc_schema_add(s, &part, name));
        acc_write(body, "%s%s", i ? " | " : "", name);
    }
    return ACCLLM_OK;
}

static accllm_status body_of(acc_schema *s, const json_t *schema, acc_writing *body)
{
    char name[ACC_RULE_NAME];
    if (json_is_true(schema)) {
        acc_write(body, "value");
        return ACCLLM_OK;
    }
    if (json_is_false(schema)) return acc_fail(s->err, ACCLLM_E_FORMAT, "JSON schema: false allows no value");
    if (!json_is_object(schema))
        return acc_fail(s->err, ACCLLM_E_FORMAT, "JSON schema: a schema must be an object, true or false");
    ACC_TRY(acc_schema_without(s, schema, never));
    if (json_array_size(json_object_get(schema, "type")) > ACC_SCHEMA_TYPES)
        return acc_fail(s->err, ACCLLM_E_LIMIT, "JSON schema: type has more than %d names", ACC_SCHEMA_TYPES);
    if (json_object_get(schema, "$ref")) {
        ACC_TRY(reference(s, schema, name));
        acc_write(body, "%s", name);
        return ACCLLM_OK;
    }
    const json_t *all = json_object_get(schema, "allOf");
    if (all && json_array_size(all) != 1)
        return acc_schema_refuse(s, "allOf", "only a list of one schema is supported");
    if (all) return any_of(s, schema, "allOf", body);
    if (json_object_get(schema, "anyOf")) return any_of(s, schema, "anyOf", body);
    if (json_object_get(schema, "oneOf")) return any_of(s, schema, "oneOf", body);
    if (json_object_get(schema, "const")) return values(s, schema, "const", body);
    if (json_object_get(schema, "enum")) return values(s, schema, "enum", body);
    return by_type(s, schema, body);
}

accllm_status acc_schema_rule(acc_schema *s, const json_t *schema, char name[ACC_RULE_NAME])
{
    acc_writing body = {0};
    if (s->depth == ACC_SCHEMA_DEPTH)
        return acc_fail(s->err, ACCLLM_E_LIMIT, "JSON schema: more than %d schemas in each other", ACC_SCHEMA_DEPTH);
    s->depth++;
    accllm_status status = body_of(s, schema, &body);
    s->depth--;
    if (status == ACCLLM_OK) return acc_schema_add(s, &body, name);
    free(body.data);
    return status;
}

static accllm_status write_all(acc_schema *s)
{
    char name[ACC_RULE_NAME], key[KEY];
    ACC_TRY(acc_schema_rule(s, s->root, name));
    acc_write(&s->text, "root ::= %s\n%s", name, common);
    for (size_t i = 0; i < json_array_size(s->pending); i++) {
        const json_t *target = json_array_get(s->pending, i);
        acc_writing body = {0};
        ACC_TRY(acc_schema_rule(s, target, name));
        acc_write(&body, "%s", name);
        ACC_TRY(add_named(s, &body, json_string_value(json_object_get(s->refs, key_of(target, key)))));
    }
    return acc_schema_fits(s, &s->text);
}

accllm_status acc_schema_text(char **text, const char *schema, size_t len, accllm_error *err)
{
    json_error_t why;
    acc_schema s = {.err = err,
                    .effort = ACC_SCHEMA_EFFORT,
                    .root = json_loadb(schema, len, JSON_DECODE_ANY | JSON_REJECT_DUPLICATES, &why)};
    *text = NULL;
    if (!s.root)
        return acc_fail(err, ACCLLM_E_FORMAT, "JSON schema: line %d, column %d: %s", why.line, why.column, why.text);
    s.refs = json_object();
    s.pending = json_array();
    accllm_status status =
        s.refs && s.pending ? write_all(&s) : acc_fail(err, ACCLLM_E_NOMEM, "out of memory: JSON schema");
    json_decref(s.root);
    json_decref(s.refs);
    json_decref(s.pending);
    if (status == ACCLLM_OK)
        *text = s.text.data;
    else
        free(s.text.data);
    return status;
}

accllm_status accllm_grammar_from_json_schema(accllm_grammar **out, const char *schema, size_t len, accllm_error *err)
{
    char *text;
    if (!out || !schema) return acc_fail(err, ACCLLM_E_ARG, "grammar: no JSON schema or no place for it");
    *out = NULL;
    ACC_TRY(acc_schema_text(&text, schema, len, err));
    accllm_status status = accllm_grammar_parse(out, text, strlen(text), err);
    free(text);
    return status;
}
