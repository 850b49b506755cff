/* Where a training stands, in one file: latents, scales, moments. Written as it stands in memory: it never moves
 * between machines. */
#include <string.h>
#include <unistd.h>

#include "core/file.h"
#include "core/hash.h"
#include "train/internal.h"

typedef struct file_head {
    char magic[8];
    uint64_t config_hash, step, best_step, steps, n_tensors;
    acc_head_result first, best;
} file_head;

static const char magic[8] = "ACCTRAN2";

/* The arrays of a tensor and their lengths. */
static uint32_t arrays(const acc_train_tensor *t, float *out[6], size_t n[6])
{
    float *const all[6] = {t->latent, t->mean, t->square, t->log_scale, t->scale_mean, t->scale_square};
    uint32_t count = 0;
    for (int i = 0; i < 6; i++) {
        if (!all[i]) continue;
        out[count] = all[i];
        n[count++] = i < 3 ? acc_train_size(t) : acc_train_scales(t);
    }
    return count;
}

/* A sum over 64-bit words: the files are of gigabytes. */
static uint64_t mix(uint64_t hash, const void *data, size_t floats)
{
    const unsigned char *p = data;
    size_t i = 0;
    for (; i + 2 <= floats; i += 2) {
        uint64_t word;
        memcpy(&word, p + i * 4, sizeof word);
        hash = (hash ^ word) * 0x9e3779b97f4a7c15u;
        hash ^= hash >> 29;
    }
    return i < floats ? acc_fnv1a(hash, p + i * 4, 4) : hash;
}

accllm_status acc_train_save(const acc_train_params *p, const acc_train_model *m, const acc_train_state *s,
                             accllm_error *err)
{
    file_head head = {.config_hash = p->config_hash,
                      .step = s->step,
                      .best_step = s->best_step,
                      .steps = p->steps,
                      .n_tensors = m->n_tensors,
                      .first = s->first,
                      .best = s->best};
    acc_writer w;
    memcpy(head.magic, magic, sizeof magic);
    ACC_TRY(acc_writer_open(&w, p->checkpoint, err));
    uint64_t hash = acc_fnv1a(ACC_FNV_START, &head, sizeof head);
    acc_writer_put(&w, &head, sizeof head);
    acc_writer_put(&w, s->history, p->steps * sizeof *s->history);
    hash = mix(hash, s->history, p->steps);
    for (uint32_t i = 0; i < m->n_tensors && !w.error; i++) {
        float *a[6];
        size_t n[6];
        const uint32_t count = arrays(&m->tensors[i], a, n);
        for (uint32_t k = 0; k < count; k++) {
            acc_writer_put(&w, a[k], n[k] * sizeof(float));
            hash = mix(hash, a[k], n[k]);
        }
    }
    acc_writer_put(&w, &hash, sizeof hash);
    return acc_writer_commit(&w, err);
}

/* The whole size, or 0 on overflow. */
static size_t file_size(const acc_train_params *p, const acc_train_model *m)
{
    size_t bytes = sizeof(file_head) + p->steps * sizeof(float) + sizeof(uint64_t);
    for (uint32_t i = 0; i < m->n_tensors; i++) {
        float *a[6];
        size_t n[6];
        const uint32_t count = arrays(&m->tensors[i], a, n);
        for (uint32_t k = 0; k < count; k++) bytes += n[k] * sizeof(float);
    }
    return bytes;
}

static bool sound(const acc_file *f, const acc_train_params *p, const acc_train_model *m)
{
    if (f->size != file_size(p, m)) return false;
    const file_head *head = (const void *)f->data;
    if (memcmp(head->magic, magic, sizeof magic) != 0 || head->config_hash != p->config_hash ||
        head->steps != p->steps || head->n_tensors != m->n_tensors || head->step > p->steps)
        return false;
    uint64_t hash = acc_fnv1a(ACC_FNV_START, head, sizeof *head), have;
    const uint8_t *at = f->data + sizeof *head;
    hash = mix(hash, at, p->steps);
    at += p->steps * sizeof(float);
    for (uint32_t i = 0; i < m->n_tensors; i++) {
        float *a[6];
        size_t n[6];
        const uint32_t count = arrays(&m->tensors[i], a, n);
        for (uint32_t k = 0; k < count; k++) {
            hash = mix(hash, at, n[k]);
            at += n[k] * sizeof(float);
        }
    }
    memcpy(&have, at, sizeof have);
    return have == hash;
}

accllm_status acc_train_resume(const acc_train_params *p, acc_train_model *m, acc_train_state *s, accllm_error *err)
{
    acc_file f = {0};
    if (access(p->checkpoint, R_OK) != 0) return ACCLLM_OK;
    ACC_TRY(acc_file_open(&f, p->checkpoint, true, err));
    if (sound(&f, p, m)) {
        const file_head *head = (const void *)f.data;
        const uint8_t *at = f.data + sizeof *head;
        s->step = head->step;
        s->best_step = head->best_step;
        s->first = head->first;
        s->best = head->best;
        memcpy(s->history, at, p->steps * sizeof *s->history);
        at += p->steps * sizeof *s->history;
        for (uint32_t i = 0; i < m->n_tensors; i++) {
            float *a[6];
            size_t n[6];
            const uint32_t count = arrays(&m->tensors[i], a, n);
            for (uint32_t k = 0; k < count; k++) {
                memcpy(a[k], at, n[k] * sizeof(float));
                at += n[k] * sizeof(float);
            }
        }
    }
    acc_file_close(&f);
    return ACCLLM_OK;
}
