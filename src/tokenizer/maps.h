/*
 * Two hash tables that are filled once and then only read: byte strings to token ids, and pairs of ids to their merge.
 * Open addressing at a load of at most one half; a file made to collide is refused (E_LIMIT) instead of becoming slow.
 */
#ifndef ACC_TOKENIZER_MAPS_H
#define ACC_TOKENIZER_MAPS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/status.h"

typedef struct acc_text_slot {
    const char *s; /* NULL: free */
    uint32_t n;
    int32_t id;
} acc_text_slot;

typedef struct acc_text_map {
    acc_text_slot *slot; /* NULL: an empty map */
    size_t mask;
} acc_text_map;

/* Room for n strings. */
accllm_status acc_text_map_init(acc_text_map *m, size_t n, accllm_error *err) ACC_MUST_CHECK;
/* The string is not copied. One that is there already keeps its id: the lowest id of a text wins. */
accllm_status acc_text_map_put(acc_text_map *m, const char *s, size_t n, int32_t id, accllm_error *err) ACC_MUST_CHECK;
int32_t acc_text_map_get(const acc_text_map *m, const char *s, size_t n); /* -1: absent */
void acc_text_map_free(acc_text_map *m);

typedef struct acc_pair_slot {
    uint64_t pair; /* left << 32 | right */
    uint32_t rank;
    int32_t id_plus_1; /* 0: free */
} acc_pair_slot;

typedef struct acc_pair_map {
    acc_pair_slot *slot;
    size_t mask;
} acc_pair_map;

accllm_status acc_pair_map_init(acc_pair_map *m, size_t n, accllm_error *err) ACC_MUST_CHECK;
/* A pair that is there already keeps its rank. */
accllm_status acc_pair_map_put(acc_pair_map *m, int32_t left, int32_t right, uint32_t rank, int32_t id,
                               accllm_error *err) ACC_MUST_CHECK;
/* The id of the merged pair, -1: none. Negative ids merge with nothing. */
int32_t acc_pair_map_get(const acc_pair_map *m, int32_t left, int32_t right, uint32_t *rank);
void acc_pair_map_free(acc_pair_map *m);

#endif
