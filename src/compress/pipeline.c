/* accllm_compress(): the list of stages, resume, and what is left behind after each kind of end. */
#include <cblas.h>
#include <string.h>

#include "compress/pipeline.h"
#include "core/clock.h"
#include "core/fpmode.h"
#include "core/memory.h"

typedef struct stage {
    const char *name;
    accllm_status (*run)(acc_run *r, accllm_error *err);
} stage;

static const stage stages[] = {
    {"mix", acc_run_mix},   {"embed", acc_run_embed},     {"layers", acc_run_layers},
    {"head", acc_run_head}, {"recover", acc_run_recover}, {"write", acc_run_write},
};

/* What an earlier run finished. It is read once here: from a damaged layer on, work is done again. */
static void count_finished(acc_run *r)
{
    for (; r->resumed < r->hp->n_layers && acc_work_has_layer(&r->work, ACC_WORK_SOLVED, r->resumed); r->resumed++) {
        acc_layer_data d = acc_run_layer_sizes(r, r->resumed);
        accllm_error damage;
        if (acc_work_load_layer(&r->work, ACC_WORK_SOLVED, r->resumed, &d, &damage) != ACCLLM_OK) {
            acc_run_note(r, "warning: %s; layers are done again from here", damage.text);
            break;
        }
        memcpy(r->records + (size_t)r->resumed * ACC_N_LINEAR, d.record, sizeof d.record);
        r->layer_seconds[r->resumed] = d.seconds;
        acc_layer_data_close(&d);
    }
    if (r->resumed < r->hp->n_layers || !acc_work_has_layer(&r->work, ACC_WORK_SOLVED, r->hp->n_layers)) return;
    accllm_error damage;
    r->head_done = acc_run_load_head(r, ACC_WORK_SOLVED, &damage) == ACCLLM_OK;
    if (!r->head_done) acc_run_note(r, "warning: %s; lm_head is done again", damage.text);
    acc_layer_data_close(&r->outside);
}

static accllm_status open_work(acc_run *r, accllm_error *err)
{
    json_t *config = acc_run_config(r, err);
    if (!config) return err ? err->code : ACCLLM_E_IO;
    accllm_status s = acc_work_open(&r->work, r->out_path, config, r->p->resume, err);
    json_decref(config);
    if (s == ACCLLM_OK) s = acc_run_load_mix(r, err);
    if (s == ACCLLM_OK && (r->mixed || !acc_run_has_target(r))) count_finished(r);
    return s;
}

static accllm_status run_stages(acc_run *r, accllm_compress_result *result, accllm_error *err)
{
    ACC_TRY(acc_check_abort(r->rt, err));
    ACC_TRY(acc_run_setup(r, err));
    ACC_TRY(open_work(r, err));
    acc_run_announce(r);
    for (size_t i = 0; i < sizeof stages / sizeof *stages; i++) {
        ACC_TRY(acc_check_abort(r->rt, err));
        ACC_TRY(stages[i].run(r, err));
    }
    ACC_TRY(acc_run_report(r, result, err));
    acc_run_progress(r, 1, "done");
    return ACCLLM_OK;
}

void accllm_compress_params_init(accllm_compress_params *p)
{
    *p = (accllm_compress_params){.struct_size = sizeof *p, .use_mmap = true};
}

accllm_status accllm_compress(accllm_runtime *rt, const char *src_path, const char *out_path,
                              const accllm_compress_params *p, accllm_compress_result *result, accllm_error *err)
{
    if (!rt || !src_path || !out_path || !p || p->struct_size != sizeof *p)
        return acc_fail(err, ACCLLM_E_ARG, "compress: parameters are missing or not initialised");
    acc_run r = {.rt = rt, .p = p, .src_path = src_path, .out_path = out_path, .start = acc_seconds()};
    r.eta_start = r.start;
    r.work.lock = -1;
    r.loaded_layer = UINT32_MAX;
    const uint64_t mode = acc_fp_enter();
    openblas_set_num_threads(1); /* the same bits whatever the number of threads */
    accllm_status s = run_stages(&r, result, err);
    acc_layer_data_close(&r.layer);
    acc_layer_data_close(&r.outside);
    /* An interrupted run's finished layers and measured formats stay for --resume; a folder without is of no use. */
    const bool measured = acc_run_has_target(&r) && r.mixed;
    acc_work_close(&r.work,
                   s == ACCLLM_OK || (r.work.dir && !measured && !acc_work_has_layer(&r.work, ACC_WORK_SOLVED, 0)));
    if (r.start_source) r.start_source->close(r.start_source);
    if (r.src) r.src->close(r.src);
    acc_calibration_free(&r.cal);
    acc_packed_free(&r.start_file);
    acc_free(r.hidden);
    acc_free(r.records);
    acc_free(r.layer_seconds);
    acc_free(r.shapes);
    acc_free(r.recovery.history);
    acc_fp_leave(mode);
    return s;
}
