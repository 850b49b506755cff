/* Files of the work folder: finished layers and hidden states, each with a checksum over all of it. */
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "compress/work.h"
#include "core/hash.h"
#include "core/memory.h"

static const char layer_magic[8] = "ACCLAYR2", hidden_magic[8] = "ACCHIDN1";

/* Both kinds of file begin like this. Written as it stands in memory: the folder never moves between machines. */
typedef struct file_head {
    char magic[8];
    uint64_t config_hash;
    uint64_t count;                   /* the layer; layers passed */
    uint64_t sizes[ACC_N_LINEAR + 1]; /* bytes of each blob, of the vectors; bytes of the states */
    acc_tensor_record record[ACC_N_LINEAR];
    double seconds;
    uint64_t step;
} file_head;

_Static_assert(sizeof(file_head) % 64 == 0, "blobs after the head must stay aligned");

typedef struct hashed {
    acc_writer w;
    uint64_t hash;
} hashed;

static void put(hashed *h, const void *data, size_t n)
{
    h->hash = acc_fnv1a(h->hash, data, n);
    acc_writer_put(&h->w, data, n);
}

static void pad(hashed *h)
{
    static const uint8_t zeros[64];
    put(h, zeros, acc_round_up((size_t)h->w.offset, 64) - (size_t)h->w.offset);
}

static accllm_status finish(hashed *h, accllm_error *err)
{
    uint64_t hash = h->hash;
    acc_writer_put(&h->w, &hash, sizeof hash);
    return acc_writer_commit(&h->w, err);
}

static void layer_path(const acc_work *w, acc_work_kind kind, char out[PATH_MAX], uint32_t layer)
{
    (void)snprintf(out, PATH_MAX, "%s/%s-%04u.bin", w->dir, kind == ACC_WORK_TUNED ? "tuned" : "layer", layer);
}

accllm_status acc_work_save_layer(const acc_work *w, acc_work_kind kind, uint32_t layer, const acc_layer_data *d,
                                  accllm_error *err)
{
    char path[PATH_MAX];
    hashed h = {.hash = ACC_FNV_START};
    file_head head = {.config_hash = w->config_hash, .count = layer, .seconds = d->seconds, .step = d->step};
    memcpy(head.magic, layer_magic, sizeof head.magic);
    memcpy(head.record, d->record, sizeof head.record);
    for (int i = 0; i < ACC_N_LINEAR; i++) head.sizes[i] = d->bytes[i];
    head.sizes[ACC_N_LINEAR] = d->n_vectors * sizeof(float);
    layer_path(w, kind, path, layer);
    ACC_TRY(acc_writer_open(&h.w, path, err));
    put(&h, &head, sizeof head);
    for (int i = 0; i < ACC_N_LINEAR; i++) {
        put(&h, d->blob[i], d->bytes[i]);
        pad(&h);
    }
    put(&h, d->vectors, d->n_vectors * sizeof(float));
    pad(&h);
    return finish(&h, err);
}

/* Whole, ours, and with the right checksum? */
static bool sound(const acc_file *f, const char magic[8], uint64_t config_hash, uint64_t count, bool any_count)
{
    if (f->size < sizeof(file_head) + sizeof(uint64_t)) return false;
    const file_head *head = (const void *)f->data;
    size_t body = f->size - sizeof(uint64_t);
    uint64_t hash;
    memcpy(&hash, f->data + body, sizeof hash);
    return memcmp(head->magic, magic, 8) == 0 && head->config_hash == config_hash &&
           (any_count || head->count == count) && acc_fnv1a(ACC_FNV_START, f->data, body) == hash;
}

static bool take_layer(acc_layer_data *d)
{
    const file_head *head = (const void *)d->file.data;
    size_t at = sizeof *head, end = d->file.size - sizeof(uint64_t);
    for (int i = 0; i <= ACC_N_LINEAR; i++) {
        size_t want = i < ACC_N_LINEAR ? d->bytes[i] : d->n_vectors * sizeof(float);
        if (head->sizes[i] != want || at > end || want > end - at) return false;
        if (i < ACC_N_LINEAR)
            d->blob[i] = d->file.data + at;
        else
            d->vectors = (const float *)(const void *)(d->file.data + at);
        at = acc_round_up(at + want, 64);
    }
    memcpy(d->record, head->record, sizeof d->record);
    d->seconds = head->seconds;
    d->step = head->step;
    return true;
}

accllm_status acc_work_load_layer(const acc_work *w, acc_work_kind kind, uint32_t layer, acc_layer_data *d,
                                  accllm_error *err)
{
    char path[PATH_MAX];
    layer_path(w, kind, path, layer);
    d->file = (acc_file){0};
    ACC_TRY(acc_file_open(&d->file, path, true, err));
    if (sound(&d->file, layer_magic, w->config_hash, layer, false) && take_layer(d)) return ACCLLM_OK;
    acc_layer_data_close(d);
    return acc_fail(err, ACCLLM_E_FORMAT, "%s: damaged", path);
}

void acc_layer_data_close(acc_layer_data *d)
{
    acc_file_close(&d->file);
    memset(d->blob, 0, sizeof d->blob);
    d->vectors = NULL;
}

bool acc_work_has_layer(const acc_work *w, acc_work_kind kind, uint32_t layer)
{
    char path[PATH_MAX];
    layer_path(w, kind, path, layer);
    return access(path, R_OK) == 0;
}

accllm_status acc_work_save_hidden(const acc_work *w, uint32_t n_layers, const float *hidden, size_t n,
                                   accllm_error *err)
{
    char path[PATH_MAX];
    hashed h = {.hash = ACC_FNV_START};
    file_head head = {.config_hash = w->config_hash, .count = n_layers, .sizes = {n * sizeof *hidden}};
    memcpy(head.magic, hidden_magic, sizeof head.magic);
    (void)snprintf(path, sizeof path, "%s/hidden.bin", w->dir);
    ACC_TRY(acc_writer_open(&h.w, path, err));
    put(&h, &head, sizeof head);
    put(&h, hidden, n * sizeof *hidden);
    return finish(&h, err);
}

uint32_t acc_work_load_hidden(const acc_work *w, float *hidden, size_t n)
{
    char path[PATH_MAX];
    acc_file f;
    uint32_t passed = 0;
    (void)snprintf(path, sizeof path, "%s/hidden.bin", w->dir);
    if (access(path, R_OK) != 0 || acc_file_open(&f, path, true, NULL) != ACCLLM_OK) return 0;
    const file_head *head = (const void *)f.data;
    if (f.size == sizeof *head + n * sizeof *hidden + sizeof(uint64_t) &&
        sound(&f, hidden_magic, w->config_hash, 0, true) && head->sizes[0] == n * sizeof *hidden &&
        head->count <= UINT32_MAX) {
        memcpy(hidden, f.data + sizeof *head, n * sizeof *hidden);
        passed = (uint32_t)head->count;
    }
    acc_file_close(&f);
    return passed;
}
