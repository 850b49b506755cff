/* A grammar being made: elements of unfinished rules are kept on a stack, finished rules go into the grammar. */
#ifndef ACC_GRAMMAR_BUILDER_H
#define ACC_GRAMMAR_BUILDER_H

#include "grammar/grammar.h"

enum { ACC_NODE_BUCKETS = 1024 };

typedef struct acc_char_range {
    uint32_t lo, hi; /* code points */
} acc_char_range;

/* A set of characters. */
typedef struct acc_chars {
    acc_char_range *r; /* malloc'ed */
    size_t n, cap;
} acc_chars;

typedef struct acc_builder {
    accllm_grammar *g;
    size_t cap_elements, cap_rules, cap_ranges, cap_nodes;
    acc_element *work; /* of rules that are not finished */
    size_t n_work, cap_work;
    uint32_t *next_node; /* nodes of the same hash; with bucket the way to equal ones */
    uint32_t bucket[ACC_NODE_BUCKETS];
} acc_builder;

/* All take err for the reason. */
accllm_status acc_builder_init(acc_builder *b, accllm_error *err) ACC_MUST_CHECK;
void acc_builder_free(acc_builder *b); /* also the grammar, if it is still there */
accllm_status acc_builder_new_rule(acc_builder *b, uint32_t *rule, accllm_error *err) ACC_MUST_CHECK;
/* Pushes an element onto the work stack. */
accllm_status acc_builder_push(acc_builder *b, acc_element e, accllm_error *err) ACC_MUST_CHECK;
/* The work from `base` on, alternatives that begin with ACC_ALTERNATIVE and end with ACC_END, becomes the rule. */
accllm_status acc_builder_define(acc_builder *b, uint32_t rule, size_t base, accllm_error *err) ACC_MUST_CHECK;
/* Pushes one byte of a literal, and one character of a set. */
accllm_status acc_builder_byte(acc_builder *b, uint8_t byte, accllm_error *err) ACC_MUST_CHECK;
accllm_status acc_builder_chars(acc_builder *b, acc_chars *set, accllm_error *err) ACC_MUST_CHECK;
/* Node of these ranges; an equal one is used again. */
accllm_status acc_builder_node(acc_builder *b, const acc_byte_range *r, size_t n, uint32_t *node,
                               accllm_error *err) ACC_MUST_CHECK;

/* chars.c */
accllm_status acc_chars_add(acc_chars *c, uint32_t lo, uint32_t hi, accllm_error *err) ACC_MUST_CHECK;
/* Sorts and joins the ranges, takes what is no character out, and turns the set round where `negate`. */
accllm_status acc_chars_settle(acc_chars *c, bool negate, accllm_error *err) ACC_MUST_CHECK;
void acc_chars_free(acc_chars *c);
/* The node that reads one character of a settled set. */
accllm_status acc_chars_node(acc_builder *b, const acc_chars *c, uint32_t *node, accllm_error *err) ACC_MUST_CHECK;

/* check.c: refuses rules that cannot be matched (see accllm/grammar.h), settles repetitions of what may be empty, finds
 * the classes of bytes. name(user, rule): for messages. */
typedef const char *acc_rule_name(void *user, uint32_t rule, int *len);
accllm_status acc_grammar_check(accllm_grammar *g, acc_rule_name *name, void *user, accllm_error *err) ACC_MUST_CHECK;

/* Makes room for one item more; false: out of memory. */
bool acc_grow(void **data, size_t n, size_t *cap, size_t item);

#endif
