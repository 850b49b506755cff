/* Strings: lengths in characters, formats, patterns. */
#include <string.h>

#include "grammar/grammar.h"
#include "grammar/schema.h"

#define DATE                                                                                               \
    "([1-9] [0-9]{3} (\"-\" (\"0\" [13578] | \"1\" [02]) \"-\" (\"0\" [1-9] | [12] [0-9] | \"3\" [01]) | " \
    "\"-\" (\"0\" [469] | \"11\") \"-\" (\"0\" [1-9] | [12] [0-9] | \"30\") | "                            \
    "\"-02-\" (\"0\" [1-9] | \"1\" [0-9] | \"2\" [0-8])) | "                                               \
    "([1-9] [0-9] (\"0\" [48] | [2468] [048] | [13579] [26]) | ([2468] [048] | [13579] [26]) \"00\") \"-02-29\")"
#define TIME                                                                  \
    "(([01] [0-9] | \"2\" [0-3]) (\":\" [0-5] [0-9]){2} (\".\" [0-9]{1,6})? " \
    "(\"Z\" | [-+] ([01] [0-9] | \"2\" [0-3]) \":\" [0-5] [0-9]))"
#define LABEL "([a-z0-9] ([-a-z0-9]{0,20} [a-z0-9])?)"
#define OCTET "([0-9] | [1-9] [0-9] | \"1\" [0-9]{2} | \"2\" [0-4] [0-9] | \"25\" [0-5])"

/* What is between the quotes. Days are those that the month has; leap years are known. */
static const struct {
    const char *name, *rule;
} formats[] = {
    {"date", DATE},
    {"time", TIME},
    {"date-time", DATE " \"T\" " TIME},
    {"uuid", "[0-9a-f]{8} (\"-\" [0-9a-f]{4}){3} \"-\" [0-9a-f]{12}"},
    {"ipv4", OCTET " (\".\" " OCTET "){3}"},
    {"hostname", LABEL " (\".\" " LABEL "){0,5}"},
    {"email", "[a-z0-9] [a-z0-9_]{0,20} ([-.+] [a-z0-9_]{1,20}){0,2} \"@\" " LABEL " (\".\" " LABEL "){1,4}"},
};

static accllm_status write_format(const acc_schema *s, const json_t *format, acc_writing *body)
{
    const char *name = json_string_value(format);
    for (size_t i = 0; name && i < sizeof formats / sizeof *formats; i++) {
        if (strcmp(formats[i].name, name) != 0) continue;
        acc_write(body, "\"\\\"\" %s \"\\\"\"", formats[i].rule);
        return ACCLLM_OK;
    }
    return acc_fail(s->err, ACCLLM_E_UNSUPPORTED, "JSON schema: format: %.32s is not supported",
                    name ? name : "what is no name");
}

accllm_status acc_schema_string(acc_schema *s, const json_t *schema, acc_writing *body)
{
    const json_t *pattern = json_object_get(schema, "pattern"), *format = json_object_get(schema, "format");
    bool sized = json_object_get(schema, "minLength") || json_object_get(schema, "maxLength");
    uint32_t min = 0, max = ACC_ENDLESS;
    if ((pattern && format) || ((pattern || format) && sized))
        return acc_schema_refuse(s, pattern ? "pattern" : "format",
                                 "beside another of pattern, format, minLength and "
                                 "maxLength it is not supported");
    if (format) return write_format(s, format, body);
    if (pattern) {
        if (!json_is_string(pattern)) return acc_schema_refuse(s, "pattern", "a string was expected");
        acc_write(body, "\"\\\"\" ");
        ACC_TRY(acc_schema_pattern(s, json_string_value(pattern), body));
        acc_write(body, " \"\\\"\"");
        return ACCLLM_OK;
    }
    ACC_TRY(acc_schema_count(s, schema, "minLength", &min));
    ACC_TRY(acc_schema_count(s, schema, "maxLength", &max));
    if (min > max) return acc_fail(s->err, ACCLLM_E_FORMAT, "JSON schema: minLength is above maxLength");
    if (!sized) {
        acc_write(body, "string");
        return ACCLLM_OK;
    }
    acc_write(body, "\"\\\"\" char");
    acc_write_counts(body, min, max);
    acc_write(body, " \"\\\"\"");
    return ACCLLM_OK;
}
