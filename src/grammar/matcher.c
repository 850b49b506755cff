/* Sets of stacks and their moves. */
#include "grammar/matcher.h"

#include <string.h>

#include "core/hash.h"

#define NO_FRAME UINT32_MAX

/* Frames and sets, each kept once. The newest stands first in its bucket, so that the last ones can be taken out. */

static uint32_t *frame_bucket(accllm_matcher *m, uint32_t at, uint32_t count, uint32_t parent)
{
    uint64_t key = (uint64_t)at << 32 ^ (uint64_t)count << 17 ^ parent;
    return &m->frame_bucket[acc_random(key, parent) % ACC_BUCKETS];
}

/* NO_FRAME where there is no memory. */
static uint32_t make_frame(accllm_matcher *m, uint32_t at, uint32_t count, uint32_t parent)
{
    const acc_element *e = &m->g->element[at];
    if (e->kind == ACC_CHARS && count == 0) count = e->a;
    uint32_t *bucket = frame_bucket(m, at, count, parent), i;
    for (i = *bucket; i; i = m->frame[i].next) {
        const acc_frame *f = &m->frame[i];
        if (f->at == at && f->count == count && f->parent == parent) return i;
    }
    if (m->top.frames == ACC_FRAMES) {
        m->full = true;
        return NO_FRAME;
    }
    i = m->top.frames++;
    m->frame[i] = (acc_frame){at, count, parent, *bucket};
    m->seen[i] = 0;
    *bucket = i;
    return i;
}

static uint32_t *set_bucket(accllm_matcher *m, const uint32_t *item, uint32_t n, bool can_end)
{
    uint64_t hash = ACC_FNV_START + can_end;
    for (uint32_t i = 0; i < n; i++) hash = (hash ^ item[i]) * 0x100000001b3u;
    return &m->set_bucket[(hash ^ hash >> 29) % ACC_BUCKETS];
}

/* The set of the fresh stacks; 0 if there are none, or no memory. */
static uint32_t make_set(accllm_matcher *m)
{
    uint32_t n = m->n_fresh;
    if (m->full || (n == 0 && !m->can_end)) return 0;
    uint32_t *bucket = set_bucket(m, m->fresh, n, m->can_end), i;
    for (i = *bucket; i; i = m->set[i].next) {
        const acc_set *s = &m->set[i];
        if (s->n == n && s->can_end == m->can_end && memcmp(m->item + s->first, m->fresh, n * sizeof *m->fresh) == 0)
            return i;
    }
    if (m->top.sets == ACC_SETS || n > ACC_ITEMS - m->top.items) {
        m->full = true;
        return 0;
    }
    i = m->top.sets++;
    m->set[i] = (acc_set){m->top.items, n, *bucket, m->can_end};
    memcpy(m->item + m->top.items, m->fresh, n * sizeof *m->fresh);
    m->top.items += n;
    *bucket = i;
    if (!m->spilling) memset(m->move + (size_t)i * m->g->n_classes, 0xff, m->g->n_classes * sizeof *m->move);
    return i;
}

/* Takes out all that was made since. */
static void undo(accllm_matcher *m, acc_mark mark)
{
    while (m->top.sets > mark.sets) {
        const acc_set *s = &m->set[--m->top.sets];
        *set_bucket(m, m->item + s->first, s->n, s->can_end) = s->next;
    }
    m->top.items = mark.items;
    while (m->top.frames > mark.frames) {
        const acc_frame *f = &m->frame[--m->top.frames];
        *frame_bucket(m, f->at, f->count, f->parent) = f->next;
    }
}

void acc_matcher_drop(accllm_matcher *m, acc_mark mark)
{
    if (!m->spilling) return;
    undo(m, mark.sets < m->floor.sets || mark.frames < m->floor.frames ? m->floor : mark);
}

/* One step: from frames that have read something to those that will read the next byte. */

static void look_at(accllm_matcher *m, uint32_t frame)
{
    if (frame == NO_FRAME || m->seen[frame] == m->step) return;
    m->seen[frame] = m->step;
    if (m->n_work == ACC_WORK)
        m->full = true;
    else
        m->work[m->n_work++] = frame;
}

/* Where to go on behind an element: nothing is put on the stack if its alternative ends there. */
static uint32_t frame_behind(accllm_matcher *m, uint32_t at, uint32_t parent)
{
    return m->g->element[at + 1].kind == ACC_END ? parent : make_frame(m, at + 1, 0, parent);
}

static void enter(accllm_matcher *m, uint32_t rule, uint32_t parent)
{
    if (parent == NO_FRAME) return;
    for (uint32_t alt = m->g->rule[rule]; alt; alt = m->g->element[alt].a)
        look_at(m, make_frame(m, alt + 1, 0, parent));
}

static void repeat(accllm_matcher *m, const acc_element *e, acc_frame f)
{
    if (f.count >= e->min) look_at(m, make_frame(m, f.at + 1, 0, f.parent));
    if (f.count >= e->max) return;
    uint32_t n = f.count + 1;
    if (e->max == ACC_ENDLESS && n > e->min) n = e->min; /* more make no difference */
    enter(m, e->a, n == e->max ? frame_behind(m, f.at, f.parent) : make_frame(m, f.at, n, f.parent));
}

static void expand(accllm_matcher *m, uint32_t frame)
{
    const acc_frame f = m->frame[frame];
    const acc_element *e = &m->g->element[f.at];
    switch (e->kind) {
    case ACC_CHARS:
        if (m->n_fresh == ACC_STACKS)
            m->full = true;
        else
            m->fresh[m->n_fresh++] = frame;
        return;
    case ACC_RULE:
        enter(m, e->a, frame_behind(m, f.at, f.parent));
        return;
    case ACC_REPEAT:
        repeat(m, e, f);
        return;
    default: /* ACC_END */
        if (f.parent)
            look_at(m, f.parent);
        else
            m->can_end = true;
    }
}

static void spend(accllm_matcher *m, uint32_t n)
{
    m->full = m->full || n > m->budget;
    m->budget -= n < m->budget ? n : m->budget;
}

static void begin_step(accllm_matcher *m)
{
    m->n_work = m->n_fresh = 0;
    m->can_end = m->full = false;
    if (++m->step == 0) { /* once in 2^32 steps */
        memset(m->seen, 0, ACC_FRAMES * sizeof *m->seen);
        m->step = 1;
    }
}

/* Shellsort, by the gaps of Ciura (2001): sets have few stacks, almost always in order. */
static void sort_fresh(accllm_matcher *m)
{
    static const uint32_t gaps[] = {1577, 701, 301, 132, 57, 23, 10, 4, 1};
    for (size_t g = 0; g < sizeof gaps / sizeof *gaps; g++) {
        const uint32_t gap = gaps[g];
        for (uint32_t i = gap; i < m->n_fresh; i++) {
            uint32_t x = m->fresh[i], k = i;
            for (; k >= gap && m->fresh[k - gap] > x; k -= gap) m->fresh[k] = m->fresh[k - gap];
            m->fresh[k] = x;
        }
    }
}

static uint32_t end_step(accllm_matcher *m)
{
    for (uint32_t i = 0; i < m->n_work && !m->full; i++) expand(m, m->work[i]);
    spend(m, m->n_work);
    if (m->full) return 0;
    sort_fresh(m);
    return make_set(m);
}

/* The node behind a byte in *node, 0 where the character is complete; false if it is not allowed. */
static bool read_byte(const accllm_grammar *g, uint32_t *node, uint8_t byte)
{
    const acc_byte_node *k = &g->node[*node];
    for (uint32_t i = k->first; i < k->first + k->n && g->range[i].lo <= byte; i++) {
        if (byte > g->range[i].hi) continue;
        *node = g->range[i].to;
        return true;
    }
    return false;
}

static uint32_t work_out(accllm_matcher *m, uint32_t from, uint8_t byte)
{
    const acc_set *s = &m->set[from];
    begin_step(m);
    spend(m, s->n + 1);
    for (uint32_t i = s->first; i < s->first + s->n && !m->full; i++) {
        const acc_frame f = m->frame[m->item[i]];
        uint32_t node = f.count;
        if (!read_byte(m->g, &node, byte)) continue;
        look_at(m, make_frame(m, node ? f.at : f.at + 1, node, f.parent));
    }
    return end_step(m);
}

uint32_t acc_matcher_step(accllm_matcher *m, uint32_t from, uint8_t byte)
{
    uint32_t *move = NULL;
    if (from < (m->spilling ? m->floor.sets : m->top.sets)) {
        move = &m->move[(size_t)from * m->g->n_classes + m->g->byte_class[byte]];
        if (*move != ACC_UNKNOWN) return *move;
    }
    bool low = m->top.sets >= m->kept_sets || m->top.frames >= ACC_KEPT_FRAMES || m->top.items >= ACC_KEPT_ITEMS;
    if (!m->spilling && low) {
        m->spilling = true;
        m->floor = m->top;
    }
    const acc_mark before = m->top;
    uint32_t to = work_out(m, from, byte);
    if (m->full) undo(m, before);
    bool stays = !m->full && (!m->spilling || to < m->floor.sets);
    if (move && stays) *move = to;
    return to;
}

/* Marks the frames of the present set and those below them. */
static void mark_frames(accllm_matcher *m)
{
    const acc_set *s = &m->set[m->now];
    memset(m->seen, 0, ACC_FRAMES * sizeof *m->seen);
    for (uint32_t i = s->first; i < s->first + s->n; i++)
        for (uint32_t f = m->item[i]; f && !m->seen[f]; f = m->frame[f].parent) m->seen[f] = 1;
}

/* A parent is always older than its child, so frames move down in order; seen[f] becomes f's new number. */
static void pack_frames(accllm_matcher *m)
{
    uint32_t n = m->top.frames;
    m->top.frames = 1;
    memset(m->frame_bucket, 0, ACC_BUCKETS * sizeof *m->frame_bucket);
    for (uint32_t i = 1; i < n; i++) {
        if (!m->seen[i]) continue;
        acc_frame f = m->frame[i];
        f.parent = f.parent ? m->seen[f.parent] : 0;
        uint32_t to = m->top.frames++, *bucket = frame_bucket(m, f.at, f.count, f.parent);
        f.next = *bucket;
        *bucket = to;
        m->frame[to] = f;
        m->seen[i] = to;
    }
}

void acc_matcher_tidy(accllm_matcher *m)
{
    if (!m->spilling) return;
    const acc_set now = m->set[m->now];
    mark_frames(m);
    pack_frames(m);
    m->n_fresh = now.n;
    for (uint32_t i = 0; i < now.n; i++) m->fresh[i] = m->seen[m->item[now.first + i]];
    m->can_end = now.can_end;
    m->full = m->spilling = false;
    memset(m->set_bucket, 0, ACC_BUCKETS * sizeof *m->set_bucket);
    m->top.sets = 1;
    m->top.items = 0;
    m->now = make_set(m);
    for (uint32_t i = 0; i < ACC_MASKS; i++) m->mask[i].set = 0;
    memset(m->seen, 0, ACC_FRAMES * sizeof *m->seen);
}

/* The beginning of a text. */
bool acc_matcher_begin(accllm_matcher *m)
{
    m->top = (acc_mark){.frames = 1, .sets = 1};
    m->budget = ACC_BUDGET;
    begin_step(m);
    enter(m, m->g->root, 0);
    m->now = end_step(m);
    return !m->full;
}
