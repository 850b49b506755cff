/* From parameters to a plan: formats, shapes, calibration, and the record of what the result depends on. */
#include <cblas.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "compress/pipeline.h"
#include "core/hash.h"
#include "core/memory.h"
#include "gemm/gemm.h"

static accllm_status parse_format(const char *name, const char *what, unsigned allowed, acc_format *out,
                                  accllm_error *err)
{
    int f = acc_format_parse(name);
    if (strcmp(name, "f16") == 0)
        return acc_fail(err, ACCLLM_E_UNSUPPORTED, "%s f16: packed files have no f16 weights; export writes f16 GGUF",
                        what);
    if (f < 0 || !(allowed >> f & 1)) return acc_fail(err, ACCLLM_E_ARG, "%s: unknown format \"%s\"", what, name);
    *out = (acc_format)f;
    return ACCLLM_OK;
}

static accllm_status parse_params(acc_run *r, accllm_error *err)
{
    const accllm_compress_params *p = r->p;
    const char *method = p->method ? p->method : "obs";
    const unsigned all = (1u << ACC_FMT_COUNT) - 1, head = 1u << ACC_FMT_W4 | 1u << ACC_FMT_W8;
    ACC_TRY(parse_format(p->weights ? p->weights : "w4", "weights", all, &r->weights, err));
    ACC_TRY(parse_format(p->head ? p->head : "w8", "head", head, &r->head, err));
    r->obs = strcmp(method, "obs") == 0;
    if (!r->obs && strcmp(method, "rtn") != 0)
        return acc_fail(err, ACCLLM_E_ARG, "method: \"%s\"; known: rtn, obs", method);
    if (p->page && (p->page < 16 || p->page > 4096 || (p->page & (p->page - 1))))
        return acc_fail(err, ACCLLM_E_ARG, "page: %u; a power of two from 16 to 4096", p->page);
    if (p->kv_bits && p->kv_bits != 4 && p->kv_bits != 8)
        return acc_fail(err, ACCLLM_E_ARG, "kv: %u bits; 4 or 8", p->kv_bits);
    if (p->recover_tokens > UINT32_MAX || p->recover_rate < 0 || p->recover_rate > 1)
        return acc_fail(err, ACCLLM_E_ARG, "recovery: %llu tokens at a rate of %g",
                        (unsigned long long)p->recover_tokens, p->recover_rate);
    if (p->recover_length && (p->recover_length < 32 || p->recover_length > 4096))
        return acc_fail(err, ACCLLM_E_ARG, "recovery: sequences of %u tokens; from 32 to 4096", p->recover_length);
    const bool target = p->target_bpw != 0 || p->target_bytes != 0;
    if (!(p->target_bpw >= 0 && p->target_bpw <= 32))
        return acc_fail(err, ACCLLM_E_ARG, "a target of %g bits per weight", p->target_bpw);
    if (target && (p->weights || !r->obs))
        return acc_fail(err, ACCLLM_E_ARG, "a target size chooses the formats itself, and needs the method obs");
    r->calib_tokens = p->calib_tokens ? p->calib_tokens : r->obs ? ACC_CALIB_TOKENS : ACC_CALIB_TOKENS_RTN;
    if (r->calib_tokens > 1u << 26)
        return acc_fail(err, ACCLLM_E_ARG, "calibration: %u tokens are too many", r->calib_tokens);
    return ACCLLM_OK;
}

static accllm_status plan_tensor(acc_weight *w, acc_format f, const acc_hparams *hp, acc_tensor_id id, uint32_t group,
                                 accllm_error *err)
{
    uint64_t rows, cols;
    acc_tensor_shape(hp, id, &rows, &cols);
    if (rows > UINT32_MAX || cols > UINT32_MAX)
        return acc_fail(err, ACCLLM_E_LIMIT, "%s: too large", acc_tensor_base(id));
    accllm_status s = acc_weight_init(w, f, (uint32_t)rows, (uint32_t)cols, group, 1, 2, err);
    return s == ACCLLM_OK ? s : acc_prefix(err, s, "%s", acc_tensor_base(id));
}

accllm_status acc_run_shape(const acc_run *r, int linear, acc_format f, uint32_t group, acc_weight *w,
                            accllm_error *err)
{
    const acc_tensor_id id = (acc_tensor_id)(ACC_T_ATTN_Q + linear);
    return plan_tensor(w, f, r->hp, id, r->p->group ? r->p->group : group, err);
}

accllm_status acc_run_head_shape(const acc_run *r, acc_tensor_id id, acc_format f, acc_weight *w, accllm_error *err)
{
    return plan_tensor(w, f, r->hp, id, 0, err);
}

accllm_status acc_run_use_head(acc_run *r, acc_format f, accllm_error *err)
{
    r->head = f;
    ACC_TRY(acc_run_head_shape(r, ACC_T_TOKEN_EMBD, f, &r->plan.embd, err));
    return r->hp->tied ? ACCLLM_OK : acc_run_head_shape(r, ACC_T_OUTPUT, f, &r->plan.output, err);
}

static accllm_status make_plan(acc_run *r, accllm_error *err)
{
    const acc_hparams *hp = r->hp;
    acc_packed_plan *plan = &r->plan;
    plan->src = r->src;
    for (int i = 0; i < ACC_N_LINEAR; i++) ACC_TRY(acc_run_shape(r, i, r->weights, 0, &plan->linear[i], err));
    ACC_TRY(acc_run_use_head(r, r->head, err));
    plan->page = r->p->page ? r->p->page : 256;
    plan->kv_bits = r->p->kv_bits ? r->p->kv_bits : hp->head_dim >= 32 ? 4 : 8;
    plan->sinks = hp->n_ctx_train > 64 ? ACC_CALIB_SINKS : 1;
    plan->window = hp->n_ctx_train - plan->sinks < 2048 ? hp->n_ctx_train - plan->sinks : 2048;
    plan->k_mean = true;
    plan->q_direction = true;
    plan->embd_scale = hp->tied;
    r->attention = (acc_ref_attention){plan->sinks, plan->window};
    return ACCLLM_OK;
}

/* Sequences fill whole pages where they can, so that every offset in a page is seen equally often. */
static uint32_t sequence_length(const acc_run *r)
{
    uint32_t len = r->hp->n_ctx_train < ACC_CALIB_LEN ? r->hp->n_ctx_train : ACC_CALIB_LEN;
    if (len > r->calib_tokens) len = r->calib_tokens < 2 ? 2 : r->calib_tokens;
    return len > r->plan.page ? len / r->plan.page * r->plan.page : len;
}

static accllm_status check_paths(const acc_run *r, accllm_error *err)
{
    struct stat a, b;
    if (stat(r->out_path, &b) != 0) return ACCLLM_OK;
    if (S_ISDIR(b.st_mode)) return acc_fail(err, ACCLLM_E_IO, "%s: is a folder", r->out_path);
    if (stat(r->src_path, &a) == 0 && a.st_dev == b.st_dev && a.st_ino == b.st_ino)
        return acc_fail(err, ACCLLM_E_ARG, "%s: the output would replace its own source", r->out_path);
    return ACCLLM_OK;
}

acc_vector_place acc_run_vector(const acc_run *r, acc_tensor_id id)
{
    for (int i = 0; i < ACC_VECTORS; i++)
        if (r->place[i].id == id) return r->place[i];
    return (acc_vector_place){.id = id};
}

static void place_vectors(acc_run *r)
{
    static const acc_tensor_id order[ACC_VECTORS] = {ACC_T_K_MEAN,     ACC_T_Q_DIRECTION, ACC_T_ATTN_NORM,
                                                     ACC_T_FFN_NORM,   ACC_T_ATTN_Q_BIAS, ACC_T_ATTN_K_BIAS,
                                                     ACC_T_ATTN_V_BIAS};
    uint32_t at = 0;
    for (int i = 0; i < ACC_VECTORS; i++) {
        const acc_tensor_id id = order[i];
        uint64_t rows, cols = (uint64_t)r->hp->n_kv_heads * r->hp->head_dim;
        if (id < ACC_T_COUNT) {
            acc_tensor_shape(r->hp, id, &rows, &cols);
            if (!r->src->has(r->src, id, 0)) cols = 0;
        }
        r->place[i] = (acc_vector_place){id, at, (uint32_t)cols};
        at += (uint32_t)cols;
    }
    r->n_vectors = at;
}

/* A vector is in all layers or in none. */
static accllm_status check_vectors(const acc_run *r, accllm_error *err)
{
    for (int i = 0; i < ACC_VECTORS; i++) {
        const acc_tensor_id id = r->place[i].id;
        if (id >= ACC_T_COUNT || acc_tensor_is_global(id)) continue;
        for (uint32_t layer = 1; layer < r->hp->n_layers; layer++)
            if (r->src->has(r->src, id, layer) != r->src->has(r->src, id, 0))
                return acc_fail(err, ACCLLM_E_UNSUPPORTED, "%s: %s in layer 0 or %u alone", r->src_path,
                                acc_tensor_base(id), layer);
    }
    return ACCLLM_OK;
}

double acc_run_linear_weights(const acc_run *r)
{
    double n = 0;
    for (int i = 0; i < ACC_N_LINEAR; i++) n += (double)r->plan.linear[i].rows * r->plan.linear[i].cols;
    return n * r->hp->n_layers;
}

acc_layer_data acc_run_layer_sizes(const acc_run *r, uint32_t layer)
{
    acc_layer_data d = {.n_vectors = r->n_vectors};
    for (int i = 0; i < ACC_N_LINEAR; i++) d.bytes[i] = acc_weight_bytes(&r->shapes[layer][i]);
    return d;
}

size_t acc_run_blob_bytes(const acc_run *r, int linear)
{
    size_t most = 0;
    for (uint32_t layer = 0; layer < r->hp->n_layers; layer++) {
        const size_t bytes = acc_weight_bytes(&r->shapes[layer][linear]);
        most = bytes > most ? bytes : most;
    }
    return most;
}

/* Every layer alike, until something else is decided. */
static accllm_status shape_layers(acc_run *r, accllm_error *err)
{
    void *p;
    ACC_TRY(acc_alloc(&p, r->hp->n_layers, sizeof *r->shapes, "shapes", err));
    r->shapes = p;
    for (uint32_t layer = 0; layer < r->hp->n_layers; layer++)
        memcpy(r->shapes[layer], r->plan.linear, sizeof r->shapes[layer]);
    return ACCLLM_OK;
}

accllm_status acc_run_setup(acc_run *r, accllm_error *err)
{
    accllm_tokenizer *tok;
    void *p;
    ACC_TRY(parse_params(r, err));
    ACC_TRY(check_paths(r, err));
    ACC_TRY(acc_checkpoint_open(&r->src, r->src_path, r->p->use_mmap, err));
    r->hp = &r->src->hp;
    r->head_source = r->src;
    if (r->hp->n_ctx_train < 2 || r->hp->n_layers == 0)
        return acc_fail(err, ACCLLM_E_UNSUPPORTED, "%s: %u layers, a context of %u", r->src_path, r->hp->n_layers,
                        r->hp->n_ctx_train);
    ACC_TRY(make_plan(r, err));
    ACC_TRY(accllm_tokenizer_open(&tok, r->src_path, err));
    accllm_status s = acc_calibration_create(&r->cal, tok, r->p->calib_path, r->calib_tokens, sequence_length(r),
                                             r->hp->n_vocab, err);
    accllm_tokenizer_free(&tok);
    if (s == ACCLLM_OK) s = acc_alloc(&p, (size_t)r->hp->n_layers * ACC_N_LINEAR, sizeof *r->records, "records", err);
    ACC_TRY(s);
    r->records = p;
    ACC_TRY(acc_alloc(&p, r->hp->n_layers, sizeof *r->layer_seconds, "times", err));
    r->layer_seconds = p;
    place_vectors(r);
    ACC_TRY(check_vectors(r, err));
    ACC_TRY(shape_layers(r, err));
    return acc_run_open_start(r, err);
}

/* Size and a sample of the file's bytes: 1 MB at either end and 4 KB at 256 places. */
static uint64_t sample_hash(const acc_file *f)
{
    const size_t end = (size_t)1 << 20, piece = 4096;
    uint64_t h = acc_fnv1a(ACC_FNV_START, &f->size, sizeof f->size);
    if (f->size <= 2 * end) return acc_fnv1a(h, f->data, f->size);
    h = acc_fnv1a(h, f->data, end);
    for (size_t i = 0; i < 256; i++) h = acc_fnv1a(h, f->data + (f->size - piece) / 256 * i, piece);
    return acc_fnv1a(h, f->data + f->size - end, end);
}

static void put_hash(json_t *o, const char *key, uint64_t hash)
{
    char text[24];
    (void)snprintf(text, sizeof text, "%016llx", (unsigned long long)hash);
    (void)json_object_set_new(o, key, json_string(text));
}

json_t *acc_run_config(const acc_run *r, accllm_error *err)
{
    acc_file f;
    uint64_t start = 0;
    if (r->p->start_path) {
        if (acc_file_open(&f, r->p->start_path, true, err) != ACCLLM_OK) return NULL;
        start = sample_hash(&f);
        acc_file_close(&f);
    }
    if (acc_file_open(&f, r->src_path, true, err) != ACCLLM_OK) return NULL;
    json_t *o = json_object();
    const struct {
        const char *key, *value;
    } texts[] = {{"version", accllm_version()},
                 {"weights", acc_format_name(r->weights)},
                 {"head", acc_run_chooses_head(r) ? "by size" : acc_format_name(r->head)},
                 {"method", r->obs ? "obs" : "rtn"},
                 {"blas", openblas_get_config()},
                 {"blas core", openblas_get_corename()},
                 {"products", acc_gemm_kind()}};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        (void)json_object_set_new(o, texts[i].key, json_string(texts[i].value));
    const struct {
        const char *key;
        uint64_t value;
    } numbers[] = {{"source size", f.size},
                   {"group", r->p->group},
                   {"target bits per weight, millionths", (uint64_t)(r->p->target_bpw * 1e6)},
                   {"target bytes", r->p->target_bytes},
                   {"page", r->plan.page},
                   {"kv bits", r->plan.kv_bits},
                   {"calibration tokens", (uint64_t)r->cal.n_seqs * r->cal.seq_len},
                   {"calibration length", r->cal.seq_len},
                   {"recovery rate, millionths", (uint64_t)(r->p->recover_rate * 1e6)},
                   {"recovery sequence length", acc_run_recover_length(r)},
                   {"solver revision", 9}};
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        (void)json_object_set_new(o, numbers[i].key, json_integer((json_int_t)numbers[i].value));
    put_hash(o, "source", sample_hash(&f));
    put_hash(o, "start", start);
    put_hash(o, "calibration", r->cal.hash);
    put_hash(o, "recovery text", r->cal.text_hash); /* always: a run may be resumed with recovery */
    acc_file_close(&f);
    if (json_object_size(o) == sizeof texts / sizeof *texts + sizeof numbers / sizeof *numbers + 4) return o;
    json_decref(o);
    (void)acc_fail(err, ACCLLM_E_NOMEM, "out of memory: configuration");
    return NULL;
}
