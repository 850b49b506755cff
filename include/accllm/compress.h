/*
 * The compressor: calibration text -> Hessians -> joint 2:4 + 2-bit (or dense W2, W4, W8) codes, layer by layer in
 * bounded memory, resumable after a kill at any moment. Also plain GGUF export.
 */
#ifndef ACCLLM_COMPRESS_H
#define ACCLLM_COMPRESS_H

#include "runtime.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct accllm_progress {
    const char *stage;   /* "calibrate", "layer 3/30: ffn_down" */
    double fraction;     /* of the whole work, 0..1 */
    double seconds_left; /* < 0: not known yet */
} accllm_progress;

typedef struct accllm_compress_params {
    size_t struct_size;
    const char *weights;     /* "w2s", "w2", "w4" (default), "w8"; NULL with a target */
    double target_bpw;       /* > 0: mixed formats with at most so many bits per linear weight */
    uint64_t target_bytes;   /* > 0: mixed formats with a file of at most about that size */
    const char *method;      /* "rtn" or "obs" (default) */
    const char *head;        /* embedding and lm_head: "w8" or "w4"; NULL: with start_path the file's, with target_bytes
                              * alone the better, else "w8" */
    uint32_t group;          /* 0: by design section 2; 32, 64, 128 */
    const char *calib_path;  /* NULL: the built-in text */
    uint32_t calib_tokens;   /* 0: 32768, with "rtn" 4096 */
    uint32_t page;           /* RoPE page; 0: 256 */
    uint32_t kv_bits;        /* 0: 4 from head_dim 32 on, else 8 */
    uint64_t recover_tokens; /* tokens of distillation after the solver (calibration text); 0: none */
    uint32_t recover_length; /* tokens of a training sequence, 32 to 4096; 0: 256 */
    double recover_rate;     /* learning rate relative to each matrix's rms; 0: by the format */
    const char *start_path;  /* recovery starts from this packed file of the same model instead of the solver's codes,
                              * with its formats (weights NULL; another head is made anew); NULL: the solver's */
    bool resume;
    bool use_mmap;
    void (*progress)(void *user, const accllm_progress *p);
    void (*note)(void *user, const char *line); /* what will be done, memory and time, beforehand; warnings */
    void *user;
} accllm_compress_params;

typedef struct accllm_compress_result {
    double bits_per_weight, bits_per_weight_total, seconds;
    uint64_t file_bytes, peak_rss_bytes;
    uint32_t resumed_layers; /* layers taken over from an interrupted run */
} accllm_compress_result;

ACCLLM_API void accllm_compress_params_init(accllm_compress_params *p);
/* Writes out_path (to a temporary name, synced, renamed when whole) and out_path with .report.json and .report.html.
 * While it works, `out_path.work/` holds finished layers and the formats that a target chose; an interrupted run (kill,
 * E_CANCELLED) leaves it for --resume. Sets OpenBLAS to one thread for the whole process. */
ACCLLM_API accllm_status accllm_compress(accllm_runtime *rt, const char *src_path, const char *out_path,
                                         const accllm_compress_params *p, accllm_compress_result *result,
                                         accllm_error *err);

/* A plain llama-architecture GGUF of the same weights. type: "f32" or "f16". */
ACCLLM_API accllm_status accllm_export(accllm_runtime *rt, const char *model_path, const char *out_path,
                                       const char *type, accllm_error *err);

#ifdef __cplusplus
}
#endif
#endif
