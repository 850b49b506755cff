/*
 * States of sessions. Little-endian: the head, the ids, zeros up to a multiple of 8, the engine's part, and a hash of
 * all before it.
 */
#include "accllm/state.h"

#include <string.h>

#include "core/hash.h"
#include "core/memory.h"
#include "engine/internal.h"

#define STATE_VERSION 1

typedef struct state_shape {
    uint32_t n_layers, n_kv_heads, head_dim, n_vocab, page;
    uint32_t sinks, window, full, bits, near, chunk;
} state_shape;

typedef struct state_head {
    char magic[8];
    uint32_t version;
    state_shape shape;
    uint64_t model; /* acc_gguf_identity() */
    uint64_t n_ids, part_bytes;
} state_head;

_Static_assert(sizeof(state_head) == 80, "a state's head has no gaps");

static const char magic[8] = {'A', 'C', 'C', 'S', 'T', 'A', 'T', 'E'};

static bool has_states(const accllm_session *s)
{
    return s->ops->state_bytes && s->model->packed && s->model->packed->file;
}

static accllm_status check_session(const accllm_session *s, accllm_error *err)
{
    if (!has_states(s))
        return acc_fail(err, ACCLLM_E_UNSUPPORTED,
                        "states exist for AccLLM files on the CPU in the contract's numbers");
    if (s->params.trace) return acc_fail(err, ACCLLM_E_ARG, "a session that keeps a trace hash has no states");
    return ACCLLM_OK;
}

/* Threads that meet here compute the same. */
static uint64_t model_identity(accllm_model *m)
{
    uint64_t id = atomic_load_explicit(&m->identity, memory_order_relaxed);
    if (id) return id;
    id = acc_gguf_identity(m->packed->file);
    if (id == 0) id = 1;
    atomic_store_explicit(&m->identity, id, memory_order_relaxed);
    return id;
}

static state_shape shape_of(const accllm_session *s)
{
    const accllm_model_info *info = &s->model->info;
    const accllm_session_params *p = &s->params;
    return (state_shape){.n_layers = info->n_layers,
                         .n_kv_heads = info->n_kv_heads,
                         .head_dim = info->head_dim,
                         .n_vocab = info->n_vocab,
                         .page = info->page,
                         .sinks = p->sinks,
                         .window = p->window,
                         .full = p->full_attention,
                         .bits = p->kv_bits,
                         .near = p->kv_bits == 4 ? p->kv_near : 0,
                         .chunk = p->chunk};
}

/* Of head and ids; false: more than a size_t holds. */
static bool front_bytes(uint64_t n_ids, size_t *out)
{
    size_t ids;
    if (n_ids > SIZE_MAX || !acc_mul((size_t)n_ids, sizeof(int32_t), &ids) || !acc_add(ids, sizeof(state_head), &ids) ||
        ids > SIZE_MAX - 8)
        return false;
    *out = acc_round_up(ids, 8);
    return true;
}

static size_t whole_bytes(size_t part, size_t n_ids)
{
    size_t front, n;
    return front_bytes(n_ids, &front) && acc_add(front, part, &n) && acc_add(n, sizeof(uint64_t), &n) ? n : 0;
}

size_t accllm_session_state_bytes(const accllm_session *s, size_t n_ids)
{
    return has_states(s) ? whole_bytes(s->ops->state_bytes(s->self), n_ids) : 0;
}

static accllm_status save(accllm_session *s, const int32_t *ids, size_t n_ids, uint8_t *to, size_t cap, size_t *n,
                          accllm_error *err)
{
    size_t part = s->ops->state_bytes(s->self), front, whole = whole_bytes(part, n_ids);
    if (whole == 0 || whole > cap)
        return acc_fail(err, ACCLLM_E_ARG, "a state of %zu bytes, but room for %zu", whole, cap);
    (void)front_bytes(n_ids, &front);
    state_head head = {.version = STATE_VERSION,
                       .shape = shape_of(s),
                       .model = model_identity(s->model),
                       .n_ids = n_ids,
                       .part_bytes = part};
    memcpy(head.magic, magic, sizeof magic);
    memset(to, 0, front);
    memcpy(to, &head, sizeof head);
    if (n_ids) memcpy(to + sizeof head, ids, n_ids * sizeof *ids);
    s->ops->save(s->self, to + front);
    uint64_t check = acc_hash_bulk(to, front + part);
    memcpy(to + front + part, &check, sizeof check);
    *n = whole;
    return ACCLLM_OK;
}

accllm_status accllm_session_save(accllm_session *s, const int32_t *ids, size_t n_ids, void *to, size_t cap, size_t *n,
                                  accllm_error *err)
{
    *n = 0;
    if (!to || (n_ids && !ids)) return acc_fail(err, ACCLLM_E_ARG, "no place for the state, or no ids");
    ACC_TRY(check_session(s, err));
    ACC_TRY(acc_session_enter(s, err));
    accllm_status status = save(s, ids, n_ids, to, cap, n, err);
    acc_session_leave(s);
    return status;
}

static accllm_status check_shape(const state_shape *got, const state_shape *want, accllm_error *err)
{
    if (memcmp(got, want, offsetof(state_shape, sinks)) != 0)
        return acc_fail(err, ACCLLM_E_ARG, "the state is of another model");
    if (memcmp(got, want, sizeof *got) == 0) return ACCLLM_OK;
    return acc_fail(
        err, ACCLLM_E_ARG,
        "the state is of a session with %u sinks, %s %u, %u bits, %u near tokens and chunks of %u; this one "
        "has %u, %s %u, %u, %u and %u",
        got->sinks, got->full ? "context" : "window", got->window, got->bits, got->near, got->chunk, want->sinks,
        want->full ? "context" : "window", want->window, want->bits, want->near, want->chunk);
}

/* The hash first: what is only damaged is called so, whatever it seems to be. */
static accllm_status check_head(const accllm_session *s, const state_head *head, const uint8_t *from, size_t n,
                                accllm_error *err)
{
    uint64_t check;
    const state_shape want = shape_of(s);
    if (memcmp(head->magic, magic, sizeof magic) != 0) return acc_fail(err, ACCLLM_E_FORMAT, "this is no state");
    memcpy(&check, from + n - sizeof check, sizeof check);
    if (acc_hash_bulk(from, n - sizeof check) != check)
        return acc_fail(err, ACCLLM_E_FORMAT, "the state is damaged or cut short: its hash is wrong");
    if (head->version != STATE_VERSION)
        return acc_fail(err, ACCLLM_E_UNSUPPORTED, "a state of version %u; this program reads version %d",
                        head->version, STATE_VERSION);
    if (head->model != model_identity(s->model)) return acc_fail(err, ACCLLM_E_ARG, "the state is of another model");
    return check_shape(&head->shape, &want, err);
}

static accllm_status load(accllm_session *s, const uint8_t *from, size_t n, int32_t *ids, size_t cap, size_t *n_ids,
                          accllm_error *err)
{
    state_head head;
    size_t front;
    if (n < sizeof head + sizeof(uint64_t)) return acc_fail(err, ACCLLM_E_FORMAT, "%zu bytes are no state", n);
    memcpy(&head, from, sizeof head);
    ACC_TRY(check_head(s, &head, from, n, err));
    size_t rest = n - sizeof(uint64_t);
    if (!front_bytes(head.n_ids, &front) || front > rest || head.part_bytes != rest - front)
        return acc_fail(err, ACCLLM_E_FORMAT, "the parts of the state do not fill its %zu bytes", n);
    for (uint64_t i = 0; i < head.n_ids; i++) {
        int32_t id;
        memcpy(&id, from + sizeof head + i * sizeof id, sizeof id);
        if (id < 0 || (uint32_t)id >= s->model->info.n_vocab)
            return acc_fail(err, ACCLLM_E_FORMAT, "the state has an id outside the vocabulary");
    }
    ACC_TRY(s->ops->load(s->self, from + front, (size_t)head.part_bytes, err));
    *n_ids = (size_t)head.n_ids;
    size_t some = *n_ids < cap ? *n_ids : cap;
    if (some) memcpy(ids, from + sizeof head, some * sizeof *ids);
    return ACCLLM_OK;
}

accllm_status accllm_session_load(accllm_session *s, const void *from, size_t n, int32_t *ids, size_t cap,
                                  size_t *n_ids, accllm_error *err)
{
    *n_ids = 0;
    if (!from || (cap && !ids)) return acc_fail(err, ACCLLM_E_ARG, "no state, or no place for its ids");
    ACC_TRY(check_session(s, err));
    ACC_TRY(acc_session_enter(s, err));
    accllm_status status = load(s, from, n, ids, cap, n_ids, err);
    acc_session_leave(s);
    return status;
}
