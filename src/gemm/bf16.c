/* Products of operands rounded to bfloat16 (oneDNN's matmul: AVX-512 BF16, AMX): see gemm.h. */
#include <dnnl.h>
#include <string.h>

#include "core/clones.h"
#include "core/memory.h"
#include "gemm/onednn.h"

struct acc_gemm_bf16 {
    dnnl_engine_t engine;
    dnnl_stream_t *stream; /* one per worker */
    uint32_t n_streams;
    size_t floats;
    uint16_t *a, *b;
};

static bool has(dnnl_cpu_isa_t isa)
{
    return (dnnl_get_effective_cpu_isa() & isa) == isa;
}

const char *acc_gemm_kind(void)
{
    if (has(dnnl_cpu_isa_avx512_core_amx)) return "bfloat16 (amx)";
    if (has(dnnl_cpu_isa_avx512_core_bf16)) return "bfloat16 (avx512)";
    return has(dnnl_cpu_isa_avx512_core) ? "float32 (avx512)" : has(dnnl_cpu_isa_avx2) ? "float32 (avx2)" : "float32";
}

uint64_t acc_gemm_bf16_bytes(size_t floats)
{
    return has(dnnl_cpu_isa_avx512_core_bf16) ? 4 * (uint64_t)floats : 0;
}

void acc_gemm_bf16_free(acc_gemm_bf16 **out)
{
    acc_gemm_bf16 *b = *out;
    if (!b) return;
    for (uint32_t i = 0; b->stream && i < b->n_streams; i++)
        if (b->stream[i]) dnnl_stream_destroy(b->stream[i]);
    if (b->engine) dnnl_engine_destroy(b->engine);
    acc_free(b->stream);
    acc_free(b->a);
    acc_free(b->b);
    acc_free(b);
    *out = NULL;
}

static accllm_status take_all(acc_gemm_bf16 *b, accllm_error *err)
{
    ACC_TRY(acc_alloc((void **)&b->stream, b->n_streams, sizeof(dnnl_stream_t), "matrix products", err));
    ACC_TRY(acc_alloc((void **)&b->a, b->floats, sizeof *b->a, "matrix products", err));
    ACC_TRY(acc_alloc((void **)&b->b, b->floats, sizeof *b->b, "matrix products", err));
    bool ok = dnnl_engine_create(&b->engine, dnnl_cpu, 0) == dnnl_success;
    for (uint32_t i = 0; ok && i < b->n_streams; i++)
        ok = dnnl_stream_create(&b->stream[i], b->engine, dnnl_stream_default_flags) == dnnl_success;
    return ok ? ACCLLM_OK : acc_fail(err, ACCLLM_E_NOMEM, "out of memory: oneDNN does not start");
}

accllm_status acc_gemm_bf16_create(acc_gemm_bf16 **out, acc_pool *pool, size_t floats, accllm_error *err)
{
    *out = NULL;
    if (!has(dnnl_cpu_isa_avx512_core_bf16)) return ACCLLM_OK;
    acc_gemm_bf16 *b = acc_calloc(1, sizeof *b);
    if (!b) return acc_fail(err, ACCLLM_E_NOMEM, "out of memory: matrix products");
    b->floats = floats;
    b->n_streams = acc_pool_size(pool);
    const accllm_status s = take_all(b, err);
    if (s != ACCLLM_OK)
        acc_gemm_bf16_free(&b);
    else
        *out = b;
    return s;
}

/* To nearest, ties to even; a NaN stays one. */
ACC_CLONES static void round_row(const float *x, size_t n, uint16_t *y)
{
    for (size_t i = 0; i < n; i++) {
        uint32_t u;
        memcpy(&u, x + i, sizeof u);
        const uint32_t rounded = (u + 0x7fff + (u >> 16 & 1)) >> 16;
        y[i] = (uint16_t)((u & 0x7fffffff) > 0x7f800000 ? u >> 16 | 0x40 : rounded);
    }
}

typedef struct load_job {
    const float *x[2];
    uint16_t *y[2];
    uint32_t rows[2], cols[2], stride[2];
} load_job;

static void load_worker(void *ctx, uint32_t worker, uint32_t n_workers)
{
    const load_job *j = ctx;
    for (int i = 0; i < 2; i++) {
        uint32_t begin, end;
        acc_share(j->rows[i], worker, n_workers, &begin, &end);
        for (size_t r = begin; r < end; r++)
            round_row(j->x[i] + r * j->stride[i], j->cols[i], j->y[i] + r * j->cols[i]);
    }
}

void acc_onednn_bf16_load(acc_pool *pool, const acc_gemm *g)
{
    load_job j = {{g->a, g->b},
                  {g->bf16->a, g->bf16->b},
                  {g->trans_a ? g->k : g->m, g->trans_b ? g->n : g->k},
                  {g->trans_a ? g->m : g->k, g->trans_b ? g->k : g->n},
                  {g->lda, g->ldb}};
    acc_pool_run(pool, load_worker, &j);
}

static bool describe(dnnl_memory_desc_t *d, uint32_t rows, uint32_t cols, dnnl_data_type_t type, bool trans, size_t ld)
{
    const dnnl_dims_t dims = {rows, cols}, strides = {trans ? 1 : (dnnl_dim_t)ld, trans ? (dnnl_dim_t)ld : 1};
    return dnnl_memory_desc_init_by_strides(d, 2, dims, type, strides) == dnnl_success;
}

/* oneDNN keeps what it compiles for a shape in a cache of its own. */
static dnnl_primitive_t product(const acc_gemm *part, dnnl_engine_t engine, const dnnl_memory_desc_t d[3])
{
    dnnl_matmul_desc_t matmul;
    dnnl_primitive_attr_t attr = NULL;
    dnnl_post_ops_t add = NULL;
    dnnl_primitive_desc_t plan = NULL;
    dnnl_primitive_t p = NULL;
    bool ok = dnnl_matmul_desc_init(&matmul, &d[0], &d[1], NULL, &d[2]) == dnnl_success &&
              dnnl_primitive_attr_create(&attr) == dnnl_success && dnnl_post_ops_create(&add) == dnnl_success;
    if (ok && part->beta != 0)
        ok = dnnl_post_ops_append_sum(add, 1.0f) == dnnl_success &&
             dnnl_primitive_attr_set_post_ops(attr, add) == dnnl_success;
    ok = ok && dnnl_primitive_desc_create(&plan, &matmul, attr, engine, NULL) == dnnl_success;
    if (ok && dnnl_primitive_create(&p, plan) != dnnl_success) p = NULL;
    if (plan) dnnl_primitive_desc_destroy(plan);
    if (add) dnnl_post_ops_destroy(add);
    if (attr) dnnl_primitive_attr_destroy(attr);
    return p;
}

static bool execute(dnnl_primitive_t p, acc_gemm_bf16 *b, uint32_t worker, const dnnl_memory_desc_t d[3],
                    void *const data[3])
{
    const int place[3] = {DNNL_ARG_SRC, DNNL_ARG_WEIGHTS, DNNL_ARG_DST};
    dnnl_exec_arg_t args[3] = {0};
    bool ok = true;
    for (int i = 0; i < 3; i++) {
        args[i].arg = place[i];
        ok = ok && dnnl_memory_create(&args[i].memory, &d[i], b->engine, data[i]) == dnnl_success;
    }
    ok = ok && dnnl_primitive_execute(p, b->stream[worker], 3, args) == dnnl_success &&
         dnnl_stream_wait(b->stream[worker]) == dnnl_success;
    for (int i = 0; i < 3; i++)
        if (args[i].memory) dnnl_memory_destroy(args[i].memory);
    return ok;
}

void acc_onednn_bf16_piece(const acc_gemm *whole, const acc_gemm *part, uint32_t worker)
{
    acc_gemm_bf16 *b = part->bf16;
    const size_t lda = whole->trans_a ? whole->m : whole->k, ldb = whole->trans_b ? whole->k : whole->n;
    const size_t row = (size_t)(part->c - whole->c) / part->ldc, col = (size_t)(part->c - whole->c) % part->ldc;
    void *data[3] = {b->a + (part->trans_a ? row : row * lda), b->b + (part->trans_b ? col * ldb : col), part->c};
    dnnl_memory_desc_t d[3];
    const acc_onednn_scope scope = acc_onednn_enter();
    bool ok = describe(&d[0], part->m, part->k, dnnl_bf16, part->trans_a, lda) &&
              describe(&d[1], part->k, part->n, dnnl_bf16, part->trans_b, ldb) &&
              describe(&d[2], part->m, part->n, dnnl_f32, false, part->ldc);
    dnnl_primitive_t p = ok ? product(part, b->engine, d) : NULL;
    ok = p && execute(p, b, worker, d, data);
    if (p) dnnl_primitive_destroy(p);
    acc_onednn_leave(&scope);
    if (!ok) acc_gemm_plain(part);
}
