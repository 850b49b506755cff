/* Mixed precision: the choice under a budget, and whole runs with a target. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <math.h>

#include "compress/mix.h"
#include "core/hash.h"
#include "fixture.h"
#include "model/packed.h"

enum { N = 6 };

static void random_costs(acc_cost of[N][ACC_MIX_OPTIONS], uint64_t key)
{
    static const uint64_t bytes[ACC_MIX_OPTIONS] = {19, 21, 42, 44, 81};
    for (uint32_t i = 0; i < N; i++) {
        const double scale = 1 + 50 * acc_random_unit(key, i);
        const uint64_t size = 1 + acc_random(key, 100 + i) % 7;
        double loss = scale;
        for (int o = 0; o < ACC_MIX_OPTIONS; o++) {
            of[i][o] = (acc_cost){bytes[o] * size, loss * (double)size};
            const double least = o == ACC_MIX_W4_64 ? 0.6 : 0.05; /* groups differ less than formats */
            loss *= least + (o == ACC_MIX_W4_64 ? 0.3 : 0.5) * acc_random_unit(key, 200 + 5 * i + (uint64_t)o);
        }
    }
}

static double loss_of(const acc_costs *c, const uint8_t *option, uint64_t *bytes)
{
    double loss = 0;
    *bytes = 0;
    for (uint32_t i = 0; i < c->n; i++) {
        loss += c->of[i][option[i]].loss;
        *bytes += c->of[i][option[i]].bytes;
    }
    return loss;
}

/* The least loss of all choices that fit. */
static double best_loss(const acc_costs *c, uint64_t budget)
{
    double best = INFINITY;
    uint8_t option[N] = {0};
    for (uint32_t at = 0; at < N;) {
        uint64_t bytes;
        const double loss = loss_of(c, option, &bytes);
        if (bytes <= budget && loss < best) best = loss;
        for (at = 0; at < N && ++option[at] == ACC_MIX_OPTIONS; at++) option[at] = 0;
    }
    return best;
}

static void the_choice_is_near_the_best(void **state)
{
    (void)state;
    acc_cost of[N][ACC_MIX_OPTIONS];
    uint8_t choice[N];
    double sum = 0, sum_best = 0;
    for (uint64_t key = 0; key < 30; key++) {
        random_costs(of, key);
        const acc_costs c = {N, of};
        uint64_t least = 0, most = 0, bytes;
        for (uint32_t i = 0; i < N; i++) least += of[i][ACC_MIX_W2S].bytes, most += of[i][ACC_MIX_W8].bytes;
        uint64_t found;
        assert_false(acc_mix_choose(&c, least - 1, choice, &found));
        assert_int_equal(found, least);
        for (int step = 0; step <= 4; step++) {
            const uint64_t budget = least + (most - least) * (uint64_t)step / 4;
            assert_true(acc_mix_choose(&c, budget, choice, &found));
            const double loss = loss_of(&c, choice, &bytes), best = best_loss(&c, budget);
            assert_true(bytes <= budget);
            assert_true(step != 0 || loss == best);
            assert_true(step != 4 || bytes == most);
            sum += loss;
            sum_best += best;
        }
    }
    assert_true(sum < 1.15 * sum_best); /* greedy: a knapsack's last piece may not fit */
}

static void of_equal_sizes_the_better_is_chosen(void **state)
{
    (void)state;
    acc_cost of[2][ACC_MIX_OPTIONS] = {{{20, 5}, {20, 3}, {40, 1}, {42, 0.8}, {80, 0}},
                                       {{20, 3}, {20, 5}, {40, 1}, {42, 0.8}, {80, 0}}};
    const acc_costs c = {2, of};
    uint8_t choice[2];
    uint64_t least;
    assert_true(acc_mix_choose(&c, 40, choice, &least));
    assert_int_equal(least, 40);
    assert_true(choice[0] == 1 && choice[1] == 0);
}

static void the_tighter_of_two_targets_counts(void **state)
{
    (void)state;
    tiny_options o = tiny_defaults();
    fixture f;
    accllm_compress_result r;
    start(&f, &o);
    f.p.target_bpw = 3;
    f.p.target_bytes = 1 << 30;
    must_compress(&f, &r);
    assert_true(r.bits_per_weight <= 3);
    const uint64_t bytes = r.file_bytes;
    f.p.target_bpw = 8;
    f.p.target_bytes = bytes;
    must_compress(&f, &r);
    assert_true(r.file_bytes <= bytes);
    finish(&f);
}

static void a_target_is_met_and_resumed(void **state)
{
    (void)state;
    tiny_options o = tiny_defaults();
    fixture f;
    accllm_compress_result r;
    o.n_layers = 3;
    start(&f, &o);
    double last = 0;
    for (int i = 0; i < 3; i++) {
        f.p.target_bpw = 2.6 + 1.5 * i;
        must_compress(&f, &r);
        assert_true(r.bits_per_weight <= f.p.target_bpw && r.bits_per_weight > f.p.target_bpw - 0.9);
        assert_true(r.bits_per_weight > last);
        last = r.bits_per_weight;
        assert_non_null(strstr(f.watch.notes, "mixed precision, matrices: "));
        assert_false(f.watch.fell);
    }
    f.p.target_bpw = 3;
    must_compress(&f, NULL);
    acc_file want = read_output(&f);
    const unsigned calls = f.watch.calls;
    for (unsigned stop = 1; stop < calls; stop += 4) interrupt_and_resume(&f, stop, &want, &r);
    /* What was measured is kept as soon as it is whole, before any layer is. */
    bool kept = false;
    for (unsigned stop = calls; stop-- > 1 && !kept;) {
        f.p.resume = false;
        f.watch.stop_at = stop;
        assert_int_equal(compress(&f, NULL), ACCLLM_E_CANCELLED);
        accllm_runtime_clear_abort(f.rt);
        kept = exists(beside(&f, ".work/mix.json")) && !exists(beside(&f, ".work/layer-0000.bin"));
    }
    assert_true(kept);
    f.watch.stop_at = 0;
    f.p.resume = true;
    must_compress(&f, NULL);
    assert_true(f.watch.calls < calls);
    same_output(&f, &want);
    acc_file_close(&want);
    finish(&f);
}

static acc_format head_of(const fixture *f)
{
    acc_packed *m;
    assert_int_equal(acc_packed_open(&m, f->out, true, true, NULL), ACCLLM_OK);
    const acc_format format = m->output.format;
    assert_int_equal(m->embd.format, format);
    acc_packed_free(&m);
    return format;
}

/* Of a file's size, lm_head's format is a choice like a matrix's: 4 bits in a small file, 8 in a large one. */
static void a_size_decides_on_the_head_too(void **state)
{
    (void)state;
    for (int tied = 0; tied < 2; tied++) {
        tiny_options o = tiny_defaults();
        fixture f;
        accllm_compress_result large, r;
        o.tied = tied;
        start(&f, &o);
        f.p.target_bytes = 1 << 24;
        must_compress(&f, &large);
        assert_int_equal(head_of(&f), ACC_FMT_W8);
        assert_non_null(strstr(f.watch.notes, "embedding and head w8; estimated cost"));
        f.p.target_bytes = large.file_bytes * 6 / 10;
        must_compress(&f, &r);
        assert_int_equal(head_of(&f), ACC_FMT_W4);
        assert_true(r.file_bytes <= f.p.target_bytes);
        acc_file want = read_output(&f);
        const unsigned calls = f.watch.calls;
        for (unsigned i = 1; i < 5; i++) interrupt_and_resume(&f, calls * i / 5, &want, NULL);
        acc_file_close(&want);
        f.p.resume = false;
        f.p.head = "w8";
        must_compress(&f, &r);
        assert_int_equal(head_of(&f), ACC_FMT_W8);
        assert_null(strstr(f.watch.notes, "embedding and head w8; estimated cost"));
        assert_true(r.file_bytes <= f.p.target_bytes);
        finish(&f);
    }
}

static void targets_that_cannot_be_met(void **state)
{
    (void)state;
    tiny_options o = tiny_defaults();
    fixture f;
    accllm_compress_result r;
    start(&f, &o);
    f.p.target_bpw = 1.1;
    assert_int_equal(compress(&f, NULL), ACCLLM_E_ARG);
    assert_non_null(strstr(f.err.text, "the smallest possible are"));
    f.p.target_bpw = 0;
    f.p.target_bytes = 100;
    assert_int_equal(compress(&f, NULL), ACCLLM_E_ARG);
    assert_non_null(strstr(f.err.text, "alone take about"));
    f.p.target_bytes = 1 << 20; /* more than there is: all W8 */
    must_compress(&f, &r);
    assert_true(r.bits_per_weight > 8);
    const uint64_t whole = r.file_bytes;
    f.p.target_bytes = whole - 10000; /* a file of a given size is not larger, and not much smaller */
    must_compress(&f, &r);
    assert_true(r.file_bytes <= f.p.target_bytes && r.file_bytes > f.p.target_bytes - 30000);
    f.p.weights = "w4";
    assert_int_equal(compress(&f, NULL), ACCLLM_E_ARG);
    f.p.weights = NULL;
    f.p.method = "rtn";
    assert_int_equal(compress(&f, NULL), ACCLLM_E_ARG);
    finish(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_choice_is_near_the_best),       cmocka_unit_test(of_equal_sizes_the_better_is_chosen),
        cmocka_unit_test(the_tighter_of_two_targets_counts), cmocka_unit_test(a_target_is_met_and_resumed),
        cmocka_unit_test(targets_that_cannot_be_met),        cmocka_unit_test(a_size_decides_on_the_head_too),
    };
    return cmocka_run_group_tests_name("mix", tests, NULL, NULL);
}
