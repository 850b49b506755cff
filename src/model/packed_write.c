/* Writer of packed AccLLM files: header from a plan, then tensors as the caller gives them, in file order. */
#include <inttypes.h>
#include <string.h>

#include "core/memory.h"
#include "model/packed_internal.h"

static const acc_weight *plan_weight(const acc_packed_plan *plan, acc_tensor_id id, uint32_t layer)
{
    if (id == ACC_T_TOKEN_EMBD) return &plan->embd;
    if (id == ACC_T_OUTPUT) return &plan->output;
    if (!acc_tensor_is_linear(id)) return NULL;
    return plan->layers ? &plan->layers[layer][id - ACC_T_ATTN_Q] : &plan->linear[id - ACC_T_ATTN_Q];
}

static accllm_status check_plan(const acc_packed_plan *plan, accllm_error *err)
{
    const acc_hparams *hp = &plan->src->hp;
    ACC_TRY(acc_hparams_check(hp, err));
    if (plan->page < ACC_PAGE_MIN || plan->page > ACC_PAGE_MAX || (plan->page & (plan->page - 1)) != 0)
        return acc_fail(err, ACCLLM_E_ARG, "a page of %" PRIu32 " positions (a power of two, %u..%u)", plan->page,
                        ACC_PAGE_MIN, ACC_PAGE_MAX);
    if ((plan->kv_bits != 4 && plan->kv_bits != 8) || plan->window > INT32_MAX || plan->sinks > ACC_MAX_SINKS)
        return acc_fail(err, ACCLLM_E_ARG, "defaults of %" PRIu32 " bits, %" PRIu32 " sinks, window %" PRIu32,
                        plan->kv_bits, plan->sinks, plan->window);
    for (uint32_t i = 0; i < acc_packed_n_weights(hp); i++) {
        acc_tensor_id id;
        uint32_t layer;
        uint64_t rows, cols;
        acc_packed_weight_at(hp, i, &id, &layer);
        acc_tensor_shape(hp, id, &rows, &cols);
        const acc_weight *w = plan_weight(plan, id, layer);
        if (w->rows != rows || w->cols != cols)
            return acc_fail(err, ACCLLM_E_ARG, "%s: planned as %" PRIu32 " x %" PRIu32, acc_tensor_base(id), w->rows,
                            w->cols);
    }
    return ACCLLM_OK;
}

static void put_hparams(acc_gguf_out *o, const acc_packed_plan *plan)
{
    const acc_hparams *hp = &plan->src->hp;
    acc_gguf_out_str(o, "general.architecture", "accllm");
    if (hp->name[0]) acc_gguf_out_str(o, "general.name", hp->name);
    acc_gguf_out_u32(o, "accllm.format_version", ACC_FORMAT_VERSION);
    acc_gguf_out_str(o, "accllm.source_architecture", hp->arch);
    acc_gguf_out_u32(o, "accllm.block_count", hp->n_layers);
    acc_gguf_out_u32(o, "accllm.embedding_length", hp->n_embd);
    acc_gguf_out_u32(o, "accllm.feed_forward_length", hp->n_ff);
    acc_gguf_out_u32(o, "accllm.context_length", hp->n_ctx_train);
    acc_gguf_out_u32(o, "accllm.vocab_size", hp->n_vocab);
    acc_gguf_out_u32(o, "accllm.attention.head_count", hp->n_heads);
    acc_gguf_out_u32(o, "accllm.attention.head_count_kv", hp->n_kv_heads);
    acc_gguf_out_u32(o, "accllm.attention.key_length", hp->head_dim);
    acc_gguf_out_f32(o, "accllm.attention.layer_norm_rms_epsilon", hp->norm_eps);
    acc_gguf_out_f32(o, "accllm.attention.scale", hp->attn_scale);
    acc_gguf_out_bool(o, "accllm.tied", hp->tied);
    acc_gguf_out_u64_array(o, "accllm.rope.steps", hp->rope_steps, hp->head_dim / 2);
    acc_gguf_out_u32(o, "accllm.kv.page", plan->page);
    acc_gguf_out_u32(o, "accllm.default.sinks", plan->sinks);
    acc_gguf_out_u32(o, "accllm.default.window", plan->window);
    acc_gguf_out_u32(o, "accllm.default.kv", plan->kv_bits);
}

/* The columns of accllm.tensor.*. */
typedef struct table {
    acc_str *names, *formats;
    char (*text)[64];
    uint32_t *rows, *cols, *groups, *levels;
} table;

static void table_free(table *t)
{
    acc_free(t->names);
    acc_free(t->formats);
    acc_free(t->text);
    acc_free(t->rows);
    acc_free(t->cols);
    acc_free(t->groups);
    acc_free(t->levels);
}

static bool table_alloc(table *t, uint32_t n)
{
    t->names = acc_calloc(n, sizeof *t->names);
    t->formats = acc_calloc(n, sizeof *t->formats);
    t->text = acc_calloc(n, sizeof *t->text);
    t->rows = acc_calloc(n, sizeof *t->rows);
    t->cols = acc_calloc(n, sizeof *t->cols);
    t->groups = acc_calloc(n, sizeof *t->groups);
    t->levels = acc_calloc(n, 2 * sizeof *t->levels);
    return t->names && t->formats && t->text && t->rows && t->cols && t->groups && t->levels;
}

static accllm_status put_table(acc_gguf_out *o, const acc_packed_plan *plan, accllm_error *err)
{
    uint32_t n = acc_packed_n_weights(&plan->src->hp);
    table t = {0};
    if (!table_alloc(&t, n)) {
        table_free(&t);
        return acc_fail(err, ACCLLM_E_NOMEM, "out of memory: tensor table");
    }
    for (uint32_t i = 0; i < n; i++) {
        acc_tensor_id id;
        uint32_t layer;
        acc_packed_weight_at(&plan->src->hp, i, &id, &layer);
        const acc_weight *w = plan_weight(plan, id, layer);
        const char *format = acc_format_name(w->format);
        acc_tensor_name(t.text[i], sizeof t.text[i], id, layer, format);
        t.names[i] = (acc_str){t.text[i], strlen(t.text[i])};
        t.formats[i] = (acc_str){format, strlen(format)};
        t.rows[i] = w->rows;
        t.cols[i] = w->cols;
        t.groups[i] = w->group;
        t.levels[2 * i] = w->level1;
        t.levels[2 * i + 1] = w->level2;
    }
    acc_gguf_out_str_array(o, "accllm.tensor.name", t.names, n);
    acc_gguf_out_str_array(o, "accllm.tensor.format", t.formats, n);
    acc_gguf_out_u32_array(o, "accllm.tensor.rows", t.rows, n);
    acc_gguf_out_u32_array(o, "accllm.tensor.cols", t.cols, n);
    acc_gguf_out_u32_array(o, "accllm.tensor.group", t.groups, n);
    acc_gguf_out_u32_array(o, "accllm.tensor.levels", t.levels, 2 * (size_t)n);
    table_free(&t);
    return ACCLLM_OK;
}

static bool in_file(const acc_packed_plan *plan, acc_packed_step step)
{
    if (step.id == ACC_T_K_MEAN) return plan->k_mean;
    if (step.id == ACC_T_Q_DIRECTION) return plan->q_direction;
    if (step.id == ACC_T_EMBD_SCALE) return plan->embd_scale;
    return step.id < ACC_T_ATTN_Q_BIAS || plan->src->has(plan->src, step.id, step.layer);
}

static void describe(acc_gguf_out *o, const acc_packed_plan *plan, acc_packed_step step)
{
    const acc_hparams *hp = &plan->src->hp;
    const acc_weight *w = plan_weight(plan, step.id, step.layer);
    char name[64];
    uint64_t rows, cols;
    if (w) {
        acc_tensor_name(name, sizeof name, step.id, step.layer, acc_format_name(w->format));
        acc_gguf_out_tensor(o, name, ACC_GGML_I8, 1, (const uint64_t[]){acc_weight_bytes(w)});
    } else {
        acc_packed_vector_name(name, sizeof name, step.id, step.layer);
        acc_packed_vector_shape(hp, step.id, &rows, &cols);
        acc_gguf_out_tensor(o, name, ACC_GGML_F32, rows > 1 ? 2 : 1, (const uint64_t[]){cols, rows});
    }
}

static accllm_status put_header(acc_gguf_out *o, const acc_packed_plan *plan, accllm_error *err)
{
    uint32_t state = 0;
    acc_packed_step step;
    put_hparams(o, plan);
    ACC_TRY(put_table(o, plan, err));
    if (plan->src->meta) acc_gguf_out_copy(o, plan->src->meta, "tokenizer.");
    while (acc_packed_next(&plan->src->hp, &state, &step))
        if (in_file(plan, step)) describe(o, plan, step);
    return ACCLLM_OK;
}

static accllm_status put_tensors(acc_gguf_out *o, acc_writer *w, const acc_packed_plan *plan, acc_packed_fetch *fetch,
                                 void *user, accllm_error *err)
{
    uint32_t state = 0;
    acc_packed_step step;
    ACC_TRY(acc_gguf_out_begin(o, w, err));
    while (acc_packed_next(&plan->src->hp, &state, &step)) {
        const void *data = NULL;
        size_t bytes = 0;
        if (!in_file(plan, step)) continue;
        ACC_TRY(fetch(user, step.id, step.layer, &data, &bytes, err));
        ACC_TRY(acc_gguf_out_put(o, w, data, bytes, err));
    }
    return ACCLLM_OK;
}

accllm_status acc_packed_write(const acc_packed_plan *plan, const char *path, acc_packed_fetch *fetch, void *user,
                               accllm_error *err)
{
    accllm_status status;
    acc_gguf_out *o;
    acc_writer w = {0};
    ACC_TRY(check_plan(plan, err));
    ACC_TRY(acc_gguf_out_create(&o, err));
    ACC_TRY_GOTO(put_header(o, plan, err));
    ACC_TRY_GOTO(acc_writer_open(&w, path, err));
    ACC_TRY_GOTO(put_tensors(o, &w, plan, fetch, user, err));
    ACC_TRY_GOTO(acc_writer_commit(&w, err));
fail:
    acc_writer_abort(&w);
    acc_gguf_out_free(&o);
    return status;
}
