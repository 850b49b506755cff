/*
 * ChatML: "<|im_start|>ROLE\nCONTENT<|im_end|>\n" for each message. A template is recognised by its marker and its
 * default system message is read from its own text; the template language is not interpreted.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/memory.h"
#include "tokenizer/internal.h"

#define START "<|im_start|>"
#define END "<|im_end|>"
#define SYSTEM START "system"

static bool starts(const char *s, const char *end, const char *what)
{
    size_t n = strlen(what);
    return (size_t)(end - s) >= n && memcmp(s, what, n) == 0;
}

/* One character of template text at *s into *out; quote: the string's delimiter, 0 outside strings. False where the
 * literal text ends. */
static bool literal(const char **s, const char *end, char quote, char *out)
{
    char c = **s;
    if (quote ? c == quote : c == '{') return false;
    if (quote && c == '\\' && end - *s >= 2) {
        c = *++*s;
        c = c == 'n' ? '\n' : c == 't' ? '\t' : c == 'r' ? '\r' : c;
    }
    ++*s;
    *out = c;
    return true;
}

/* Reads the literal text from s up to <|im_end|> into out (room for end - s bytes); false where it is not literal, so
 * that this place of the template shows the caller's message, not a default one. */
static bool system_text(const char *s, const char *end, char quote, char *out)
{
    char c;
    if (s == end || !literal(&s, end, quote, &c) || c != '\n') return false;
    while (s < end) {
        if (starts(s, end, END)) {
            *out = '\0';
            return true;
        }
        if (!literal(&s, end, quote, out++)) return false;
    }
    return false;
}

accllm_status acc_chat_load(accllm_tokenizer *t, const acc_gguf *meta, accllm_error *err)
{
    acc_str s;
    acc_chat *c = &t->chat;
    c->start = acc_text_map_get(&t->by_name, START, strlen(START));
    c->end = acc_text_map_get(&t->by_name, END, strlen(END));
    if (!acc_gguf_str(meta, "tokenizer.chat_template", &s)) return ACCLLM_OK;
    c->source = acc_strndup(s.s, s.n);
    if (!c->source) return acc_fail(err, ACCLLM_E_NOMEM, "out of memory: chat template");
    if (!memmem(s.s, s.n, START, strlen(START)) || !memmem(s.s, s.n, END, strlen(END))) return ACCLLM_OK;
    c->known = true;
    void *p = NULL;
    ACC_TRY(acc_alloc(&p, s.n + 1, 1, "chat template", err));
    const char *end = s.s + s.n, *at = s.s;
    while ((at = memmem(at, (size_t)(end - at), SYSTEM, strlen(SYSTEM)))) {
        char before = at > s.s ? at[-1] : '\0';
        at += strlen(SYSTEM);
        if (!system_text(at, end, before == '\'' || before == '"' ? before : '\0', p)) continue;
        c->system = p;
        return ACCLLM_OK;
    }
    acc_free(p);
    return ACCLLM_OK;
}

const char *accllm_chat_template(const accllm_tokenizer *tok)
{
    return tok->chat.source;
}

bool accllm_chat_supported(const accllm_tokenizer *tok)
{
    return tok->chat.known;
}

static accllm_status check(const accllm_tokenizer *tok, const accllm_chat_message *m, size_t n, accllm_error *err)
{
    if (!tok || (!m && n > 0)) return acc_fail(err, ACCLLM_E_ARG, "chat: no tokenizer or no messages");
    if (!tok->chat.known) return acc_fail(err, ACCLLM_E_UNSUPPORTED, "the model has no known chat template (ChatML)");
    for (size_t i = 0; i < n; i++) {
        if (!m[i].role || !m[i].content)
            return acc_fail(err, ACCLLM_E_ARG, "chat: message %zu lacks a role or content", i);
        const char *role = m[i].role;
        if (!*role || strpbrk(role, "\r\n") || strstr(role, "<|"))
            return acc_fail(err, ACCLLM_E_ARG, "chat: message %zu has the role \"%.32s\"", i, role);
    }
    return ACCLLM_OK;
}

/* The messages with the default system message in front where the template puts one: before a first message of another
 * role. */
static accllm_status complete(const accllm_tokenizer *tok, const accllm_chat_message *m, size_t n,
                              accllm_chat_message **out, size_t *n_out, accllm_error *err)
{
    void *p = NULL;
    *out = NULL;
    ACC_TRY(check(tok, m, n, err));
    bool add = n > 0 && tok->chat.system && strcmp(m[0].role, "system") != 0;
    if (!acc_add(n, 1, n_out)) return acc_fail(err, ACCLLM_E_LIMIT, "chat: %zu messages", n);
    ACC_TRY(acc_alloc(&p, *n_out, sizeof **out, "messages", err));
    *out = p;
    if (add) (*out)[0] = (accllm_chat_message){"system", tok->chat.system};
    if (n > 0) memcpy(*out + add, m, n * sizeof *m);
    *n_out = n + add;
    return ACCLLM_OK;
}

accllm_status accllm_chat_render(const accllm_tokenizer *tok, const accllm_chat_message *messages, size_t n,
                                 bool add_generation_prompt, char **text, accllm_error *err)
{
    accllm_chat_message *m;
    size_t count, size = 0;
    if (!text) return acc_fail(err, ACCLLM_E_ARG, "chat: no place for the text");
    *text = NULL;
    ACC_TRY(complete(tok, messages, n, &m, &count, err));
    FILE *f = open_memstream(text, &size);
    if (f) {
        for (size_t i = 0; i < count; i++) (void)fprintf(f, START "%s\n%s" END "\n", m[i].role, m[i].content);
        if (add_generation_prompt) (void)fputs(START "assistant\n", f);
    }
    bool failed = !f || ferror(f);
    if (f) failed |= fclose(f) != 0;
    acc_free(m);
    if (!failed) return ACCLLM_OK;
    free(*text);
    *text = NULL;
    return acc_fail(err, ACCLLM_E_NOMEM, "out of memory: chat text");
}

/* "ROLE\nCONTENT" as one plain text: merges may reach over the line end, as in the rendered text. */
static accllm_status push_message(acc_encoder *e, const accllm_chat_message *m, accllm_error *err)
{
    size_t role = strlen(m->role), content = strlen(m->content), len;
    char *s = NULL;
    if (!acc_add(role, content, &len) || !acc_add(len, 1, &len) || !(s = malloc(len)))
        return acc_fail(err, ACCLLM_E_NOMEM, "out of memory: message");
    memcpy(s, m->role, role);
    s[role] = '\n';
    memcpy(s + role + 1, m->content, content);
    accllm_status status = acc_encoder_push(e, e->tok->chat.start, err);
    if (status == ACCLLM_OK) status = acc_encoder_text(e, s, len, false, err);
    if (status == ACCLLM_OK) status = acc_encoder_push(e, e->tok->chat.end, err);
    if (status == ACCLLM_OK) status = acc_encoder_text(e, "\n", 1, false, err);
    free(s);
    return status;
}

static accllm_status push_conversation(acc_encoder *e, const accllm_chat_message *m, size_t n, bool generate,
                                       accllm_error *err)
{
    static const char assistant[] = "assistant\n";
    for (size_t i = 0; i < n; i++) ACC_TRY(push_message(e, &m[i], err));
    if (!generate) return ACCLLM_OK;
    ACC_TRY(acc_encoder_push(e, e->tok->chat.start, err));
    return acc_encoder_text(e, assistant, sizeof assistant - 1, false, err);
}

accllm_status accllm_chat_tokenize(const accllm_tokenizer *tok, const accllm_chat_message *messages, size_t n,
                                   bool add_generation_prompt, int32_t **ids, size_t *n_ids, accllm_error *err)
{
    accllm_chat_message *m;
    size_t count, total = 0;
    if (!ids || !n_ids) return acc_fail(err, ACCLLM_E_ARG, "chat: no place for the ids");
    *ids = NULL;
    *n_ids = 0;
    ACC_TRY(complete(tok, messages, n, &m, &count, err));
    for (size_t i = 0; i < count; i++)
        if (!acc_add(total, strlen(m[i].content), &total)) total = SIZE_MAX;
    acc_encoder e = {0};
    accllm_status status = ACCLLM_OK;
    if (tok->chat.start < 0 || tok->chat.end < 0)
        status = acc_fail(err, ACCLLM_E_UNSUPPORTED, "the vocabulary lacks the tokens of its chat template");
    if (status == ACCLLM_OK) status = acc_encoder_init(&e, tok, total, err);
    if (status == ACCLLM_OK) status = push_conversation(&e, m, count, add_generation_prompt, err);
    if (status == ACCLLM_OK) {
        *ids = e.ids;
        *n_ids = e.n_ids;
        e.ids = NULL;
    }
    acc_encoder_free(&e);
    acc_free(m);
    return status;
}
