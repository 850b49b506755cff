/* One step of a batch: who goes on, the forward pass, and who has advanced by it. */
#include <string.h>

#include "core/fpmode.h"
#include "core/hash.h"
#include "model/batch.h"

/* What a query costs beside the positions that it sees, in positions: its codes, one merge of segments. */
#define QUERY_COST 64

accllm_error *acc_item_error(acc_batch *b)
{
    return b->status == ACCLLM_OK ? b->err : NULL;
}

void acc_item_failed(acc_batch *b, acc_step_item *item, accllm_status status)
{
    item->status = status;
    if (b->status != ACCLLM_OK) return;
    b->status = status;
    if (b->n_items > 1) (void)acc_prefix(b->err, status, "item %u", (unsigned)(item - b->items));
}

static accllm_status check_item(const acc_batch *b, const acc_step_item *item, accllm_error *err)
{
    const acc_quant_session *s = item->session;
    uint32_t n = item->n, n_vocab = b->m->hp.n_vocab;
    if (n == 0 || n > s->chunk || item->n_logits > n)
        return acc_fail(err, ACCLLM_E_ARG, "step of %u tokens and %u logits; the chunk is %u", n, item->n_logits,
                        s->chunk);
    if (s->full && n > s->limit - s->pos)
        return acc_fail(err, ACCLLM_E_LIMIT, "the context of %u tokens is full", s->limit);
    if (s->pos > UINT64_MAX - n) return acc_fail(err, ACCLLM_E_LIMIT, "the position exceeds 64 bits");
    for (uint32_t i = 0; i < n; i++)
        if (item->ids[i] < 0 || (uint32_t)item->ids[i] >= n_vocab)
            return acc_fail(err, ACCLLM_E_ARG, "token %d is not in the vocabulary of %u", item->ids[i], n_vocab);
    return ACCLLM_OK;
}

static void add_rows(acc_batch *b, acc_step_item *item)
{
    acc_quant_session *s = item->session;
    for (uint32_t i = 0; i < item->n; i++, b->n++) {
        b->rows[b->n] = (acc_row){item, s, s->pos + i};
        b->seen[b->n + 1] = b->seen[b->n] + acc_kv_seen(s->kv, s->pos + i) + QUERY_COST;
        acc_packed_embed(b->m, (uint32_t)item->ids[i], b->x + (size_t)b->n * b->d.x_stride);
    }
    for (uint32_t i = 0; i < item->n_logits; i++, b->n_logits++) {
        b->logit_rows[b->n_logits] = b->n - item->n_logits + i;
        b->logits[b->n_logits] = item->logits + (size_t)i * b->m->hp.n_vocab;
    }
    b->hidden |= item->hidden != NULL;
    if (s->trace) memcpy(s->next, s->hash, ((size_t)b->m->hp.n_layers + 1) * sizeof *s->next);
    if (s->stored < s->pos + item->n) s->stored = s->pos + item->n;
    b->alive++;
}

/* The sessions' traces of the layer just computed. */
static void trace_layer(const acc_batch *b)
{
    for (uint32_t r = 0; r < b->n; r++) {
        acc_quant_session *s = b->rows[r].s;
        if (!s->trace) continue;
        const float *x = b->x + (size_t)r * b->d.x_stride;
        s->next[b->layer] = acc_fnv1a(s->next[b->layer], x, b->m->hp.n_embd * sizeof *x);
    }
}

static accllm_status forward(acc_batch *b, accllm_error *err)
{
    for (b->layer = 0; b->layer < b->m->hp.n_layers; b->layer++) {
        ACC_TRY(acc_check_abort(b->rt, err));
        if (!acc_layer_run(b)) return ACCLLM_OK;
        trace_layer(b);
    }
    if (b->hidden) acc_hidden_run(b);
    if (b->n_logits > 0) acc_head_run(b);
    return ACCLLM_OK;
}

/* The session of an item that met no failure moves on. */
static void advance(const acc_batch *b, const acc_step_item *item)
{
    acc_quant_session *s = item->session;
    uint32_t n_layers = b->m->hp.n_layers;
    s->pos += item->n;
    if (!s->trace) return;
    memcpy(s->hash, s->next, n_layers * sizeof *s->hash);
    s->hash[n_layers] =
        acc_fnv1a(s->hash[n_layers], item->logits, (size_t)item->n_logits * b->m->hp.n_vocab * sizeof *item->logits);
}

static void run_step(acc_batch *b)
{
    acc_step_item *end = b->items + b->n_items;
    for (acc_step_item *i = b->items; i < end; i++) {
        if (i->status != ACCLLM_OK) continue;
        accllm_status status = check_item(b, i, acc_item_error(b));
        if (status == ACCLLM_OK)
            add_rows(b, i);
        else
            acc_item_failed(b, i, status);
    }
    if (b->alive == 0) return;
    accllm_status cancelled = forward(b, acc_item_error(b));
    if (cancelled != ACCLLM_OK && b->status == ACCLLM_OK) b->status = cancelled;
    for (acc_step_item *i = b->items; i < end; i++) {
        if (i->status != ACCLLM_OK) continue;
        i->status = cancelled;
        if (cancelled == ACCLLM_OK) advance(b, i);
    }
}

accllm_status acc_batch_step(acc_batch *b, acc_step_item *items, uint32_t n_items, accllm_error *err)
{
    uint64_t mode = acc_fp_enter();
    b->items = items;
    b->n_items = n_items;
    b->alive = b->n = b->n_logits = 0;
    b->hidden = false;
    b->status = ACCLLM_OK;
    b->err = err;
    run_step(b);
    acc_fp_leave(mode);
    return b->status;
}
