/* Whether two alternatives of oneOf can be told apart: only then what is written for one is not allowed by another. */
#include <math.h>
#include <string.h>

#include "grammar/schema.h"

enum { MOST_REFS = 16, DEPTH = 4 };
enum { OBJECT = 1, ARRAY = 2, STRING = 4, WHOLE = 8, FRACTION = 16, BOOLEAN = 32, NOTHING = 64, ANY = 127 };

/* Comparing costs effort, one for about every step; when it is used up nothing is plain any more. */
static bool spend(acc_schema *s, size_t n)
{
    s->effort = s->effort > n ? s->effort - (unsigned)n : 0;
    return s->effort > 0;
}

static const json_t *follow(acc_schema *s, const json_t *schema)
{
    acc_schema quiet = *s; /* a bad reference is reported where it is used */
    quiet.err = NULL;
    for (unsigned i = 0; i < MOST_REFS; i++) {
        const json_t *ref = json_object_get(schema, "$ref");
        if (!json_is_string(ref) || !spend(s, 1 + json_string_length(ref))) break;
        if (acc_schema_target(&quiet, json_string_value(ref), &schema) != ACCLLM_OK) break;
    }
    return schema;
}

static unsigned type_named(const char *name)
{
    static const struct {
        const char *name;
        unsigned types;
    } known[] = {{"object", OBJECT}, {"array", ARRAY},     {"string", STRING}, {"number", WHOLE | FRACTION},
                 {"integer", WHOLE}, {"boolean", BOOLEAN}, {"null", NOTHING}};
    for (size_t i = 0; name && i < sizeof known / sizeof *known; i++)
        if (strcmp(known[i].name, name) == 0) return known[i].types;
    return ANY;
}

static unsigned type_of(const json_t *v)
{
    static const unsigned types[] = {
        [JSON_OBJECT] = OBJECT, [JSON_ARRAY] = ARRAY,   [JSON_STRING] = STRING, [JSON_INTEGER] = WHOLE,
        [JSON_TRUE] = BOOLEAN,  [JSON_FALSE] = BOOLEAN, [JSON_NULL] = NOTHING,  [JSON_REAL] = FRACTION};
    return json_is_real(v) && json_real_value(v) == floor(json_real_value(v)) ? WHOLE : types[json_typeof(v)];
}

/* The values that a schema is limited to: item i of them, NULL behind the last; *limited says whether it is. */
static const json_t *value_at(const json_t *schema, size_t i, bool *limited)
{
    const json_t *one = json_object_get(schema, "const"), *list = json_object_get(schema, "enum");
    *limited = one || json_is_array(list);
    return one ? (i == 0 ? one : NULL) : json_array_get(list, i);
}

/* Incomplete where the effort is used up. */
static unsigned types_of(acc_schema *s, const json_t *schema)
{
    const json_t *type = json_object_get(schema, "type"), *v;
    unsigned types = 0;
    bool limited;
    for (size_t i = 0; (v = value_at(schema, i, &limited)) && spend(s, 1); i++) types |= type_of(v);
    if (limited) return types;
    if (json_is_string(type)) return type_named(json_string_value(type));
    for (size_t i = 0; (v = json_array_get(type, i)) && spend(s, 1); i++) types |= type_named(json_string_value(v));
    return types ? types : ANY;
}

/* Lists and objects are not looked into. */
static bool may_be_same(const json_t *a, const json_t *b)
{
    if (json_is_number(a) && json_is_number(b)) return json_number_value(a) == json_number_value(b);
    if (json_is_array(a) || json_is_object(a)) return json_typeof(a) == json_typeof(b);
    return json_equal(a, b) == 1;
}

/* Steps that may_be_same() takes at most. */
static size_t cost(const json_t *a, const json_t *b)
{
    const size_t x = json_string_length(a), y = json_string_length(b);
    return 1 + (x < y ? x : y);
}

static bool values_apart(acc_schema *s, const json_t *a, const json_t *b)
{
    bool limited_a, limited_b;
    const json_t *x, *y;
    (void)value_at(a, 0, &limited_a);
    (void)value_at(b, 0, &limited_b);
    if (!limited_a || !limited_b) return false;
    for (size_t i = 0; (x = value_at(a, i, &limited_a)); i++)
        for (size_t k = 0; (y = value_at(b, k, &limited_b)); k++)
            if (!spend(s, cost(x, y)) || may_be_same(x, y)) return false;
    return true;
}

static bool apart(acc_schema *s, const json_t *a, const json_t *b, unsigned depth);

/* Both are objects; a property that one of them requires tells them apart. */
static bool told_by(acc_schema *s, const json_t *requires, const json_t *other, unsigned depth)
{
    const json_t *list = json_object_get(requires, "required"), *name;
    size_t i;
    json_array_foreach(list, i, name)
    {
        if (!spend(s, 1 + json_string_length(name))) return false;
        const char *key = json_string_value(name);
        const json_t *x = key ? json_object_get(json_object_get(requires, "properties"), key) : NULL;
        const json_t *y = key ? json_object_get(json_object_get(other, "properties"), key) : NULL;
        if (x && y && apart(s, x, y, depth + 1)) return true;
    }
    return false;
}

static bool apart(acc_schema *s, const json_t *a, const json_t *b, unsigned depth)
{
    if (depth > DEPTH || !spend(s, 1)) return false;
    a = follow(s, a);
    b = follow(s, b);
    unsigned x = types_of(s, a), y = types_of(s, b);
    if (s->effort == 0) return false;
    if ((x & y) == 0 || values_apart(s, a, b)) return true;
    return x == OBJECT && y == OBJECT && (told_by(s, a, b, depth) || told_by(s, b, a, depth));
}

bool acc_schemas_apart(acc_schema *s, const json_t *a, const json_t *b)
{
    return apart(s, a, b, 0);
}
