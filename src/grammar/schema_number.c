/* Numbers, and the digits of those within bounds. */
#include <inttypes.h>
#include <math.h>

#include "grammar/grammar.h"
#include "grammar/schema.h"

enum { FRACTION = 6 };               /* digits behind the point of a number with bounds */
#define MOST_INTEGER 999999999999999 /* 15 digits: a double holds them all */
#define MOST_BOUND 999999999         /* of a number that is not whole: with its fraction a double holds it */

static const uint64_t power[] = {
    1,         10,         100,         1000,         10000,         100000,         1000000,         10000000,
    100000000, 1000000000, 10000000000, 100000000000, 1000000000000, 10000000000000, 100000000000000, 1000000000000000};

/* The numbers a..b of exactly n digits, leading zeros included: by the first digit, and what may follow it. */
static void write_digits(acc_writing *w, uint64_t a, uint64_t b, unsigned n)
{
    if (n == 0) return;
    const uint64_t p = power[n - 1];
    uint64_t first = a / p, last = b / p;
    if (first == last) {
        acc_write(w, "\"%" PRIu64 "\" ", first);
        write_digits(w, a % p, b % p, n - 1);
        return;
    }
    acc_write(w, "(");
    if (a % p > 0) {
        acc_write(w, "\"%" PRIu64 "\" ", first++);
        write_digits(w, a % p, p - 1, n - 1);
        acc_write(w, "| ");
    }
    if (b % p < p - 1) {
        acc_write(w, "\"%" PRIu64 "\" ", last--);
        write_digits(w, 0, b % p, n - 1);
        if (first <= last) acc_write(w, "| ");
    }
    if (first <= last) {
        acc_write(w, "[%" PRIu64 "-%" PRIu64 "] ", first, last);
        if (n > 1) acc_write(w, "[0-9]{%u} ", n - 1);
    }
    acc_write(w, ") ");
}

/* The whole numbers a..b, a <= b, 0 or more. */
static void write_range(acc_writing *w, uint64_t a, uint64_t b)
{
    const char *bar = "";
    acc_write(w, "(");
    for (unsigned n = 1; n < sizeof power / sizeof *power; n++) {
        uint64_t from = n == 1 ? 0 : power[n - 1], to = power[n] - 1;
        if (from < a) from = a;
        if (to > b) to = b;
        if (from > to) continue;
        acc_write(w, "%s", bar);
        write_digits(w, from, to, n);
        bar = "| ";
    }
    acc_write(w, ") ");
}

static void write_integers(acc_writing *w, int64_t min, int64_t max)
{
    if (min < 0) {
        acc_write(w, "\"-\" ");
        write_range(w, max < 0 ? (uint64_t)-max : 1, (uint64_t)-min);
    }
    if (min < 0 && max >= 0) acc_write(w, "| ");
    if (max >= 0) write_range(w, min > 0 ? (uint64_t)min : 0, (uint64_t)max);
}

/* Bounds of 0 or more: a < x, or a <= x, and the same for b. */
typedef struct span {
    int64_t a, b;
    bool above_a, below_b; /* the bound itself is left out */
} span;

static bool is_empty(span k)
{
    return k.a > k.b || (k.a == k.b && (k.above_a || k.below_b));
}

/* Numbers with a fraction of a few digits. */
static void write_span(acc_writing *w, span k)
{
    const char *bar = "";
    if (k.above_a && k.a < k.b) {
        acc_write(w, "\"%" PRId64 ".\" [0-9]{0,%d} [1-9] ", k.a, FRACTION - 1);
        bar = "| ";
    }
    if (k.a + k.above_a < k.b) {
        acc_write(w, "%s", bar);
        write_range(w, (uint64_t)k.a + k.above_a, (uint64_t)k.b - 1);
        acc_write(w, "(\".\" [0-9]{1,%d})? ", FRACTION);
        bar = "| ";
    }
    if (!k.below_b) acc_write(w, "%s\"%" PRId64 "\" (\".\" \"0\"{1,%d})? ", bar, k.b, FRACTION);
}

static bool write_numbers(acc_writing *w, span k)
{
    span minus = {k.b < 0 ? -k.b : 0, -k.a, k.b < 0 ? k.below_b : true, k.above_a};
    span plus = {k.a > 0 ? k.a : 0, k.b, k.a >= 0 && k.above_a, k.below_b};
    bool has_minus = k.a < 0 && !is_empty(minus), has_plus = k.b >= 0 && !is_empty(plus);
    if (has_minus) {
        acc_write(w, "\"-\" (");
        write_span(w, minus);
        acc_write(w, ")%s", has_plus ? " | " : "");
    }
    if (has_plus) write_span(w, plus);
    return has_minus || has_plus;
}

/* One bound. Whole numbers: the last one inside. Others: as it is, and it must be whole. */
static accllm_status read_bound(const acc_schema *s, const json_t *schema, const char *keyword, bool whole, bool upper,
                                bool open, span *k)
{
    const json_t *v = json_object_get(schema, keyword);
    double x = json_number_value(v);
    if (!v) return ACCLLM_OK;
    if (!json_is_number(v)) return acc_schema_refuse(s, keyword, "a number was expected");
    if (!whole && x != floor(x))
        return acc_schema_refuse(s, keyword, "for type number only whole bounds are supported");
    if (whole) {
        x = open ? (upper ? ceil(x) - 1 : floor(x) + 1) : (upper ? floor(x) : ceil(x));
        open = false;
    }
    if (fabs(x) > (whole ? (double)MOST_INTEGER : (double)MOST_BOUND))
        return acc_schema_refuse(s, keyword, whole ? "beyond 15 digits" : "beyond 9 digits");
    int64_t *to = upper ? &k->b : &k->a, y = (int64_t)x;
    bool *left_out = upper ? &k->below_b : &k->above_a;
    if (upper ? y > *to : y < *to) return ACCLLM_OK; /* another keyword's bound is tighter */
    *left_out = open || (y == *to && *left_out);
    *to = y;
    return ACCLLM_OK;
}

accllm_status acc_schema_number(acc_schema *s, const json_t *schema, bool whole, acc_writing *body)
{
    static const char *const refused[] = {"multipleOf", NULL};
    static const char *const bounds[] = {"minimum", "exclusiveMinimum", "maximum", "exclusiveMaximum"};
    span k = {.a = -MOST_INTEGER, .b = MOST_INTEGER};
    bool bounded = false;
    ACC_TRY(acc_schema_without(s, schema, refused));
    for (unsigned i = 0; i < 4; i++) {
        bounded |= json_object_get(schema, bounds[i]) != NULL;
        ACC_TRY(read_bound(s, schema, bounds[i], whole, i >= 2, i % 2, &k));
    }
    if (!bounded) {
        acc_write(body, whole ? "integer" : "number");
        return ACCLLM_OK;
    }
    bool some = whole ? k.a <= k.b : write_numbers(body, k);
    if (!some) return acc_fail(s->err, ACCLLM_E_FORMAT, "JSON schema: no number is within the bounds");
    if (whole) write_integers(body, k.a, k.b);
    return ACCLLM_OK;
}
