/* Objects: properties in the schema's order, those that are not required may be left out. Then others. */
#include <stdlib.h>
#include <string.h>

#include "grammar/grammar.h"
#include "grammar/schema.h"
#include "tokenizer/utf8.h"

enum { MOST_NAME_BYTES = 4096 }; /* of the properties that other keys must differ from */

typedef struct object {
    acc_schema *s;
    json_t *properties; /* with what is required and has no schema of its own */
    json_t *required;   /* names as keys */
    const json_t *additional;
    char extra[ACC_RULE_NAME]; /* one more property; "": none may follow */
} object;

static accllm_status no_memory(const acc_schema *s)
{
    return acc_fail(s->err, ACCLLM_E_NOMEM, "out of memory: JSON schema");
}

static accllm_status collect(object *o, const json_t *schema)
{
    const json_t *given = json_object_get(schema, "properties"), *list = json_object_get(schema, "required"), *item;
    size_t i;
    if (given && !json_is_object(given))
        return acc_fail(o->s->err, ACCLLM_E_FORMAT, "JSON schema: properties must be an object");
    if (list && !json_is_array(list))
        return acc_fail(o->s->err, ACCLLM_E_FORMAT, "JSON schema: required must be a list");
    o->properties = json_object();
    o->required = json_object();
    if (!o->properties || !o->required || (given && json_object_update(o->properties, (json_t *)(uintptr_t)given) != 0))
        return no_memory(o->s);
    json_array_foreach(list, i, item)
    {
        const char *name = json_string_value(item);
        if (!name) return acc_fail(o->s->err, ACCLLM_E_FORMAT, "JSON schema: required must be a list of names");
        if (json_object_set_new(o->required, name, json_true()) != 0) return no_memory(o->s);
        if (json_object_get(o->properties, name)) continue;
        if (json_is_false(o->additional))
            return acc_fail(o->s->err, ACCLLM_E_FORMAT, "JSON schema: required: %.64s is not among the properties",
                            name);
        json_t *any = json_is_object(o->additional) ? json_incref((json_t *)(uintptr_t)o->additional) : json_true();
        if (json_object_set_new(o->properties, name, any) != 0) return no_memory(o->s);
    }
    return ACCLLM_OK;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Bytes of the character that s begins with; jansson's texts are valid UTF-8. */
static size_t char_bytes(const char *s)
{
    size_t n = 1;
    while (((unsigned char)s[n] & 0xc0) == 0x80) n++;
    return n;
}

/* Whether one of JSON's escapes is needed to write the name; keys that are written plainly differ from it anyway. */
static bool needs_escape(const char *name)
{
    for (; *name; name++)
        if (*name == '"' || *name == '\\' || (unsigned char)*name < ' ' || *name == 0x7f) return true;
    return false;
}

/* Keys that go on from the first `at` bytes of names[0..n), which are equal, and are none of the names. As deep as a
 * name is long. */
static accllm_status other_keys(acc_schema *s, const char *const *names, size_t n, size_t at, char rule[ACC_RULE_NAME])
{
    acc_writing set = {0}, body = {0};
    accllm_status status = ACCLLM_OK;
    bool is_name = names[0][at] == '\0';
    for (size_t i = is_name; i < n;) {
        size_t same = i, len = char_bytes(names[i] + at);
        char behind[ACC_RULE_NAME];
        while (same < n && strncmp(names[same] + at, names[i] + at, len) == 0) same++;
        status = other_keys(s, names + i, same - i, at + len, behind);
        if (status != ACCLLM_OK) break;
        acc_write_class_char(&set, acc_utf8_decode(names[i] + at, (unsigned)len));
        acc_write(&body, " | ");
        acc_write_literal(&body, names[i] + at, len);
        acc_write(&body, " %s", behind);
        i = same;
    }
    acc_writing all = {0};
    acc_write(&all, "[^\"\\\\\\x00-\\x1f\\x7f%s] plain*%s%s", set.data ? set.data : "", body.data ? body.data : "",
              is_name ? "" : " | \"\"");
    all.failed |= set.failed || body.failed;
    free(set.data);
    free(body.data);
    if (status == ACCLLM_OK) return acc_schema_add(s, &all, rule);
    free(all.data);
    return status;
}

/* The rule of a key that is none of the properties. */
static accllm_status extra_key(object *o, acc_writing *out)
{
    const char *name, **names = calloc(json_object_size(o->properties) + 1, sizeof *names);
    json_t *v;
    size_t n = 0, bytes = 0;
    char rule[ACC_RULE_NAME];
    if (!names) return no_memory(o->s);
    json_object_foreach(o->properties, name, v)
    {
        if (needs_escape(name)) continue;
        names[n++] = name;
        bytes += strlen(name);
    }
    accllm_status status = ACCLLM_OK;
    if (bytes > MOST_NAME_BYTES)
        status = acc_schema_refuse(o->s, "additionalProperties", "beside so many properties it must be false");
    if (n > 0) qsort(names, n, sizeof *names, by_name);
    if (status == ACCLLM_OK && n > 0) status = other_keys(o->s, names, n, 0, rule);
    free(names);
    if (status != ACCLLM_OK) return status;
    if (n > 0)
        acc_write(out, "\"\\\"\" %s \"\\\"\"", rule);
    else
        acc_write(out, "string");
    return ACCLLM_OK;
}

static accllm_status extra_property(object *o)
{
    acc_writing body = {0};
    char value[ACC_RULE_NAME];
    bool named = json_object_size(o->properties) > 0;
    if (json_is_false(o->additional) || (!o->additional && named)) return ACCLLM_OK;
    accllm_status status = extra_key(o, &body);
    if (status == ACCLLM_OK && o->additional) status = acc_schema_rule(o->s, o->additional, value);
    if (status != ACCLLM_OK) {
        free(body.data);
        return status;
    }
    acc_write(&body, " \":\" ws %s", o->additional ? value : "value");
    return acc_schema_add(o->s, &body, o->extra);
}

static accllm_status write_property(object *o, const char *name, const json_t *schema, char rule[ACC_RULE_NAME])
{
    acc_writing body = {0};
    char value[ACC_RULE_NAME];
    ACC_TRY(acc_schema_rule(o->s, schema, value));
    json_t *key = json_string(name);
    bool ok = key && acc_write_value(&body, key);
    json_decref(key);
    if (!ok) {
        free(body.data);
        return no_memory(o->s);
    }
    acc_write(&body, " \":\" ws %s", value);
    return acc_schema_add(o->s, &body, rule);
}

/* What may stand from property i on: `first` where nothing stands before it, `rest` behind another. From the last one
 * to the first, since each rule names the next. */
static accllm_status write_properties(object *o, char first[ACC_RULE_NAME])
{
    char rest[ACC_RULE_NAME], property[ACC_RULE_NAME];
    acc_writing body = {0};
    const char *name, **names = calloc(json_object_size(o->properties) + 1, sizeof *names);
    json_t *v;
    size_t n = 0;
    if (!names) return no_memory(o->s);
    json_object_foreach(o->properties, name, v) names[n++] = name;
    if (*o->extra) acc_write(&body, "(\",\" ws %s)*", o->extra);
    accllm_status status = acc_schema_add(o->s, &body, rest);
    if (status == ACCLLM_OK && *o->extra) acc_write(&body, "(%s %s)?", o->extra, rest);
    if (status == ACCLLM_OK) status = acc_schema_add(o->s, &body, first);
    while (n-- > 0 && status == ACCLLM_OK) {
        bool needed = json_object_get(o->required, names[n]) != NULL;
        status = write_property(o, names[n], json_object_get(o->properties, names[n]), property);
        if (status != ACCLLM_OK) break;
        acc_write(&body, "%s %s", property, rest);
        if (!needed) acc_write(&body, " | %s", first);
        status = acc_schema_add(o->s, &body, first);
        if (status != ACCLLM_OK) break;
        acc_write(&body, "\",\" ws %s %s", property, rest);
        if (!needed) acc_write(&body, " | %s", rest);
        status = acc_schema_add(o->s, &body, rest);
    }
    free(names);
    return status;
}

accllm_status acc_schema_object(acc_schema *s, const json_t *schema, acc_writing *body)
{
    static const char *const refused[] = {"patternProperties", "propertyNames",         "minProperties",
                                          "maxProperties",     "dependentRequired",     "dependentSchemas",
                                          "dependencies",      "unevaluatedProperties", NULL};
    object o = {.s = s, .additional = json_object_get(schema, "additionalProperties")};
    char first[ACC_RULE_NAME];
    ACC_TRY(acc_schema_without(s, schema, refused));
    accllm_status status = collect(&o, schema);
    if (status == ACCLLM_OK) status = extra_property(&o);
    if (status == ACCLLM_OK) status = write_properties(&o, first);
    if (status == ACCLLM_OK) acc_write(body, "\"{\" ws %s ws \"}\"", first);
    json_decref(o.properties);
    json_decref(o.required);
    return status;
}

static accllm_status write_items(const acc_schema *s, acc_writing *body, const char *item, uint32_t min, uint32_t max)
{
    if (min > max) return acc_fail(s->err, ACCLLM_E_FORMAT, "JSON schema: minItems is above what the list may have");
    if (max == 0) return ACCLLM_OK;
    acc_write(body, "%s%s (\",\" ws %s)", min ? "" : "(", item, item);
    acc_write_counts(body, min ? min - 1 : 0, max == ACC_ENDLESS ? max : max - 1);
    acc_write(body, " ws%s", min ? "" : ")?");
    return ACCLLM_OK;
}

/* All of the first items are written, then others. */
static accllm_status write_tuple(acc_schema *s, const json_t *prefix, const char *item, uint32_t min, uint32_t max,
                                 acc_writing *body)
{
    char name[ACC_RULE_NAME];
    uint32_t n = (uint32_t)json_array_size(prefix);
    if (max != ACC_ENDLESS && n > max) n = max;
    for (uint32_t i = 0; i < n; i++) {
        ACC_TRY(acc_schema_rule(s, json_array_get(prefix, i), name));
        acc_write(body, "%s%s ", i ? "\",\" ws " : "", name);
    }
    uint32_t least = min > n ? min - n : 0, most = *item ? (max == ACC_ENDLESS ? max : max - n) : 0;
    if (least > most) return acc_fail(s->err, ACCLLM_E_FORMAT, "JSON schema: minItems is above what the list may have");
    if (most > 0) {
        acc_write(body, "(\",\" ws %s)", item);
        acc_write_counts(body, least, most);
    }
    acc_write(body, " ws");
    return ACCLLM_OK;
}

accllm_status acc_schema_array(acc_schema *s, const json_t *schema, acc_writing *body)
{
    static const char *const refused[] = {"contains",        "minContains",      "maxContains", "uniqueItems",
                                          "additionalItems", "unevaluatedItems", NULL};
    const json_t *items = json_object_get(schema, "items"), *prefix = json_object_get(schema, "prefixItems");
    uint32_t min = 0, max = ACC_ENDLESS;
    char item[ACC_RULE_NAME] = "value";
    ACC_TRY(acc_schema_without(s, schema, refused));
    ACC_TRY(acc_schema_count(s, schema, "minItems", &min));
    ACC_TRY(acc_schema_count(s, schema, "maxItems", &max));
    if (json_is_array(items)) return acc_schema_refuse(s, "items", "a list of schemas is written prefixItems");
    if (prefix && json_array_size(prefix) == 0)
        return acc_fail(s->err, ACCLLM_E_FORMAT, "JSON schema: prefixItems must be a list that is not empty");
    bool none = json_is_false(items) || (prefix && !items);
    if (none)
        *item = '\0';
    else if (items)
        ACC_TRY(acc_schema_rule(s, items, item));
    acc_write(body, "\"[\" ws ");
    if (prefix)
        ACC_TRY(write_tuple(s, prefix, item, min, max, body));
    else
        ACC_TRY(write_items(s, body, item, min, none ? 0 : max));
    acc_write(body, " \"]\"");
    return ACCLLM_OK;
}
