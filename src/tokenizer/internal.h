/* The inside of a tokenizer: its vocabulary, and what one call of accllm_tokenize() works with. */
#ifndef ACC_TOKENIZER_INTERNAL_H
#define ACC_TOKENIZER_INTERNAL_H

#include "tokenizer/maps.h"
#include "tokenizer/pretokenizer.h"
#include "tokenizer/tokenizer.h"

/* tokenizer.ggml.token_type */
typedef enum acc_token_type {
    ACC_TOKEN_NORMAL = 1,
    ACC_TOKEN_UNKNOWN = 2,
    ACC_TOKEN_CONTROL = 3,
    ACC_TOKEN_USER_DEFINED = 4,
    ACC_TOKEN_UNUSED = 5,
    ACC_TOKEN_BYTE = 6,
} acc_token_type;

typedef struct acc_token {
    const char *name;  /* terminated */
    const char *bytes; /* what it adds to a text */
    uint32_t name_len, bytes_len;
    uint32_t order; /* SentencePiece: ascending order is descending score */
    uint8_t type;
    bool ends_text;
} acc_token;

typedef struct acc_special_node {
    int32_t id;             /* -1: no token ends here */
    int32_t child, sibling; /* -1: none */
    uint8_t byte;
    bool always; /* a user-defined token: matched whatever the flags */
} acc_special_node;

typedef struct acc_chat {
    bool known;
    char *source;       /* the template as the file has it; NULL: none */
    char *system;       /* the template's default system message; NULL: none */
    int32_t start, end; /* <|im_start|>, <|im_end|>; -1: not in the vocabulary */
} acc_chat;

struct accllm_tokenizer {
    bool bpe; /* byte-level BPE; else SentencePiece-BPE */
    int32_t n;
    acc_token *tokens;
    char *names, *bytes;   /* what the tokens point into */
    int32_t bos, eos, unk; /* -1: none */
    bool adds_bos;
    acc_text_map by_name;
    acc_text_map by_bytes;     /* the tokens that ordinary text may become (SentencePiece; BPE rows with whole_words) */
    int32_t byte_id[256];      /* -1: no token */
    acc_special_node *special; /* a trie; node 0 is the root; NULL: no special tokens */
    bool special_first[256];   /* bytes that special tokens begin with */
    acc_chat chat;
    /* byte-level BPE */
    acc_pair_map merges;
    acc_pretokenizer pre;
    /* SentencePiece */
    bool space_prefix;
    bool byte_fallback; /* all 256 byte tokens are there */
    bool words_apart;   /* no token has a blank behind another character: words can be encoded one by one */
    uint32_t max_piece; /* the longest token in bytes */
};

/* vocab.c: tokens, types, scores, tables by name and bytes, byte tokens. */
accllm_status acc_vocab_load(accllm_tokenizer *t, const acc_gguf *meta, accllm_error *err) ACC_MUST_CHECK;
/* merges.c: the merges of byte-level BPE. */
accllm_status acc_merges_load(accllm_tokenizer *t, const acc_gguf *meta, accllm_error *err) ACC_MUST_CHECK;
/* special.c: builds the trie; finds the longest special token at the beginning of s (its length, 0: none). */
accllm_status acc_special_load(accllm_tokenizer *t, accllm_error *err) ACC_MUST_CHECK;
size_t acc_special_match(const accllm_tokenizer *t, const char *s, size_t n, bool all, int32_t *id);
/* chat.c: recognises the template. */
accllm_status acc_chat_load(accllm_tokenizer *t, const acc_gguf *meta, accllm_error *err) ACC_MUST_CHECK;

/* The character that GPT-2's byte-level alphabet shows a byte as (Radford et al. 2019, encoder.py: printable Latin-1
 * stands for itself, the others for U+0100 on), and back: -1 for other characters. */
uint32_t acc_byte_char(uint8_t byte);
int acc_char_byte(uint32_t cp);

typedef struct acc_symbol {
    uint32_t pos, len; /* in the word; len 0: merged away */
    int32_t prev, next;
    int32_t id; /* -1: not in the vocabulary */
} acc_symbol;

typedef struct acc_bigram {
    uint64_t order; /* rank or score order << 32 | left symbol */
    int32_t right;
    uint32_t len; /* of both together: tells a candidate whose halves have changed */
    int32_t id;
} acc_bigram;

typedef struct acc_cached_word {
    uint64_t hash;
    const char *s;
    uint32_t len, epoch, n_ids;
    size_t first_id;
} acc_cached_word;

/* One call's memory. */
typedef struct acc_encoder {
    const accllm_tokenizer *tok;
    int32_t *ids; /* malloc'ed */
    size_t n_ids, cap_ids;
    size_t fragment; /* ids before this one belong to an earlier fragment of the text */
    acc_symbol *symbols;
    size_t cap_symbols;
    acc_bigram *heap;
    size_t n_heap, cap_heap;
    acc_cached_word *cache; /* NULL: none */
    size_t cache_mask;
    uint32_t epoch; /* of the text that cached words point into */
    char *text;     /* SentencePiece: the fragment as the vocabulary spells it */
    size_t cap_text;
    acc_matcher matcher;
} acc_encoder;

/* encode.c */
accllm_status acc_encoder_init(acc_encoder *e, const accllm_tokenizer *t, size_t len, accllm_error *err) ACC_MUST_CHECK;
void acc_encoder_free(acc_encoder *e); /* ids too */
accllm_status acc_encoder_push(acc_encoder *e, int32_t id, accllm_error *err) ACC_MUST_CHECK;
/* A text; specials: texts of control tokens become those tokens. */
accllm_status acc_encoder_text(acc_encoder *e, const char *s, size_t len, bool specials,
                               accllm_error *err) ACC_MUST_CHECK;
/* merge.c: one word, as its own tokens, into e->ids. */
accllm_status acc_encoder_word(acc_encoder *e, const char *s, size_t len, accllm_error *err) ACC_MUST_CHECK;

#endif
