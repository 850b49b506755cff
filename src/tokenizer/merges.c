/* The merges of byte-level BPE: "LEFT RIGHT" by rank, kept as pairs of ids. */
#include <string.h>

#include "core/memory.h"
#include "tokenizer/internal.h"

#define MAX_MERGES (1u << 26)
#define MERGES "tokenizer.ggml.merges"

static accllm_status bad_merge(size_t i, acc_str s, const char *why, accllm_error *err)
{
    return acc_fail(err, ACCLLM_E_FORMAT, "merge %zu (\"%.*s\") %s", i, (int)(s.n < 64 ? s.n : 64), s.s, why);
}

static accllm_status add_merge(accllm_tokenizer *t, size_t i, acc_str s, accllm_error *err)
{
    const char *blank = s.n > 2 ? memchr(s.s + 1, ' ', s.n - 2) : NULL;
    if (!blank) return bad_merge(i, s, "is not two tokens parted by a blank", err);
    size_t left_len = (size_t)(blank - s.s), right_len = s.n - left_len - 1;
    int32_t left = acc_text_map_get(&t->by_name, s.s, left_len);
    int32_t right = acc_text_map_get(&t->by_name, blank + 1, right_len);
    if (left < 0 || right < 0) return bad_merge(i, s, "names an unknown token", err);
    char joined[256], *name = joined;
    if (s.n > sizeof joined && !(name = acc_calloc(1, s.n))) return acc_fail(err, ACCLLM_E_NOMEM, "out of memory");
    memcpy(name, s.s, left_len);
    memcpy(name + left_len, blank + 1, right_len);
    int32_t id = acc_text_map_get(&t->by_name, name, left_len + right_len);
    if (name != joined) acc_free(name);
    if (id < 0) return bad_merge(i, s, "makes an unknown token", err);
    return acc_pair_map_put(&t->merges, left, right, (uint32_t)i, id, err);
}

accllm_status acc_merges_load(accllm_tokenizer *t, const acc_gguf *meta, accllm_error *err)
{
    acc_gguf_kv_type type;
    size_t n = 0;
    acc_str s;
    if (!acc_gguf_array(meta, MERGES, &type, &n) || type != ACC_GGUF_STRING)
        return acc_fail(err, ACCLLM_E_FORMAT, "%s is not a list of strings", MERGES);
    if (n > MAX_MERGES) return acc_fail(err, ACCLLM_E_LIMIT, "%zu merges (limit %u)", n, MAX_MERGES);
    ACC_TRY(acc_pair_map_init(&t->merges, n, err));
    for (size_t i = 0; i < n; i++) {
        if (!acc_gguf_array_str(meta, MERGES, i, &s)) return acc_fail(err, ACCLLM_E_FORMAT, "merge %zu", i);
        ACC_TRY(add_merge(t, i, s, err));
    }
    return ACCLLM_OK;
}
