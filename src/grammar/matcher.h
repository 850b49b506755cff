/*
 * The inside of a matcher. A place in a grammar is a set of stacks; a stack is a frame on top of its parent, and frames
 * and sets are kept once each, so that equal places are the same number and a place's moves, byte by byte, need to be
 * worked out once only. All of it lies in memory of fixed size. What is kept grows up to a limit; beyond it frames and
 * sets are made on top and dropped again (`spilling`), until the next token of the text leaves room for a fresh start.
 */
#ifndef ACC_GRAMMAR_MATCHER_H
#define ACC_GRAMMAR_MATCHER_H

#include "grammar/grammar.h"
#include "grammar/vocabulary.h"

enum {
    ACC_FRAMES = 16384,
    ACC_KEPT_FRAMES = 12288,
    ACC_SETS = 1024,
    ACC_KEPT_SETS = 768, /* fewer if the grammar has so many classes of bytes that ACC_MOVES would not do */
    ACC_ITEMS = 32768,
    ACC_KEPT_ITEMS = 24576,
    ACC_MOVES = 131072,
    ACC_STACKS = 4096,    /* in one set */
    ACC_WORK = 8192,      /* frames looked at for one byte */
    ACC_BUDGET = 1 << 20, /* and for one token, stacks read included: no grammar holds others up for long */
    ACC_BUCKETS = 4096,
    ACC_MASKS = 16,
};

typedef struct acc_frame {
    uint32_t at;     /* the element to match next */
    uint32_t count;  /* ACC_REPEAT: how often it was; ACC_CHARS: the node of the next byte */
    uint32_t parent; /* where to go on at the rule's end; 0: at the end of the text */
    uint32_t next;   /* of the same hash; 0: none */
} acc_frame;

/* Stacks, all with ACC_CHARS on top; set 0 is the empty one. */
typedef struct acc_set {
    uint32_t first, n; /* of item: frames in ascending order */
    uint32_t next;     /* of the same hash; 0: none */
    bool can_end;      /* and the text may end here */
} acc_set;

typedef struct acc_mark {
    uint32_t frames, sets, items;
} acc_mark;

/* One byte of a token that is being tried. */
typedef struct acc_step_back {
    uint32_t set;
    acc_mark mark; /* while spilling: what there was when the set had been found */
} acc_step_back;

typedef struct acc_mask {
    uint32_t set; /* 0: none */
    uint32_t n;
    uint64_t used;
    uint64_t *bits;
} acc_mask;

struct accllm_matcher {
    const accllm_grammar *g;
    const accllm_vocabulary *v;
    uint32_t now;                        /* the set where the text stands */
    bool at_start, ended;                /* ended: by a token that ends texts */
    acc_frame *frame;                    /* [ACC_FRAMES] */
    uint32_t *seen;                      /* [ACC_FRAMES]: the last step that looked at it; scratch of compact() */
    acc_set *set;                        /* [ACC_SETS] */
    uint32_t *item;                      /* [ACC_ITEMS] */
    uint32_t *move;                      /* [kept_sets][n_classes]: the set behind a byte; ACC_UNKNOWN */
    uint32_t *frame_bucket, *set_bucket; /* [ACC_BUCKETS] */
    acc_mark top;                        /* how many there are of each */
    uint32_t kept_sets;
    bool spilling;
    acc_mark floor; /* what stays while spilling */
    /* the step at hand */
    uint32_t step, budget;
    uint32_t *work;  /* [ACC_WORK] */
    uint32_t *fresh; /* [ACC_STACKS] */
    uint32_t n_work, n_fresh;
    bool can_end, full;
    acc_step_back *path; /* [longest token + 1] */
    acc_mask *mask;      /* [ACC_MASKS] */
    uint64_t n_masks_used;
    size_t mask_words;
};

#define ACC_UNKNOWN UINT32_MAX

/* Puts the matcher at the beginning of a text; false if that takes more memory than there is. */
bool acc_matcher_begin(accllm_matcher *m);
/* The set behind a byte; 0: the grammar does not allow it, or there is no memory to follow it. */
uint32_t acc_matcher_step(accllm_matcher *m, uint32_t from, uint8_t byte);
/* The same, where it has been worked out already without a call. */
static inline uint32_t acc_matcher_move(accllm_matcher *m, uint32_t from, uint8_t byte)
{
    if (from < (m->spilling ? m->floor.sets : m->top.sets)) {
        uint32_t to = m->move[from * m->g->n_classes + m->g->byte_class[byte]];
        if (to != ACC_UNKNOWN) return to;
    }
    return acc_matcher_step(m, from, byte);
}
/* Drops what was made since then, as far as it is not kept. */
void acc_matcher_drop(accllm_matcher *m, acc_mark mark);
/* Drops all but the present set, where memory runs low. */
void acc_matcher_tidy(accllm_matcher *m);

#endif
