/* Preparing a packed model for a kernel set: its own layout of the matrices where it wants one. */
#include <sys/mman.h>
#include <unistd.h>

#include "core/memory.h"
#include "core/runtime.h"
#include "kernels/kernels.h"
#include "model/model.h"

typedef struct repack_job {
    const acc_kernels *k;
    acc_packed *m;
    uint8_t *dst; /* NULL: only count */
    size_t used;
    uint32_t n, worker, n_workers;
    bool drop; /* give the pages of what was repacked back */
} repack_job;

/* Gives the system the whole pages inside [p, p + bytes). A file's are read again when touched; a random model's turn
 * to zeros, which nobody reads. */
static void drop_pages(const uint8_t *p, size_t bytes)
{
    long page = sysconf(_SC_PAGESIZE);
    if (page <= 0) return;
    uintptr_t from = acc_round_up((uintptr_t)p, (size_t)page),
              to = ((uintptr_t)p + bytes) / (size_t)page * (size_t)page;
    if (from < to) (void)madvise((void *)from, to - from, MADV_DONTNEED);
}

static void visit(repack_job *j, acc_weight *w, bool drop)
{
    size_t bytes = j->k->w[w->format].repack ? j->k->w[w->format].repack_bytes(w) : 0;
    if (bytes == 0) return;
    if (j->dst && j->n++ % j->n_workers == j->worker) {
        j->k->w[w->format].repack(w, j->dst + j->used);
        w->repacked = j->dst + j->used;
        if (drop) drop_pages(w->data, acc_weight_tiles_bytes(w));
    }
    j->used += acc_round_up(bytes, ACC_ALIGN);
}

/* Every matrix that is multiplied; the embedding is only read row by row. */
static void visit_all(repack_job *j)
{
    for (uint32_t l = 0; l < j->m->hp.n_layers; l++) {
        acc_packed_layer *p = &j->m->layers[l];
        for (int i = 0; i < ACC_N_LINEAR; i++) visit(j, &p->linear[i], j->drop);
    }
    visit(j, &j->m->output, j->drop && !j->m->hp.tied);
}

static void repack_share(void *ctx, uint32_t worker, uint32_t n_workers)
{
    repack_job j = *(const repack_job *)ctx;
    j.worker = worker;
    j.n_workers = n_workers;
    visit_all(&j);
}

accllm_status acc_model_prepare(acc_packed *m, accllm_runtime *rt, accllm_error *err)
{
    repack_job j = {
        .k = rt->kernels, .m = m, .n_workers = 1, .drop = m->file ? acc_gguf_mapped(m->file) : m->memory != NULL};
    visit_all(&j);
    if (j.used == 0) return ACCLLM_OK;
    m->prepared = acc_pages_alloc(j.used);
    if (!m->prepared)
        return acc_fail(err, ACCLLM_E_NOMEM, "out of memory: repacked weights (%.1f MB)", (double)j.used / 1e6);
    m->prepared_bytes = j.used;
    j = (repack_job){.k = j.k, .m = m, .dst = m->prepared, .drop = j.drop};
    acc_pool_run(rt->pool, repack_share, &j);
    return ACCLLM_OK;
}

void acc_model_release(acc_packed *m)
{
    acc_pages_free(m->prepared, m->prepared_bytes);
    m->prepared = NULL;
    m->prepared_bytes = 0;
}
