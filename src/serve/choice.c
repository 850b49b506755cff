#include "serve/choice.h"

#include <stdlib.h>
#include <string.h>

#include "serve/scores.h"

enum { MOST_SILENT = 2 * ACC_MAX_STOP_BYTES };

void acc_choice_init(acc_choice *c, const acc_request *r, const acc_prompt *prompt, const accllm_tokenizer *tok,
                     uint32_t index)
{
    *c = (acc_choice){.request = r, .prompt = prompt, .tok = tok, .index = index, .answering = !r->echo};
    accllm_text_stream_init(&c->echo, true);
}

static void drop_scores(acc_choice *c)
{
    for (size_t i = 0; i < 4; i++) {
        json_decref(c->scores[i]);
        c->scores[i] = NULL;
    }
}

void acc_choice_free(acc_choice *c)
{
    drop_scores(c);
    json_decref(c->ids);
    free(c->text);
    free(c->held);
}

static bool grow(void **data, size_t *cap, size_t need, size_t item)
{
    if (need <= *cap) return true;
    size_t n = *cap ? *cap : 64;
    while (n < need) n *= 2;
    void *p = realloc(*data, n * item);
    if (!p) return false;
    *data = p;
    *cap = n;
    return true;
}

static bool room_for_text(acc_choice *c, size_t n)
{
    void *p = c->text;
    bool ok = grow(&p, &c->cap_text, c->n_text + n + 1, 1);
    c->text = p;
    return ok;
}

static bool add_text(acc_choice *c, const char *text, size_t n)
{
    if (!room_for_text(c, n)) return false;
    if (n > 0) memcpy(c->text + c->n_text, text, n); /* a box without text may have no memory for it */
    c->n_text += n;
    return true;
}

static bool add_score(acc_choice *c, const acc_record *r, uint64_t offset)
{
    size_t n = c->request->chat ? 1 : 4;
    for (size_t i = 0; i < n; i++)
        if (!c->scores[i] && !(c->scores[i] = json_array())) return false;
    if (!c->request->chat) return acc_score_completion(c->scores, c->tok, r, offset);
    return json_array_append_new(c->scores[0], acc_score_chat(c->tok, r)) == 0;
}

static bool add_id(acc_choice *c, int32_t id)
{
    if (!c->request->token_ids) return true;
    if (!c->ids && !(c->ids = json_array())) return false;
    return json_array_append_new(c->ids, json_integer(id)) == 0;
}

static void count_echo(acc_choice *c, size_t n)
{
    for (size_t i = c->n_text; i < c->n_text + n; i++) c->echo_chars += ((unsigned char)c->text[i] & 0xc0) != 0x80;
    c->n_text += n;
}

static bool echo_token(acc_choice *c, int32_t id)
{
    size_t n;
    (void)accllm_token_bytes(c->tok, id, &n);
    if (!room_for_text(c, 3 * n + 32)) return false;
    count_echo(c, accllm_text_stream_push(&c->echo, c->tok, id, c->text + c->n_text, 3 * n + 32));
    return true;
}

/* The prompt's end: its text, if its tokens did not bring it already. */
static bool begin_answer(acc_choice *c, acc_choice_emit *emit, void *user)
{
    c->answering = true;
    for (size_t i = 0; !c->request->settings.score_prompt && i < c->prompt->n; i++)
        if (!echo_token(c, c->prompt->ids[i])) return false;
    if (!room_for_text(c, 16)) return false;
    count_echo(c, accllm_text_stream_flush(&c->echo, c->text + c->n_text, 16));
    return !emit || c->n_text == 0 || emit(user, c);
}

static bool hold(acc_choice *c, const acc_record *r)
{
    void *p = c->held;
    bool ok = grow(&p, &c->cap_held, c->n_held + 1, sizeof *r);
    c->held = p;
    if (ok) c->held[c->n_held++] = *r;
    return ok;
}

/* The held tokens whose text has come out. */
static size_t with_text(const acc_choice *c)
{
    size_t n = 0;
    while (n < c->n_held && c->held[n].at < c->released) n++;
    return n;
}

/* The held tokens before the first whose text may yet become a stop text: the next one tells where a text ends. */
static size_t without_text(const acc_choice *c)
{
    size_t n = 0;
    while (n + 1 < c->n_held && c->held[n + 1].at <= c->released) n++;
    return n;
}

/* The first n held tokens' scores. */
static bool release_scores(acc_choice *c, size_t n)
{
    bool ok = true;
    for (size_t i = 0; ok && i < n; i++) {
        const acc_record *r = &c->held[i];
        if (r->ended && c->request->chat) continue; /* not part of a message; a completion shows what was drawn */
        ok = add_score(c, r, c->echo_chars + r->at_char);
    }
    c->n_held -= n;
    if (n > 0) memmove(c->held, c->held + n, c->n_held * sizeof *c->held);
    return ok;
}

/* Whether a stream has gathered more tokens without text than a stop text could hold back: they are sent alone. */
static bool has_silent(const acc_choice *c)
{
    return without_text(c) > MOST_SILENT || json_array_size(c->ids) > MOST_SILENT;
}

static bool add_record(acc_choice *c, const acc_box *box, const acc_record *r, size_t from)
{
    if (r->prompt) return add_score(c, r, c->echo_chars) && echo_token(c, r->id);
    c->released += r->text_end - from;
    return add_id(c, r->id) && (!c->request->scored || hold(c, r)) &&
           add_text(c, box->text + from, r->text_end - from) && release_scores(c, with_text(c));
}

bool acc_choice_add(acc_choice *c, const acc_box *box, acc_finish finish, bool stop_text, acc_choice_emit *emit,
                    void *user)
{
    size_t from = 0;
    for (size_t i = 0; i < box->n_records; i++) {
        const acc_record *r = &box->record[i];
        if (!r->prompt && !c->answering && !begin_answer(c, emit, user)) return false;
        if (!add_record(c, box, r, from)) return false;
        from = r->text_end;
        bool silent = emit && has_silent(c);
        if (silent && !release_scores(c, without_text(c))) return false;
        if (emit && !r->prompt && (c->n_text > 0 || silent) && !emit(user, c)) return false;
    }
    c->finish = finish;
    if (finish == ACC_UNFINISHED || finish == ACC_FINISH_FAILED || finish == ACC_FINISH_CANCELLED) return true;
    if (!c->answering && !begin_answer(c, emit, user)) return false;
    c->released += box->n_text - from;
    if (!add_text(c, box->text + from, box->n_text - from)) return false;
    if (!release_scores(c, stop_text ? with_text(c) : c->n_held)) return false;
    c->n_held = 0; /* the stop text's own tokens */
    return !emit || c->n_text == 0 || emit(user, c);
}

json_t *acc_choice_scores(acc_choice *c)
{
    json_t *o;
    if (!c->request->scored) return json_null();
    for (size_t i = 0; i < 4; i++)
        if (!c->scores[i]) c->scores[i] = json_array();
    if (c->request->chat)
        o = json_pack("{s:O,s:n}", "content", c->scores[0], "refusal");
    else
        o = json_pack("{s:O,s:O,s:O,s:O}", "tokens", c->scores[0], "token_logprobs", c->scores[1], "top_logprobs",
                      c->scores[2], "text_offset", c->scores[3]);
    drop_scores(c);
    return o;
}

json_t *acc_choice_ids(acc_choice *c)
{
    json_t *ids = c->ids ? c->ids : json_array();
    c->ids = NULL;
    return ids;
}

const char *acc_choice_reason(const acc_choice *c)
{
    return c->finish == ACC_FINISH_STOP ? "stop" : c->finish == ACC_FINISH_LENGTH ? "length" : NULL;
}
