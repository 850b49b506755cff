/* Where a training stands, in one file: latents, scales, moments. Written as it stands in memory: it never moves
 * between machines. */
#include <string.h>
#include <unistd.h>

#include "core/file.h"
#include "core/hash.h"
#include "train/internal.h"

typedef struct file_head {
    char magic[8];
    uint64_t config_hash, step, best_step, n_tensors;
    acc_head_result first, best;
} file_head;

static const char magic[8] = "ACCTRAN3";

/* Everything behind the head, array by array, from i = 0 on: the losses of s->step steps, then each tensor's six. NULL
 * where a tensor lacks one; *n: floats. */
static float *array_at(const acc_train_model *m, const acc_train_state *s, size_t i, size_t *n)
{
    if (i == 0) {
        *n = s->step;
        return s->history;
    }
    const acc_train_tensor *t = &m->tensors[(i - 1) / 6];
    float *const all[6] = {t->latent, t->mean, t->square, t->log_scale, t->scale_mean, t->scale_square};
    const size_t k = (i - 1) % 6;
    *n = k < 3 ? acc_train_size(t) : acc_train_scales(t);
    return all[k];
}

static size_t array_count(const acc_train_model *m)
{
    return 1 + (size_t)m->n_tensors * 6;
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
                      .n_tensors = m->n_tensors,
                      .first = s->first,
                      .best = s->best};
    acc_writer w;
    memcpy(head.magic, magic, sizeof magic);
    ACC_TRY(acc_writer_open(&w, p->checkpoint, err));
    uint64_t hash = acc_fnv1a(ACC_FNV_START, &head, sizeof head);
    acc_writer_put(&w, &head, sizeof head);
    for (size_t i = 0, n; i < array_count(m) && !w.error; i++) {
        const float *x = array_at(m, s, i, &n);
        if (!x) continue;
        acc_writer_put(&w, x, n * sizeof *x);
        hash = mix(hash, x, n);
    }
    acc_writer_put(&w, &hash, sizeof hash);
    return acc_writer_commit(&w, err);
}

static size_t file_size(const acc_train_model *m, const acc_train_state *s)
{
    size_t bytes = sizeof(file_head) + sizeof(uint64_t);
    for (size_t i = 0, n; i < array_count(m); i++)
        if (array_at(m, s, i, &n)) bytes += n * sizeof(float);
    return bytes;
}

/* s: with the file's step, which may be one too many for p. */
static bool sound(const acc_file *f, const acc_train_params *p, const acc_train_model *m, const acc_train_state *s)
{
    const file_head *head = (const void *)f->data;
    if (memcmp(head->magic, magic, sizeof magic) != 0 || head->config_hash != p->config_hash ||
        head->n_tensors != m->n_tensors || s->step > f->size / sizeof(float) || f->size != file_size(m, s))
        return false;
    uint64_t hash = acc_fnv1a(ACC_FNV_START, head, sizeof *head), have;
    const uint8_t *at = f->data + sizeof *head;
    for (size_t i = 0, n; i < array_count(m); i++) {
        if (!array_at(m, s, i, &n)) continue;
        hash = mix(hash, at, n);
        acc_file_forget(f, (size_t)(at - f->data), n * sizeof(float));
        at += n * sizeof(float);
    }
    memcpy(&have, at, sizeof have);
    return have == hash;
}

static void load(const acc_file *f, const acc_train_model *m, const acc_train_state *s)
{
    const uint8_t *at = f->data + sizeof(file_head);
    for (size_t i = 0, n; i < array_count(m); i++) {
        float *x = array_at(m, s, i, &n);
        if (!x) continue;
        memcpy(x, at, n * sizeof *x);
        acc_file_forget(f, (size_t)(at - f->data), n * sizeof *x);
        at += n * sizeof *x;
    }
}

accllm_status acc_train_resume(const acc_train_params *p, acc_train_model *m, acc_train_state *s, accllm_error *err)
{
    acc_file f = {0};
    if (access(p->checkpoint, R_OK) != 0) return ACCLLM_OK;
    ACC_TRY(acc_file_open(&f, p->checkpoint, true, err));
    const file_head *head = (const void *)f.data;
    acc_train_state found = *s;
    if (f.size >= sizeof *head)
        found = (acc_train_state){head->step, head->best_step, head->first, head->best, s->history};
    accllm_status st = ACCLLM_OK;
    if (f.size >= sizeof *head && sound(&f, p, m, &found)) {
        if (found.step > p->steps)
            st = acc_fail(err, ACCLLM_E_ARG, "%s: training stands at step %llu, behind the %llu asked for",
                          p->checkpoint, (unsigned long long)found.step, (unsigned long long)p->steps);
        else {
            load(&f, m, &found);
            *s = found;
        }
    }
    acc_file_close(&f);
    return st;
}
