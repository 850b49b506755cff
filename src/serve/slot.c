#include "serve/slot.h"

#include <math.h>
#include <string.h>

#include "core/memory.h"
#include "serve/logprob.h"

static size_t pending_bytes(size_t longest)
{
    return ACC_MAX_STOP_BYTES + 3 * longest + 32;
}

size_t acc_slot_bytes(size_t longest, const accllm_vocabulary *vocabulary, uint32_t n_vocab)
{
    const size_t sampler = 12 * (size_t)n_vocab + 4 * ACC_MAX_RECENT + 32768; /* about what one allocates */
    return sampler + accllm_matcher_bytes(vocabulary) + ACC_HELD_IDS * sizeof(int32_t) + pending_bytes(longest) +
           2 * (acc_box_text_bytes(longest) + ACC_BOX_RECORDS * sizeof(acc_record));
}

uint32_t acc_slot_chunk(const accllm_session_params *sp)
{
    return sp->chunk ? sp->chunk : 128;
}

accllm_status acc_slot_init(acc_slot *s, accllm_model *m, const accllm_session_params *sp, size_t longest,
                            const uint64_t *unending, accllm_error *err)
{
    const accllm_model_info *info = accllm_model_get_info(m);
    void *pending = NULL, *held = NULL;
    *s = (acc_slot){.tok = accllm_model_tokenizer(m),
                    .n_vocab = info->n_vocab,
                    .n_embd = info->n_embd,
                    .chunk = acc_slot_chunk(sp),
                    .unending = unending};
    s->cap_pending = pending_bytes(longest);
    ACC_TRY(acc_box_init(&s->fresh, acc_box_text_bytes(longest), err));
    ACC_TRY(acc_box_init(&s->out, acc_box_text_bytes(longest), err));
    ACC_TRY(acc_alloc(&pending, s->cap_pending, 1, "text of a session", err));
    s->pending = pending;
    ACC_TRY(acc_alloc(&held, ACC_HELD_IDS, sizeof *s->held, "ids of a session", err));
    s->held = held;
    return accllm_session_create(&s->session, m, sp, err);
}

void acc_slot_free(acc_slot *s)
{
    accllm_matcher_free(&s->matcher);
    accllm_sampler_free(&s->sampler);
    accllm_session_free(&s->session);
    acc_box_free(&s->fresh);
    acc_box_free(&s->out);
    acc_free(s->pending);
    acc_free(s->held);
}

void acc_slot_take_up(acc_slot *s, acc_sequence *seq)
{
    seq->slot = s;
    s->seq = seq;
    s->starting = true;
    s->n_read = seq->n_reused;
}

static accllm_status begin_grammar(acc_slot *s)
{
    const acc_settings *set = s->seq->settings;
    accllm_matcher_free(&s->matcher);
    if (!set->grammar) return ACCLLM_OK;
    return accllm_matcher_create(&s->matcher, set->grammar, set->vocabulary, s->seq->at_start, &s->error);
}

/* The sampler sees the tokens that are not read again, as far as it looks back. */
static void accept_reused(acc_slot *s)
{
    size_t n = s->seq->n_reused;
    for (size_t i = n > ACC_MAX_RECENT ? n - ACC_MAX_RECENT : 0; i < n; i++)
        accllm_sampler_accept(s->sampler, s->seq->prompt[i]);
}

void acc_slot_begin(acc_slot *s)
{
    accllm_sampler_params p = s->seq->settings->sampler;
    p.seed = s->seq->seed;
    s->starting = false;
    s->n_pending = 0;
    s->n_drawn = s->n_text = s->n_chars = 0;
    s->finish = ACC_UNFINISHED;
    s->stop_text = false;
    s->fresh.n_text = s->fresh.n_records = 0;
    accllm_text_stream_init(&s->stream, s->seq->at_start);
    accllm_sampler_free(&s->sampler);
    if (accllm_sampler_create(&s->sampler, &p, s->n_vocab, &s->error) != ACCLLM_OK || begin_grammar(s) != ACCLLM_OK)
        s->finish = ACC_FINISH_FAILED;
    else
        accept_reused(s);
}

void acc_slot_end(acc_slot *s)
{
    s->seq->slot = NULL;
    s->seq = NULL;
    s->out.n_text = s->out.n_records = 0;
}

bool acc_slot_in_prompt(const acc_slot *s)
{
    return s->n_read < s->seq->n_prompt;
}

bool acc_slot_has_room(const acc_slot *s)
{
    /* a piece of a scored prompt gives one record more at its beginning, the last one also draws a token */
    return ACC_BOX_RECORDS - s->out.n_records >= ACC_SCORED_ROWS + 2 &&
           s->out.cap_text - s->out.n_text >= s->cap_pending;
}

void acc_slot_plan(acc_slot *s, acc_step *step, float *hidden)
{
    const acc_sequence *q = s->seq;
    *step = (acc_step){.slot = s, .ids = &s->next, .n = 1, .n_logits = 1};
    if (!acc_slot_in_prompt(s)) return;
    bool score = q->settings->score_prompt;
    size_t left = q->n_prompt - s->n_read, most = score && s->chunk > ACC_SCORED_ROWS ? ACC_SCORED_ROWS : s->chunk;
    step->ids = q->prompt + s->n_read;
    step->n = left < most ? left : most;
    step->n_logits = score ? step->n : step->n == left && !q->pool;
    step->hidden = q->pool ? hidden : NULL;
}

static acc_record *add_record(acc_slot *s, int32_t id)
{
    acc_record *r = &s->fresh.record[s->fresh.n_records++];
    *r = (acc_record){.id = id, .logprob = NAN, .at = s->n_text, .at_char = s->n_chars, .text_end = s->fresh.n_text};
    return r;
}

static void add_prompt_record(acc_slot *s, size_t i, const float *logits)
{
    acc_record *r = add_record(s, s->seq->prompt[i]);
    r->prompt = true;
    if (logits) acc_logprob(r, logits, s->n_vocab, s->seq->settings->n_top);
}

static void add_hidden(const acc_slot *s, const acc_step *step)
{
    double *pool = s->seq->pool;
    for (size_t i = 0; i < step->n; i++)
        for (uint32_t k = 0; k < s->n_embd; k++) pool[k] += (double)step->hidden[i * s->n_embd + k];
}

/* The logits of a row are those of the token behind it. */
static void digest_prompt(acc_slot *s, const acc_step *step)
{
    const acc_sequence *q = s->seq;
    for (size_t i = 0; i < step->n; i++) accllm_sampler_accept(s->sampler, step->ids[i]);
    if (q->settings->score_prompt) {
        if (s->n_read == 0) add_prompt_record(s, 0, NULL);
        for (size_t i = 0; i < step->n && s->n_read + i + 1 < q->n_prompt; i++)
            add_prompt_record(s, s->n_read + i + 1, step->logits + i * s->n_vocab);
    }
    if (step->hidden) add_hidden(s, step);
    s->n_read += step->n;
}

/* Moves pending text into the fresh box, all but what may be the beginning of a stop text; at the end, everything. */
static void release(acc_slot *s, bool end)
{
    const acc_stops *stops = &s->seq->settings->stops;
    const char *const *texts = (const char *const *)stops->text;
    size_t at = accllm_find_stop(texts, stops->n, s->pending, s->n_pending), n = s->n_pending;
    if (at != SIZE_MAX) {
        n = at;
        s->finish = ACC_FINISH_STOP;
        s->stop_text = true;
    } else if (!end) {
        n -= accllm_held_by_stops(texts, stops->n, s->pending, s->n_pending);
    }
    memcpy(s->fresh.text + s->fresh.n_text, s->pending, n);
    s->fresh.n_text += n;
    s->n_pending -= n;
    memmove(s->pending, s->pending + n, s->n_pending);
}

static void count_text(acc_slot *s, size_t n)
{
    const char *text = s->pending + s->n_pending;
    for (size_t i = 0; i < n; i++) s->n_chars += ((unsigned char)text[i] & 0xc0) != 0x80;
    s->n_text += n;
    s->n_pending += n;
}

/* Room: after release() fewer bytes than a stop text has are pending, and a token's text is at most three times its
 * bytes and 16. */
static void push_text(acc_slot *s, int32_t id)
{
    count_text(
        s, accllm_text_stream_push(&s->stream, s->tok, id, s->pending + s->n_pending, s->cap_pending - s->n_pending));
    release(s, false);
}

/* The next token; -1, and the slot has finished, if there is none. */
static int32_t draw_token(acc_slot *s, const float *logits)
{
    uint32_t n;
    const acc_settings *set = s->seq->settings;
    const uint64_t *allowed = NULL;
    if (s->matcher)
        allowed = accllm_matcher_mask(s->matcher, &n);
    else if (!set->ignore_eos && s->n_drawn < set->min_tokens)
        allowed = s->unending;
    int32_t id = accllm_sampler_draw_from(s->sampler, logits, accllm_session_position(s->session), allowed);
    if (id >= 0 && (!s->matcher || accllm_matcher_accept(s->matcher, id))) return id;
    s->finish = ACC_FINISH_FAILED;
    (void)acc_fail(&s->error, ACCLLM_E_UNSUPPORTED, "the grammar allows no token of this model here");
    return -1;
}

static void draw(acc_slot *s, const float *logits)
{
    const acc_settings *set = s->seq->settings;
    int32_t id = draw_token(s, logits);
    if (id < 0) return;
    accllm_sampler_accept(s->sampler, id);
    s->next = id;
    s->n_drawn++;
    acc_record *r = add_record(s, id);
    if (set->score) acc_logprob(r, logits, s->n_vocab, set->n_top);
    if (!set->ignore_eos && accllm_token_ends_text(s->tok, id)) {
        s->finish = ACC_FINISH_STOP;
        r->ended = true;
    } else {
        push_text(s, id);
    }
    if (!s->finish && s->matcher && accllm_matcher_must_end(s->matcher)) s->finish = ACC_FINISH_STOP;
    if (!s->finish && s->n_drawn >= set->max_tokens) s->finish = ACC_FINISH_LENGTH;
    if (s->finish && !s->stop_text) {
        count_text(s, accllm_text_stream_flush(&s->stream, s->pending + s->n_pending, s->cap_pending - s->n_pending));
        release(s, true);
    }
    r->text_end = s->fresh.n_text;
}

static void fail(acc_slot *s, const acc_step *step)
{
    bool full = step->status == ACCLLM_E_LIMIT && s->n_drawn > 0; /* full attention: the context has no more room */
    s->finish = full ? ACC_FINISH_LENGTH : ACC_FINISH_FAILED;
    s->error = step->error;
    if (!full) return;
    count_text(s, accllm_text_stream_flush(&s->stream, s->pending + s->n_pending, s->cap_pending - s->n_pending));
    release(s, true);
}

static void note_read(acc_slot *s, const acc_step *step)
{
    uint64_t at = accllm_session_position(s->session) - step->n;
    for (size_t i = 0; i < step->n && at + i < ACC_HELD_IDS; i++) s->held[at + i] = step->ids[i];
}

void acc_slot_digest(acc_slot *s, const acc_step *step)
{
    if (step->status != ACCLLM_OK) {
        fail(s, step);
        return;
    }
    note_read(s, step);
    const float *last = step->n_logits ? step->logits + (step->n_logits - 1) * s->n_vocab : NULL;
    if (acc_slot_in_prompt(s)) {
        digest_prompt(s, step);
        if (acc_slot_in_prompt(s)) return;
    }
    if (s->seq->settings->max_tokens == 0)
        s->finish = ACC_FINISH_LENGTH;
    else
        draw(s, last);
}
