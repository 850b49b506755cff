/*
 * A JSON schema into the text of a grammar. Each schema becomes a rule; what the grammar writes is always allowed by
 * the schema, though not all that the schema allows can be written (properties come in the schema's order, for one).
 */
#ifndef ACC_GRAMMAR_SCHEMA_H
#define ACC_GRAMMAR_SCHEMA_H

#include <jansson.h>

#include "accllm/grammar.h"
#include "core/status.h"

enum {
    ACC_SCHEMA_DEPTH = 64, /* schemas in each other */
    ACC_SCHEMA_RULES = 8192,
    ACC_SCHEMA_EFFORT = 1 << 20,
    ACC_SCHEMA_TYPES = 16, /* names in a list of types */
    ACC_RULE_NAME = 16,    /* bytes of a rule's name */
};

/* A growing text; `failed`: out of memory, or above ACC_GRAMMAR_TEXT. */
typedef struct acc_writing {
    char *data; /* malloc'ed, terminated; NULL: empty */
    size_t n, cap;
    bool failed;
} acc_writing;

typedef struct acc_schema {
    json_t *root;
    json_t *refs;    /* names of the rules of what references lead to */
    json_t *pending; /* all that they lead to, in the order in which their rules are written */
    acc_writing text;
    unsigned depth, n_rules;
    unsigned effort; /* left for telling alternatives apart */
    accllm_error *err;
} acc_schema;

/* The grammar of a schema as GBNF; *text is malloc'ed and terminated. */
accllm_status acc_schema_text(char **text, const char *schema, size_t len, accllm_error *err) ACC_MUST_CHECK;

/* schema.c */
accllm_status acc_schema_refuse(const acc_schema *s, const char *keyword, const char *why);
/* Writes the rule of a schema and tells its name. */
accllm_status acc_schema_rule(acc_schema *s, const json_t *schema, char name[ACC_RULE_NAME]) ACC_MUST_CHECK;
/* Ends a rule that was collected in body; body is freed and empty then, after failures too. */
accllm_status acc_schema_add(acc_schema *s, acc_writing *body, char name[ACC_RULE_NAME]) ACC_MUST_CHECK;
/* E_LIMIT: w did not have room for all that was written. */
accllm_status acc_schema_fits(const acc_schema *s, const acc_writing *w) ACC_MUST_CHECK;
/* A whole number of 0 to ACC_GRAMMAR_REPEAT; *out stays where the keyword is absent. */
accllm_status acc_schema_count(const acc_schema *s, const json_t *schema, const char *keyword,
                               uint32_t *out) ACC_MUST_CHECK;
/* Refuses the keywords of a list, NULL at its end, that the schema has. */
accllm_status acc_schema_without(const acc_schema *s, const json_t *schema, const char *const *keywords) ACC_MUST_CHECK;

/* schema_ref.c: follows "$ref" to the schema that is meant. */
accllm_status acc_schema_target(const acc_schema *s, const char *ref, const json_t **out) ACC_MUST_CHECK;

/* schema_text.c */
void acc_write(acc_writing *w, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void acc_write_literal(acc_writing *w, const char *bytes, size_t n); /* as "..." */
void acc_write_class_char(acc_writing *w, uint32_t cp);              /* as it stands in a [class] */
/* A value as a literal; false: out of memory. */
bool acc_write_value(acc_writing *w, const json_t *value);
/* "{min,max}" behind an item; max ACC_ENDLESS: no end. */
void acc_write_counts(acc_writing *w, uint32_t min, uint32_t max);

/* One file for each type of value: the body of its rule. */
accllm_status acc_schema_object(acc_schema *s, const json_t *schema, acc_writing *body) ACC_MUST_CHECK;
accllm_status acc_schema_array(acc_schema *s, const json_t *schema, acc_writing *body) ACC_MUST_CHECK;
accllm_status acc_schema_string(acc_schema *s, const json_t *schema, acc_writing *body) ACC_MUST_CHECK;
accllm_status acc_schema_number(acc_schema *s, const json_t *schema, bool whole, acc_writing *body) ACC_MUST_CHECK;
/* schema_pattern.c: a regular expression over the text of a string. */
accllm_status acc_schema_pattern(acc_schema *s, const char *pattern, acc_writing *body) ACC_MUST_CHECK;
/* schema_apart.c: true if it is plain that no value is allowed by both. */
bool acc_schemas_apart(acc_schema *s, const json_t *a, const json_t *b);

#endif
