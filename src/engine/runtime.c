/* Creating a runtime: kernel table and thread pool. */
#include <string.h>

#include "core/fpmode.h"
#include "core/memory.h"
#include "core/runtime.h"
#include "kernels/kernels.h"

void accllm_runtime_params_init(accllm_runtime_params *p)
{
    memset(p, 0, sizeof *p);
    p->struct_size = sizeof *p;
}

accllm_status accllm_runtime_create(accllm_runtime **out, const accllm_runtime_params *p, accllm_error *err)
{
    accllm_runtime_params params;
    *out = NULL;
    accllm_runtime_params_init(&params);
    if (p && p->struct_size != sizeof params)
        return acc_fail(err, ACCLLM_E_ARG, "runtime parameters were not set up by accllm_runtime_params_init()");
    if (p) params = *p;
    accllm_runtime *rt = acc_calloc(1, sizeof *rt);
    acc_kernels *k = acc_calloc(1, sizeof *k);
    accllm_status status = ACCLLM_OK;
    if (!rt || !k) {
        status = acc_fail(err, ACCLLM_E_NOMEM, "out of memory: runtime");
        goto fail;
    }
    ACC_TRY_GOTO(acc_kernels_select(k, params.isa, err));
    rt->log = params.log;
    rt->log_user = params.log_user;
    uint64_t mode = acc_fp_enter(); /* the workers inherit it */
    status = acc_pool_create(&rt->pool, params.n_threads ? params.n_threads : acc_default_threads(), err);
    acc_fp_leave(mode);
    if (status != ACCLLM_OK) goto fail;
    rt->kernels = k;
    *out = rt;
    return ACCLLM_OK;
fail:
    acc_free(rt);
    acc_free(k);
    return status;
}

void accllm_runtime_free(accllm_runtime **rt)
{
    if (!rt || !*rt) return;
    acc_pool_free(&(*rt)->pool);
    acc_free((void *)(*rt)->kernels);
    acc_free(*rt);
    *rt = NULL;
}

const char *accllm_runtime_isa(const accllm_runtime *rt)
{
    return rt->kernels->name;
}

uint32_t accllm_runtime_threads(const accllm_runtime *rt)
{
    return acc_pool_size(rt->pool);
}
