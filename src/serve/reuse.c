/*
 * Which session answers a prompt. A session keeps what it has read after its answer was given, and a prompt that begins
 * with the same tokens goes on from there: the next turn of a conversation, the same prompt once more. The engine can
 * take a session back only a little (accllm_session_rewind()), so what counts is where the two part.
 */
#include "serve/slot.h"

/* Tokens that both begin with. One of the prompt is left to be read: its logits are needed. */
static size_t shared_tokens(const acc_slot *s, const acc_sequence *q)
{
    uint64_t most = accllm_session_position(s->session);
    size_t i = 0;
    if (most > ACC_HELD_IDS) most = ACC_HELD_IDS;
    if (most > q->n_prompt - 1) most = q->n_prompt - 1;
    while (i < most && s->held[i] == q->prompt[i]) i++;
    return i;
}

/* A few common tokens are not worth the end of another conversation: more than half of the prompt must be shared, or
 * more than half of what the session has read. */
static bool matches(const acc_slot *s, const acc_sequence *q)
{
    return s->shared > q->n_prompt / 2 || s->shared > accllm_session_position(s->session) / 2;
}

/* The free slot that shares most. */
static acc_slot *best_match(acc_slot *slot, size_t n, const acc_sequence *q)
{
    acc_slot *best = NULL;
    for (size_t i = 0; i < n; i++)
        if (!slot[i].seq && matches(&slot[i], q) && (!best || slot[i].shared > best->shared)) best = &slot[i];
    return best;
}

static acc_slot *left_longest_ago(acc_slot *slot, size_t n)
{
    acc_slot *best = NULL;
    for (size_t i = 0; i < n; i++)
        if (!slot[i].seq && !slot[i].lent && (!best || slot[i].left_at < best->left_at)) best = &slot[i];
    return best;
}

static bool go_back(acc_slot *s, size_t position)
{
    return accllm_session_rewind(s->session, position, NULL) == ACCLLM_OK;
}

/* The sinks are kept for ever: so much of what is shared can be had always. */
static void go_back_far(acc_slot *s, acc_sequence *q)
{
    size_t sinks = accllm_session_sinks(s->session);
    q->n_reused = s->shared;
    if (q->n_reused > 0 && go_back(s, q->n_reused)) return;
    if (q->n_reused > sinks) q->n_reused = sinks;
    if (q->n_reused > 0 && go_back(s, q->n_reused)) return;
    q->n_reused = 0;
    accllm_session_reset(s->session);
}

acc_slot *acc_slot_choose(acc_slot *slot, size_t n, acc_sequence *q, bool reuse)
{
    acc_slot *best;
    reuse = reuse && !q->settings->score_prompt && !q->pool; /* all of the prompt's logits or states are needed */
    for (size_t i = 0; i < n; i++)
        if (!slot[i].seq) slot[i].shared = reuse ? shared_tokens(&slot[i], q) : 0;
    while ((best = best_match(slot, n, q))) {
        if (best->lent) return NULL; /* for as long as its state is copied */
        q->n_reused = best->shared;
        if (go_back(best, best->shared)) return best;
        best->shared = 0;
    }
    best = left_longest_ago(slot, n);
    if (!best) return NULL;
    best->shared = reuse ? shared_tokens(best, q) : 0;
    go_back_far(best, q);
    return best;
}
