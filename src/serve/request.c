#include "serve/request.h"

#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#include "core/memory.h"
#include "serve/fields.h"

/* Fields that would change the answer and are not supported are refused: nothing is ignored that matters. */
static bool refuse_unsupported(const json_t *body, acc_problem *p)
{
    static const struct {
        const char *key;
        float min, max, neutral;
    } number[] = {{"presence_penalty", -2, 2, 0},
                  {"frequency_penalty", -2, 2, 0},
                  {"typical_p", 0, 1, 1},
                  {"mirostat", 0, 2, 0},
                  {"dry_multiplier", 0, 1e9f, 0}};
    static const char *const empty[] = {"logit_bias",     "tools",          "functions",         "suffix",
                                        "images",         "guided_json",    "guided_regex",      "guided_choice",
                                        "guided_grammar", "stop_token_ids", "structured_outputs"};
    for (size_t i = 0; i < sizeof number / sizeof *number; i++) {
        const char *key = number[i].key;
        float x = number[i].neutral;
        if (!acc_field_real(body, key, number[i].min, number[i].max, &x, p)) return false;
        if (x < number[i].neutral || x > number[i].neutral)
            return acc_refuse(p, 400, "unsupported_parameter", key, "%s is not supported", key);
    }
    for (size_t i = 0; i < sizeof empty / sizeof *empty; i++) {
        const json_t *v = acc_field(body, empty[i]);
        bool none = json_object_size(v) + json_array_size(v) + json_string_length(v) == 0; /* null and false, too */
        if (json_is_number(v) || json_is_true(v)) none = false;
        if (!none) return acc_refuse(p, 400, "unsupported_parameter", empty[i], "%s is not supported", empty[i]);
    }
    return true;
}

static bool add_stop(acc_stops *s, const json_t *v, acc_problem *p)
{
    if (!json_is_string(v))
        return acc_refuse(p, 400, "invalid_type", "stop", "stop must be a string or a list of them");
    size_t len = json_string_length(v);
    if (len == 0) return true; /* clients send "" for none */
    if (len > ACC_MAX_STOP_BYTES || s->n == ACC_MAX_STOPS)
        return acc_refuse(p, 400, "invalid_value", "stop", "stop takes up to %d texts of up to %d bytes", ACC_MAX_STOPS,
                          ACC_MAX_STOP_BYTES);
    s->text[s->n] = acc_strndup(json_string_value(v), len);
    if (!s->text[s->n]) return acc_refuse_memory(p);
    s->n++;
    return true;
}

static bool read_stops(acc_stops *s, const json_t *body, acc_problem *p)
{
    const json_t *v = acc_field(body, "stop"), *item;
    size_t i;
    if (!v) return true;
    if (!json_is_array(v)) return add_stop(s, v, p);
    json_array_foreach(v, i, item) if (!add_stop(s, item, p)) return false;
    return true;
}

static bool read_sampling(acc_settings *set, const json_t *body, acc_problem *p)
{
    accllm_sampler_params *s = &set->sampler;
    int64_t top_k = s->top_k, last = s->repeat_last, seed = -1;
    if (!acc_field_real(body, "temperature", 0, 100, &s->temperature, p)) return false;
    if (!acc_field_real(body, "top_p", 0, 1, &s->top_p, p)) return false;
    if (!acc_field_real(body, "min_p", 0, 1, &s->min_p, p)) return false;
    if (!acc_field_real(body, "repetition_penalty", 1e-3, 1e3, &s->repeat_penalty, p)) return false;
    if (!acc_field_real(body, "repeat_penalty", 1e-3, 1e3, &s->repeat_penalty, p)) return false;
    if (!acc_field_int(body, "repeat_last_n", -1, ACC_MAX_RECENT, &last, p)) return false;
    if (!acc_field_int(body, "top_k", -1, INT32_MAX, &top_k, p)) return false;
    if (!acc_field_int(body, "seed", INT64_MIN, INT64_MAX, &seed, p)) return false;
    s->top_k = top_k < 0 ? 0 : (uint32_t)top_k;                  /* -1: off, as some clients have it */
    s->repeat_last = last < 0 ? ACC_MAX_RECENT : (uint32_t)last; /* -1: as many as can be */
    s->seed = (uint64_t)seed;
    if (seed == -1 && getrandom(&s->seed, sizeof s->seed, GRND_NONBLOCK) != sizeof s->seed)
        s->seed = (uint64_t)time(NULL);
    return true;
}

/* Chat: logprobs is a bool, top_logprobs a number; completions: logprobs is the number. */
static bool read_scores(acc_request *r, const json_t *body, acc_problem *p)
{
    acc_settings *set = &r->settings;
    int64_t n = -1;
    if (r->chat) {
        bool on = false;
        if (!acc_field_bool(body, "logprobs", &on, p)) return false;
        if (!acc_field_int(body, "top_logprobs", 0, ACC_MAX_TOP, &n, p)) return false;
        if (n > 0 && !on)
            return acc_refuse(p, 400, "invalid_value", "top_logprobs", "top_logprobs needs logprobs to be true");
        n = !on ? -1 : n < 0 ? 0 : n;
    } else if (!acc_field_int(body, "logprobs", 0, ACC_MAX_TOP, &n, p)) {
        return false;
    }
    r->scored = n >= 0;
    set->score = r->scored;
    set->score_prompt = r->scored && r->echo;
    set->n_top = n > 0 ? (uint32_t)n : 0;
    return true;
}

static bool read_length(acc_request *r, const acc_service *s, const json_t *body, acc_problem *p)
{
    enum { USUAL_COMPLETION = 16 }; /* what OpenAI's API says of completions */
    static const char *const keys[] = {"max_tokens", "max_completion_tokens", "n_predict"};
    int64_t n = r->chat ? -1 : USUAL_COMPLETION;
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        if (!acc_field_int(body, keys[i], -1, INT64_MAX, &n, p)) return false;
        if (r->chat && n == 0)
            return acc_refuse(p, 400, "invalid_value", keys[i], "%s is 0; a chat's answer has 1 token or more",
                              keys[i]);
    }
    r->settings.max_tokens = n < 0 ? s->max_tokens : (uint64_t)n; /* -1, as llama.cpp's clients say it: no limit */
    return true;
}

/* As vLLM has it, where a stop text does not end an answer that is too short either: so the two do not go together
 * here. */
static bool read_least(acc_settings *set, const json_t *body, acc_problem *p)
{
    static const char key[] = "min_tokens";
    int64_t n = 0;
    if (!acc_field_int(body, key, 0, INT64_MAX, &n, p)) return false;
    set->min_tokens = (uint64_t)n;
    if (set->min_tokens > set->max_tokens)
        return acc_refuse(p, 400, "invalid_value", key, "min_tokens is above max_tokens, %llu",
                          (unsigned long long)set->max_tokens);
    if (n > 0 && (set->stops.n > 0 || set->grammar))
        return acc_refuse(p, 400, "invalid_value", key, "min_tokens does not go with %s",
                          set->grammar ? "a grammar" : "stop");
    return true;
}

static bool read_form(acc_request *r, const json_t *body, acc_problem *p)
{
    int64_t n = 1, best_of;
    const char *model = NULL;
    size_t len;
    if (!acc_field_text(body, "model", &model, &len, p)) return false;
    if (!acc_field_bool(body, "stream", &r->stream, p)) return false;
    if (!acc_field_int(body, "n", 1, ACC_MAX_SEQUENCES, &n, p)) return false;
    best_of = n;
    if (!acc_field_int(body, "best_of", 1, ACC_MAX_SEQUENCES, &best_of, p)) return false;
    if (best_of != n) return acc_refuse(p, 400, "unsupported_parameter", "best_of", "best_of must be equal to n");
    if (!r->chat && !acc_field_bool(body, "echo", &r->echo, p)) return false;
    if (!acc_field_bool(body, "ignore_eos", &r->settings.ignore_eos, p)) return false;
    if (!acc_field_bool(body, "return_token_ids", &r->token_ids, p)) return false;
    r->n = (uint32_t)n;
    const json_t *options = acc_field(body, "stream_options");
    if (!options) return true;
    if (!r->stream)
        return acc_refuse(p, 400, "invalid_value", "stream_options", "stream_options needs stream to be true");
    return acc_field_bool(options, "include_usage", &r->include_usage, p);
}

static bool check_size(const acc_request *r, const acc_service *s, acc_problem *p)
{
    const char *key = r->chat ? "messages" : "prompt";
    if (r->n_prompts > ACC_MAX_SEQUENCES / r->n)
        return acc_refuse(p, 400, "invalid_value", "n", "%zu prompts with %u answers each; a request may ask for %d",
                          r->n_prompts, r->n, ACC_MAX_SEQUENCES);
    for (size_t i = 0; i < r->n_prompts; i++)
        if (s->n_ctx > 0 && r->prompt[i].n + (r->settings.max_tokens > 0) > s->n_ctx)
            return acc_refuse(p, 400, "context_length_exceeded", key,
                              "the prompt has %zu tokens; the context of this model has room for %llu", r->prompt[i].n,
                              (unsigned long long)s->n_ctx);
    return true;
}

/* Nothing that a reply collects before it is sent grows without end: log-probabilities of a prompt, and answers that
 * are not streamed. */
static bool bound_reply(acc_request *r, acc_problem *p)
{
    acc_settings *set = &r->settings;
    const uint64_t each = set->n_top + 1, n = (uint64_t)r->n_prompts * r->n;
    uint64_t tokens = 0, most = r->scored ? ACC_MAX_SCORES / each : ACC_MAX_WHOLE;
    for (size_t i = 0; i < r->n_prompts; i++) tokens += r->prompt[i].n * r->n;
    if (set->score_prompt && tokens > ACC_MAX_SCORES / each)
        return acc_refuse(
            p, 400, "invalid_value", "logprobs",
            "log-probabilities of %llu prompt tokens with %u alternatives; a request may have those of %llu",
            (unsigned long long)tokens, set->n_top, (unsigned long long)(ACC_MAX_SCORES / each));
    if (!r->stream && set->max_tokens > most / n) set->max_tokens = most / n;
    return true;
}

bool acc_request_read(acc_request *r, const acc_service *s, bool chat, const json_t *body, acc_problem *p)
{
    *r = (acc_request){.chat = chat, .settings.sampler = s->sampler};
    bool ok = json_is_object(body) ||
              acc_refuse(p, 400, "invalid_type", NULL, "the body of the request must be a JSON object");
    ok = ok && refuse_unsupported(body, p) && read_form(r, body, p) && read_length(r, s, body, p) &&
         read_sampling(&r->settings, body, p) && read_scores(r, body, p) && read_stops(&r->settings.stops, body, p) &&
         acc_read_structure(r, s, body, p) && read_least(&r->settings, body, p);
    ok = ok && (chat ? acc_read_messages(r, s, body, p) : acc_read_prompts(r, s, body, "prompt", p)) &&
         check_size(r, s, p) && bound_reply(r, p);
    if (!ok) acc_request_free(r);
    return ok;
}

void acc_request_free(acc_request *r)
{
    for (size_t i = 0; i < r->n_prompts; i++) free(r->prompt[i].ids);
    free(r->prompt);
    for (size_t i = 0; i < r->settings.stops.n; i++) acc_free(r->settings.stops.text[i]);
    accllm_grammar_free(&r->settings.grammar);
    *r = (acc_request){0};
}
