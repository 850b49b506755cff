/* Saved sessions with bytes changed and the hash made right again: what loads goes on. */
#include <string.h>
#include <unistd.h>

#include "accllm/state.h"
#include "core/hash.h"
#include "fuzz/fuzz.h"
#include "support/pack.h"

#define MOST (1 << 20)

typedef struct setting {
    accllm_runtime *rt;
    accllm_model *model;
    accllm_session *session;
    uint8_t good[MOST], changed[MOST];
    size_t n;
} setting;

static void prepare(setting *s)
{
    accllm_error err = {0};
    accllm_runtime_params rp;
    accllm_model_params mp;
    accllm_session_params sp;
    accllm_runtime_params_init(&rp);
    rp.n_threads = 1;
    MUST(accllm_runtime_create(&s->rt, &rp, &err) == ACCLLM_OK);
    tiny_options t = tiny_defaults();
    t.n_heads = 2;
    t.n_kv_heads = 1;
    t.n_layers = 1;
    const pack_options o = pack_defaults(ACC_FMT_W2S);
    char *path = tiny_path("fuzz.gguf");
    MUST(pack_tiny(path, &t, &o, &err) == ACCLLM_OK);
    accllm_model_params_init(&mp);
    mp.use_mmap = false;
    MUST(accllm_model_open(&s->model, s->rt, path, &mp, &err) == ACCLLM_OK);
    accllm_session_params_init(&sp);
    sp.window = 32;
    sp.chunk = 16;
    sp.kv_near = 16;
    MUST(accllm_session_create(&s->session, s->model, &sp, &err) == ACCLLM_OK);
    int32_t ids[150];
    for (int i = 0; i < 150; i++) ids[i] = i;
    MUST(accllm_session_eval(s->session, ids, 150, 0, NULL, &err) == ACCLLM_OK);
    MUST(accllm_session_save(s->session, ids, 20, s->good, sizeof s->good, &s->n, &err) == ACCLLM_OK);
    MUST(unlink(path) == 0);
    free(path);
}

/* data: changes of five bytes each, four that say where and the new one; what is left over cuts the end off. */
static size_t change(setting *s, const uint8_t *data, size_t size)
{
    size_t n = s->n - sizeof(uint64_t);
    memcpy(s->changed, s->good, n);
    for (; size >= 5; size -= 5, data += 5) {
        uint32_t at;
        memcpy(&at, data, sizeof at);
        s->changed[at % n] = data[4];
    }
    n -= size;
    const uint64_t check = acc_hash_bulk(s->changed, n);
    memcpy(s->changed + n, &check, sizeof check);
    return n + sizeof check;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static setting s;
    accllm_error err = {0};
    int32_t ids[64];
    size_t n_ids;
    if (!s.rt) prepare(&s);
    const size_t n = change(&s, data, size);
    if (accllm_session_load(s.session, s.changed, n, ids, 64, &n_ids, &err) != ACCLLM_OK) {
        MUST(err.text[0]);
        return 0;
    }
    const int32_t next = 7;
    const float *logits;
    const accllm_status st = accllm_session_eval(s.session, &next, 1, 1, &logits, &err);
    MUST(st == ACCLLM_OK || st == ACCLLM_E_NUMERIC || st == ACCLLM_E_LIMIT);
    return 0;
}
