/* What a grammar must be to be matched: all rules defined, none that begins with itself, a root that can end. */
#include <inttypes.h>
#include <stdlib.h>

#include "core/memory.h"
#include "grammar/builder.h"

typedef struct check {
    accllm_grammar *g;
    acc_rule_name *name;
    void *user;
    accllm_error *err;
    uint8_t *empty;  /* [n_rules] may be empty */
    uint8_t *can;    /* [n_rules] can end */
    uint32_t *owner; /* [n_elements], of an ACC_ALTERNATIVE: its rule */
    uint32_t *lacks; /* [n_elements], the same: elements that are not known to be fulfilled */
    uint32_t *queue; /* [n_rules] */
    uint32_t *start; /* [n_rules + 1] into use */
    uint32_t *use;   /* [n_elements]: the alternatives that a rule stands in, rule by rule */
    uint8_t *colour; /* [n_rules] */
} check;

static accllm_status say(const check *c, accllm_status status, uint32_t rule, const char *what)
{
    int len;
    const char *name = c->name(c->user, rule, &len);
    return acc_fail(c->err, status, "grammar: %.*s %s", len, name, what);
}

static bool needs_rule(const acc_element *e)
{
    return e->kind == ACC_RULE || (e->kind == ACC_REPEAT && e->min > 0);
}

static accllm_status find_owners(check *c)
{
    accllm_grammar *g = c->g;
    for (uint32_t r = 0; r < g->n_rules; r++) {
        if (!g->rule[r]) return say(c, ACCLLM_E_FORMAT, r, "has no definition");
        for (uint32_t alt = g->rule[r]; alt; alt = g->element[alt].a) c->owner[alt] = r;
    }
    return ACCLLM_OK;
}

/* The lists of alternatives that need a rule. */
static void find_uses(check *c)
{
    const accllm_grammar *g = c->g;
    uint32_t alt = 0;
    for (size_t i = 1; i < g->n_elements; i++)
        if (needs_rule(&g->element[i])) c->start[g->element[i].a + 1]++;
    for (size_t r = 0; r < g->n_rules; r++) c->start[r + 1] += c->start[r];
    for (size_t i = 1; i < g->n_elements; i++) {
        const acc_element *e = &g->element[i];
        if (e->kind == ACC_ALTERNATIVE) alt = (uint32_t)i;
        if (needs_rule(e)) c->use[c->start[e->a]++] = alt;
    }
    for (size_t r = g->n_rules; r > 0; r--) c->start[r] = c->start[r - 1]; /* each had become its end */
    c->start[0] = 0;
}

/* Marks the rules that have an alternative all of whose elements are fulfilled: a rule by its mark, a repetition that
 * may be left out, a character where `chars`. Each use of a rule is looked at once. */
static void mark(check *c, bool chars, uint8_t *out)
{
    const accllm_grammar *g = c->g;
    size_t n = 0;
    uint32_t alt = 0;
    for (size_t i = 1; i < g->n_elements; i++) {
        const acc_element *e = &g->element[i];
        if (e->kind == ACC_ALTERNATIVE) c->lacks[alt = (uint32_t)i] = 0;
        c->lacks[alt] += needs_rule(e) || (e->kind == ACC_CHARS && !chars);
        if (e->kind != ACC_END || c->lacks[alt] > 0 || out[c->owner[alt]]) continue;
        out[c->owner[alt]] = 1;
        c->queue[n++] = c->owner[alt];
    }
    while (n > 0) {
        uint32_t r = c->queue[--n];
        for (uint32_t i = c->start[r]; i < c->start[r + 1]; i++) {
            alt = c->use[i];
            if (--c->lacks[alt] > 0 || out[c->owner[alt]]) continue;
            out[c->owner[alt]] = 1;
            c->queue[n++] = c->owner[alt];
        }
    }
}

/* What may be empty may be left out instead, so that every repetition reads something. */
static accllm_status settle_repetitions(check *c)
{
    for (size_t i = 1; i < c->g->n_elements; i++) {
        acc_element *e = &c->g->element[i];
        if (e->kind != ACC_REPEAT || !c->empty[e->a]) continue;
        e->min = 0;
        if (e->max != ACC_ENDLESS && e->max > ACC_GRAMMAR_EMPTY_REPEAT)
            return acc_fail(c->err, ACCLLM_E_LIMIT,
                            "grammar: a repetition of up to %" PRIu32 " of what may be empty (limit %d)", e->max,
                            ACC_GRAMMAR_EMPTY_REPEAT);
    }
    return ACCLLM_OK;
}

/* A walk over the rules that a rule may begin with. */
typedef struct cursor {
    uint32_t rule, at;
    bool first; /* nothing has been read in this alternative */
} cursor;

static uint32_t next_first(const check *c, cursor *k)
{
    for (;;) {
        const acc_element *e = &c->g->element[k->at++];
        bool first = k->first;
        if (e->kind == ACC_END && e->a) return UINT32_MAX;
        if (e->kind == ACC_ALTERNATIVE) k->first = true;
        if (e->kind == ACC_CHARS) k->first = false;
        if (e->kind != ACC_RULE && e->kind != ACC_REPEAT) continue;
        k->first = first && (c->empty[e->a] || (e->kind == ACC_REPEAT && e->min == 0));
        if (first) return e->a;
    }
}

/* Depth first, with a stack of its own: no rule may come upon itself. */
static accllm_status refuse_left_recursion(check *c)
{
    enum { NEW, OPEN, DONE };
    void *p = NULL;
    accllm_status status = acc_alloc(&p, c->g->n_rules, sizeof(cursor), "grammar", c->err);
    cursor *stack = p;
    for (uint32_t r = 0; r < c->g->n_rules && status == ACCLLM_OK; r++) {
        size_t depth = 0;
        if (c->colour[r] != NEW) continue;
        stack[depth++] = (cursor){r, c->g->rule[r], true};
        c->colour[r] = OPEN;
        while (depth > 0 && status == ACCLLM_OK) {
            uint32_t to = next_first(c, &stack[depth - 1]);
            if (to == UINT32_MAX) {
                c->colour[stack[--depth].rule] = DONE;
            } else if (c->colour[to] == OPEN) {
                status = say(c, ACCLLM_E_UNSUPPORTED, to, "begins with itself (left recursion)");
            } else if (c->colour[to] == NEW) {
                stack[depth++] = (cursor){to, c->g->rule[to], true};
                c->colour[to] = OPEN;
            }
        }
    }
    acc_free(stack);
    return status;
}

/* Bytes between two ends of ranges are never told apart. */
static void find_classes(accllm_grammar *g)
{
    bool cut[257] = {false};
    for (size_t i = 0; i < g->n_ranges; i++) cut[g->range[i].lo] = cut[g->range[i].hi + 1] = true;
    uint32_t n = 0;
    for (unsigned b = 0; b < 256; b++) {
        if (b > 0 && cut[b]) n++;
        g->byte_class[b] = (uint8_t)n;
    }
    g->n_classes = n + 1;
}

static accllm_status allocate(check *c)
{
    size_t rules = c->g->n_rules, elements = c->g->n_elements;
    void *bytes = NULL, *numbers = NULL;
    ACC_TRY(acc_alloc(&bytes, 3 * rules, 1, "grammar", c->err));
    c->empty = bytes;
    c->can = c->empty + rules;
    c->colour = c->can + rules;
    ACC_TRY(acc_alloc(&numbers, 3 * elements + 2 * rules + 1, sizeof *c->queue, "grammar", c->err));
    c->owner = numbers;
    c->lacks = c->owner + elements;
    c->use = c->lacks + elements;
    c->queue = c->use + elements;
    c->start = c->queue + rules;
    return ACCLLM_OK;
}

static accllm_status run(check *c)
{
    ACC_TRY(allocate(c));
    ACC_TRY(find_owners(c));
    find_uses(c);
    mark(c, false, c->empty);
    mark(c, true, c->can);
    if (!c->can[c->g->root]) return say(c, ACCLLM_E_FORMAT, c->g->root, "can never end");
    ACC_TRY(settle_repetitions(c));
    return refuse_left_recursion(c);
}

accllm_status acc_grammar_check(accllm_grammar *g, acc_rule_name *name, void *user, accllm_error *err)
{
    check c = {.g = g, .name = name, .user = user, .err = err};
    accllm_status status = run(&c);
    acc_free(c.empty);
    acc_free(c.owner);
    if (status == ACCLLM_OK) find_classes(g);
    return status;
}
