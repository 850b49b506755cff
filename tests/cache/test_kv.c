/* The KV cache: what a query sees is what was stored for exactly the positions that docs/numerics.md names. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "cache/kv.h"
#include "core/hash.h"
#include "kernels/kv_layout.h"
#include "numerics/numerics.h"

#define N_SAVED 40 /* positions */
#define HD 8       /* small, so that long streams stay quick; padded to 32 */

static uint64_t steps[HD / 2] = {1ull << 60, 1ull << 57, 1ull << 54, 1ull << 51};

/* A cache of two layers with two KV heads, and what is named besides. */
#define CACHE(...)                                                                       \
    {                                                                                    \
        .n_layers = 2, .n_kv_heads = 2, .head_dim = HD, .rope_steps = steps, __VA_ARGS__ \
    }

static void vector_of(uint64_t pos, uint32_t kind, float *x)
{
    for (uint32_t i = 0; i < HD; i++) x[i] = (float)(acc_random(pos * 2 + kind, i) >> 40) * 0x1p-20f - 8.0f;
}

/* Stores positions [from, to) of layer 1, head 1. */
static void store(acc_kv *kv, uint64_t from, uint64_t to, const float *mean)
{
    float x[HD];
    for (uint64_t pos = from; pos < to; pos++) {
        vector_of(pos, 0, x);
        assert_true(acc_kv_store_key(kv, 1, 1, pos, x, mean, mean));
        vector_of(pos, 1, x);
        assert_true(acc_kv_store_value(kv, 1, 1, pos, x));
    }
}

/* The codes that position pos must have, by the definition. */
typedef struct expected {
    uint8_t k[HD], v[HD], kzero, vzero;
    uint16_t kscale, vscale;
} expected;

static expected definition(const acc_kv_params *p, uint64_t pos, bool near, const float *mean)
{
    expected e = {0};
    float x[HD], cos[HD / 2], sin[HD / 2];
    bool sink = pos < p->sinks;
    vector_of(pos, 0, x);
    acc_rope_angles(sink ? pos : pos % p->page, steps, HD, cos, sin);
    acc_rope_rotate(x, cos, sin, HD);
    if (!sink) {
        for (uint32_t i = 0; i < HD; i++) x[i] -= mean[i];
        acc_hadamard(x, HD, HD);
    }
    bool wide = sink || near || p->bits == 8;
    if (wide)
        assert_true(acc_kv8(x, HD, (int8_t *)e.k, &e.kscale));
    else
        assert_true(acc_kv4_key(x, HD, mean, e.k, &e.kscale, &e.kzero));
    vector_of(pos, 1, x);
    if (wide)
        assert_true(acc_kv8(x, HD, (int8_t *)e.v, &e.vscale));
    else
        assert_true(acc_kv4(x, HD, e.v, &e.vscale, &e.vzero));
    return e;
}

static void check_position(const acc_attn_piece *a, uint32_t i, const expected *e)
{
    bool wide = a->kzero == NULL;
    uint32_t dims = acc_kv_dims(HD);
    assert_int_equal(a->kscale[i], e->kscale);
    assert_int_equal(a->vscale[i], e->vscale);
    if (!wide) {
        assert_int_equal(a->kzero[i], e->kzero);
        assert_int_equal(a->vzero[i], e->vzero);
    }
    for (uint32_t d = 0; d < HD; d++) {
        uint8_t k =
            wide ? a->k[acc_kv8_key_at(i, d, dims)] : a->k[acc_kv4_key_at(i, d, dims)] >> acc_kv4_key_shift(d) & 15;
        uint8_t v = wide ? a->v[acc_kv8_value_at(i, d, dims)]
                         : a->v[acc_kv4_value_at(i, d, dims)] >> acc_kv4_value_shift(d) & 15;
        assert_int_equal(k, e->k[d]);
        assert_int_equal(v, e->v[d]);
    }
}

/* Walks what the query at t sees; every position once, ascending, with the rotation that the definition gives it. */
static void check_query(const acc_kv *kv, const acc_kv_params *p, uint64_t t, const float *mean)
{
    acc_kv_cut cuts[64];
    acc_attn_piece pieces[256];
    uint64_t distance[256];
    assert_true(acc_kv_max_cuts(kv) <= 64 && acc_kv_max_pieces(kv) <= 256);
    uint32_t n_cuts = acc_kv_cuts(kv, t, cuts);
    assert_true(n_cuts <= acc_kv_max_cuts(kv));
    uint64_t next = 0, begin = t >= p->window ? t - p->window + 1 : 0;
    for (uint32_t c = 0; c < n_cuts; c++) {
        uint32_t first, end, n = acc_kv_pieces(kv, &cuts[c], t, 1, 1, pieces, distance, &first, &end), base = 0;
        uint32_t length = acc_kv_cut_bits(kv, &cuts[c]) == 4 ? 4096 : 512;
        assert_true(n <= acc_kv_max_pieces(kv));
        if (cuts[c].part == ACC_KV_NEAR)
            assert_true(cuts[c].hi - cuts[c].lo <= p->near);
        else
            assert_true(cuts[c].lo / length == (cuts[c].hi - 1) / length);
        uint64_t start = cuts[c].lo - first;
        assert_int_equal(start % 16, 0);
        for (uint32_t i = 0; i < n; base += pieces[i++].n) {
            assert_int_equal(pieces[i].n % 16, 0);
            assert_int_equal(pieces[i].variant, i);
            for (uint32_t j = 0; j < pieces[i].n; j++) {
                uint64_t pos = start + base + j;
                if (base + j < first || base + j >= end) continue;
                if (next == p->sinks && begin > next) next = begin; /* what was dropped */
                assert_true(pos == next);
                next++;
                uint64_t last = (uint64_t)p->sinks + p->window - 1;
                uint64_t d = pos >= p->sinks ? t - pos / p->page * p->page : t < last ? t : last;
                assert_true(distance[i] == d);
                bool near = pos >= p->sinks && p->bits == 4 && t - pos < p->near;
                assert_true((cuts[c].part == ACC_KV_NEAR) == near);
                expected e = definition(p, pos, near, mean);
                check_position(&pieces[i], j, &e);
            }
        }
        assert_true(base >= end && base < end + 16);
    }
    assert_true(next == t + 1);
}

static void stream(uint32_t sinks, uint32_t window, uint32_t page, uint32_t chunk, uint32_t bits, uint32_t near,
                   uint64_t length)
{
    acc_kv_params p = CACHE(.page = page, .sinks = sinks, .window = window, .chunk = chunk, .bits = bits, .near = near);
    acc_kv *kv;
    float mean[HD];
    for (uint32_t i = 0; i < HD; i++) mean[i] = (float)i - 2.5f;
    assert_int_equal(acc_kv_create(&kv, &p, NULL), ACCLLM_OK);
    for (uint64_t pos = 0; pos < length; pos += chunk) {
        store(kv, pos, pos + chunk, mean);
        check_query(kv, &p, pos, mean);
        check_query(kv, &p, pos + chunk / 2, mean);
        check_query(kv, &p, pos + chunk - 1, mean);
    }
    acc_kv_free(&kv);
}

static void a_query_sees_sinks_and_window(void **state)
{
    (void)state;
    static const uint32_t sinks[] = {0, 1, 5, 300}, windows[] = {1, 15, 16, 17, 100};
    for (uint32_t s = 0; s < 4; s++)
        for (uint32_t w = 0; w < 5; w++) {
            stream(sinks[s], windows[w], 16, 1, 4, 7 * w, 130);
            stream(sinks[s], windows[w], 64, 37, 4, 16 * s, 500);
            stream(sinks[s], windows[w], 256, 128, 8, 64, 700);
        }
    stream(700, 100, 256, 64, 4, 256, 1500);
    stream(3, 600, 4096, 128, 4, 0, 5000);
    stream(3, 600, 4096, 128, 8, 0, 5000);
    stream(3, 600, 16, 128, 4, 256, 5000);
}

static void deep_positions_lose_nothing(void **state)
{
    (void)state;
    for (uint32_t bits = 4; bits <= 8; bits += 4) {
        acc_kv_params p = CACHE(.page = 64, .sinks = 5, .window = 150, .chunk = 33, .bits = bits, .near = 40);
        acc_kv *kv;
        float mean[HD] = {0};
        assert_int_equal(acc_kv_create(&kv, &p, NULL), ACCLLM_OK);
        store(kv, 0, p.sinks, mean);
        uint64_t base = (1ull << 32) - 200;
        for (uint64_t pos = base; pos < base + 400; pos += p.chunk) {
            store(kv, pos, pos + p.chunk, mean);
            if (pos < base + p.window) continue;
            check_query(kv, &p, pos, mean);
            check_query(kv, &p, pos + p.chunk - 1, mean);
        }
        acc_kv_free(&kv);
    }
}

/* Taken back to a position that it keeps, a cache shows the query there all that it has to see; a chunk can be taken
 * back always. */
static void go_back(const acc_kv_params *p, uint64_t stored)
{
    acc_kv *kv;
    const float mean[HD] = {0};
    assert_int_equal(acc_kv_create(&kv, p, NULL), ACCLLM_OK);
    store(kv, 0, stored, mean);
    for (uint64_t pos = stored; pos-- > 0;) {
        const bool kept = acc_kv_keeps(kv, stored, pos);
        assert_true(kept || stored - pos > p->chunk);
        if (!kept) continue;
        store(kv, pos, pos + 1, mean);
        check_query(kv, p, pos, mean);
    }
    acc_kv_free(&kv);
}

static void what_a_cache_keeps_can_be_seen_again(void **state)
{
    (void)state;
    static const uint32_t near[] = {0, 1, 16, 30, 64}, sinks[] = {0, 3, 33};
    for (uint32_t i = 0; i < 5; i++)
        for (uint32_t k = 0; k < 3; k++)
            for (uint64_t stored = 100; stored < 420; stored += 29) {
                acc_kv_params p =
                    CACHE(.page = 32, .sinks = sinks[k], .window = 70, .chunk = 9, .near = near[i], .bits = 4);
                go_back(&p, stored);
            }
}

static void fill_depends_on_the_position_alone(void **state)
{
    (void)state;
    for (uint32_t chunk = 1; chunk < 200; chunk += 77) {
        acc_kv_params p = CACHE(.page = 32, .sinks = 5, .window = 100, .chunk = chunk, .bits = 4, .near = 30);
        acc_kv *kv;
        acc_kv_cut cuts[8];
        acc_attn_piece pieces[128];
        uint64_t distance[128], depth = (1ull << 32) + 1;
        uint32_t first, end, seen = 0;
        assert_int_equal(acc_kv_create(&kv, &p, NULL), ACCLLM_OK);
        acc_kv_fill(kv, depth);
        uint32_t n_cuts = acc_kv_cuts(kv, depth - 1, cuts);
        for (uint32_t c = 0; c < n_cuts; c++) {
            uint32_t n = acc_kv_pieces(kv, &cuts[c], depth - 1, 1, 1, pieces, distance, &first, &end), base = 0;
            for (uint32_t i = 0; i < n; base += pieces[i++].n)
                for (uint32_t j = 0; j < pieces[i].n; j++) {
                    if (base + j < first || base + j >= end) continue;
                    expected e = {0};
                    uint64_t pos = cuts[c].lo - first + base + j;
                    uint32_t bits = acc_kv_cut_bits(kv, &cuts[c]);
                    acc_kv_pseudo(1, 1, false, pos, HD, bits, e.k, &e.kscale, &e.kzero);
                    acc_kv_pseudo(1, 1, true, pos, HD, bits, e.v, &e.vscale, &e.vzero);
                    check_position(&pieces[i], j, &e);
                    seen++;
                }
        }
        assert_int_equal(seen, p.sinks + p.window);
        assert_int_equal(acc_kv_bytes_read(kv, depth - 1), 2 * 2 * ((5 + 30) * (2 * 32 + 4) + 70 * (32 + 6)));
        acc_kv_free(&kv);
    }
}

static void full_attention_keeps_everything(void **state)
{
    (void)state;
    acc_kv_params p = CACHE(.page = 64, .sinks = 4, .window = 250, .chunk = 50, .bits = 4, .near = 20, .full = true);
    acc_kv *kv;
    float mean[HD] = {1, 2, 3};
    assert_int_equal(acc_kv_create(&kv, &p, NULL), ACCLLM_OK);
    store(kv, 0, 250, mean);
    check_query(kv, &p, 249, mean);
    acc_kv_free(&kv);
    assert_int_equal(acc_kv_create(&kv, &p, NULL), ACCLLM_OK);
    store(kv, 0, 150, mean);
    check_query(kv, &p, 100, mean);
    acc_kv_free(&kv);
}

static void bytes_read_are_of_the_positions_that_are_there(void **state)
{
    (void)state;
    const acc_kv_params p = CACHE(.page = 16, .sinks = 2, .window = 20, .chunk = 1, .bits = 4, .near = 8);
    const uint64_t wide = 2 * 2 * (2 * 32 + 4), narrow = 2 * 2 * (32 + 6);
    acc_kv *kv;
    assert_int_equal(acc_kv_create(&kv, &p, NULL), ACCLLM_OK);
    assert_int_equal(acc_kv_bytes_read(kv, 0), 1 * wide);
    assert_int_equal(acc_kv_bytes_read(kv, 4), 5 * wide); /* sinks, and fewer than are near */
    assert_int_equal(acc_kv_bytes_read(kv, 10), 10 * wide + narrow);
    assert_int_equal(acc_kv_bytes_read(kv, 1000), 10 * wide + 12 * narrow);
    acc_kv_free(&kv);
}

typedef struct kv_bytes {
    uint8_t *at;
    size_t n;
} kv_bytes;

static kv_bytes saved(const acc_kv *kv, uint64_t position)
{
    kv_bytes b = {.n = acc_kv_state_bytes(kv, position, position)};
    b.at = malloc(b.n);
    assert_non_null(b.at);
    acc_kv_save(kv, position, position, b.at);
    return b;
}

/* Loads `from` with the byte at `at` changed; what is refused leaves the cache as it was. */
static void load_changed(acc_kv *kv, kv_bytes from, size_t at, uint8_t byte, bool good)
{
    const uint8_t keep = from.at[at];
    kv_bytes before = saved(kv, N_SAVED);
    from.at[at] = byte;
    assert_true(acc_kv_load(kv, N_SAVED, N_SAVED, from.at) == good);
    kv_bytes after = saved(kv, N_SAVED);
    assert_memory_equal(after.at, good ? from.at : before.at, before.n);
    from.at[at] = keep;
    free(before.at);
    free(after.at);
}

/* Scales, zeros and codes that kernels do not expect, in the last block of a state. */
static void what_no_cache_holds_is_not_loaded(void **state)
{
    (void)state;
    for (uint32_t bits = 4; bits <= 8; bits += 4) {
        const acc_kv_params p = CACHE(.page = 16, .window = 64, .chunk = 1, .bits = bits);
        const size_t codes = 2 * (bits == 4 ? acc_kv4_block_bytes(32) : acc_kv8_block_bytes(32));
        const size_t block = codes + (bits == 4 ? 6 : 4) * 16;
        const float zero[HD] = {0}, mean[HD] = {9, -9, 3};
        acc_kv *a, *b;
        assert_int_equal(acc_kv_create(&a, &p, NULL), ACCLLM_OK);
        assert_int_equal(acc_kv_create(&b, &p, NULL), ACCLLM_OK);
        store(a, 0, N_SAVED, zero);
        store(b, 0, N_SAVED, mean);
        kv_bytes from = saved(a, N_SAVED);
        const size_t last = from.n - block, scale = last + codes;
        from.at[scale] = 0; /* the low byte of a scale; with 0x7c above it is infinity */
        load_changed(b, from, scale + 1, 0x7c, false);
        load_changed(b, from, scale + 1, 0x80, false);
        if (bits == 4)
            load_changed(b, from, last + codes + 64, 16, false);
        else
            load_changed(b, from, last, 0x80, false);
        load_changed(b, from, scale + 1, 0x7b, true);
        if (bits == 4)
            load_changed(b, from, last + codes + 64, 15, true);
        else
            load_changed(b, from, last, 0x81, true);
        free(from.at);
        acc_kv_free(&a);
        acc_kv_free(&b);
    }
}

static void what_cannot_be_stored_is_refused(void **state)
{
    (void)state;
    acc_kv_params p = CACHE(.page = 64, .sinks = 4, .window = 250, .chunk = 50, .bits = 4), bad;
    acc_kv *kv;
    float x[HD] = {0};
    assert_int_equal(acc_kv_create(&kv, &p, NULL), ACCLLM_OK);
    x[3] = __builtin_nanf("");
    assert_false(acc_kv_store_value(kv, 0, 0, 100, x));
    assert_false(acc_kv_store_key(kv, 0, 0, 0, x, NULL, NULL));
    x[3] = 3e38f;
    assert_false(acc_kv_store_value(kv, 0, 0, 100, x));
    acc_kv_free(&kv);
    bad = p, bad.page = 48;
    assert_int_equal(acc_kv_create(&kv, &bad, NULL), ACCLLM_E_ARG);
    bad = p, bad.bits = 5;
    assert_int_equal(acc_kv_create(&kv, &bad, NULL), ACCLLM_E_ARG);
    bad = p, bad.near = 257;
    assert_int_equal(acc_kv_create(&kv, &bad, NULL), ACCLLM_E_ARG);
    bad = p, bad.window = 0;
    assert_int_equal(acc_kv_create(&kv, &bad, NULL), ACCLLM_E_ARG);
    bad = p, bad.head_dim = 258;
    assert_int_equal(acc_kv_create(&kv, &bad, NULL), ACCLLM_E_ARG);
    bad = p, bad.n_layers = UINT32_MAX, bad.n_kv_heads = UINT32_MAX, bad.window = 1u << 30;
    assert_int_equal(acc_kv_create(&kv, &bad, NULL), ACCLLM_E_NOMEM);
    assert_null(kv);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_query_sees_sinks_and_window),
        cmocka_unit_test(deep_positions_lose_nothing),
        cmocka_unit_test(what_a_cache_keeps_can_be_seen_again),
        cmocka_unit_test(fill_depends_on_the_position_alone),
        cmocka_unit_test(full_attention_keeps_everything),
        cmocka_unit_test(bytes_read_are_of_the_positions_that_are_there),
        cmocka_unit_test(what_no_cache_holds_is_not_loaded),
        cmocka_unit_test(what_cannot_be_stored_is_refused),
    };
    return cmocka_run_group_tests_name("cache", tests, NULL, NULL);
}
