/*
 * The inside of a grammar. Rules are alternatives of elements, one after another in one array; what an element CHARS
 * matches is one character, read byte by byte through nodes of byte ranges, so that only whole, valid UTF-8 passes.
 */
#ifndef ACC_GRAMMAR_GRAMMAR_H
#define ACC_GRAMMAR_GRAMMAR_H

#include "accllm/grammar.h"
#include "core/status.h"

enum {
    ACC_GRAMMAR_TEXT = 1 << 20, /* bytes */
    ACC_GRAMMAR_ELEMENTS = 65536,
    ACC_GRAMMAR_RULES = 16384,
    ACC_GRAMMAR_NODES = 16384,
    ACC_GRAMMAR_RANGES = 131072,
    ACC_GRAMMAR_DEPTH = 128,       /* groups in each other */
    ACC_GRAMMAR_REPEAT = 1000000,  /* the largest number of repetitions that may be named */
    ACC_GRAMMAR_EMPTY_REPEAT = 16, /* the same where an item may be empty */
};
#define ACC_ENDLESS UINT32_MAX

typedef enum acc_element_kind {
    ACC_ALTERNATIVE = 1, /* a: where the rule's next one begins; 0: none */
    ACC_CHARS,           /* a: the node of its first byte */
    ACC_RULE,            /* a: a rule */
    ACC_REPEAT,          /* a: a rule, min to max times */
    ACC_END,             /* of an alternative; a: 1 for the rule's last one */
} acc_element_kind;

typedef struct acc_element {
    uint32_t kind, a;
    uint32_t min, max; /* max ACC_ENDLESS: no end */
} acc_element;

typedef struct acc_byte_range {
    uint8_t lo, hi;
    uint32_t to; /* the node of the next byte; 0: the character is complete */
} acc_byte_range;

/* Ranges in ascending order that do not overlap. */
typedef struct acc_byte_node {
    uint32_t first, n;
} acc_byte_node;

struct accllm_grammar {
    acc_element *element; /* 0 is no element */
    size_t n_elements;
    uint32_t *rule; /* its first ACC_ALTERNATIVE; 0: not defined */
    size_t n_rules;
    acc_byte_range *range;
    size_t n_ranges;
    acc_byte_node *node; /* 0 is no node */
    size_t n_nodes;
    uint32_t root;
    uint8_t byte_class[256]; /* bytes that no node tells apart are one class */
    uint32_t n_classes;
};

#endif
