#include "serve/fields.h"

#include <inttypes.h>
#include <math.h>

static const double MOST_EXACT = 9007199254740992.0; /* 2^53 */

json_t *acc_field(const json_t *o, const char *key)
{
    json_t *v = json_object_get(o, key);
    return json_is_null(v) ? NULL : v;
}

bool acc_field_bool(const json_t *o, const char *key, bool *out, acc_problem *p)
{
    const json_t *v = acc_field(o, key);
    if (!v) return true;
    if (!json_is_boolean(v)) return acc_refuse(p, 400, "invalid_type", key, "%s must be true or false", key);
    *out = json_is_true(v);
    return true;
}

bool acc_field_int(const json_t *o, const char *key, int64_t min, int64_t max, int64_t *out, acc_problem *p)
{
    const json_t *v = acc_field(o, key);
    if (!v) return true;
    double real = json_number_value(v);
    bool whole =
        json_is_integer(v) || (json_is_real(v) && real >= -MOST_EXACT && real <= MOST_EXACT && real == floor(real));
    if (!whole) return acc_refuse(p, 400, "invalid_type", key, "%s must be a whole number", key);
    int64_t x = json_is_integer(v) ? json_integer_value(v) : (int64_t)real; /* some clients write 8.0 */
    if (x < min && max == INT64_MAX)
        return acc_refuse(p, 400, "invalid_value", key, "%s is %" PRId64 ", it must be %" PRId64 " or more", key, x,
                          min);
    if (x < min || x > max)
        return acc_refuse(p, 400, "invalid_value", key, "%s is %" PRId64 ", it must be %" PRId64 " to %" PRId64, key, x,
                          min, max);
    *out = x;
    return true;
}

bool acc_field_real(const json_t *o, const char *key, double min, double max, float *out, acc_problem *p)
{
    const json_t *v = acc_field(o, key);
    if (!v) return true;
    if (!json_is_number(v)) return acc_refuse(p, 400, "invalid_type", key, "%s must be a number", key);
    double x = json_number_value(v);
    if (!(x >= min && x <= max))
        return acc_refuse(p, 400, "invalid_value", key, "%s is %g, it must be %g to %g", key, x, min, max);
    *out = (float)x;
    return true;
}

bool acc_field_text(const json_t *o, const char *key, const char **out, size_t *len, acc_problem *p)
{
    const json_t *v = acc_field(o, key);
    if (!v) return true;
    if (!json_is_string(v)) return acc_refuse(p, 400, "invalid_type", key, "%s must be a string", key);
    *out = json_string_value(v);
    *len = json_string_length(v);
    return true;
}
