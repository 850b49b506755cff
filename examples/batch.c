/*
 * Continues several prompts at once, as a server does:  batch MODEL.gguf TOKENS PROMPT...
 *
 * A few sessions share one batch. A text takes a session that is free, feeds its prompt in pieces beside the tokens
 * that the other texts are drawing, and gives the session to the next text when it ends. What each text becomes does
 * not depend on the others.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "accllm/accllm.h"

enum { SESSIONS = 4, PIECE = 32 };

typedef struct text {
    int32_t *ids; /* the prompt, then room for what is drawn */
    size_t n_prompt, n, fed;
    accllm_session *session; /* NULL: waits, or has ended */
    accllm_sampler *sampler;
} text;

static int fail(const accllm_error *err)
{
    (void)fprintf(stderr, "batch: %s\n", err->text);
    return 1;
}

static int read_prompt(text *t, const accllm_tokenizer *tok, const char *prompt, size_t n_tokens)
{
    accllm_error err = {0};
    unsigned flags = accllm_tokenizer_adds_bos(tok) ? ACCLLM_TOKENIZE_BOS : 0;
    if (accllm_tokenize(tok, prompt, strlen(prompt), flags, &t->ids, &t->n_prompt, &err) != ACCLLM_OK)
        return fail(&err);
    int32_t *more = realloc(t->ids, (t->n_prompt + n_tokens) * sizeof *more);
    if (!more || t->n_prompt == 0) {
        (void)fprintf(stderr, "batch: %s\n", more ? "an empty prompt" : "out of memory");
        return 1;
    }
    t->ids = more;
    t->n = t->n_prompt;
    return 0;
}

static void write_text(const text *t, const accllm_tokenizer *tok)
{
    char buffer[1024]; /* ample for any vocabulary's longest token */
    accllm_text_stream stream;
    accllm_text_stream_init(&stream, true);
    for (size_t i = 0; i < t->n; i++) {
        size_t len;
        (void)accllm_token_bytes(tok, t->ids[i], &len);
        if (len * 3 + 16 <= sizeof buffer)
            (void)fwrite(buffer, 1, accllm_text_stream_push(&stream, tok, t->ids[i], buffer, sizeof buffer), stdout);
    }
    (void)fwrite(buffer, 1, accllm_text_stream_flush(&stream, buffer, sizeof buffer), stdout);
    (void)puts("\n----");
}

/* The next piece of the prompt, or the token drawn last; logits once the text's end is reached. */
static accllm_batch_item next_item(const text *t)
{
    size_t left = t->n - t->fed, n = left < PIECE ? left : PIECE;
    return (accllm_batch_item){.session = t->session, .ids = t->ids + t->fed, .n = (uint32_t)n, .n_logits = n == left};
}

/* Draws the next token; true: the text has ended. */
static int take_result(text *t, const accllm_batch_item *item, const accllm_tokenizer *tok, size_t n_tokens)
{
    t->fed += item->n;
    if (!item->logits) return 0;
    int32_t id = accllm_sampler_draw(t->sampler, item->logits, accllm_session_position(t->session));
    if (accllm_token_ends_text(tok, id)) return 1;
    t->ids[t->n++] = id;
    return t->n == t->n_prompt + n_tokens;
}

static int run(accllm_batch *batch, accllm_session **free_sessions, text *texts, size_t n_texts, size_t n_tokens,
               const accllm_tokenizer *tok)
{
    accllm_error err = {0};
    for (size_t waiting = 0, n_free = SESSIONS, n;;) {
        accllm_batch_item items[SESSIONS];
        text *who[SESSIONS];
        while (n_free > 0 && waiting < n_texts) texts[waiting++].session = free_sessions[--n_free];
        n = 0;
        for (size_t i = 0; i < waiting; i++) {
            if (!texts[i].session) continue;
            who[n] = &texts[i];
            items[n++] = next_item(&texts[i]);
        }
        if (n == 0) return 0;
        if (accllm_batch_step(batch, items, n, &err) != ACCLLM_OK) return fail(&err);
        for (size_t i = 0; i < n; i++) {
            if (!take_result(who[i], &items[i], tok, n_tokens)) continue;
            write_text(who[i], tok);
            accllm_session_reset(who[i]->session);
            free_sessions[n_free++] = who[i]->session;
            who[i]->session = NULL;
        }
    }
}

static int run_texts(accllm_model *model, char **prompts, size_t n_texts, size_t n_tokens)
{
    const accllm_tokenizer *tok = accllm_model_tokenizer(model);
    accllm_error err = {0};
    accllm_batch *batch = NULL;
    accllm_session *sessions[SESSIONS] = {NULL}, *free_sessions[SESSIONS];
    accllm_batch_params bp;
    accllm_session_params sp;
    accllm_sampler_params pp;
    accllm_batch_params_init(&bp);
    accllm_session_params_init(&sp);
    accllm_sampler_params_init(&pp);
    bp.max_sessions = SESSIONS;
    bp.max_tokens = SESSIONS * PIECE;
    sp.chunk = PIECE;
    sp.batch_only = true;
    text *texts = calloc(n_texts, sizeof *texts);
    int rc = texts ? 0 : 1;
    for (size_t i = 0; i < SESSIONS && rc == 0; i++) {
        if (accllm_session_create(&sessions[i], model, &sp, &err) != ACCLLM_OK) rc = fail(&err);
        free_sessions[i] = sessions[i];
    }
    if (rc == 0 && accllm_batch_create(&batch, model, &bp, &err) != ACCLLM_OK) rc = fail(&err);
    for (size_t i = 0; i < n_texts && rc == 0; i++) {
        rc = read_prompt(&texts[i], tok, prompts[i], n_tokens);
        if (rc == 0 &&
            accllm_sampler_create(&texts[i].sampler, &pp, accllm_model_get_info(model)->n_vocab, &err) != ACCLLM_OK)
            rc = fail(&err);
    }
    if (rc == 0) rc = run(batch, free_sessions, texts, n_texts, n_tokens, tok);
    for (size_t i = 0; texts && i < n_texts; i++) {
        accllm_sampler_free(&texts[i].sampler);
        free(texts[i].ids);
    }
    free(texts);
    for (size_t i = 0; i < SESSIONS; i++) accllm_session_free(&sessions[i]);
    accllm_batch_free(&batch);
    return rc;
}

int main(int argc, char **argv)
{
    size_t n_tokens = argc > 2 ? strtoul(argv[2], NULL, 10) : 0;
    if (argc < 4 || n_tokens == 0) {
        (void)fprintf(stderr, "usage: batch MODEL.gguf TOKENS PROMPT...\n");
        return 2;
    }
    accllm_runtime *rt = NULL;
    accllm_model *model = NULL;
    accllm_error err = {0};
    int rc = 1;
    if (accllm_runtime_create(&rt, NULL, &err) != ACCLLM_OK || accllm_model_open(&model, rt, argv[1], NULL, &err) != 0)
        (void)fail(&err);
    else if (!accllm_model_tokenizer(model))
        (void)fprintf(stderr, "batch: %s has no tokenizer\n", argv[1]);
    else
        rc = run_texts(model, argv + 3, (size_t)argc - 3, n_tokens);
    accllm_model_free(&model);
    accllm_runtime_free(&rt);
    return rc;
}
