/* The ladder from the float model to the packed one: perplexity of the same windows, one change more at every rung. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "accllm/eval.h"
#include "core/clock.h"
#include "core/memory.h"
#include "engine/internal.h"
#include "eval/mask.h"

void accllm_ladder_params_init(accllm_ladder_params *p)
{
    *p = (accllm_ladder_params){.struct_size = sizeof *p, .sinks = UINT32_MAX, .use_mmap = true};
    accllm_ppl_params_init(&p->ppl);
}

typedef struct ladder {
    accllm_runtime *rt;
    const char *model_path, *ref_path, *w8_path, *text;
    size_t len;
    const accllm_ladder_params *p;
    accllm_ladder_result *r;
    acc_packed *packed; /* the model's matrices, for what is dropped and their format */
    accllm_session_params session;
    size_t n_rungs; /* that there will be */
    double start;
} ladder;

static void rung_progress(void *user, double fraction, double so_far, double seconds_left)
{
    const ladder *l = user;
    (void)seconds_left;
    double done = ((double)l->r->n + fraction) / (double)l->n_rungs, spent = acc_seconds() - l->start;
    l->p->ppl.progress(l->p->ppl.user, done, so_far, spent / done - spent);
}

static accllm_status add_rung(ladder *l, accllm_model *m, const accllm_session_params *sp, const char *name,
                              const char *what, accllm_error *err)
{
    accllm_ladder_result *r = l->r;
    accllm_rung *g = &r->rung[r->n];
    accllm_ppl_params p = l->p->ppl;
    accllm_ppl_result result;
    p.user = l;
    if (p.progress) p.progress = rung_progress;
    accllm_status s = accllm_eval_ppl(m, sp, l->text, l->len, &p, &result, err);
    if (s == ACCLLM_E_CANCELLED) return s;
    if (s != ACCLLM_OK) return acc_prefix(err, s, "rung %s", name);
    *g = (accllm_rung){.ppl = result.ppl,
                       .nll = result.nll,
                       .nats_per_byte = result.nats_per_byte,
                       .tokens = result.tokens,
                       .ratio = result.ppl / (r->n ? r->rung[0].ppl : result.ppl),
                       .step = result.ppl / (r->n ? r->rung[r->n - 1].ppl : result.ppl),
                       .seconds = result.seconds};
    (void)snprintf(g->name, sizeof g->name, "%s", name);
    (void)snprintf(g->what, sizeof g->what, "%s", what);
    r->bos = result.bos;
    r->windows = result.windows;
    accllm_ppl_result_free(&result);
    if (g->tokens != r->rung[0].tokens)
        return acc_fail(err, ACCLLM_E_ARG, "rung %s: the tokenizers of the models cut the text differently", name);
    r->n++;
    return ACCLLM_OK;
}

static accllm_status open_as(const ladder *l, accllm_model **m, const char *path, accllm_numerics numerics,
                             accllm_error *err)
{
    accllm_model_params p;
    accllm_model_params_init(&p);
    p.use_mmap = l->p->use_mmap;
    p.numerics = numerics;
    return accllm_model_open(m, l->rt, path, &p, err);
}

/* The packed model's own shape must be that of the other two. */
static accllm_status same_shape(const ladder *l, const accllm_model *m, const char *path, accllm_error *err)
{
    const accllm_model_info *a = accllm_model_get_info(m);
    const acc_hparams *b = &l->packed->hp;
    if (a->n_layers == b->n_layers && a->n_embd == b->n_embd && a->n_ff == b->n_ff && a->n_heads == b->n_heads &&
        a->n_kv_heads == b->n_kv_heads && a->head_dim == b->head_dim && a->n_vocab == b->n_vocab)
        return ACCLLM_OK;
    return acc_fail(err, ACCLLM_E_ARG, "%s and %s are not the same model: their shapes differ", l->model_path, path);
}

static accllm_status float_rungs(ladder *l, accllm_error *err)
{
    accllm_model *m;
    char what[sizeof l->r->rung->what];
    ACC_TRY(open_as(l, &m, l->ref_path, ACCLLM_NUMERICS_FLOAT, err));
    accllm_status s = same_shape(l, m, l->ref_path, err);
    accllm_session_params sp = l->session;
    sp.kv_bits = 32;
    sp.full_attention = true;
    sp.force |= l->p->ppl.ctx > accllm_model_get_info(m)->n_ctx_train;
    if (s == ACCLLM_OK) s = add_rung(l, m, &sp, "FP", "the source's weights in float32, full attention", err);
    sp = l->session;
    sp.kv_bits = 32;
    (void)snprintf(what, sizeof what, "the same, attention to %" PRIu32 " sinks and the last %" PRIu32 " tokens",
                   sp.sinks, sp.window);
    if (s == ACCLLM_OK) s = add_rung(l, m, &sp, "+\u039b", what, err);
    accllm_model_free(&m);
    return s;
}

static accllm_status cache_rung(ladder *l, accllm_error *err)
{
    accllm_model *m;
    char name[16];
    ACC_TRY(open_as(l, &m, l->w8_path, ACCLLM_NUMERICS_FLOAT, err));
    accllm_status s = same_shape(l, m, l->w8_path, err);
    (void)snprintf(name, sizeof name, "+KV%" PRIu32, l->session.kv_bits);
    if (s == ACCLLM_OK)
        s = add_rung(l, m, &l->session, name,
                     "weights rounded to 8 bits, in float32; keys and values through the cache's codes", err);
    accllm_model_free(&m);
    return s;
}

static accllm_status contract_rung(ladder *l, const char *path, const char *name, const char *what, bool masked,
                                   accllm_error *err)
{
    accllm_model *m;
    if (masked)
        ACC_TRY(acc_model_open_edited(&m, l->rt, path, acc_mask_apply, l->packed, err));
    else
        ACC_TRY(open_as(l, &m, path, ACCLLM_NUMERICS_CONTRACT, err));
    accllm_status s = add_rung(l, m, &l->session, name, what, err);
    accllm_model_free(&m);
    return s;
}

/* "+W2" for W2S; other formats by their name. */
static void format_rung_name(const ladder *l, char *out, size_t cap)
{
    const char *f = acc_format_name(l->packed->layers[0].down.format);
    (void)snprintf(out, cap, "+%c%c", f[0] - 'a' + 'A', f[1]);
}

/* Before hours go by. */
static accllm_status check_w8(const ladder *l, accllm_error *err)
{
    acc_packed *w8;
    ACC_TRY(acc_packed_open(&w8, l->w8_path, l->p->use_mmap, false, err));
    accllm_status s = acc_mask_check(l->packed, w8, err);
    acc_packed_free(&w8);
    return s == ACCLLM_OK ? s : acc_prefix(err, s, "%s", l->w8_path);
}

static accllm_status climb(ladder *l, accllm_error *err)
{
    char name[16], what[sizeof l->r->rung->what];
    uint32_t all, pruned = acc_mask_count(l->packed, &all);
    l->n_rungs = pruned ? 6 : 5;
    ACC_TRY(check_w8(l, err));
    ACC_TRY(float_rungs(l, err));
    ACC_TRY(cache_rung(l, err));
    ACC_TRY(contract_rung(l, l->w8_path, "+A8",
                          "the same 8-bit weights in the quantised engine: 8-bit activations, integer attention", false,
                          err));
    if (pruned) {
        (void)snprintf(what, sizeof what,
                       "the same, and 0 for the weights that the model drops (%" PRIu32 " of %" PRIu32
                       " matrices); the others as in the source",
                       pruned, all);
        ACC_TRY(contract_rung(l, l->w8_path, "+2:4", what, true, err));
    }
    format_rung_name(l, name, sizeof name);
    return contract_rung(l, l->model_path, name, "the packed model as it runs", false, err);
}

/* What the session of every rung but FP has: the wish, else the packed model's defaults. */
static void set_session(ladder *l)
{
    accllm_model_info info = {.n_ctx_train = l->packed->hp.n_ctx_train};
    acc_info_packed(&info, l->packed);
    acc_info_default_window(&info);
    accllm_session_params_init(&l->session);
    l->session.sinks = l->p->sinks == UINT32_MAX ? info.default_sinks : l->p->sinks;
    l->session.window = l->p->window ? l->p->window : acc_info_window(&info, l->session.sinks);
    l->session.kv_bits = l->p->kv_bits ? l->p->kv_bits : info.default_kv_bits;
    l->session.chunk = l->p->chunk;
    l->session.force = l->p->force;
    l->r->sinks = l->session.sinks;
    l->r->window = l->session.window;
    l->r->kv_bits = l->session.kv_bits;
}

accllm_status accllm_eval_ladder(accllm_runtime *rt, const char *model_path, const char *ref_path, const char *w8_path,
                                 const char *text, size_t len, const accllm_ladder_params *p, accllm_ladder_result *r,
                                 accllm_error *err)
{
    *r = (accllm_ladder_result){0};
    if (!p || p->struct_size != sizeof *p)
        return acc_fail(err, ACCLLM_E_ARG, "parameters were not set up by accllm_ladder_params_init()");
    if (p->ppl.stream) return acc_fail(err, ACCLLM_E_ARG, "the ladder's first rung cannot read a stream");
    ladder l = {.rt = rt,
                .model_path = model_path,
                .ref_path = ref_path,
                .w8_path = w8_path,
                .text = text,
                .len = len,
                .p = p,
                .r = r,
                .start = acc_seconds()};
    ACC_TRY(acc_packed_open(&l.packed, model_path, p->use_mmap, false, err));
    set_session(&l);
    accllm_status s = climb(&l, err);
    acc_packed_free(&l.packed);
    return s;
}
