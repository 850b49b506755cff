/* A vocabulary as a trie over the bytes of its tokens, in the order in which it is walked. */
#ifndef ACC_GRAMMAR_VOCABULARY_H
#define ACC_GRAMMAR_VOCABULARY_H

#include "accllm/grammar.h"

typedef struct acc_trie_node {
    uint32_t end;   /* the first node that is not below this one */
    uint32_t first; /* of id: its tokens, up to the next node's */
    uint16_t depth; /* bytes from the root, 1 for the first */
    uint8_t byte;
} acc_trie_node;

struct accllm_vocabulary {
    const accllm_tokenizer *tok;
    uint32_t n_vocab;
    acc_trie_node
        *node; /* [n_nodes + 1]: the root, then each node before those below it; a last one that ends the ids */
    uint32_t n_nodes;
    int32_t *id;   /* tokens with a text, by their bytes */
    int32_t *ends; /* tokens that end a text */
    uint32_t n_ids, n_ends;
    uint32_t longest;  /* token, in bytes */
    bool strips_blank; /* a blank that begins a text is not part of it */
};

#endif
