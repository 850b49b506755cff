/* Checkpoints: hyper-parameters, rotary steps, row order, what is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "format/checkpoint.h"
#include "numerics/numerics.h"
#include "support/tiny.h"

static acc_source *open_tiny(const tiny_options *o, char **path)
{
    accllm_error err = {0};
    acc_source *s = NULL;
    *path = tiny_path("checkpoint.gguf");
    if (tiny_write(*path, o, &err) != ACCLLM_OK) fail_msg("%s", err.text);
    if (acc_checkpoint_open(&s, *path, true, &err) != ACCLLM_OK) fail_msg("%s", err.text);
    return s;
}

static void done(acc_source *s, char *path)
{
    s->close(s);
    assert_int_equal(unlink(path), 0);
    free(path);
}

/* Row r of a half-split file is this row of the interleaved one, by the definition: pair i = (i, i + half) there,
 * (2 i, 2 i + 1) here. */
static uint64_t interleaved(uint64_t r, uint32_t head_dim)
{
    uint64_t head = r / head_dim, i = r % head_dim, half = head_dim / 2;
    return head * head_dim + (i < half ? 2 * i : 2 * (i - half) + 1);
}

static void check_rows(const tiny_options *o, const acc_source *s, acc_tensor_id id, uint32_t layer, const char *suffix)
{
    accllm_error err;
    char name[64];
    uint64_t rows, cols;
    bool moves = strcmp(o->arch, "llama") == 0;
    acc_tensor_shape(&s->hp, id, &rows, &cols);
    acc_tensor_name(name, sizeof name, id, layer, suffix);
    float *x = malloc(rows * cols * sizeof *x);
    assert_non_null(x);
    assert_int_equal(s->read_rows(s, id, layer, 0, rows, x, &err), ACCLLM_OK);
    for (uint64_t r = 0; r < rows; r++)
        for (uint64_t c = 0; c < cols; c++) {
            uint64_t fr = r, fc = c;
            if (moves && (id == ACC_T_ATTN_Q || id == ACC_T_ATTN_K)) fr = interleaved(r, o->head_dim);
            if (moves && (id == ACC_T_ATTN_Q_BIAS || id == ACC_T_ATTN_K_BIAS)) fc = interleaved(c, o->head_dim);
            float want = tiny_value(o, name, fr * cols + fc, cols);
            if (o->f16 && rows > 1) want = acc_f16_to_f32(acc_f32_to_f16(want));
            if (x[r * cols + c] != want) fail_msg("%s row %d column %d", name, (int)r, (int)c);
        }
    if (rows > 2) { /* part of it is the same as all of it */
        float *part = malloc(2 * cols * sizeof *x);
        assert_non_null(part);
        assert_int_equal(s->read_rows(s, id, layer, rows - 2, 2, part, &err), ACCLLM_OK);
        assert_memory_equal(part, x + (rows - 2) * cols, 2 * cols * sizeof *x);
        free(part);
    }
    assert_int_equal(s->read_rows(s, id, layer, rows, 1, x, &err), ACCLLM_E_ARG);
    assert_int_equal(s->read_rows(s, id, o->n_layers, 0, 1, x, &err), ACCLLM_E_ARG);
    free(x);
}

static void check_model(const tiny_options *o)
{
    char *path;
    acc_source *s = open_tiny(o, &path);
    const acc_hparams *hp = &s->hp;
    assert_string_equal(hp->name, "tiny");
    assert_string_equal(hp->arch, o->arch);
    assert_int_equal(hp->n_layers, o->n_layers);
    assert_int_equal(hp->n_heads, o->n_heads);
    assert_int_equal(hp->n_kv_heads, o->n_kv_heads);
    assert_int_equal(hp->head_dim, o->head_dim);
    assert_int_equal(hp->n_embd, o->n_embd ? o->n_embd : o->n_heads * o->head_dim);
    assert_int_equal(hp->n_ff, o->n_ff);
    assert_int_equal(hp->n_vocab, o->n_vocab);
    assert_int_equal(hp->n_ctx_train, o->n_ctx);
    assert_true(hp->tied == o->tied && hp->norm_eps == 1e-5f);
    assert_true(hp->attn_scale == (float)(1.0 / sqrt((double)o->head_dim)));
    for (int id = 0; id < ACC_T_COUNT; id++) {
        bool bias = id >= ACC_T_ATTN_Q_BIAS;
        bool want = (!bias || o->biases) && (id != ACC_T_OUTPUT || !o->tied);
        uint32_t layer = acc_tensor_is_global((acc_tensor_id)id) ? 0 : o->n_layers - 1;
        assert_int_equal(s->has(s, (acc_tensor_id)id, layer), want);
        if (want) check_rows(o, s, (acc_tensor_id)id, layer, bias ? "bias" : "weight");
    }
    assert_int_equal(acc_gguf_has(s->meta, "tokenizer.ggml.tokens"), o->n_vocab >= 259);
    done(s, path);
}

static void tiny_models_of_many_shapes(void **state)
{
    (void)state;
    tiny_options o = tiny_defaults();
    check_model(&o);
    o.biases = true;
    o.tied = false;
    o.n_kv_heads = 1;
    o.head_dim = 48;
    o.n_ff = 37;
    check_model(&o);
    o.arch = "qwen2";
    o.f16 = true;
    check_model(&o);
    o = tiny_defaults();
    o.n_kv_heads = 4;
    o.head_dim = 256;
    o.n_embd = 72;
    o.n_vocab = 40;
    o.tokenizer = TINY_SPM;
    check_model(&o);
    o.head_dim = 2;
    o.n_vocab = 1200;
    check_model(&o);
}

static void rotary_steps(void **state)
{
    (void)state;
    acc_hparams hp = {.head_dim = 8};
    acc_hparams_rope(&hp, 10000.0, NULL);
    /* 2^64 / (2 pi) / 10^j, worked out with 60 digits. */
    const uint64_t want[] = {2935890503282001226u, 293589050328200123u, 29358905032820012u, 2935890503282001u};
    for (int j = 0; j < 4; j++) {
        uint64_t d = hp.rope_steps[j] > want[j] ? hp.rope_steps[j] - want[j] : want[j] - hp.rope_steps[j];
        assert_true(d <= 1);
        assert_true(fabs(hp.rope_freq[j] * pow(10.0, j) - 1.0) < 1e-15);
    }
    const float factors[] = {1.0f, 2.0f, 4.0f, 8.0f};
    acc_hparams_rope(&hp, 10000.0, factors);
    assert_true(fabs(hp.rope_freq[3] * 8e3 - 1.0) < 1e-15);
    assert_true(hp.rope_steps[1] - 146794525164100061u <= 1);
}

static void rope_factors_are_folded_in(void **state)
{
    (void)state;
    tiny_options o = tiny_defaults();
    o.rope_factors = true;
    char *path;
    acc_source *s = open_tiny(&o, &path);
    for (uint32_t j = 0; j < 16; j++) {
        double want = pow(10000.0, -(double)j / 16.0) / (double)tiny_value(&o, "rope_freqs.weight", j, 16);
        assert_true(fabs(s->hp.rope_freq[j] / want - 1.0) < 1e-7);
    }
    done(s, path);
}

/* ---- refused files: one thing wrong in each ---- */

typedef struct fault {
    const char *key; /* a number to overwrite, or NULL */
    uint32_t value;
    const char *extra; /* a key or tensor to rename: first letters */
    accllm_status status;
    const char *part;
} fault;

/* Overwrites the number (U32 or F32) behind the first occurrence of a key in the file's bytes. */
static void overwrite(uint8_t *data, size_t n, const char *key, uint32_t value)
{
    uint8_t *at = memmem(data, n, key, strlen(key));
    assert_non_null(at);
    memcpy(at + strlen(key) + 4, &value, 4);
}

static void check_fault(const char *path, const fault *f)
{
    accllm_error err = {0};
    acc_file file;
    acc_writer w;
    acc_source *s;
    char *bad = tiny_path("bad.gguf");
    assert_int_equal(acc_file_open(&file, path, false, &err), ACCLLM_OK);
    uint8_t *data = malloc(file.size);
    assert_non_null(data);
    memcpy(data, file.data, file.size);
    if (f->key) overwrite(data, file.size, f->key, f->value);
    if (f->extra) {
        uint8_t *at = memmem(data, file.size, f->extra, strlen(f->extra));
        assert_non_null(at);
        at[0] ^= 1;
    }
    assert_int_equal(acc_writer_open(&w, bad, &err), ACCLLM_OK);
    acc_writer_put(&w, data, file.size);
    assert_int_equal(acc_writer_commit(&w, &err), ACCLLM_OK);
    accllm_status got = acc_checkpoint_open(&s, bad, true, &err);
    if (got != f->status || !strstr(err.text, f->part)) fail_msg("%d \"%s\" without \"%s\"", got, err.text, f->part);
    assert_int_equal(unlink(bad), 0);
    free(bad);
    free(data);
    acc_file_close(&file);
}

static void contradictions_are_refused(void **state)
{
    (void)state;
    const fault faults[] = {
        {"llama.block_count", 0, NULL, ACCLLM_E_UNSUPPORTED, "0 layers"},
        {"llama.block_count", 3, NULL, ACCLLM_E_FORMAT, "blk.2.attn_norm.weight is missing"},
        {"llama.block_count", 1, NULL, ACCLLM_E_UNSUPPORTED, "no place"},
        {"llama.block_count", UINT32_MAX, NULL, ACCLLM_E_UNSUPPORTED, "layers"},
        {"llama.embedding_length", 100, NULL, ACCLLM_E_FORMAT, "token_embd.weight is 300 x 128 instead of 300 x 100"},
        {"llama.embedding_length", UINT32_MAX, NULL, ACCLLM_E_UNSUPPORTED, "widths"},
        {"llama.feed_forward_length", 101, NULL, ACCLLM_E_FORMAT, "ffn_gate"},
        {"llama.attention.head_count", 0, NULL, ACCLLM_E_FORMAT, "no attention heads"},
        {"llama.attention.head_count", 5, NULL, ACCLLM_E_UNSUPPORTED, "5 heads over 2"},
        {"llama.attention.key_length", 31, NULL, ACCLLM_E_UNSUPPORTED, "must be equal"},
        {"llama.rope.dimension_count", 16, NULL, ACCLLM_E_UNSUPPORTED, "rotary dimensions 16"},
        {"llama.rope.freq_base", 0x7fc00000, NULL, ACCLLM_E_FORMAT, "rope.freq_base is not a finite number"},
        {"llama.rope.freq_base", 0xbf800000, NULL, ACCLLM_E_FORMAT, "base frequency -1"},
        {"llama.attention.layer_norm_rms_epsilon", 0, NULL, ACCLLM_E_FORMAT, "norm epsilon"},
        {"llama.context_length", 0, NULL, ACCLLM_E_FORMAT, "context length of 0"},
        {NULL, 0, "llama.block_count", ACCLLM_E_FORMAT, "llama.block_count is missing"},
        {NULL, 0, "output_norm.weight", ACCLLM_E_FORMAT, "output_norm.weight is missing"},
        {NULL, 0, "general.architecture", ACCLLM_E_FORMAT, "general.architecture is missing"},
        {NULL, 0, "GGUF", ACCLLM_E_FORMAT, "neither a GGUF file nor a llama2.c checkpoint"},
    };
    accllm_error err;
    tiny_options o = tiny_defaults();
    char *path = tiny_path("good.gguf");
    assert_int_equal(tiny_write(path, &o, &err), ACCLLM_OK);
    for (size_t i = 0; i < sizeof faults / sizeof *faults; i++) check_fault(path, &faults[i]);
    assert_int_equal(unlink(path), 0);
    free(path);
    o.arch = "gemma";
    path = tiny_path("gemma.gguf");
    acc_source *s;
    assert_int_equal(tiny_write(path, &o, &err), ACCLLM_OK);
    assert_int_equal(acc_checkpoint_open(&s, path, true, &err), ACCLLM_E_UNSUPPORTED);
    assert_non_null(strstr(err.text, "architecture gemma"));
    assert_int_equal(unlink(path), 0);
    free(path);
}

static void a_nan_is_named(void **state)
{
    (void)state;
    accllm_error err = {0};
    char *path;
    float x[128];
    tiny_options o = tiny_defaults();
    acc_source *s = open_tiny(&o, &path);
    const acc_gguf_tensor *t = acc_gguf_find(s->meta, "blk.1.attn_q.weight");
    assert_non_null(t);
    uint64_t at = t->offset + (3 * 128 + 5) * sizeof(float); /* file row 3: pair 1, second half: row 16 + 1 */
    s->close(s);
    FILE *f = fopen(path, "r+b");
    assert_non_null(f);
    assert_int_equal(fseek(f, (long)at, SEEK_SET), 0);
    assert_int_equal(fwrite("\0\0\x80\xff", 1, 4, f), 4);
    assert_int_equal(fclose(f), 0);
    assert_int_equal(acc_checkpoint_open(&s, path, true, &err), ACCLLM_OK);
    assert_int_equal(s->read_rows(s, ACC_T_ATTN_Q, 1, 16, 1, x, &err), ACCLLM_OK);
    assert_int_equal(s->read_rows(s, ACC_T_ATTN_Q, 1, 17, 1, x, &err), ACCLLM_E_NUMERIC);
    assert_string_equal(err.text, "blk.1.attn_q.weight: row 17 holds a NaN or infinity");
    done(s, path);
}

/* Pages of mapped files in this process's memory, in bytes. */
static long resident_of_files(void)
{
    long kb = -1;
    char line[256];
    FILE *f = fopen("/proc/self/status", "re");
    assert_non_null(f);
    while (kb < 0 && fgets(line, sizeof line, f))
        if (sscanf(line, "RssFile: %ld", &kb) != 1) kb = -1;
    assert_int_equal(fclose(f), 0);
    return kb * 1024;
}

static void what_was_read_leaves_the_memory(void **state)
{
    (void)state;
    if (resident_of_files() < 0) skip(); /* a kernel that does not tell */
    accllm_error err;
    tiny_options o = tiny_defaults();
    o.n_ff = 4096;
    char *path;
    acc_source *s = open_tiny(&o, &path);
    const size_t n = (size_t)o.n_ff * o.n_heads * o.head_dim;
    float *x = malloc(n * sizeof *x);
    assert_non_null(x);
    const long before = resident_of_files();
    for (int id = ACC_T_FFN_GATE; id <= ACC_T_FFN_DOWN; id++)
        for (uint32_t layer = 0; layer < o.n_layers; layer++) {
            uint64_t rows, cols;
            acc_tensor_shape(&s->hp, (acc_tensor_id)id, &rows, &cols);
            assert_int_equal(s->read_rows(s, (acc_tensor_id)id, layer, 0, rows, x, &err), ACCLLM_OK);
        }
    assert_true(resident_of_files() - before < (long)(n * sizeof *x)); /* of six times as much */
    free(x);
    done(s, path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tiny_models_of_many_shapes),
        cmocka_unit_test(rotary_steps),
        cmocka_unit_test(rope_factors_are_folded_in),
        cmocka_unit_test(contradictions_are_refused),
        cmocka_unit_test(a_nan_is_named),
        cmocka_unit_test(what_was_read_leaves_the_memory),
    };
    return cmocka_run_group_tests_name("checkpoint", tests, NULL, NULL);
}
