/* Hash tables of the vocabulary and of the merges. */
#include "tokenizer/maps.h"

#include <string.h>

#include "core/hash.h"
#include "core/memory.h"

/* At half load a hundred slots in a row are already a rarity. */
#define MAX_PROBES 1024

static accllm_status slots(void **out, size_t *mask, size_t n, size_t size, accllm_error *err)
{
    size_t cap = 16;
    while (cap / 2 < n) {
        if (!acc_mul(cap, 2, &cap)) return acc_fail(err, ACCLLM_E_NOMEM, "out of memory: vocabulary table");
    }
    *mask = cap - 1;
    return acc_alloc(out, cap, size, "vocabulary table", err);
}

static accllm_status crowded(accllm_error *err)
{
    return acc_fail(err, ACCLLM_E_LIMIT, "vocabulary: too many entries with one hash");
}

accllm_status acc_text_map_init(acc_text_map *m, size_t n, accllm_error *err)
{
    void *p = NULL;
    ACC_TRY(slots(&p, &m->mask, n, sizeof *m->slot, err));
    m->slot = p;
    return ACCLLM_OK;
}

static size_t text_hash(const char *s, size_t n)
{
    uint64_t h = acc_fnv1a(ACC_FNV_START, s, n);
    return (size_t)(h ^ h >> 32);
}

static bool slot_is(const acc_text_slot *t, const char *s, size_t n)
{
    return t->n == n && memcmp(t->s, s, n) == 0;
}

accllm_status acc_text_map_put(acc_text_map *m, const char *s, size_t n, int32_t id, accllm_error *err)
{
    size_t i = text_hash(s, n) & m->mask;
    for (int probe = 0; probe < MAX_PROBES; probe++, i = (i + 1) & m->mask) {
        if (!m->slot[i].s) {
            m->slot[i] = (acc_text_slot){s, (uint32_t)n, id};
            return ACCLLM_OK;
        }
        if (slot_is(&m->slot[i], s, n)) return ACCLLM_OK;
    }
    return crowded(err);
}

int32_t acc_text_map_get(const acc_text_map *m, const char *s, size_t n)
{
    if (!m->slot) return -1;
    size_t i = text_hash(s, n) & m->mask;
    for (int probe = 0; probe < MAX_PROBES && m->slot[i].s; probe++, i = (i + 1) & m->mask)
        if (slot_is(&m->slot[i], s, n)) return m->slot[i].id;
    return -1;
}

void acc_text_map_free(acc_text_map *m)
{
    acc_free(m->slot);
    m->slot = NULL;
}

accllm_status acc_pair_map_init(acc_pair_map *m, size_t n, accllm_error *err)
{
    void *p = NULL;
    ACC_TRY(slots(&p, &m->mask, n, sizeof *m->slot, err));
    m->slot = p;
    return ACCLLM_OK;
}

static uint64_t pair_of(int32_t left, int32_t right)
{
    return (uint64_t)(uint32_t)left << 32 | (uint32_t)right;
}

accllm_status acc_pair_map_put(acc_pair_map *m, int32_t left, int32_t right, uint32_t rank, int32_t id,
                               accllm_error *err)
{
    uint64_t pair = pair_of(left, right);
    size_t i = (size_t)acc_random(pair, 0) & m->mask;
    for (int probe = 0; probe < MAX_PROBES; probe++, i = (i + 1) & m->mask) {
        if (!m->slot[i].id_plus_1) {
            m->slot[i] = (acc_pair_slot){pair, rank, id + 1};
            return ACCLLM_OK;
        }
        if (m->slot[i].pair == pair) return ACCLLM_OK;
    }
    return crowded(err);
}

int32_t acc_pair_map_get(const acc_pair_map *m, int32_t left, int32_t right, uint32_t *rank)
{
    if (!m->slot || left < 0 || right < 0) return -1;
    uint64_t pair = pair_of(left, right);
    size_t i = (size_t)acc_random(pair, 0) & m->mask;
    for (int probe = 0; probe < MAX_PROBES && m->slot[i].id_plus_1; probe++, i = (i + 1) & m->mask) {
        if (m->slot[i].pair != pair) continue;
        *rank = m->slot[i].rank;
        return m->slot[i].id_plus_1 - 1;
    }
    return -1;
}

void acc_pair_map_free(acc_pair_map *m)
{
    acc_free(m->slot);
    m->slot = NULL;
}
