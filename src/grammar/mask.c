/* Matchers over a vocabulary: which tokens may come, and taking one. */
#include <string.h>

#include "core/arena.h"
#include "grammar/matcher.h"

static void plan(acc_arena *a, accllm_matcher *m, uint32_t longest, size_t words)
{
    m->frame = acc_arena_take(a, ACC_FRAMES, sizeof *m->frame);
    m->seen = acc_arena_take(a, ACC_FRAMES, sizeof *m->seen);
    m->set = acc_arena_take(a, ACC_SETS, sizeof *m->set);
    m->item = acc_arena_take(a, ACC_ITEMS, sizeof *m->item);
    m->move = acc_arena_take(a, ACC_MOVES, sizeof *m->move);
    m->frame_bucket = acc_arena_take(a, ACC_BUCKETS, sizeof *m->frame_bucket);
    m->set_bucket = acc_arena_take(a, ACC_BUCKETS, sizeof *m->set_bucket);
    m->work = acc_arena_take(a, ACC_WORK, sizeof *m->work);
    m->fresh = acc_arena_take(a, ACC_STACKS, sizeof *m->fresh);
    m->path = acc_arena_take(a, (size_t)longest + 1, sizeof *m->path);
    m->mask = acc_arena_take(a, ACC_MASKS, sizeof *m->mask);
    uint64_t *bits = acc_arena_take(a, ACC_MASKS * words, sizeof *bits);
    for (size_t i = 0; a->base && i < ACC_MASKS; i++) m->mask[i].bits = bits + i * words;
}

static size_t words_of(const accllm_vocabulary *v)
{
    return (v->n_vocab + 63) / 64;
}

size_t accllm_matcher_bytes(const accllm_vocabulary *v)
{
    acc_arena a = {0};
    accllm_matcher m = {0};
    (void)acc_arena_take(&a, 1, sizeof m);
    plan(&a, &m, v->longest, words_of(v));
    return a.used;
}

accllm_status accllm_matcher_create(accllm_matcher **out, const accllm_grammar *g, const accllm_vocabulary *v,
                                    bool at_start, accllm_error *err)
{
    if (!out || !g || !v) return acc_fail(err, ACCLLM_E_ARG, "matcher: no grammar, vocabulary or place for it");
    *out = NULL;
    acc_arena a = {.base = acc_calloc(1, accllm_matcher_bytes(v))};
    if (!a.base) return acc_fail(err, ACCLLM_E_NOMEM, "out of memory: grammar of a text");
    accllm_matcher *m = acc_arena_take(&a, 1, sizeof *m);
    plan(&a, m, v->longest, words_of(v));
    m->g = g;
    m->v = v;
    m->at_start = at_start && v->strips_blank;
    m->mask_words = words_of(v);
    m->kept_sets = ACC_MOVES / g->n_classes < ACC_KEPT_SETS ? ACC_MOVES / g->n_classes : ACC_KEPT_SETS;
    if (!acc_matcher_begin(m)) {
        accllm_matcher_free(&m);
        return acc_fail(err, ACCLLM_E_LIMIT, "the grammar is too ambiguous: it can begin in too many ways");
    }
    *out = m;
    return ACCLLM_OK;
}

void accllm_matcher_free(accllm_matcher **m)
{
    if (!m || !*m) return;
    acc_free(*m);
    *m = NULL;
}

/* The set behind the next byte of a token, at this depth (1: its first byte). */
static inline uint32_t follow(accllm_matcher *m, uint32_t from, uint8_t byte, unsigned depth)
{
    if (depth == 1 && byte == ' ' && m->at_start) return from; /* no part of the text */
    return acc_matcher_move(m, from, byte);
}

/* Down the trie, leaving out what begins with bytes that are not allowed. */
static void walk(accllm_matcher *m, acc_mask *mask)
{
    const accllm_vocabulary *v = m->v;
    m->budget = ACC_BUDGET;
    for (uint32_t i = 0; i <= v->longest; i++) m->path[i] = (acc_step_back){.set = m->now};
    for (uint32_t i = 1; i < v->n_nodes;) {
        const acc_trie_node *k = &v->node[i];
        if (m->spilling) acc_matcher_drop(m, m->path[k->depth - 1].mark);
        uint32_t set = follow(m, m->path[k->depth - 1].set, k->byte, k->depth);
        if (set == 0) {
            i = k->end;
            continue;
        }
        m->path[k->depth].set = set;
        if (m->spilling) m->path[k->depth].mark = m->top;
        for (uint32_t t = k->first; t < k[1].first; t++) mask->bits[v->id[t] / 64] |= 1ull << v->id[t] % 64;
        mask->n += k[1].first - k->first;
        i++;
    }
    acc_matcher_drop(m, m->path[0].mark);
}

static acc_mask *least_used(accllm_matcher *m)
{
    acc_mask *found = &m->mask[0];
    for (uint32_t i = 1; i < ACC_MASKS; i++)
        if (m->mask[i].used < found->used) found = &m->mask[i];
    return found;
}

const uint64_t *accllm_matcher_mask(accllm_matcher *m, uint32_t *n)
{
    acc_mask *mask = NULL;
    uint32_t set = m->ended ? 0 : m->now;
    for (uint32_t i = 0; i < ACC_MASKS && set; i++)
        if (m->mask[i].set == set) mask = &m->mask[i];
    if (!mask) {
        mask = least_used(m);
        memset(mask->bits, 0, m->mask_words * sizeof *mask->bits);
        mask->n = 0;
        if (set && m->set[set].n > 0) walk(m, mask);
        for (uint32_t i = 0; set && m->set[set].can_end && i < m->v->n_ends; i++, mask->n++)
            mask->bits[m->v->ends[i] / 64] |= 1ull << m->v->ends[i] % 64;
        mask->set = m->at_start ? 0 : set; /* it is another one once something stands there */
    }
    mask->used = ++m->n_masks_used;
    *n = mask->n;
    return mask->bits;
}

bool accllm_matcher_accept(accllm_matcher *m, int32_t id)
{
    size_t len;
    uint32_t set = m->now;
    if (m->ended) return false;
    if (accllm_token_ends_text(m->v->tok, id)) {
        m->ended = m->set[m->now].can_end;
        return m->ended;
    }
    const char *bytes = accllm_token_bytes(m->v->tok, id, &len);
    if (len == 0 || len > m->v->longest) return false;
    const acc_mark before = m->top;
    m->budget = ACC_BUDGET;
    for (size_t i = 0; i < len && set; i++) set = follow(m, set, (uint8_t)bytes[i], i + 1);
    if (!set) {
        acc_matcher_drop(m, before);
        return false;
    }
    m->now = set;
    m->at_start = false;
    acc_matcher_tidy(m);
    return true;
}

bool accllm_matcher_can_end(const accllm_matcher *m)
{
    return m->ended || m->set[m->now].can_end;
}

bool accllm_matcher_must_end(const accllm_matcher *m)
{
    return m->ended || (m->set[m->now].n == 0 && m->set[m->now].can_end);
}
