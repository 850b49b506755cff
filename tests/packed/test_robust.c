/*
 * Hostile files: every truncation of tiny source and packed files, ten thousand seeded mutations of their headers. Each
 * gives a clear error or a model whose every row can be read; files are read into memory of their exact size, so that a
 * sanitizer sees a step beyond.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "core/hash.h"
#include "model/packed.h"
#include "support/pack.h"
#include "support/whole.h"

#define MUTATIONS 10000

typedef enum form { SOURCE, PACKED, LLAMA2C } form;

static void check_error(const accllm_error *err, accllm_status s)
{
    assert_int_equal(err->code, s);
    assert_true(s == ACCLLM_E_FORMAT || s == ACCLLM_E_UNSUPPORTED || s == ACCLLM_E_NUMERIC || s == ACCLLM_E_IO);
    assert_true(strlen(err->text) > 10);
}

/* True when it loads. */
static bool try_open(const char *path, form f)
{
    accllm_error err = {0};
    acc_source *s = NULL;
    acc_packed *m = NULL;
    accllm_status st;
    if (f == PACKED) {
        st = acc_packed_open(&m, path, false, true, &err);
        if (st == ACCLLM_OK) assert_int_equal(acc_packed_source(&s, m, &err), ACCLLM_OK);
    } else {
        st = acc_checkpoint_open(&s, path, false, &err);
    }
    if (st == ACCLLM_OK) {
        read_everything(s);
        s->close(s);
        acc_packed_free(&m);
        return true;
    }
    assert_null(s);
    assert_null(m);
    check_error(&err, st);
    return false;
}

/* A file under test in memory and on disk. */
typedef struct victim {
    char *path;
    acc_file good;
    size_t header, used; /* bytes before the first tensor; up to the last tensor's end */
    int fd;
    form f;
} victim;

static void victim_open(victim *v, form f, bool tokenizer)
{
    accllm_error err = {0};
    tiny_options t = tiny_defaults();
    t.n_heads = 2;
    t.n_kv_heads = 1;
    t.head_dim = 8;
    t.n_ff = 20;
    t.n_layers = tokenizer ? 2 : 1;
    t.n_vocab = tokenizer ? 260 : 20;
    t.biases = true;
    pack_options o = pack_defaults(ACC_FMT_W2S);
    o.linear[1] = ACC_FMT_W4;
    o.linear[2] = ACC_FMT_W8;
    o.linear[3] = ACC_FMT_W2;
    o.k_mean = true;
    o.q_direction = true;
    o.embd_scale = true;
    v->f = f;
    v->path = tiny_path("victim.gguf");
    accllm_status s = f == SOURCE ? tiny_write(v->path, &t, &err) : pack_tiny(v->path, &t, &o, &err);
    if (s != ACCLLM_OK) fail_msg("%s", err.text);
    assert_int_equal(acc_file_open(&v->good, v->path, false, &err), ACCLLM_OK);
    acc_gguf *g;
    assert_int_equal(acc_gguf_parse(&g, v->good.data, v->good.size, &err), ACCLLM_OK);
    v->header = (size_t)acc_gguf_tensor_at(g, 0)->offset;
    const acc_gguf_tensor *last = acc_gguf_tensor_at(g, acc_gguf_n_tensors(g) - 1);
    v->used = (size_t)(last->offset + last->bytes);
    acc_gguf_free(&g);
    v->fd = open(v->path, O_RDWR | O_CLOEXEC);
    assert_true(v->fd >= 0);
    assert_true(try_open(v->path, f));
}

static void victim_close(victim *v)
{
    assert_int_equal(close(v->fd), 0);
    assert_int_equal(unlink(v->path), 0);
    free(v->path);
    acc_file_close(&v->good);
}

static void truncate_everywhere(form f)
{
    victim v;
    victim_open(&v, f, false);
    for (size_t n = v.good.size; n-- > 0;) {
        assert_int_equal(ftruncate(v.fd, (off_t)n), 0);
        if (try_open(v.path, f) != (n >= v.used)) fail_msg("truncated to %zu of %zu", n, v.good.size);
    }
    victim_close(&v);
}

static void every_truncation_of_a_source(void **state)
{
    (void)state;
    truncate_everywhere(SOURCE);
}

static void every_truncation_of_a_packed_file(void **state)
{
    (void)state;
    truncate_everywhere(PACKED);
}

/* One random change: a bit, a byte, or a number of 4 or 8 bytes replaced by one that hurts. */
static void mutate(uint8_t *data, size_t n, uint64_t key, uint64_t *i)
{
    static const uint64_t numbers[] = {0,
                                       1,
                                       2,
                                       3,
                                       12,
                                       13,
                                       0x7f,
                                       0xff,
                                       0x7fffffff,
                                       0x80000000,
                                       0xffffffff,
                                       UINT64_C(1) << 32,
                                       UINT64_C(1) << 61,
                                       INT64_MAX,
                                       UINT64_MAX,
                                       UINT64_MAX - 31};
    uint64_t kind = acc_random(key, (*i)++) % 4, value = acc_random(key, (*i)++);
    size_t at = acc_random(key, (*i)++) % n;
    if (kind == 0) {
        data[at] ^= (uint8_t)(1u << value % 8);
    } else if (kind == 1) {
        data[at] = (uint8_t)value;
    } else {
        size_t bytes = kind == 2 ? 4 : 8;
        if (n - at < bytes) return;
        memcpy(data + at, &numbers[value % (sizeof numbers / sizeof *numbers)], bytes);
    }
}

static void mutate_header(victim *v, uint64_t key, unsigned rounds)
{
    uint64_t i = 0;
    unsigned loaded = 0;
    uint8_t *data = malloc(v->header);
    assert_non_null(data);
    for (unsigned r = 0; r < rounds; r++) {
        memcpy(data, v->good.data, v->header);
        for (uint64_t k = acc_random(key, i++) % 3 + 1; k > 0; k--) mutate(data, v->header, key, &i);
        assert_int_equal(pwrite(v->fd, data, v->header, 0), v->header);
        loaded += try_open(v->path, v->f);
    }
    assert_true(loaded < rounds); /* some of them did hurt */
    free(data);
}

static void mutate_form(form f, uint64_t key)
{
    victim v;
    for (int tokenizer = 0; tokenizer < 2; tokenizer++) {
        victim_open(&v, f, tokenizer);
        mutate_header(&v, key + (uint64_t)tokenizer, tokenizer ? MUTATIONS / 10 : MUTATIONS / 10 * 9);
        victim_close(&v);
    }
}

static void mutations_of_a_source(void **state)
{
    (void)state;
    mutate_form(SOURCE, 101);
}

static void mutations_of_a_packed_file(void **state)
{
    (void)state;
    mutate_form(PACKED, 202);
}

/* ---- llama2.c ---- */

/* Written over in place: a file system may flush a file that is emptied and written anew. */
static void put_file(const char *path, const void *data, size_t n)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(pwrite(fd, data, n, 0), n);
    assert_int_equal(ftruncate(fd, (off_t)n), 0);
    assert_int_equal(close(fd), 0);
}

/* dim 8, hidden 12, 1 layer, 2 heads over 1, vocabulary 5, 4 positions, own lm_head. */
static size_t llama2c_model(uint8_t *data)
{
    const int32_t header[7] = {8, 12, 1, 2, 1, -5, 4};
    const size_t floats = 5 * 8 + 8 + 64 + 32 + 32 + 64 + 8 + 96 + 96 + 96 + 8 + 16 + 40;
    memcpy(data, header, sizeof header);
    for (size_t i = 0; i < floats; i++) {
        float x = (float)i / 64.0f;
        memcpy(data + sizeof header + 4 * i, &x, 4);
    }
    return sizeof header + 4 * floats;
}

static size_t llama2c_tokens(uint8_t *data)
{
    static const char *const pieces[] = {"<unk>", "\n<s>\n", "\n</s>\n", "<0x41>", " a"};
    size_t n = 4;
    memset(data, 0, 4);
    for (int i = 0; i < 5; i++) {
        float score = -(float)i;
        int32_t length = (int32_t)strlen(pieces[i]);
        memcpy(data + n, &score, 4);
        memcpy(data + n + 4, &length, 4);
        memcpy(data + n + 8, pieces[i], (size_t)length);
        n += 8 + (size_t)length;
    }
    return n;
}

typedef struct pair {
    char folder[64], model[80], tokens[80];
    uint8_t model_data[4096], token_data[256];
    size_t model_n, token_n;
} pair;

static void llama2c_files(void **state)
{
    (void)state;
    pair p = {.folder = "/tmp/acc-llama2c-XXXXXX"};
    uint64_t i = 0;
    assert_non_null(mkdtemp(p.folder));
    (void)snprintf(p.model, sizeof p.model, "%s/model.bin", p.folder);
    (void)snprintf(p.tokens, sizeof p.tokens, "%s/tok5.bin", p.folder);
    p.model_n = llama2c_model(p.model_data);
    p.token_n = llama2c_tokens(p.token_data);
    put_file(p.model, p.model_data, p.model_n);
    assert_false(try_open(p.model, LLAMA2C)); /* no tokenizer */
    put_file(p.tokens, p.token_data, p.token_n);
    assert_true(try_open(p.model, LLAMA2C));
    for (size_t n = 0; n < p.model_n; n++) {
        put_file(p.model, p.model_data, n);
        assert_false(try_open(p.model, LLAMA2C));
    }
    const int32_t uneven[7] = {8, 12, 1, 3, 1, -5, 4}; /* 3 heads in 8 dimensions; all else would fit */
    const size_t n_uneven = sizeof uneven + 4 * (40 + 8 + 48 + 16 + 16 + 48 + 8 + 3 * 96 + 8 + 8 + 40);
    uint8_t bad[4096];
    memcpy(bad, p.model_data, p.model_n);
    memcpy(bad, uneven, sizeof uneven);
    put_file(p.model, bad, n_uneven);
    assert_false(try_open(p.model, LLAMA2C));
    p.model_data[p.model_n] = 0;
    put_file(p.model, p.model_data, p.model_n + 1); /* one byte more */
    assert_false(try_open(p.model, LLAMA2C));
    for (int r = 0; r < 500; r++) {
        uint8_t data[4096];
        memcpy(data, p.model_data, p.model_n);
        mutate(data, 28, 303, &i);
        put_file(p.model, data, p.model_n);
        (void)try_open(p.model, LLAMA2C);
    }
    put_file(p.model, p.model_data, p.model_n);
    for (size_t n = 0; n < p.token_n; n++) {
        put_file(p.tokens, p.token_data, n);
        assert_false(try_open(p.model, LLAMA2C));
    }
    for (int r = 0; r < 500; r++) {
        uint8_t data[256];
        memcpy(data, p.token_data, p.token_n);
        mutate(data, p.token_n, 404, &i);
        put_file(p.tokens, data, p.token_n);
        (void)try_open(p.model, LLAMA2C);
    }
    put_file(p.tokens, p.token_data, p.token_n + 1);
    assert_false(try_open(p.model, LLAMA2C));
    assert_int_equal(unlink(p.model) | unlink(p.tokens) | rmdir(p.folder), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_truncation_of_a_source),
        cmocka_unit_test(every_truncation_of_a_packed_file),
        cmocka_unit_test(mutations_of_a_source),
        cmocka_unit_test(mutations_of_a_packed_file),
        cmocka_unit_test(llama2c_files),
    };
    return cmocka_run_group_tests_name("robust", tests, NULL, NULL);
}
