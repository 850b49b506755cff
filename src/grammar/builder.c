#include "grammar/builder.h"

#include <stdlib.h>
#include <string.h>

#include "core/hash.h"
#include "core/memory.h"

bool acc_grow(void **data, size_t n, size_t *cap, size_t item)
{
    size_t bytes, more = *cap ? 2 * *cap : 64;
    if (n < *cap) return true;
    if (!acc_mul(more, item, &bytes)) return false;
    void *p = realloc(*data, bytes);
    if (!p) return false;
    *data = p;
    *cap = more;
    return true;
}

static accllm_status no_memory(accllm_error *err)
{
    return acc_fail(err, ACCLLM_E_NOMEM, "out of memory: grammar");
}

static accllm_status add_element(acc_builder *b, acc_element e, accllm_error *err)
{
    accllm_grammar *g = b->g;
    void *p = g->element;
    if (g->n_elements == ACC_GRAMMAR_ELEMENTS)
        return acc_fail(err, ACCLLM_E_LIMIT, "the grammar is too large: more than %d symbols", ACC_GRAMMAR_ELEMENTS);
    bool ok = acc_grow(&p, g->n_elements, &b->cap_elements, sizeof *g->element);
    g->element = p;
    if (!ok) return no_memory(err);
    g->element[g->n_elements++] = e;
    return ACCLLM_OK;
}

/* Nodes are numbered from 1; node 0 is there and reads nothing. */
static accllm_status add_node(acc_builder *b, acc_byte_node node, accllm_error *err)
{
    accllm_grammar *g = b->g;
    void *p = g->node, *q = b->next_node;
    size_t cap = b->cap_nodes;
    if (g->n_nodes == ACC_GRAMMAR_NODES)
        return acc_fail(err, ACCLLM_E_LIMIT, "the grammar is too large: too many different character classes");
    bool ok = acc_grow(&p, g->n_nodes, &cap, sizeof *g->node);
    g->node = p;
    ok = ok && acc_grow(&q, g->n_nodes, &b->cap_nodes, sizeof *b->next_node);
    b->next_node = q;
    if (!ok) return no_memory(err);
    g->node[g->n_nodes++] = node;
    return ACCLLM_OK;
}

accllm_status acc_builder_init(acc_builder *b, accllm_error *err)
{
    *b = (acc_builder){.g = acc_calloc(1, sizeof(accllm_grammar))};
    if (!b->g) return no_memory(err);
    ACC_TRY(add_element(b, (acc_element){.kind = ACC_END}, err));
    return add_node(b, (acc_byte_node){0}, err);
}

void acc_builder_free(acc_builder *b)
{
    accllm_grammar_free(&b->g);
    free(b->work);
    free(b->next_node);
}

accllm_status acc_builder_new_rule(acc_builder *b, uint32_t *rule, accllm_error *err)
{
    accllm_grammar *g = b->g;
    void *p = g->rule;
    if (g->n_rules == ACC_GRAMMAR_RULES)
        return acc_fail(err, ACCLLM_E_LIMIT, "the grammar is too large: more than %d rules and groups",
                        ACC_GRAMMAR_RULES);
    bool ok = acc_grow(&p, g->n_rules, &b->cap_rules, sizeof *g->rule);
    g->rule = p;
    if (!ok) return no_memory(err);
    *rule = (uint32_t)g->n_rules;
    g->rule[g->n_rules++] = 0;
    return ACCLLM_OK;
}

accllm_status acc_builder_push(acc_builder *b, acc_element e, accllm_error *err)
{
    void *p = b->work;
    if (b->n_work == ACC_GRAMMAR_ELEMENTS)
        return acc_fail(err, ACCLLM_E_LIMIT, "the grammar is too large: more than %d symbols", ACC_GRAMMAR_ELEMENTS);
    bool ok = acc_grow(&p, b->n_work, &b->cap_work, sizeof *b->work);
    b->work = p;
    if (!ok) return no_memory(err);
    b->work[b->n_work++] = e;
    return ACCLLM_OK;
}

accllm_status acc_builder_define(acc_builder *b, uint32_t rule, size_t base, accllm_error *err)
{
    accllm_grammar *g = b->g;
    uint32_t last = 0;
    g->rule[rule] = (uint32_t)g->n_elements;
    for (size_t i = base; i < b->n_work; i++) {
        uint32_t at = (uint32_t)g->n_elements;
        ACC_TRY(add_element(b, b->work[i], err));
        if (b->work[i].kind != ACC_ALTERNATIVE) continue;
        if (last) g->element[last].a = at;
        last = at;
    }
    g->element[g->n_elements - 1].a = 1; /* the rule's last ACC_END */
    b->n_work = base;
    return ACCLLM_OK;
}

static bool equal(const accllm_grammar *g, uint32_t node, const acc_byte_range *r, size_t n)
{
    if (g->node[node].n != n) return false;
    const acc_byte_range *have = g->range + g->node[node].first;
    for (size_t i = 0; i < n; i++)
        if (have[i].lo != r[i].lo || have[i].hi != r[i].hi || have[i].to != r[i].to) return false;
    return true;
}

static accllm_status add_ranges(acc_builder *b, const acc_byte_range *r, size_t n, accllm_error *err)
{
    accllm_grammar *g = b->g;
    for (size_t i = 0; i < n; i++) {
        void *p = g->range;
        if (g->n_ranges == ACC_GRAMMAR_RANGES)
            return acc_fail(err, ACCLLM_E_LIMIT, "the grammar is too large: too many ranges of characters");
        bool ok = acc_grow(&p, g->n_ranges, &b->cap_ranges, sizeof *g->range);
        g->range = p;
        if (!ok) return no_memory(err);
        g->range[g->n_ranges++] = r[i];
    }
    return ACCLLM_OK;
}

accllm_status acc_builder_node(acc_builder *b, const acc_byte_range *r, size_t n, uint32_t *node, accllm_error *err)
{
    uint64_t hash = ACC_FNV_START;
    for (size_t i = 0; i < n; i++) {
        uint32_t part[] = {r[i].lo, r[i].hi, r[i].to};
        hash = acc_fnv1a(hash, part, sizeof part);
    }
    uint32_t *bucket = &b->bucket[hash % ACC_NODE_BUCKETS];
    for (*node = *bucket; *node; *node = b->next_node[*node])
        if (equal(b->g, *node, r, n)) return ACCLLM_OK;
    acc_byte_node fresh = {(uint32_t)b->g->n_ranges, (uint32_t)n};
    ACC_TRY(add_ranges(b, r, n, err));
    ACC_TRY(add_node(b, fresh, err));
    *node = (uint32_t)b->g->n_nodes - 1;
    b->next_node[*node] = *bucket;
    *bucket = *node;
    return ACCLLM_OK;
}

static accllm_status push_node(acc_builder *b, uint32_t node, accllm_error *err)
{
    return acc_builder_push(b, (acc_element){.kind = ACC_CHARS, .a = node}, err);
}

accllm_status acc_builder_byte(acc_builder *b, uint8_t byte, accllm_error *err)
{
    uint32_t node;
    acc_byte_range one = {byte, byte, 0};
    ACC_TRY(acc_builder_node(b, &one, 1, &node, err));
    return push_node(b, node, err);
}

accllm_status acc_builder_chars(acc_builder *b, acc_chars *set, accllm_error *err)
{
    uint32_t node;
    ACC_TRY(acc_chars_node(b, set, &node, err));
    return push_node(b, node, err);
}

void accllm_grammar_free(accllm_grammar **g)
{
    if (!g || !*g) return;
    free((*g)->element);
    free((*g)->rule);
    free((*g)->range);
    free((*g)->node);
    acc_free(*g);
    *g = NULL;
}
