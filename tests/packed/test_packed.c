/* Packed files: what was packed is what is read; what contradicts itself is refused; random shapes are valid. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "model/packed.h"
#include "support/pack.h"

static float *read_all(const acc_source *s, acc_tensor_id id, uint32_t layer, uint64_t *n)
{
    uint64_t rows, cols;
    accllm_error err = {0};
    acc_tensor_shape(&s->hp, id, &rows, &cols);
    *n = rows * cols;
    float *x = malloc(rows * cols * sizeof *x);
    assert_non_null(x);
    if (s->read_rows(s, id, layer, 0, rows, x, &err) != ACCLLM_OK) fail_msg("%s", err.text);
    return x;
}

/* Relative error energy of the packed tensor. */
static double error_of(const acc_source *a, const acc_source *b, acc_tensor_id id, uint32_t layer)
{
    uint64_t n;
    float *x = read_all(a, id, layer, &n), *y = read_all(b, id, layer, &n);
    double e = 0.0, p = 0.0;
    for (uint64_t i = 0; i < n; i++) {
        e += ((double)x[i] - (double)y[i]) * ((double)x[i] - (double)y[i]);
        p += (double)x[i] * (double)x[i];
    }
    free(x);
    free(y);
    return e / p;
}

static double allowed(acc_format f)
{
    static const double most[ACC_FMT_COUNT] = {
        [ACC_FMT_W2S] = 0.4, [ACC_FMT_W2] = 0.15, [ACC_FMT_W4] = 0.01, [ACC_FMT_W8] = 1e-4};
    return most[f];
}

static void compare(const acc_source *a, const acc_packed *m, const pack_options *o)
{
    accllm_error err;
    acc_source *b;
    assert_int_equal(acc_packed_source(&b, m, &err), ACCLLM_OK);
    assert_memory_equal(a->hp.rope_steps, b->hp.rope_steps, sizeof a->hp.rope_steps);
    assert_string_equal(a->hp.name, b->hp.name);
    assert_string_equal(a->hp.arch, b->hp.arch);
    for (uint32_t j = 0; j < a->hp.head_dim / 2; j++)
        assert_true(fabs(a->hp.rope_freq[j] / b->hp.rope_freq[j] - 1.0) < 1e-12);
    for (int i = 0; i < ACC_T_COUNT; i++) {
        acc_tensor_id id = (acc_tensor_id)i;
        uint32_t layer = acc_tensor_is_global(id) ? 0 : a->hp.n_layers - 1;
        assert_int_equal(a->has(a, id, layer), b->has(b, id, layer));
        if (!a->has(a, id, layer)) continue;
        double limit = 0.0; /* norms and biases are unchanged */
        if (acc_tensor_is_linear(id)) limit = allowed(o->linear[id - ACC_T_ATTN_Q]);
        if (id <= ACC_T_OUTPUT) limit = allowed(o->head);
        double e = error_of(a, b, id, layer);
        if (e > limit) fail_msg("%s: error %g above %g", acc_tensor_base(id), e, limit);
    }
    b->close(b);
}

static void round_trip(const tiny_options *t, const pack_options *o)
{
    accllm_error err = {0};
    char *src = tiny_path("packed.src"), *dst = tiny_path("packed.gguf");
    acc_source *a;
    acc_packed *m;
    assert_int_equal(tiny_write(src, t, &err), ACCLLM_OK);
    if (pack_model(src, dst, o, &err) != ACCLLM_OK) fail_msg("%s", err.text);
    assert_int_equal(acc_checkpoint_open(&a, src, true, &err), ACCLLM_OK);
    for (int use_mmap = 0; use_mmap < 2; use_mmap++) {
        if (acc_packed_open(&m, dst, use_mmap, true, &err) != ACCLLM_OK) fail_msg("%s", err.text);
        assert_int_equal(m->page, o->page);
        assert_int_equal(m->default_sinks, o->sinks);
        assert_int_equal(m->default_window, o->window);
        assert_int_equal(m->default_kv_bits, o->kv_bits);
        assert_int_equal(m->layers[0].down.format, o->linear[6]);
        assert_int_equal((m->layers[0].k_mean != NULL), o->k_mean);
        assert_int_equal((m->layers[0].q_direction != NULL), o->q_direction);
        assert_int_equal((m->output.data == m->embd.data), t->tied);
        assert_int_equal((uintptr_t)m->layers[0].q.data % 64, 0);
        compare(a, m, o);
        acc_packed_free(&m);
    }
    a->close(a);
    assert_int_equal(unlink(src), 0);
    assert_int_equal(unlink(dst), 0);
    free(src);
    free(dst);
}

static void what_was_packed_is_read(void **state)
{
    (void)state;
    tiny_options t = tiny_defaults();
    for (int f = 0; f < ACC_FMT_COUNT; f++) {
        pack_options o = pack_defaults((acc_format)f);
        round_trip(&t, &o);
    }
    pack_options mixed = pack_defaults(ACC_FMT_W2S);
    mixed.linear[2] = ACC_FMT_W8;
    mixed.linear[4] = ACC_FMT_W2;
    mixed.linear[6] = ACC_FMT_W4;
    mixed.head = ACC_FMT_W4;
    mixed.k_mean = true;
    mixed.q_direction = true;
    mixed.group = 32;
    mixed.level2 = 3;
    mixed.kv_bits = 8;
    t.tied = false;
    t.biases = true;
    t.n_kv_heads = 1;
    t.head_dim = 48;
    t.n_ff = 101;
    t.rope_factors = true;
    round_trip(&t, &mixed);
}

/* A tied matrix with a scale for the look-up: the source gives the embedding's rows and the same lm_head; what is
 * not positive is refused. */
static void embedding_scale(void **state)
{
    (void)state;
    accllm_error err = {0};
    tiny_options t = tiny_defaults();
    pack_options o = pack_defaults(ACC_FMT_W8);
    o.embd_scale = true;
    char *path = tiny_path("scale.gguf");
    acc_packed *m;
    acc_source *s;
    assert_int_equal(pack_tiny(path, &t, &o, &err), ACCLLM_OK);
    if (acc_packed_open(&m, path, true, true, &err) != ACCLLM_OK) fail_msg("%s", err.text);
    assert_int_equal(acc_packed_source(&s, m, &err), ACCLLM_OK);
    const uint32_t n = m->hp.n_embd;
    float *row = calloc(4 * (size_t)n, sizeof *row), *stored = row + n, *norm = stored + n, *looked = norm + n;
    assert_int_equal(s->read_rows(s, ACC_T_TOKEN_EMBD, 0, 7, 1, row, &err), ACCLLM_OK);
    assert_int_equal(s->read_rows(s, ACC_T_OUTPUT_NORM, 0, 0, 1, norm, &err), ACCLLM_OK);
    acc_weight_dequant_row(&m->embd, 7, stored);
    acc_packed_embed(m, 7, looked);
    assert_memory_equal(row, looked, n * sizeof *row);
    for (uint32_t i = 0; i < n; i++) {
        assert_true(row[i] == stored[i] * m->embd_scale[i]);
        assert_true(fabsf(row[i] * norm[i] - stored[i] * m->output_norm[i]) <= 3e-7f * fabsf(row[i] * norm[i]));
    }
    long at = (long)acc_gguf_find(m->file, "token_embd_scale")->offset;
    s->close(s);
    acc_packed_free(&m);
    static const float bad[] = {0.0f, -2.0f, 1e-40f, 1e30f, INFINITY, NAN};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        FILE *f = fopen(path, "r+b");
        assert_non_null(f);
        assert_int_equal(fseek(f, at + 4, SEEK_SET), 0);
        assert_int_equal(fwrite(&bad[i], 4, 1, f), 1);
        assert_int_equal(fclose(f), 0);
        assert_int_not_equal(acc_packed_open(&m, path, true, false, &err), ACCLLM_OK);
        assert_non_null(strstr(err.text, "token_embd_scale: element 1 is"));
    }
    assert_int_equal(unlink(path), 0);
    free(row);
    free(path);
}

static void tokenizer_keys_are_copied(void **state)
{
    (void)state;
    accllm_error err;
    tiny_options t = tiny_defaults();
    pack_options o = pack_defaults(ACC_FMT_W4);
    char *path = tiny_path("keys.gguf");
    acc_packed *m;
    acc_str s;
    size_t n;
    assert_int_equal(pack_tiny(path, &t, &o, &err), ACCLLM_OK);
    assert_int_equal(acc_packed_open(&m, path, true, false, &err), ACCLLM_OK);
    assert_true(acc_is_packed(m->file));
    assert_true(acc_gguf_array(m->file, "tokenizer.ggml.tokens", NULL, &n) && n == 300);
    assert_true(acc_gguf_array_str(m->file, "tokenizer.ggml.tokens", 2, &s) && memcmp(s.s, "<|im_end|>", s.n) == 0);
    assert_true(acc_gguf_has(m->file, "tokenizer.chat_template"));
    acc_packed_free(&m);
    acc_packed_free(&m);
    acc_source *src;
    assert_int_equal(acc_checkpoint_open(&src, path, true, &err), ACCLLM_E_UNSUPPORTED);
    assert_int_equal(unlink(path), 0);
    free(path);
}

/* ---- refused files ---- */

typedef struct fault {
    const char *find; /* bytes in the file */
    long at;          /* from their end */
    const char *put;
    size_t n;
    bool verify;
    accllm_status status;
    const char *part;
} fault;

static void check_fault(const uint8_t *good, size_t size, const fault *f)
{
    accllm_error err = {0};
    acc_writer w;
    acc_packed *m;
    char *path = tiny_path("bad-packed.gguf");
    uint8_t *data = malloc(size);
    assert_non_null(data);
    memcpy(data, good, size);
    uint8_t *at = memmem(data, size, f->find, strlen(f->find));
    assert_non_null(at);
    memcpy(at + strlen(f->find) + f->at, f->put, f->n);
    assert_int_equal(acc_writer_open(&w, path, &err), ACCLLM_OK);
    acc_writer_put(&w, data, size);
    assert_int_equal(acc_writer_commit(&w, &err), ACCLLM_OK);
    accllm_status got = acc_packed_open(&m, path, true, f->verify, &err);
    if (got != f->status || !strstr(err.text, f->part)) fail_msg("%d \"%s\" without \"%s\"", got, err.text, f->part);
    assert_int_equal(unlink(path), 0);
    free(path);
    free(data);
}

static void contradictions_are_refused(void **state)
{
    (void)state;
    const fault faults[] = {
        {"accllm.format_version", 4, "\2", 1, false, ACCLLM_E_UNSUPPORTED, "format_version"},
        {"accllm.kv.page", 4, "\x21", 1, false, ACCLLM_E_FORMAT, "power of two"},
        {"accllm.kv.page", 4, "\0\x20", 2, false, ACCLLM_E_FORMAT, "page"},
        {"accllm.default.kv", 4, "\5", 1, false, ACCLLM_E_FORMAT, "default.kv"},
        {"accllm.default.window", 4, "\xff\xff\xff\xff", 4, false, ACCLLM_E_FORMAT, "window"},
        {"accllm.default.sinks", 4, "\xff\xff", 2, false, ACCLLM_E_FORMAT, "sinks"},
        {"accllm.block_count", 4, "\3", 1, false, ACCLLM_E_FORMAT, "entries"},
        {"accllm.block_count", 4, "\0\2", 2, false, ACCLLM_E_FORMAT, "layers"},
        {"accllm.attention.key_length", 4, "\x1f", 1, false, ACCLLM_E_UNSUPPORTED, "head dimension 31"},
        {"accllm.attention.key_length", 4, "\x1e", 1, false, ACCLLM_E_FORMAT, "rope.steps"},
        {"accllm.attention.scale", 4, "\0\0\xc0\x7f", 4, false, ACCLLM_E_FORMAT, "attention.scale"},
        {"accllm.attention.scale", 4, "\0\0\0\0", 4, false, ACCLLM_E_FORMAT, "attention.scale"},
        {"accllm.tensor.rows", 16, "\x2b", 1, false, ACCLLM_E_FORMAT, "token_embd.w8 is 299 x 128"},
        {"accllm.tensor.group", 20, "\x30", 1, false, ACCLLM_E_UNSUPPORTED, "group of 48"},
        {"accllm.tensor.levels", 24, "\2", 1, false, ACCLLM_E_UNSUPPORTED, "levels"},
        {"accllm.tensor.format", 24, "w9", 2, false, ACCLLM_E_UNSUPPORTED, "w9"},
        {"accllm.tensor.name", 24, "x", 1, false, ACCLLM_E_FORMAT, "entry 0 is not token_embd.w8"},
        {"token_embd_scal", 0, "f", 1, false, ACCLLM_E_FORMAT, "have a place"},
        {"blk.0.attn_k_mean", 4, "\x40\0\0\0\0\0\0\0\1", 9, false, ACCLLM_E_FORMAT, "k_mean is not an aligned vector"},
    };
    accllm_error err;
    tiny_options t = tiny_defaults();
    pack_options o = pack_defaults(ACC_FMT_W2S);
    o.embd_scale = true;
    o.k_mean = true;
    char *path = tiny_path("good-packed.gguf");
    acc_file f;
    assert_int_equal(pack_tiny(path, &t, &o, &err), ACCLLM_OK);
    assert_int_equal(acc_file_open(&f, path, false, &err), ACCLLM_OK);
    for (size_t i = 0; i < sizeof faults / sizeof *faults; i++) check_fault(f.data, f.size, &faults[i]);
    acc_file_close(&f);
    assert_int_equal(unlink(path), 0);
    free(path);
}

/* An alignment of 32 is good GGUF, but kernels load 64 bytes at once. */
static void tensors_that_are_not_aligned_are_refused(void **state)
{
    (void)state;
    static const char name[] = "token_embd.w8", alignment[] = "general.alignment";
    accllm_error err = {0};
    tiny_options t = tiny_defaults();
    pack_options o = pack_defaults(ACC_FMT_W4);
    char *path = tiny_path("unaligned.gguf");
    acc_packed *m;
    acc_file f;
    acc_writer w;
    assert_int_equal(pack_tiny(path, &t, &o, &err), ACCLLM_OK);
    assert_int_equal(acc_file_open(&f, path, false, &err), ACCLLM_OK);
    uint8_t *data = malloc(f.size), *end = data + f.size;
    assert_non_null(data);
    memcpy(data, f.data, f.size);
    uint8_t *at = memmem(data, f.size, alignment, strlen(alignment));
    assert_non_null(at);
    at[strlen(alignment) + 4] = 32;
    uint8_t *listed = memmem(data, f.size, name, strlen(name)); /* in accllm.tensor.name; then the tensor itself */
    assert_non_null(listed);
    listed++;
    at = memmem(listed, (size_t)(end - listed), name, strlen(name));
    assert_non_null(at);
    at[strlen(name) + 4 + 8 + 4] += 32; /* n_dims, one dimension, type: the offset */
    assert_int_equal(acc_writer_open(&w, path, &err), ACCLLM_OK);
    acc_writer_put(&w, data, f.size);
    assert_int_equal(acc_writer_commit(&w, &err), ACCLLM_OK);
    assert_int_equal(acc_packed_open(&m, path, true, false, &err), ACCLLM_E_FORMAT);
    if (!strstr(err.text, "is not an aligned")) fail_msg("%s", err.text);
    free(data);
    acc_file_close(&f);
    assert_int_equal(unlink(path), 0);
    free(path);
}

/* Writes bytes into a tensor of the file. */
static void damage(const char *path, const char *tensor, size_t at, const char *bytes, size_t n)
{
    accllm_error err;
    acc_gguf *g;
    assert_int_equal(acc_gguf_open(&g, path, true, &err), ACCLLM_OK);
    const acc_gguf_tensor *t = acc_gguf_find(g, tensor);
    assert_non_null(t);
    long offset = (long)(t->offset + at);
    acc_gguf_free(&g);
    FILE *f = fopen(path, "r+b");
    assert_non_null(f);
    assert_int_equal(fseek(f, offset, SEEK_SET), 0);
    assert_int_equal(fwrite(bytes, 1, n, f), n);
    assert_int_equal(fclose(f), 0);
}

static void bad_numbers_are_found(void **state)
{
    (void)state;
    accllm_error err = {0};
    tiny_options t = tiny_defaults();
    pack_options o = pack_defaults(ACC_FMT_W2S);
    char *path = tiny_path("numbers.gguf");
    acc_packed *m;
    assert_int_equal(pack_tiny(path, &t, &o, &err), ACCLLM_OK);
    assert_int_equal(acc_packed_open(&m, path, true, true, &err), ACCLLM_OK);
    size_t scales = acc_weight_tiles_bytes(&m->layers[1].k);
    acc_packed_free(&m);
    damage(path, "blk.1.attn_q.w2s", 0, "\xff", 1); /* code 127 */
    assert_int_equal(acc_packed_open(&m, path, true, false, &err), ACCLLM_OK);
    acc_packed_free(&m);
    assert_int_equal(acc_packed_open(&m, path, true, true, &err), ACCLLM_E_FORMAT);
    assert_non_null(strstr(err.text, "blk.1.attn_q.w2s"));
    assert_int_equal(pack_tiny(path, &t, &o, &err), ACCLLM_OK);
    damage(path, "blk.1.attn_k.w2s", scales + 4, "\0\0\xc0\x7f", 4);
    assert_int_equal(acc_packed_open(&m, path, true, false, &err), ACCLLM_E_FORMAT);
    assert_non_null(strstr(err.text, "blk.1.attn_k.w2s: row 1"));
    assert_int_equal(pack_tiny(path, &t, &o, &err), ACCLLM_OK);
    damage(path, "blk.0.ffn_norm", 8, "\0\0\x80\x7f", 4);
    assert_int_equal(acc_packed_open(&m, path, true, false, &err), ACCLLM_E_NUMERIC);
    assert_non_null(strstr(err.text, "blk.0.ffn_norm: element 2"));
    assert_int_equal(unlink(path), 0);
    free(path);
}

static void random_shapes_are_valid(void **state)
{
    (void)state;
    accllm_error err = {0};
    acc_packed *m;
    for (int f = 0; f < ACC_FMT_COUNT; f++) {
        if (acc_packed_random(&m, "smollm2-135m", (acc_format)f, f ? ACC_FMT_W8 : ACC_FMT_W4, &err) != ACCLLM_OK)
            fail_msg("%s", err.text);
        assert_int_equal(m->hp.n_layers, 30);
        assert_int_equal(m->layers[29].down.format, f);
        assert_int_equal(m->embd.format, f ? ACC_FMT_W8 : ACC_FMT_W4);
        assert_int_equal(acc_weight_check(&m->layers[29].down, "down", 1, &err), ACCLLM_OK);
        assert_int_equal(acc_weight_check(&m->layers[0].q, "q", 1, &err), ACCLLM_OK);
        float x[1536];
        double power = 0.0;
        acc_weight_dequant_row(&m->layers[3].down, 77, x);
        for (int i = 0; i < 1536; i++) power += (double)x[i] * (double)x[i];
        if (!(power > 0.8 && power < 1.25)) fail_msg("%s: power %g", acc_format_name((acc_format)f), power);
        acc_packed_free(&m);
    }
    assert_int_equal(acc_packed_random(&m, "gpt-5", ACC_FMT_W4, ACC_FMT_W8, &err), ACCLLM_E_ARG);
    assert_non_null(strstr(err.text, "qwen2.5-0.5b"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_packed_is_read),
        cmocka_unit_test(tokenizer_keys_are_copied),
        cmocka_unit_test(embedding_scale),
        cmocka_unit_test(contradictions_are_refused),
        cmocka_unit_test(tensors_that_are_not_aligned_are_refused),
        cmocka_unit_test(bad_numbers_are_found),
        cmocka_unit_test(random_shapes_are_valid),
    };
    return cmocka_run_group_tests_name("packed", tests, NULL, NULL);
}
