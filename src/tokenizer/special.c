/* Special tokens in a text, found by a trie over their names: at each place the longest one. */
#include "core/memory.h"
#include "tokenizer/internal.h"

static bool is_special(const acc_token *k)
{
    return k->name_len > 0 &&
           (k->type == ACC_TOKEN_CONTROL || k->type == ACC_TOKEN_USER_DEFINED || k->type == ACC_TOKEN_UNKNOWN);
}

static int32_t find_child(const acc_special_node *nodes, int32_t at, uint8_t byte)
{
    int32_t c = nodes[at].child;
    while (c >= 0 && nodes[c].byte != byte) c = nodes[c].sibling;
    return c;
}

static void add(acc_special_node *nodes, int32_t *n, const acc_token *k, int32_t id)
{
    int32_t at = 0;
    for (uint32_t i = 0; i < k->name_len; i++) {
        uint8_t byte = (uint8_t)k->name[i];
        int32_t c = find_child(nodes, at, byte);
        if (c < 0) {
            c = (*n)++;
            nodes[c] = (acc_special_node){-1, -1, nodes[at].child, byte, false};
            nodes[at].child = c;
        }
        at = c;
    }
    if (nodes[at].id >= 0) return;
    nodes[at].id = id;
    nodes[at].always = k->type == ACC_TOKEN_USER_DEFINED;
}

accllm_status acc_special_load(accllm_tokenizer *t, accllm_error *err)
{
    size_t room = 1;
    void *p = NULL;
    for (int32_t id = 0; id < t->n; id++)
        if (is_special(&t->tokens[id]) && !acc_add(room, t->tokens[id].name_len, &room)) room = SIZE_MAX;
    if (room == 1) return ACCLLM_OK;
    if (room > INT32_MAX) return acc_fail(err, ACCLLM_E_LIMIT, "special tokens have %zu bytes", room);
    ACC_TRY(acc_alloc(&p, room, sizeof *t->special, "special tokens", err));
    t->special = p;
    t->special[0] = (acc_special_node){-1, -1, -1, 0, false};
    int32_t n = 1;
    for (int32_t id = 0; id < t->n; id++) {
        const acc_token *k = &t->tokens[id];
        if (!is_special(k)) continue;
        add(t->special, &n, k, id);
        t->special_first[(uint8_t)k->name[0]] = true;
    }
    return ACCLLM_OK;
}

size_t acc_special_match(const accllm_tokenizer *t, const char *s, size_t n, bool all, int32_t *id)
{
    if (!t->special || n == 0 || !t->special_first[(uint8_t)s[0]]) return 0;
    size_t best = 0;
    int32_t at = 0;
    for (size_t i = 0; i < n && (at = find_child(t->special, at, (uint8_t)s[i])) >= 0; i++) {
        const acc_special_node *node = &t->special[at];
        if (node->id < 0 || !(all || node->always)) continue;
        best = i + 1;
        *id = node->id;
    }
    return best;
}
