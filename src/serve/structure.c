/* What the text of an answer must keep to: "response_format", or llama.cpp's "json_schema" and "grammar". */
#include <stdlib.h>
#include <string.h>

#include "serve/fields.h"
#include "serve/request.h"

static bool refuse_error(acc_problem *p, const char *key, const accllm_error *err)
{
    if (err->code == ACCLLM_E_NOMEM) return acc_refuse_memory(p);
    return acc_refuse(p, 400, err->code == ACCLLM_E_UNSUPPORTED ? "unsupported_value" : "invalid_value", key, "%s",
                      err->text);
}

static bool set_schema(acc_settings *set, const json_t *schema, const char *key, acc_problem *p)
{
    accllm_error err = {0};
    char *text = json_dumps(schema, JSON_COMPACT | JSON_ENCODE_ANY);
    if (!text) return acc_refuse_memory(p);
    accllm_status status = accllm_grammar_from_json_schema(&set->grammar, text, strlen(text), &err);
    free(text);
    return status == ACCLLM_OK || refuse_error(p, key, &err);
}

static bool set_any_object(acc_settings *set, const char *key, acc_problem *p)
{
    static const char any[] = "{\"type\":\"object\"}";
    accllm_error err = {0};
    return accllm_grammar_from_json_schema(&set->grammar, any, sizeof any - 1, &err) == ACCLLM_OK ||
           refuse_error(p, key, &err);
}

/* {"type": "text"}, {"type": "json_object"}, {"type": "json_schema", "json_schema": {"name", "schema", "strict"}}; as
 * llama.cpp has it a json_object may bring a "schema" too. An answer always keeps to the schema, strict or not. */
static bool set_format(acc_settings *set, const json_t *format, acc_problem *p)
{
    const char *key = "response_format", *type = json_string_value(json_object_get(format, "type"));
    const json_t *named = json_object_get(format, "json_schema");
    const json_t *schema = acc_field(named ? named : format, "schema");
    if (!type) return acc_refuse(p, 400, "invalid_type", key, "response_format must be an object with a type");
    if (strcmp(type, "text") == 0) return true;
    if (strcmp(type, "json_object") == 0) return schema ? set_schema(set, schema, key, p) : set_any_object(set, key, p);
    if (strcmp(type, "json_schema") != 0)
        return acc_refuse(p, 400, "unsupported_value", key,
                          "response_format: type %.32s is not text, json_object or json_schema", type);
    if (!schema)
        return acc_refuse(p, 400, "missing_required_parameter", key, "response_format: json_schema.schema is missing");
    return set_schema(set, schema, key, p);
}

static bool set_grammar(acc_settings *set, const char *text, size_t len, acc_problem *p)
{
    accllm_error err = {0};
    return accllm_grammar_parse(&set->grammar, text, len, &err) == ACCLLM_OK || refuse_error(p, "grammar", &err);
}

/* A text must have a way to begin. */
static bool try_grammar(const acc_settings *set, const char *key, acc_problem *p)
{
    accllm_error err = {0};
    accllm_matcher *m = NULL;
    bool ok = accllm_matcher_create(&m, set->grammar, set->vocabulary, false, &err) == ACCLLM_OK;
    accllm_matcher_free(&m);
    return ok || refuse_error(p, key, &err);
}

bool acc_read_structure(acc_request *r, const acc_service *s, const json_t *body, acc_problem *p)
{
    acc_settings *set = &r->settings;
    const json_t *format = acc_field(body, "response_format"), *schema = acc_field(body, "json_schema");
    const char *text = NULL, *key = schema ? "json_schema" : format ? "response_format" : "grammar";
    size_t len = 0;
    if (!acc_field_text(body, "grammar", &text, &len, p)) return false;
    set->vocabulary = s->vocabulary;
    const char *type = json_string_value(json_object_get(format, "type"));
    bool formatted = type && strcmp(type, "text") != 0;
    if ((len > 0) + (schema != NULL) + formatted > 1)
        return acc_refuse(p, 400, "invalid_value", key,
                          "only one of response_format, json_schema and grammar may be given");
    bool ok = true;
    if (format) ok = set_format(set, format, p);
    if (ok && schema) ok = set_schema(set, schema, key, p);
    if (ok && len > 0) ok = set_grammar(set, text, len, p);
    if (!ok || !set->grammar) return ok;
    if (set->ignore_eos)
        return acc_refuse(p, 400, "invalid_value", "ignore_eos", "ignore_eos does not go with %s", key);
    return try_grammar(set, key, p);
}
