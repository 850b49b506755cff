#include "serve/reply.h"

#include <inttypes.h>
#include <stdio.h>
#include <sys/random.h>
#include <time.h>

#include "accllm/status.h"

void acc_reply_init(acc_reply *r, const acc_request *q, const char *model)
{
    uint64_t x[2] = {0};
    struct timespec now;
    (void)clock_gettime(CLOCK_REALTIME, &now);
    if (getrandom(x, sizeof x, GRND_NONBLOCK) != sizeof x) x[0] = (uint64_t)now.tv_nsec;
    *r = (acc_reply){.request = q, .model = model, .created = now.tv_sec};
    (void)snprintf(r->id, sizeof r->id, "%s-%016" PRIx64 "%08" PRIx32, q->chat ? "chatcmpl" : "cmpl", x[0],
                   (uint32_t)x[1]);
    for (size_t i = 0; i < q->n_prompts; i++) r->prompt_tokens += q->prompt[i].n;
}

static json_t *envelope(const acc_reply *r, const char *object, json_t *choices)
{
    char version[48];
    (void)snprintf(version, sizeof version, "accllm-%s", accllm_version());
    return json_pack("{s:s,s:s,s:I,s:s,s:s,s:o}", "id", r->id, "object", object, "created", (json_int_t)r->created,
                     "model", r->model, "system_fingerprint", version, "choices", choices);
}

static json_t *usage(const acc_reply *r)
{
    return json_pack("{s:I,s:I,s:I,s:{s:I,s:I}}", "prompt_tokens", (json_int_t)r->prompt_tokens, "completion_tokens",
                     (json_int_t)r->completion_tokens, "total_tokens",
                     (json_int_t)(r->prompt_tokens + r->completion_tokens), "prompt_tokens_details", "cached_tokens",
                     (json_int_t)r->cached_tokens, "evicted_tokens", (json_int_t)r->evicted_tokens);
}

/* Takes o over. */
static json_t *with_usage(const acc_reply *r, json_t *o)
{
    if (json_object_set_new(o, "usage", usage(r)) == 0) return o;
    json_decref(o);
    return NULL;
}

static json_t *text_of(acc_choice *c)
{
    json_t *text = json_stringn(c->n_text ? c->text : "", c->n_text);
    c->n_text = 0;
    return text;
}

/* Takes item over. */
static json_t *with_ids(json_t *item, acc_choice *c)
{
    if (!c->request->token_ids || json_object_set_new(item, "token_ids", acc_choice_ids(c)) == 0) return item;
    json_decref(item);
    return NULL;
}

json_t *acc_reply_whole(const acc_reply *r, acc_choice *choice, size_t n)
{
    json_t *list = json_array();
    for (size_t i = 0; i < n; i++) {
        acc_choice *c = &choice[i];
        json_t *text = text_of(c), *scores = acc_choice_scores(c), *item;
        if (r->request->chat)
            item = json_pack("{s:i,s:{s:s,s:o,s:n},s:o,s:s}", "index", (int)c->index, "message", "role", "assistant",
                             "content", text, "refusal", "logprobs", scores, "finish_reason", acc_choice_reason(c));
        else
            item = json_pack("{s:o,s:i,s:o,s:s}", "text", text, "index", (int)c->index, "logprobs", scores,
                             "finish_reason", acc_choice_reason(c));
        if (json_array_append_new(list, with_ids(item, c)) != 0) {
            json_decref(list);
            return NULL;
        }
    }
    return with_usage(r, envelope(r, r->request->chat ? "chat.completion" : "text_completion", list));
}

static json_t *chunk_envelope(const acc_reply *r, json_t *choices)
{
    return envelope(r, r->request->chat ? "chat.completion.chunk" : "text_completion", choices);
}

static json_t *chunk(const acc_reply *r, json_t *choice)
{
    return chunk_envelope(r, json_pack("[o]", choice));
}

json_t *acc_reply_role(const acc_reply *r, const acc_choice *c)
{
    return chunk(r, json_pack("{s:i,s:{s:s,s:s},s:n,s:n}", "index", (int)c->index, "delta", "role", "assistant",
                              "content", "", "logprobs", "finish_reason"));
}

json_t *acc_reply_piece(const acc_reply *r, acc_choice *c)
{
    json_t *text = text_of(c), *scores = acc_choice_scores(c), *item;
    if (r->request->chat)
        item = json_pack("{s:i,s:{s:o},s:o,s:n}", "index", (int)c->index, "delta", "content", text, "logprobs", scores,
                         "finish_reason");
    else
        item =
            json_pack("{s:o,s:i,s:o,s:n}", "text", text, "index", (int)c->index, "logprobs", scores, "finish_reason");
    return chunk(r, with_ids(item, c));
}

/* Scores and ids of tokens without a text of their own come with the end. */
json_t *acc_reply_end(const acc_reply *r, acc_choice *c)
{
    json_t *scores = c->scores[0] ? acc_choice_scores(c) : json_null(), *item;
    const char *reason = acc_choice_reason(c);
    if (r->request->chat)
        item = json_pack("{s:i,s:{},s:o,s:s}", "index", (int)c->index, "delta", "logprobs", scores, "finish_reason",
                         reason);
    else
        item = json_pack("{s:s,s:i,s:o,s:s}", "text", "", "index", (int)c->index, "logprobs", scores, "finish_reason",
                         reason);
    return chunk(r, with_ids(item, c));
}

json_t *acc_reply_usage(const acc_reply *r)
{
    return with_usage(r, chunk_envelope(r, json_array()));
}
