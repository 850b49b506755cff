/* Which format each matrix gets: a budget from the target, the choice, and its place in the run. */
#include "compress/mix.h"

#include <string.h>

#include "core/memory.h"
#include "format/gguf.h"

/* ---- the choice ---- */

/* The format that saves most loss per byte over the one in use; ACC_FMT_COUNT: none that fits does. */
static acc_format best_step(const acc_cost c[ACC_FMT_COUNT], acc_format now, uint64_t room, double *gain)
{
    acc_format best = ACC_FMT_COUNT;
    *gain = 0;
    for (int f = 0; f < ACC_FMT_COUNT; f++) {
        if (c[f].bytes <= c[now].bytes || c[f].bytes - c[now].bytes > room || !(c[f].loss < c[now].loss)) continue;
        const double g = (c[now].loss - c[f].loss) / (double)(c[f].bytes - c[now].bytes);
        if (g > *gain) {
            *gain = g;
            best = (acc_format)f;
        }
    }
    return best;
}

static acc_format smallest(const acc_cost c[ACC_FMT_COUNT])
{
    acc_format best = ACC_FMT_COUNT;
    for (int f = 0; f < ACC_FMT_COUNT; f++) {
        if (c[f].bytes == 0) continue;
        if (best == ACC_FMT_COUNT || c[f].bytes < c[best].bytes ||
            (c[f].bytes == c[best].bytes && c[f].loss < c[best].loss))
            best = (acc_format)f;
    }
    return best;
}

bool acc_mix_choose(const acc_costs *costs, uint64_t budget, acc_format *choice, uint64_t *least)
{
    uint64_t used = 0;
    for (uint32_t i = 0; i < costs->n; i++) {
        choice[i] = smallest(costs->of[i]);
        used += costs->of[i][choice[i]].bytes;
    }
    *least = used;
    if (used > budget) return false;
    for (;;) {
        uint32_t at = 0;
        acc_format to = ACC_FMT_COUNT;
        double best = 0;
        for (uint32_t i = 0; i < costs->n; i++) {
            double gain;
            const acc_format f = best_step(costs->of[i], choice[i], budget - used, &gain);
            if (f != ACC_FMT_COUNT && gain > best) at = i, to = f, best = gain;
        }
        if (to == ACC_FMT_COUNT) return true;
        used += costs->of[at][to].bytes - costs->of[at][choice[at]].bytes;
        choice[at] = to;
    }
}

/* ---- the run ---- */

static uint64_t matrices(const acc_run *r)
{
    return (uint64_t)r->hp->n_layers * ACC_LINEARS;
}

/* What the file holds beside the linear layers: embedding, output, vectors, and the source's metadata. */
static uint64_t other_bytes(const acc_run *r)
{
    uint64_t n = acc_weight_bytes(&r->plan.embd) + (r->hp->tied ? 0 : acc_weight_bytes(&r->plan.output));
    n += (uint64_t)(r->n_vectors + 2) * r->hp->n_layers * sizeof(float) + 2ull * r->hp->n_embd * sizeof(float);
    uint64_t metadata = 0;
    if (r->src->meta && acc_gguf_n_tensors(r->src->meta)) metadata = acc_gguf_tensor_at(r->src->meta, 0)->offset;
    return n + metadata + 64 * matrices(r);
}

/* Bytes that the linear layers may have. */
static accllm_status budget_of(const acc_run *r, uint64_t *budget, accllm_error *err)
{
    *budget = UINT64_MAX;
    if (r->p->target_bpw > 0) *budget = (uint64_t)(r->p->target_bpw * acc_run_linear_weights(r) / 8);
    if (r->p->target_bytes) {
        const uint64_t other = other_bytes(r);
        if (r->p->target_bytes <= other)
            return acc_fail(err, ACCLLM_E_ARG,
                            "a file of %.1f MB: embedding, tokenizer and vectors alone take about %.1f MB",
                            (double)r->p->target_bytes / 1e6, (double)other / 1e6);
        if (r->p->target_bytes - other < *budget) *budget = r->p->target_bytes - other;
    }
    return ACCLLM_OK;
}

static accllm_status use(acc_run *r, const acc_format *choice, accllm_error *err)
{
    for (uint64_t i = 0; i < matrices(r); i++)
        ACC_TRY(acc_run_shape(r, (int)(i % ACC_LINEARS), choice[i], &r->shapes[i / ACC_LINEARS][i % ACC_LINEARS], err));
    return ACCLLM_OK;
}

static void tell(const acc_run *r, const acc_format *choice, const acc_costs *costs)
{
    uint32_t count[ACC_FMT_COUNT] = {0};
    double bytes = 0, loss = 0;
    for (uint64_t i = 0; i < matrices(r); i++) {
        count[choice[i]]++;
        bytes += (double)costs->of[i][choice[i]].bytes;
        loss += costs->of[i][choice[i]].loss;
    }
    acc_run_note(r, "mixed precision: %u matrices w2s, %u w2, %u w4, %u w8; %.3f bits per weight; estimated loss %.4g",
                 count[ACC_FMT_W2S], count[ACC_FMT_W2], count[ACC_FMT_W4], count[ACC_FMT_W8],
                 8 * bytes / acc_run_linear_weights(r), loss);
}

/* What every format would take. */
static accllm_status fill_bytes(const acc_run *r, acc_costs *costs, accllm_error *err)
{
    acc_weight shape;
    for (uint32_t i = 0; i < costs->n; i++)
        for (int f = 0; f < ACC_FMT_COUNT; f++) {
            ACC_TRY(acc_run_shape(r, (int)(i % ACC_LINEARS), (acc_format)f, &shape, err));
            costs->of[i][f].bytes = acc_weight_bytes(&shape);
        }
    return ACCLLM_OK;
}

static accllm_status choose(acc_run *r, acc_costs *costs, acc_format *choice, accllm_error *err)
{
    uint64_t budget, least;
    ACC_TRY(budget_of(r, &budget, err));
    ACC_TRY(fill_bytes(r, costs, err));
    if (!acc_mix_choose(costs, budget, choice, &least)) /* no losses yet: the smallest formats */
        return acc_fail(err, ACCLLM_E_ARG, "the target leaves %.3f bits per weight; the smallest possible are %.3f",
                        8 * (double)budget / acc_run_linear_weights(r), 8 * (double)least / acc_run_linear_weights(r));
    ACC_TRY(acc_run_costs(r, costs, err));
    (void)acc_mix_choose(costs, budget, choice, &least);
    tell(r, choice, costs);
    ACC_TRY(use(r, choice, err));
    return acc_work_save_formats(&r->work, choice, (uint32_t)matrices(r), err);
}

bool acc_run_has_target(const acc_run *r)
{
    return r->p->target_bpw > 0 || r->p->target_bytes > 0;
}

accllm_status acc_run_mix(acc_run *r, accllm_error *err)
{
    acc_costs costs = {.n = (uint32_t)matrices(r)};
    void *p;
    if (!acc_run_has_target(r) || r->mixed) return ACCLLM_OK;
    ACC_TRY(acc_alloc(&p, costs.n, sizeof *costs.of, "costs of formats", err));
    costs.of = p;
    accllm_status s = acc_alloc(&p, costs.n, sizeof(acc_format), "formats", err);
    if (s == ACCLLM_OK) {
        s = choose(r, &costs, p, err);
        r->mixed = s == ACCLLM_OK;
        acc_free(p);
    }
    acc_free(costs.of);
    return s;
}

accllm_status acc_run_load_mix(acc_run *r, accllm_error *err)
{
    void *p;
    if (!acc_run_has_target(r)) return ACCLLM_OK;
    ACC_TRY(acc_alloc(&p, matrices(r), sizeof(acc_format), "formats", err));
    accllm_status s = ACCLLM_OK;
    r->mixed = acc_work_load_formats(&r->work, p, (uint32_t)matrices(r));
    if (r->mixed) s = use(r, p, err);
    acc_free(p);
    return s;
}
