/* Which format and group size each matrix gets, and the head where it is open: a budget from the target, the choice,
 * and its place in the run. */
#include "compress/mix.h"

#include <stdio.h>

#include "core/memory.h"
#include "format/gguf.h"

const acc_mix_option acc_mix_options[ACC_MIX_OPTIONS] = {
    [ACC_MIX_W2S] = {"w2s", ACC_FMT_W2S, 0},
    [ACC_MIX_W2] = {"w2", ACC_FMT_W2, 0},
    [ACC_MIX_W4_64] = {"w4 in groups of 64", ACC_FMT_W4, 64},
    [ACC_MIX_W4_32] = {"w4", ACC_FMT_W4, 32},
    [ACC_MIX_W8] = {"w8", ACC_FMT_W8, 0},
};

/* ---- the choice ---- */

/* The option that saves most loss per byte over the one in use; ACC_MIX_OPTIONS: none that fits does. */
static uint8_t best_step(const acc_cost c[ACC_MIX_OPTIONS], uint8_t now, uint64_t room, double *gain)
{
    uint8_t best = ACC_MIX_OPTIONS;
    *gain = 0;
    for (uint8_t o = 0; o < ACC_MIX_OPTIONS; o++) {
        if (c[o].bytes <= c[now].bytes || c[o].bytes - c[now].bytes > room || !(c[o].loss < c[now].loss)) continue;
        const double g = (c[now].loss - c[o].loss) / (double)(c[o].bytes - c[now].bytes);
        if (g > *gain) {
            *gain = g;
            best = o;
        }
    }
    return best;
}

static uint8_t smallest(const acc_cost c[ACC_MIX_OPTIONS])
{
    uint8_t best = ACC_MIX_OPTIONS;
    for (uint8_t o = 0; o < ACC_MIX_OPTIONS; o++) {
        if (c[o].bytes == 0) continue;
        if (best == ACC_MIX_OPTIONS || c[o].bytes < c[best].bytes ||
            (c[o].bytes == c[best].bytes && c[o].loss < c[best].loss))
            best = o;
    }
    return best;
}

bool acc_mix_choose(const acc_costs *costs, uint64_t budget, uint8_t *choice, uint64_t *least)
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
        uint8_t to = ACC_MIX_OPTIONS;
        double best = 0;
        for (uint32_t i = 0; i < costs->n; i++) {
            double gain;
            const uint8_t o = best_step(costs->of[i], choice[i], budget - used, &gain);
            if (o != ACC_MIX_OPTIONS && gain > best) at = i, to = o, best = gain;
        }
        if (to == ACC_MIX_OPTIONS) return true;
        used += costs->of[at][to].bytes - costs->of[at][choice[at]].bytes;
        choice[at] = to;
    }
}

/* ---- the run ---- */

accllm_status acc_mix_shape(const acc_run *r, int linear, int option, acc_weight *w, accllm_error *err)
{
    return acc_run_shape(r, linear, acc_mix_options[option].format, acc_mix_options[option].group, w, err);
}

static uint64_t matrices(const acc_run *r)
{
    return (uint64_t)r->hp->n_layers * ACC_N_LINEAR;
}

bool acc_run_chooses_head(const acc_run *r)
{
    return r->p->target_bytes && !(r->p->target_bpw > 0) && !r->p->head;
}

/* Choices: one for each matrix, and behind them one for embedding and lm_head where that is open. */
static uint32_t choices(const acc_run *r)
{
    return (uint32_t)matrices(r) + acc_run_chooses_head(r);
}

/* What the file holds beside that: vectors, the source's metadata, and a head whose format is given. */
static uint64_t other_bytes(const acc_run *r)
{
    const acc_layer_data head = acc_run_head_sizes(r);
    uint64_t n = acc_run_chooses_head(r) ? 0 : head.bytes[0] + head.bytes[1];
    n += (uint64_t)(r->n_vectors + 2) * r->hp->n_layers * sizeof(float) + 2ull * r->hp->n_embd * sizeof(float);
    uint64_t metadata = 0;
    if (r->src->meta && acc_gguf_n_tensors(r->src->meta)) metadata = acc_gguf_tensor_at(r->src->meta, 0)->offset;
    /* Each tensor's padding and entry, and keys that the source lacks. */
    return n + metadata + 64 * (matrices(r) + (uint64_t)ACC_VECTORS * r->hp->n_layers) + 4096;
}

/* Bytes that what is chosen may have; at least `least` of them go to a head whose format is open. */
static accllm_status budget_of(const acc_run *r, uint64_t least, uint64_t *budget, accllm_error *err)
{
    *budget = UINT64_MAX;
    if (r->p->target_bpw > 0) *budget = (uint64_t)(r->p->target_bpw * acc_run_linear_weights(r) / 8);
    if (r->p->target_bytes) {
        const uint64_t other = other_bytes(r);
        if (r->p->target_bytes <= other + least)
            return acc_fail(err, ACCLLM_E_ARG,
                            "a file of %.1f MB: embedding, tokenizer and vectors alone take about %.1f MB",
                            (double)r->p->target_bytes / 1e6, (double)(other + least) / 1e6);
        if (r->p->target_bytes - other < *budget) *budget = r->p->target_bytes - other;
    }
    return ACCLLM_OK;
}

static accllm_status use(acc_run *r, const uint8_t *choice, accllm_error *err)
{
    for (uint64_t i = 0; i < matrices(r); i++)
        ACC_TRY(
            acc_mix_shape(r, (int)(i % ACC_N_LINEAR), choice[i], &r->shapes[i / ACC_N_LINEAR][i % ACC_N_LINEAR], err));
    if (!acc_run_chooses_head(r)) return ACCLLM_OK;
    return acc_run_use_head(r, acc_mix_options[choice[matrices(r)]].format, err);
}

static void tell(const acc_run *r, const uint8_t *choice, const acc_costs *costs)
{
    uint32_t count[ACC_MIX_OPTIONS] = {0};
    char text[128] = "";
    size_t at = 0;
    double bytes = 0, loss = 0;
    for (uint64_t i = 0; i < matrices(r); i++) {
        count[choice[i]]++;
        bytes += (double)costs->of[i][choice[i]].bytes;
        loss += costs->of[i][choice[i]].loss;
    }
    for (int o = 0; o < ACC_MIX_OPTIONS && at < sizeof text; o++)
        if (count[o])
            at += (size_t)snprintf(text + at, sizeof text - at, "%s%u %s", at ? ", " : "", count[o],
                                   acc_mix_options[o].name);
    char head[48] = "";
    if (acc_run_chooses_head(r)) {
        const uint8_t h = choice[matrices(r)];
        loss += costs->of[matrices(r)][h].loss;
        (void)snprintf(head, sizeof head, "; embedding and head %s", acc_mix_options[h].name);
    }
    acc_run_note(r, "mixed precision, matrices: %s; %.3f bits per weight%s; estimated cost %.3g nats per token", text,
                 8 * bytes / acc_run_linear_weights(r), head, loss);
}

/* What every option would take. One group size for all (--group) leaves a single W4. */
static accllm_status fill_bytes(const acc_run *r, acc_costs *costs, accllm_error *err)
{
    acc_weight shape, output;
    for (uint32_t i = 0; i < matrices(r); i++)
        for (int o = 0; o < ACC_MIX_OPTIONS; o++) {
            ACC_TRY(acc_mix_shape(r, (int)(i % ACC_N_LINEAR), o, &shape, err));
            costs->of[i][o].bytes = r->p->group && o == ACC_MIX_W4_64 ? 0 : acc_weight_bytes(&shape);
        }
    for (int o = ACC_MIX_W4_32; acc_run_chooses_head(r) && o <= ACC_MIX_W8; o++) {
        ACC_TRY(acc_run_head_shape(r, ACC_T_TOKEN_EMBD, acc_mix_options[o].format, &shape, err));
        ACC_TRY(acc_run_head_shape(r, ACC_T_OUTPUT, acc_mix_options[o].format, &output, err));
        costs->of[matrices(r)][o].bytes = acc_weight_bytes(&shape) + (r->hp->tied ? 0 : acc_weight_bytes(&output));
    }
    return ACCLLM_OK;
}

static accllm_status choose(acc_run *r, acc_costs *costs, uint8_t *choice, accllm_error *err)
{
    uint64_t budget, least;
    ACC_TRY(fill_bytes(r, costs, err));
    const uint64_t head = acc_run_chooses_head(r) ? costs->of[matrices(r)][ACC_MIX_W4_32].bytes : 0;
    ACC_TRY(budget_of(r, head, &budget, err));
    if (!acc_mix_choose(costs, budget, choice, &least)) /* no losses yet: the smallest options */
        return acc_fail(err, ACCLLM_E_ARG, "the target leaves %.3f bits per weight; the smallest possible are %.3f",
                        8 * (double)(budget - head) / acc_run_linear_weights(r),
                        8 * (double)(least - head) / acc_run_linear_weights(r));
    ACC_TRY(acc_run_costs(r, costs, err));
    (void)acc_mix_choose(costs, budget, choice, &least);
    tell(r, choice, costs);
    ACC_TRY(use(r, choice, err));
    return acc_work_save_mix(&r->work, choice, costs->n, err);
}

bool acc_run_has_target(const acc_run *r)
{
    return r->p->target_bpw > 0 || r->p->target_bytes > 0;
}

accllm_status acc_run_mix(acc_run *r, accllm_error *err)
{
    acc_costs costs = {.n = choices(r)};
    void *p;
    if (!acc_run_has_target(r) || r->mixed) return ACCLLM_OK;
    ACC_TRY(acc_alloc(&p, costs.n, sizeof *costs.of, "costs of formats", err));
    costs.of = p;
    accllm_status s = acc_alloc(&p, costs.n, sizeof(uint8_t), "formats", err);
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
    ACC_TRY(acc_alloc(&p, choices(r), sizeof(uint8_t), "formats", err));
    accllm_status s = ACCLLM_OK;
    const uint8_t *choice = p;
    r->mixed = acc_work_load_mix(&r->work, p, choices(r), ACC_MIX_OPTIONS);
    if (acc_run_chooses_head(r)) r->mixed = r->mixed && choice[matrices(r)] >= ACC_MIX_W4_32;
    if (r->mixed) s = use(r, choice, err);
    acc_free(p);
    return s;
}
