/*
 * Training of a Llama-family model whose weights pass through packed formats in every forward pass: latent float
 * weights, learned scales, Adam, distillation from a float teacher. Quantisation-aware training with straight-through
 * gradients (Bengio et al. 2013; Esser et al. 2020, LSQ, without its gradient for scales, which did harm), dense
 * gradients for pruned weights too (Evci et al. 2020).
 */
#ifndef ACC_TRAIN_TRAIN_H
#define ACC_TRAIN_TRAIN_H

#include "reference/tape.h"
#include "weights/weights.h"

/* ---- one parameter (tensor.c, quantizer.c) ---- */

typedef struct acc_train_tensor {
    acc_tensor_id id;
    uint32_t layer;
    bool coded;           /* passes through `shape`; false: a float parameter */
    acc_weight shape;     /* format, rows, cols, group, levels; of a float parameter rows and cols only */
    float *latent;        /* [rows][cols] */
    float *value;         /* what the forward pass uses: the codes' value; latent itself where not coded */
    float *log_scale;     /* [rows][col_groups], formats with group scales */
    float *mean, *square; /* Adam's moments of latent */
    float *scale_mean, *scale_square;
    float rate; /* learning rate of latent at the schedule's peak */
} acc_train_tensor;

/* Number of floats in latent; number of log scales. */
size_t acc_train_size(const acc_train_tensor *t);
size_t acc_train_scales(const acc_train_tensor *t);
/* Allocates; latent and scales are zero. shape as by acc_weight_init(). trained: with Adam's moments. */
accllm_status acc_train_tensor_create(acc_train_tensor *t, acc_tensor_id id, uint32_t layer, const acc_weight *shape,
                                      bool coded, bool trained, accllm_error *err) ACC_MUST_CHECK;
void acc_train_tensor_free(acc_train_tensor *t);
/* Latent weights and scales from packed codes, which the quantiser then gives back. */
void acc_train_tensor_unpack(acc_train_tensor *t, const acc_weight *packed);
/* Packs the codes of latent and scales into a blob of acc_weight_bytes(). */
accllm_status acc_train_tensor_pack(const acc_train_tensor *t, uint8_t *blob, accllm_error *err) ACC_MUST_CHECK;

/* value = what the codes of latent and scales say. */
void acc_train_quantize(acc_pool *pool, acc_train_tensor *t);
/* One row's integer weights [cols_pad], m [col_groups] and rscale: the definition behind both. */
void acc_train_row_codes(const acc_train_tensor *t, uint32_t row, int8_t *ints, uint8_t *m, float *rscale);

/* ---- Adam (adam.c; Kingma and Ba 2015) ---- */

#define ACC_ADAM_BETA1 0.9
#define ACC_ADAM_BETA2 0.98
#define ACC_ADAM_EPS 1e-10f

typedef struct acc_adam {
    float rate_factor;        /* the schedule's, 0..1 */
    float scale_rate;         /* of log scales at the peak */
    float correct1, correct2; /* 1 / (1 - beta^step) */
} acc_adam;

acc_adam acc_adam_at(uint64_t step, float rate_factor, float scale_rate);
/* One step of a tensor by the gradient g [rows][cols] of its value. */
void acc_adam_step(acc_pool *pool, const acc_adam *a, acc_train_tensor *t, const float *g);

/* ---- a whole model (model.c) ---- */

typedef struct acc_train_model {
    acc_hparams hp;
    acc_train_tensor *tensors; /* embedding, [output], output norm, then per layer in the order of acc_tensor_id */
    uint32_t n_tensors;
    acc_ref_layer *layers; /* [n_layers]: views of the tensors' values */
    float *k_mean;         /* [n_layers][n_kv_heads * head_dim] */
    float *embd_scale;     /* [n_embd] what a row of the embedding is multiplied by when looked up; not trained */
} acc_train_model;

/* shapes [n_layers][ACC_N_LINEAR]: formats of the linear layers by (id - ACC_T_ATTN_Q), NULL: floats; embd, output:
 * their formats, NULL: floats. trained: with Adam's moments. Values are to be loaded. */
accllm_status acc_train_model_create(acc_train_model *m, const acc_source *src,
                                     const acc_weight (*shapes)[ACC_N_LINEAR], const acc_weight *embd,
                                     const acc_weight *output, bool trained, accllm_error *err) ACC_MUST_CHECK;
void acc_train_model_free(acc_train_model *m);
/* Float values of every tensor from the source (for coded ones only the latents). */
accllm_status acc_train_model_load(acc_train_model *m, const acc_source *src, accllm_error *err) ACC_MUST_CHECK;
acc_train_tensor *acc_train_find(const acc_train_model *m, acc_tensor_id id, uint32_t layer); /* NULL: absent */
/* Learning rates of all tensors: relative to each one's rms. */
void acc_train_rates(acc_train_model *m, float relative);
void acc_train_quantize_all(acc_pool *pool, acc_train_model *m);
uint64_t acc_train_model_bytes(const acc_hparams *hp, bool coded, bool trained);

/* ---- loss (loss.c) ---- */

/* In nats, means over positions (nll: over those whose next token is known). */
typedef struct acc_head_result {
    double loss; /* KL(teacher || student); without a teacher nll */
    double nll;  /* -log p(target) of the student */
    double teacher_nll;
} acc_head_result;

/* Scratch of the head's loss: two blocks of logits and the embedding's gradient. */
typedef struct acc_loss_work {
    float *student, *teacher; /* [ACC_LOSS_ROWS][n_vocab] */
    float *grad;              /* [n_vocab][n_embd] */
    acc_head_result *row;     /* [ACC_LOSS_ROWS] */
    acc_gemm_bf16 *bf16;      /* not its own; NULL: products in float32 */
} acc_loss_work;

#define ACC_LOSS_ROWS 1024

accllm_status acc_loss_work_create(acc_loss_work *w, const acc_hparams *hp, acc_gemm_bf16 *bf16,
                                   accllm_error *err) ACC_MUST_CHECK;
void acc_loss_work_free(acc_loss_work *w);

/* One batch's loss at the head: h [n][n_embd] are the student's inputs of lm_head [n_vocab][n_embd]. */
typedef struct acc_head_batch {
    uint32_t n;
    const float *h, *head;
    const float *teacher_h, *teacher_head; /* the teacher's; NULL: none */
    const int32_t *targets;                /* [n] next tokens, negative: unknown; NULL: see fisher */
    float *dh;                             /* [n][n_embd]; NULL: no gradients wanted */
    bool fisher;                           /* not a loss's gradient: see acc_trainer_fisher() */
    uint64_t seed;                         /* its signs */
} acc_head_batch;

/* w->grad gets the loss's gradient by head; with fisher neither that nor a result. */
acc_head_result acc_head_loss(accllm_runtime *rt, const acc_hparams *hp, acc_loss_work *w, const acc_head_batch *b);

/* ---- one batch (step.c) ---- */

typedef struct acc_trainer acc_trainer;

/* Scratch for batches of n_seqs sequences of seq_len tokens. bf16: products with matrices round their operands to
 * bfloat16 where the CPU multiplies those faster. */
accllm_status acc_trainer_create(acc_trainer **out, accllm_runtime *rt, const acc_hparams *hp, uint32_t n_seqs,
                                 uint32_t seq_len, bool keep_all, bool bf16, accllm_error *err) ACC_MUST_CHECK;
void acc_trainer_free(acc_trainer **t);
/* Bytes that it takes, but for a few states of a batch. */
uint64_t acc_trainer_bytes(const acc_hparams *hp, uint32_t n_seqs, uint32_t seq_len, bool keep_all, bool bf16,
                           uint32_t n_threads);

/* ids [n_seqs * seq_len] through the student (values as they stand). sink (NULL: no gradients) gets every parameter's
 * gradient once, and may change latents and, where a tensor is not coded, values. rules: the student's; the teacher is
 * all float with the same window. */
accllm_status acc_trainer_batch(acc_trainer *t, const acc_train_model *student, const acc_tape_rules *rules,
                                const acc_train_model *teacher, const int32_t *ids, acc_head_result *result,
                                acc_tape_gradient *sink, void *user, accllm_error *err) ACC_MUST_CHECK;

/* Gradients by the outputs of all matrices of a random function of the logits, one for each token, whose mean square is
 * the Fisher information of the model's own predictions, the curvature of KL(model || changed model): half the mean of
 * their squares over tokens and seeds is what an error of 1 of that output costs, in nats per token. */
accllm_status acc_trainer_fisher(acc_trainer *t, const acc_train_model *m, const acc_tape_rules *rules,
                                 const int32_t *ids, uint64_t seed, acc_tape_output *sink, void *user,
                                 accllm_error *err) ACC_MUST_CHECK;

/* ---- a whole training (run.c, checkpoint.c) ---- */

typedef struct acc_train_params {
    const int32_t *ids; /* [n_seqs][seq_len], used in a shuffled order, again from the start if they run out */
    uint32_t n_seqs, seq_len;
    const int32_t *held_out; /* [n_held_out][seq_len]; n_held_out a multiple of batch */
    uint32_t n_held_out;
    uint32_t batch; /* sequences per step */
    uint64_t steps;
    float scale_rate;               /* of log scales at the peak; latents have their own */
    bool keep_all;                  /* all activations in memory */
    bool bf16;                      /* as acc_trainer_create() has it */
    acc_tape_rules rules;           /* of the student */
    const acc_train_model *teacher; /* NULL: next tokens are the target */
    uint64_t seed;
    const char *checkpoint;    /* path; NULL: none */
    uint64_t config_hash;      /* of all that the result depends on; a checkpoint of another is not used */
    double checkpoint_seconds; /* between two checkpoints */
    /* Called when the loss of the held-out text is the lowest so far, values and codes standing as judged. */
    accllm_status (*best)(void *user, uint64_t step, double held_out, accllm_error *err);
    void (*progress)(void *user, uint64_t step, double loss, double held_out);
    void *user;
} acc_train_params;

typedef struct acc_train_result {
    uint64_t steps, resumed_at;
    acc_head_result first, best; /* held-out text: before training, and with the lowest loss */
    uint64_t best_step;
    float *history; /* [steps] loss of each step; free with acc_free() */
} acc_train_result;

/* Trains m: warm-up over 3 % of the steps, then cosine down to 1 %. Resumes from the checkpoint if there is one,
 * on the schedule of p->steps, whatever it was. Polls
 * the abort flag between steps: then a checkpoint is written and E_CANCELLED returned. Deterministic for a seed, a
 * machine and a number of threads, also across interruptions. */
accllm_status acc_train_run(accllm_runtime *rt, acc_train_model *m, const acc_train_params *p, acc_train_result *result,
                            accllm_error *err) ACC_MUST_CHECK;

#endif
