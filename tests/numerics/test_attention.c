/* The integer exponential, one attention segment and the merge: against double arithmetic and exact softmax. */
#include "common.h"

#include "kernels/kernels.h"
#include "kernels/kv_layout.h"

#define MAX_POS 1024
#define MAX_DIM 128

/* Every v that step 2 can reach. */
static void exponential_over_its_range(void **state)
{
    (void)state;
    uint32_t last = 0;
    double worst = 0;
    for (int32_t v = -16 * 65536; v <= 0; v++) {
        int32_t n, m;
        acc_exp2_parts((float)v, &n, &m);
        double exact = exp2(v / 65536.0);
        assert_true(m >= 32768 && m <= 65536 && n == (int32_t)floor(v / 65536.0));
        double error = fabs(ldexp(m, n - 15) / exact - 1);
        worst = fmax(worst, error);
        uint32_t e = acc_exp2_u16((float)v);
        assert_true(fabs(e - fmin(65535, 65536 * exact)) <= 0.5 + 65536 * exact * 4e-5);
        assert_true(e >= last && e <= 65535);
        last = e;
        double merge = acc_exp2_merge((float)v);
        assert_true(merge == ldexp(m, n));
    }
    print_message("exponential: worst relative error %.3g\n", worst);
    assert_true(worst < 4e-5);
    assert_int_equal(acc_exp2_u16(0), 65535);
    assert_int_equal(acc_exp2_u16(-65536), 32768);
    assert_int_equal(acc_exp2_u16(-16.0f * 65536), 1);
    assert_int_equal(acc_exp2_u16(nextafterf(-16.0f * 65536, -INFINITY)), 0);
    assert_int_equal(acc_exp2_u16(-INFINITY), 0);
    assert_int_equal(acc_exp2_u16(NAN), 0);
}

static void merge_exponential_is_exact_scaling(void **state)
{
    (void)state;
    for (int32_t v = -60 * 65536; v <= 0; v += 13) {
        double e = acc_exp2_merge((float)v);
        assert_true(fabs(e / (32768 * exp2((double)(float)v / 65536)) - 1) < 4.1e-5);
    }
    assert_true(acc_exp2_merge(-60.0f * 65536) == 0x1p-45f);
    assert_true(acc_exp2_merge(nextafterf(-60.0f * 65536, -INFINITY)) == 0);
    assert_true(acc_exp2_merge(NAN) == 0 && acc_exp2_merge(-INFINITY) == 0);
    assert_true(acc_exp2_merge(0) == 32768);
}

/* A segment of up to MAX_POS positions in one run of lines, cut into two pieces. */
typedef struct fixture {
    uint8_t k[MAX_POS * MAX_DIM], v[MAX_POS * MAX_DIM];
    uint16_t kscale[MAX_POS], vscale[MAX_POS];
    uint8_t kzero[MAX_POS], vzero[MAX_POS];
    int8_t q[2][MAX_DIM];
    acc_attn_query queries[2];
    acc_attn_piece pieces[2];
    acc_attn_segment seg;
    float max[1], o[MAX_DIM], scratch[MAX_POS + 32];
    uint32_t l[1];
    double exact_k[MAX_POS][MAX_DIM], exact_v[MAX_POS][MAX_DIM]; /* what the codes stand for */
} fixture;

static void set_up(fixture *f, uint32_t n, uint32_t head_dim, uint32_t bits_)
{
    memset(f, 0, sizeof *f);
    size_t cut = n > 16 ? n / 32 * 16 : n, bytes = cut / ACC_KV_BLOCK *
                                                   (bits_ == 4 ? acc_kv4_block_bytes(acc_kv_dims(head_dim))
                                                               : acc_kv8_block_bytes(acc_kv_dims(head_dim)));
    for (int i = 0; i < 2; i++) {
        size_t from = i ? cut : 0;
        f->pieces[i] = (acc_attn_piece){.k = f->k + (i ? bytes : 0),
                                        .v = f->v + (i ? bytes : 0),
                                        .kscale = f->kscale + from,
                                        .vscale = f->vscale + from,
                                        .kzero = bits_ == 4 ? f->kzero + from : NULL,
                                        .vzero = bits_ == 4 ? f->vzero + from : NULL,
                                        .n = (uint32_t)(i ? n - cut : cut),
                                        .variant = (uint32_t)i};
        f->queries[i] = (acc_attn_query){.q = f->q[i], .c = 0.01f, .beta = i ? 0.5f : 0};
    }
    f->seg = (acc_attn_segment){.pieces = f->pieces,
                                .n_pieces = cut < n ? 2 : 1,
                                .first = 0,
                                .end = n,
                                .head_dim = head_dim,
                                .n_heads = 1,
                                .queries = f->queries,
                                .max = f->max,
                                .l = f->l,
                                .o = f->o};
}

static void put(fixture *f, uint32_t pos, uint32_t bits_, const float *k, const float *v)
{
    uint32_t dim = f->seg.head_dim;
    int8_t s[MAX_DIM];
    uint8_t u[MAX_DIM];
    for (int what = 0; what < 2; what++) {
        uint16_t *scale = what ? &f->vscale[pos] : &f->kscale[pos];
        uint8_t *zero = what ? &f->vzero[pos] : &f->kzero[pos];
        double *exact = what ? f->exact_v[pos] : f->exact_k[pos];
        if (bits_ == 4) {
            assert_true(acc_kv4(what ? v : k, dim, u, scale, zero));
            if (what)
                acc_kv4_write_value(f->v, pos, dim, u);
            else
                acc_kv4_write_key(f->k, pos, dim, u);
        } else {
            assert_true(acc_kv8(what ? v : k, dim, s, scale));
            if (what)
                acc_kv8_write_value(f->v, pos, dim, s);
            else
                acc_kv8_write_key(f->k, pos, dim, s);
        }
        for (uint32_t d = 0; d < dim; d++)
            exact[d] = (double)acc_f16_to_f32(*scale) * (bits_ == 4 ? (int)u[d] - (int)*zero : s[d]);
    }
}

static void run(fixture *f, uint32_t bits_)
{
    acc_kernels k;
    acc_kernels_init_scalar(&k);
    for (int i = 0; i < 2; i++) {
        f->queries[i].sum = 0;
        for (uint32_t d = 0; d < f->seg.head_dim; d++) f->queries[i].sum += f->q[i][d];
    }
    (bits_ == 4 ? k.attn4 : k.attn8)(&f->seg, f->scratch);
}

/* Softmax attention in double over the codes' values; relative error of the output vector. */
static double error_against_softmax(const fixture *f)
{
    static double s[MAX_POS];
    uint32_t dim = f->seg.head_dim;
    double max = -1e300, sum = 0, err = 0, norm = 0;
    for (uint32_t i = f->seg.first; i < f->seg.end; i++) {
        uint32_t variant = i >= f->pieces[0].n;
        s[i] = 0;
        for (uint32_t d = 0; d < dim; d++) s[i] += f->q[variant][d] * f->exact_k[i][d];
        s[i] = s[i] * (double)f->queries[variant].c + (double)f->queries[variant].beta;
        max = fmax(max, s[i]);
    }
    assert_true(fabs(max - f->max[0]) <= 1e-5 * fmax(1, fabs(max)));
    for (uint32_t i = f->seg.first; i < f->seg.end; i++) sum += s[i] = exp(s[i] - max);
    for (uint32_t d = 0; d < dim; d++) {
        double o = 0, got = (double)f->o[d] * 2 / f->l[0] / 2;
        for (uint32_t i = f->seg.first; i < f->seg.end; i++) o += s[i] * f->exact_v[i][d];
        err += (got - o / sum) * (got - o / sum);
        norm += o / sum * o / sum;
    }
    return norm > 0 ? sqrt(err / norm) : sqrt(err);
}

static fixture f; /* large */

static void random_case(uint64_t seed, uint32_t n, uint32_t dim, uint32_t bits_, float sharp)
{
    float k[MAX_DIM], v[MAX_DIM];
    set_up(&f, n, dim, bits_);
    memset(f.k, 0xff, sizeof f.k); /* what is beyond head_dim must not matter */
    memset(f.v, 0xff, sizeof f.v);
    for (uint32_t i = 0; i < 2 * dim; i++) f.q[i / dim][i % dim] = (int8_t)(acc_random(seed, i) % 255 - 127);
    for (uint32_t i = 0; i < 2; i++) f.queries[i].c = sharp / sqrtf((float)dim) / 64;
    for (uint32_t pos = 0; pos < n; pos++) {
        for (uint32_t d = 0; d < dim; d++) {
            k[d] = normal(seed + 1, pos * dim + d);
            v[d] = normal(seed + 2, pos * dim + d) + 0.3f;
        }
        put(&f, pos, bits_, k, v);
    }
}

static void segment_is_near_exact_softmax(void **state)
{
    (void)state;
    static const uint32_t dims[] = {16, 32, 48, 64, 80, 128};
    double worst = 0;
    for (uint32_t t = 0; t < 48; t++) {
        uint32_t bits_ = t % 2 ? 4 : 8, dim = dims[t / 2 % 6], n = (t % 3 == 0 ? 16 : t % 3 == 1 ? 512 : 176);
        random_case(t, n, dim, bits_, t % 4 < 2 ? 1 : 4);
        if (t >= 12) {
            f.seg.first = (uint32_t)(acc_random(99, t) % n);
            f.seg.end = f.seg.first + 1 + (uint32_t)(acc_random(98, t) % (n - f.seg.first));
        }
        run(&f, bits_);
        double e = error_against_softmax(&f);
        worst = fmax(worst, e);
        if (e > 0.02) fail_msg("case %u: %g", t, e);
    }
    print_message("attention of a segment: worst relative error %.3g\n", worst);
}

/* What stands outside first..end, scales and codes alike, changes no bit. */
static void masked_positions_take_no_part(void **state)
{
    (void)state;
    for (uint32_t bits_ = 4; bits_ <= 8; bits_ += 4)
        for (uint32_t first = 0; first < 40; first += 13)
            for (uint32_t end = first + 1; end <= 96; end += 19) {
                float o[MAX_DIM], max;
                uint32_t l;
                random_case(first + end, 96, 32, bits_, 2);
                f.seg.first = first;
                f.seg.end = end;
                run(&f, bits_);
                memcpy(o, f.o, sizeof o);
                max = f.max[0];
                l = f.l[0];
                float big[32];
                for (uint32_t d = 0; d < 32; d++) big[d] = d % 2 ? 1000 : -999;
                for (uint32_t i = 0; i < 96; i++) {
                    if (i >= first && i < end) continue;
                    put(&f, i, bits_, big, big);
                    f.kscale[i] = 0x7c00;
                    f.vscale[i] = 0x7e00;
                }
                run(&f, bits_);
                assert_memory_equal(o, f.o, sizeof o);
                assert_int_equal(bits(max), bits(f.max[0]));
                assert_int_equal(l, f.l[0]);
            }
}

static void zero_keys_and_values(void **state)
{
    (void)state;
    float zero[MAX_DIM] = {0}, v[MAX_DIM];
    for (uint32_t bits_ = 4; bits_ <= 8; bits_ += 4) {
        set_up(&f, 32, 32, bits_);
        memset(f.q, 100, sizeof f.q);
        f.queries[0].beta = f.queries[1].beta = -3.5f;
        for (uint32_t d = 0; d < 32; d++) v[d] = (float)d - 10;
        for (uint32_t i = 0; i < 32; i++) put(&f, i, bits_, zero, v);
        run(&f, bits_);
        assert_true(f.max[0] == -3.5f && f.l[0] == 32 * 65535u);
        for (uint32_t d = 0; d < 32; d++) assert_true(fabs(f.o[d] / f.l[0] - f.exact_v[0][d]) <= 1e-4 * 22);
        for (uint32_t i = 0; i < 32; i++) put(&f, i, bits_, v, zero);
        run(&f, bits_);
        for (uint32_t d = 0; d < 32; d++) assert_int_equal(bits(f.o[d]), 0);
        assert_int_equal(f.l[0], 32 * 65535u);
    }
}

/*
 * Equal scores make every e 65535, so that r = rne(32640 * vscale) when the largest scale is 1; a value that is one in
 * dimension j of position j alone shows p << x of each position.
 */
static void strips_take_the_least_shift(void **state)
{
    (void)state;
    static const uint32_t edges[] = {0,   1,    127,  254,  255,  256,  509,   510,  511,
                                     512, 1019, 1021, 1022, 4078, 8159, 16320, 32640};
    int8_t one[32];
    set_up(&f, 32, 32, 8);
    for (uint32_t i = 0; i < 32; i++) {
        memset(one, 0, sizeof one);
        one[i] = 1;
        acc_kv8_write_value(f.v, i, 32, one);
    }
    f.queries[1].beta = 0;
    for (size_t t = 0; t < sizeof edges / sizeof *edges; t++) {
        uint32_t r[16], max = 0, x = 0;
        for (uint32_t i = 0; i < 16; i++) f.vscale[i] = 0x3c00;
        for (uint32_t i = 0; i < 16; i++) {
            uint16_t h = acc_f32_to_f16((float)edges[t] / (float)(i + 1) / 32640.0f);
            f.vscale[16 + i] = h;
            r[i] = (uint32_t)lrint((double)acc_f16_to_f32(h) * 32640.0);
            if (r[i] > max) max = r[i];
        }
        while ((max + (1u << x) / 2) / (1u << x) > 255) x++;
        assert_true(x <= 7);
        run(&f, 8);
        float unit = 65535.0f / 32640.0f;
        for (uint32_t i = 0; i < 16; i++) {
            uint32_t p = (r[i] + (1u << x) / 2) / (1u << x);
            assert_int_equal(bits(f.o[16 + i]), bits((float)(p << x) * unit));
            assert_int_equal(bits(f.o[i]), bits((float)(255u << 7) * unit));
        }
    }
}

/* The largest sums of step 5: 4,096 positions at full weight would reach 2^31 in a float of w; here 512 of 8 bits. */
static void full_segments_do_not_overflow(void **state)
{
    (void)state;
    int8_t top[32];
    memset(top, 127, sizeof top);
    set_up(&f, 512, 32, 8);
    for (uint32_t i = 0; i < 512; i++) {
        f.vscale[i] = 0x3c00;
        acc_kv8_write_value(f.v, i, 32, top);
    }
    f.queries[1].beta = 0;
    run(&f, 8);
    for (uint32_t d = 0; d < 32; d++)
        assert_int_equal(bits(f.o[d]), bits((float)(512 * 32640 * 127) * (65535.0f / 32640.0f)));
}

static void merge_is_softmax_over_segments(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 200; seed++) {
        acc_attn_part parts[5];
        float o[5][8], out[8];
        uint32_t n = 1 + (uint32_t)(acc_random(seed, 0) % 5);
        double max = -1e300, den = 0;
        for (uint32_t i = 0; i < n; i++) {
            for (uint32_t d = 0; d < 8; d++) o[i][d] = normal(seed, i * 8 + d) * 1e5f;
            parts[i] =
                (acc_attn_part){.max = normal(seed + 7, i) * (seed % 2 ? 2 : 15), .l = 70000 + 999 * i, .o = o[i]};
            max = fmax(max, parts[i].max);
        }
        acc_attn_merge(parts, n, 8, out);
        for (uint32_t i = 0; i < n; i++) den += exp(parts[i].max - max) * parts[i].l;
        for (uint32_t d = 0; d < 8; d++) {
            double num = 0, size = 0;
            for (uint32_t i = 0; i < n; i++) {
                num += exp(parts[i].max - max) * (double)o[i][d];
                size += fabs(exp(parts[i].max - max) * (double)o[i][d]);
            }
            assert_true(fabs(out[d] - num / den) <= 1e-4 * size / den + 1e-7);
        }
    }
    /* Far below: 59 halvings still count, 61 do not. */
    float a[1] = {0}, b[1] = {0x1p+76f}, out[1];
    acc_attn_part two[2] = {{.max = 0, .l = 65536, .o = a}, {.max = -40.8f, .l = 0, .o = b}};
    acc_attn_merge(two, 2, 1, out);
    assert_true(out[0] > 1 && out[0] < 40);
    two[1].max = -42.3f;
    acc_attn_merge(two, 2, 1, out);
    assert_true(out[0] == 0);
    two[0].max = NAN; /* never a crash; the vector is refused later */
    two[1].max = -INFINITY;
    acc_attn_merge(two, 2, 1, out);
    assert_true(isnan(out[0]));
}

static void query_is_rotated_transformed_and_coded(void **state)
{
    (void)state;
    acc_kernels k;
    acc_kernels_init_scalar(&k);
    for (uint32_t dim = 16; dim <= 256; dim += dim == 80 ? 48 : dim >= 128 ? 128 : 16) {
        float q[256], x[256], mu[256], cos[128], sin[128], scale;
        int8_t q8[256], expect[256];
        uint64_t steps[128];
        for (uint32_t j = 0; j < dim; j++) {
            q[j] = x[j] = normal(dim, j);
            mu[j] = normal(dim + 1, j);
            steps[j / 2] = acc_random(3, j);
        }
        acc_rope_angles(1000003, steps, dim, cos, sin);
        uint32_t block = acc_hadamard_block(dim), dp = acc_kv_dims(dim);
        acc_attn_query out;
        assert_true(k.attn_query(q, cos, sin, mu, dim, block, 0.125f, q8, &out));
        acc_rope_rotate(x, cos, sin, dim);
        assert_int_equal(bits(out.beta), bits(acc_sum_products(x, mu, dim) * 0.125f));
        acc_hadamard(x, dim, block);
        assert_true(acc_a8(x, dim, dp, expect, &scale));
        assert_memory_equal(q8, expect, dp);
        assert_int_equal(bits(out.c), bits(scale * (0.125f / (float)block)));
        int32_t sum = 0;
        for (uint32_t j = 0; j < dim; j++) sum += q8[j];
        assert_true(out.sum == sum && out.q == q8);
        assert_true(k.attn_query(q, cos, sin, NULL, dim, 1, 0.125f, q8, &out) && out.beta == 0);
        q[dim - 1] = NAN;
        assert_false(k.attn_query(q, cos, sin, mu, dim, block, 0.125f, q8, &out));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(exponential_over_its_range),
        cmocka_unit_test(merge_exponential_is_exact_scaling),
        cmocka_unit_test(segment_is_near_exact_softmax),
        cmocka_unit_test(masked_positions_take_no_part),
        cmocka_unit_test(zero_keys_and_values),
        cmocka_unit_test(strips_take_the_least_shift),
        cmocka_unit_test(full_segments_do_not_overflow),
        cmocka_unit_test(merge_is_softmax_over_segments),
        cmocka_unit_test(query_is_rotated_transformed_and_coded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
