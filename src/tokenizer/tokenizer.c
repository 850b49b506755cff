/* Making tokenizers, and what they tell about single tokens. */
#include "tokenizer/tokenizer.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/memory.h"
#include "format/checkpoint.h"
#include "tokenizer/internal.h"

#define KEY(name) "tokenizer.ggml." name

/* Optional id: -1 where the key is absent or holds -1 (also as a 32-bit word). */
static accllm_status read_id(const acc_gguf *meta, const char *key, int32_t n, int32_t *out, accllm_error *err)
{
    uint64_t v;
    *out = -1;
    if (!acc_gguf_has(meta, key)) return ACCLLM_OK;
    if (!acc_gguf_u64(meta, key, &v)) v = UINT32_MAX; /* a negative number */
    if (v == UINT32_MAX) return ACCLLM_OK;
    if (v >= (uint64_t)n)
        return acc_fail(err, ACCLLM_E_FORMAT, "%s is %" PRIu64 ", outside the %" PRId32 " tokens", key, v, n);
    *out = (int32_t)v;
    return ACCLLM_OK;
}

/* Names that end a turn or a text in the models that have them, where the metadata names only one of several. */
static void mark_known_ends(accllm_tokenizer *t)
{
    static const char *const names[] = {"<|endoftext|>", "<|im_end|>", "<|eot_id|>",   "<|end_of_text|>",
                                        "<|eom_id|>",    "<|end|>",    "<end_of_turn>"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        int32_t id = acc_text_map_get(&t->by_name, names[i], strlen(names[i]));
        if (id < 0) continue;
        acc_token *k = &t->tokens[id];
        if (k->type == ACC_TOKEN_CONTROL || k->type == ACC_TOKEN_USER_DEFINED) k->ends_text = true;
    }
}

static accllm_status read_special_ids(accllm_tokenizer *t, const acc_gguf *meta, accllm_error *err)
{
    int32_t eot, eom;
    ACC_TRY(read_id(meta, KEY("bos_token_id"), t->n, &t->bos, err));
    ACC_TRY(read_id(meta, KEY("eos_token_id"), t->n, &t->eos, err));
    ACC_TRY(read_id(meta, KEY("unknown_token_id"), t->n, &t->unk, err));
    ACC_TRY(read_id(meta, KEY("eot_token_id"), t->n, &eot, err));
    ACC_TRY(read_id(meta, KEY("eom_token_id"), t->n, &eom, err));
    for (int32_t id = 0; id < t->n && t->unk < 0; id++)
        if (t->tokens[id].type == ACC_TOKEN_UNKNOWN) t->unk = id;
    const int32_t ends[] = {t->eos, eot, eom};
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++)
        if (ends[i] >= 0) t->tokens[ends[i]].ends_text = true;
    mark_known_ends(t);
    if (!acc_gguf_bool(meta, KEY("add_bos_token"), &t->adds_bos)) t->adds_bos = t->bpe ? t->pre.adds_bos : true;
    t->adds_bos = t->adds_bos && t->bos >= 0;
    if (!acc_gguf_bool(meta, KEY("add_space_prefix"), &t->space_prefix)) t->space_prefix = true;
    return ACCLLM_OK;
}

static accllm_status load(accllm_tokenizer *t, const acc_gguf *meta, accllm_error *err)
{
    acc_str model, pre;
    if (!acc_gguf_str(meta, KEY("model"), &model))
        return acc_fail(err, ACCLLM_E_FORMAT, "the file has no tokenizer (no tokenizer.ggml.model)");
    t->bpe = model.n == 4 && memcmp(model.s, "gpt2", 4) == 0;
    if (!t->bpe && (model.n != 5 || memcmp(model.s, "llama", 5) != 0))
        return acc_fail(err, ACCLLM_E_UNSUPPORTED, "tokenizer model \"%.*s\" (gpt2 and llama are supported)",
                        (int)(model.n < 64 ? model.n : 64), model.s);
    if (t->bpe) {
        if (!acc_gguf_str(meta, KEY("pre"), &pre)) pre = (acc_str){"default", 7};
        ACC_TRY(acc_pretokenizer_init(&t->pre, pre, err));
    }
    ACC_TRY(acc_vocab_load(t, meta, err));
    if (t->bpe) ACC_TRY(acc_merges_load(t, meta, err));
    ACC_TRY(acc_special_load(t, err));
    ACC_TRY(read_special_ids(t, meta, err));
    return acc_chat_load(t, meta, err);
}

accllm_status acc_tokenizer_create(accllm_tokenizer **out, const acc_gguf *meta, accllm_error *err)
{
    void *p = NULL;
    *out = NULL;
    if (!meta) return acc_fail(err, ACCLLM_E_FORMAT, "the model has no tokenizer");
    ACC_TRY(acc_alloc(&p, 1, sizeof **out, "tokenizer", err));
    accllm_tokenizer *t = p;
    accllm_status status = load(t, meta, err);
    if (status != ACCLLM_OK)
        accllm_tokenizer_free(&t);
    else
        *out = t;
    return status;
}

static bool is_gguf(const char *path)
{
    char magic[4] = {0};
    FILE *f = fopen(path, "rb");
    if (!f) return true; /* the GGUF reader says why it cannot be opened */
    size_t n = fread(magic, 1, sizeof magic, f);
    (void)fclose(f);
    return n == sizeof magic && memcmp(magic, "GGUF", 4) == 0;
}

accllm_status accllm_tokenizer_open(accllm_tokenizer **out, const char *path, accllm_error *err)
{
    if (!out || !path) return acc_fail(err, ACCLLM_E_ARG, "tokenizer: no path or no place for it");
    *out = NULL;
    accllm_status status;
    if (is_gguf(path)) {
        acc_gguf *g;
        ACC_TRY(acc_gguf_open(&g, path, true, err));
        status = acc_tokenizer_create(out, g, err);
        acc_gguf_free(&g);
    } else {
        acc_source *source;
        ACC_TRY(acc_checkpoint_open(&source, path, true, err));
        status = acc_tokenizer_create(out, source->meta, err);
        source->close(source);
    }
    return status == ACCLLM_OK ? status : acc_prefix(err, status, "%s", path);
}

void accllm_tokenizer_free(accllm_tokenizer **tok)
{
    accllm_tokenizer *t = tok ? *tok : NULL;
    if (!t) return;
    acc_free(t->tokens);
    acc_free(t->names);
    acc_free(t->bytes);
    acc_text_map_free(&t->by_name);
    acc_text_map_free(&t->by_bytes);
    acc_pair_map_free(&t->merges);
    acc_pretokenizer_free(&t->pre);
    acc_free(t->special);
    free(t->chat.source);
    acc_free(t->chat.system);
    acc_free(t);
    *tok = NULL;
}

static const acc_token *token(const accllm_tokenizer *tok, int32_t id)
{
    return id >= 0 && id < tok->n ? &tok->tokens[id] : NULL;
}

const char *accllm_token_bytes(const accllm_tokenizer *tok, int32_t id, size_t *len)
{
    const acc_token *k = token(tok, id);
    *len = k ? k->bytes_len : 0;
    return k ? k->bytes : "";
}

const char *accllm_token_text(const accllm_tokenizer *tok, int32_t id)
{
    const acc_token *k = token(tok, id);
    return k ? k->name : "";
}

int32_t accllm_tokenizer_size(const accllm_tokenizer *tok)
{
    return tok->n;
}

int32_t accllm_tokenizer_bos(const accllm_tokenizer *tok)
{
    return tok->bos;
}

int32_t accllm_tokenizer_eos(const accllm_tokenizer *tok)
{
    return tok->eos;
}

bool accllm_tokenizer_adds_bos(const accllm_tokenizer *tok)
{
    return tok->adds_bos;
}

bool accllm_token_ends_text(const accllm_tokenizer *tok, int32_t id)
{
    const acc_token *k = token(tok, id);
    return k && k->ends_text;
}
