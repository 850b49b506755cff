#include "prompt.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#include "report.h"

int cli_prompt_plain(const cli_engine *e, const char *text, size_t len, int32_t **ids, size_t *n)
{
    accllm_error err = {0};
    unsigned flags = ACCLLM_TOKENIZE_SPECIAL | (accllm_tokenizer_adds_bos(e->tok) ? ACCLLM_TOKENIZE_BOS : 0);
    if (accllm_tokenize(e->tok, text, len, flags, ids, n, &err) != ACCLLM_OK) return cli_fail(&err);
    if (*n > 0) return CLI_OK;
    /* an empty prompt: the text begins with whatever stands for its beginning */
    int32_t first = accllm_tokenizer_bos(e->tok);
    free(*ids);
    *ids = first >= 0 ? malloc(sizeof **ids) : NULL;
    if (!*ids) {
        cli_error("the prompt is empty");
        return CLI_FAILED;
    }
    (*ids)[0] = first;
    *n = 1;
    return CLI_OK;
}

int cli_prompt_chat(const cli_engine *e, const accllm_chat_message *messages, size_t n_messages, bool generate,
                    int32_t **ids, size_t *n)
{
    accllm_error err = {0};
    if (accllm_chat_tokenize(e->tok, messages, n_messages, generate, ids, n, &err) != ACCLLM_OK) return cli_fail(&err);
    if (!accllm_tokenizer_adds_bos(e->tok)) return CLI_OK;
    int32_t *more = realloc(*ids, (*n + 1) * sizeof *more);
    if (!more) {
        free(*ids);
        *ids = NULL;
        return cli_out_of_memory("prompt");
    }
    memmove(more + 1, more, *n * sizeof *more);
    more[0] = accllm_tokenizer_bos(e->tok);
    *ids = more;
    ++*n;
    return CLI_OK;
}

int cli_prompt_turn(const cli_engine *e, const char *message, int32_t **ids, size_t *n)
{
    /* An empty answer and the message behind it, less what stands before the answer. */
    const accllm_chat_message turn[] = {{"system", ""}, {"assistant", ""}, {"user", message}};
    accllm_error err = {0};
    int32_t *before;
    size_t n_before;
    if (accllm_chat_tokenize(e->tok, turn, 1, true, &before, &n_before, &err) != ACCLLM_OK) return cli_fail(&err);
    free(before);
    if (accllm_chat_tokenize(e->tok, turn, 3, true, ids, n, &err) != ACCLLM_OK) return cli_fail(&err);
    *n -= n_before;
    memmove(*ids, *ids + n_before, *n * sizeof **ids);
    return CLI_OK;
}

int cli_pin_system(const cli_engine *e, const cli_options *o, const char *system, accllm_session_params *sp)
{
    if (!system) {
        cli_error("--pin-system: needs --system TEXT");
        return CLI_USAGE;
    }
    if (o->sinks >= 0) {
        cli_error("--pin-system: sets the sinks itself; leave --sinks out");
        return CLI_USAGE;
    }
    int32_t *ids;
    size_t n;
    accllm_chat_message message = {"system", system};
    int rc = cli_prompt_chat(e, &message, 1, false, &ids, &n);
    if (rc != CLI_OK) return rc;
    free(ids);
    if (n >= e->info->n_ctx_train && !o->force) {
        cli_error("--pin-system: the system message has %zu tokens, the model was trained on %" PRIu32, n,
                  e->info->n_ctx_train);
        return CLI_FAILED;
    }
    sp->sinks = (uint32_t)n;
    return CLI_OK;
}

uint64_t cli_seed(const cli_options *o)
{
    if (o->seed >= 0) return (uint64_t)o->seed;
    uint64_t seed;
    if (getrandom(&seed, sizeof seed, GRND_NONBLOCK) != sizeof seed) seed = (uint64_t)time(NULL);
    return seed & 0xffffffffu; /* short enough to type again */
}

int cli_sampler_open(accllm_sampler **s, const cli_engine *e, const cli_options *o, uint64_t seed)
{
    accllm_error err = {0};
    accllm_sampler_params p;
    accllm_sampler_params_init(&p);
    p.seed = seed;
    p.temperature = (float)o->temperature;
    p.top_k = (uint32_t)o->top_k;
    p.top_p = (float)o->top_p;
    p.min_p = (float)o->min_p;
    p.repeat_penalty = (float)o->repeat_penalty;
    p.repeat_last = (uint32_t)o->repeat_last;
    return accllm_sampler_create(s, &p, e->info->n_vocab, &err) == ACCLLM_OK ? CLI_OK : cli_fail_usage(&err);
}

void cli_warn_eviction(const accllm_session *s, const cli_options *o, uint64_t n_prompt)
{
    uint64_t room = (uint64_t)accllm_session_sinks(s) + accllm_session_window(s);
    if (o->full_attention || n_prompt <= room) return;
    cli_error("note: the prompt has %" PRIu64 " tokens; the model sees its first %" PRIu32 " and its last %" PRIu32,
              n_prompt, accllm_session_sinks(s), accllm_session_window(s));
}
