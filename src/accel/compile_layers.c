/* The layers of a model as instructions and streams. */
#include "accel/compile_internal.h"

/* Block i of parts [first, first + n) of a linear layer. */
static const acc_stream_part *part_at(const acc_linear *l, uint32_t first, uint32_t n, uint32_t i, uint32_t *rb)
{
    const acc_stream_part *p = &l->part[first];
    if (l->turns) {
        *rb = i / n;
        return p + i % n;
    }
    for (*rb = i; *rb >= p->w->row_blocks; p++) *rb -= p->w->row_blocks;
    return p;
}

/* One MM over parts that are alike; code false: only their data. */
static void stream(acc_builder *b, const acc_linear *l, uint32_t first, uint32_t n, uint64_t dst, uint32_t step,
                   unsigned wait, unsigned signal, bool code)
{
    const acc_weight *w = l->part[first].w;
    const uint32_t channels = b->im->h.channels;
    uint32_t blocks = 0, rb;
    for (uint32_t i = 0; i < n; i++) blocks += l->part[first + i].w->row_blocks;
    acc_inst spare, *mm = code ? acc_build_emit(b, ACC_OP_MM, wait, signal) : &spare;
    if (!code) spare = acc_inst_make(ACC_OP_MM, wait, signal);
    acc_build_set(b, mm, ACC_F_FORMAT, w->format);
    acc_build_set(b, mm, ACC_F_LEVELS, w->format == ACC_FMT_W2S ? acc_stream_levels(w) : 0);
    acc_build_set(b, mm, ACC_F_GROUP, acc_stream_group(w));
    acc_build_set(b, mm, ACC_F_BIAS, l->part[first].bias != NULL);
    acc_build_set(b, mm, ACC_F_GROUPS, w->col_groups);
    acc_build_set(b, mm, ACC_F_BLOCKS, blocks);
    acc_build_set(b, mm, ACC_F_TARGET, l->target);
    acc_build_set(b, mm, ACC_F_DST, dst);
    acc_build_set(b, mm, ACC_F_STEP, step);
    const uint32_t lines = acc_block_lines(mm);
    uint64_t at = acc_build_take(b, (uint64_t)(blocks + channels - 1) / channels * lines);
    acc_build_set(b, mm, ACC_F_STREAM, at);
    for (uint32_t i = 0; b->im->data && i < blocks; i++) {
        const acc_stream_part *p = part_at(l, first, n, i, &rb);
        acc_stream_block(p, rb, acc_image_line(b->im, i % channels, (uint32_t)(at + (uint64_t)(i / channels) * lines)));
    }
}

/* The matrices of one input in as few streams as they allow: one where all are alike, else one each. The first waits
 * for the vector unit's codes, the last signals. */
void acc_build_linear(acc_builder *b, const acc_linear *l, bool code)
{
    bool alike = true;
    for (uint32_t i = 1; i < l->n; i++) alike &= acc_stream_alike(&l->part[0], &l->part[i]);
    if (alike) {
        stream(b, l, 0, l->n, l->dst, 1, ACC_ON_VECTOR, l->signal, code);
        return;
    }
    uint64_t dst = l->dst;
    for (uint32_t i = 0; i < l->n; i++) {
        stream(b, l, i, 1, dst, l->turns ? l->n : 1, i == 0 ? ACC_ON_VECTOR : 0, i + 1 == l->n ? l->signal : 0, code);
        dst += l->turns ? 1 : l->part[i].w->row_blocks;
    }
}

/* ---- a layer ---- */

void acc_build_codes(acc_builder *b, acc_isa_vector op, uint32_t n, uint32_t src, uint64_t gain, unsigned wait,
                     bool code)
{
    if (!code) return;
    acc_inst *i = acc_build_emit(b, ACC_OP_VEC, wait, ACC_ON_ENGINE);
    acc_build_set(b, i, ACC_F_OP, op);
    acc_build_set(b, i, ACC_F_N, n);
    acc_build_set(b, i, ACC_F_SRC, src);
    acc_build_set(b, i, ACC_F_DST, op == ACC_VECTOR_SILU ? b->at.ff : 0);
    acc_build_set(b, i, ACC_F_GAIN, gain);
}

static void attention(acc_builder *b, const acc_packed_layer *l, uint32_t layer, bool code)
{
    const uint32_t n = b->m->hp.n_kv_heads * b->m->hp.head_dim;
    const uint64_t cache = b->im->h.region[ACC_REGION_CACHE].line + layer * b->cache.layer_lines;
    const uint64_t mean = l->k_mean ? acc_build_vector(b, l->k_mean, n) : b->line;
    if (l->q_direction) (void)acc_build_vector(b, l->q_direction, n); /* right behind the mean, or in its place */
    if (!code) return;
    acc_inst *i = acc_build_emit(b, ACC_OP_KVW, ACC_ON_ENGINE, 0);
    acc_build_set(b, i, ACC_F_KEYS, b->at.k);
    acc_build_set(b, i, ACC_F_VALUES, b->at.v);
    acc_build_set(b, i, ACC_F_CACHE, cache);
    acc_build_set(b, i, ACC_F_PARAMS, l->k_mean || l->q_direction ? mean : 0);
    acc_build_set(b, i, ACC_F_MEAN, l->k_mean != NULL);
    acc_build_set(b, i, ACC_F_DIRECTION, l->q_direction != NULL);
    i = acc_build_emit(b, ACC_OP_ATT, 0, ACC_ON_VECTOR);
    acc_build_set(b, i, ACC_F_QUERIES, b->at.q);
    acc_build_set(b, i, ACC_F_DST, b->at.att);
    acc_build_set(b, i, ACC_F_CACHE, cache);
    acc_build_set(b, i, ACC_F_PARAMS, l->k_mean ? mean : 0);
    acc_build_set(b, i, ACC_F_MEAN, l->k_mean != NULL);
}

/* The data of a layer; code: also its instructions. */
static void put_layer(acc_builder *b, uint32_t layer, bool code)
{
    const acc_packed_layer *l = &b->m->layers[layer];
    const acc_hparams *hp = &b->m->hp;
    const acc_linear qkv = {.part = {{&l->q, l->q_bias}, {&l->k, l->k_bias}, {&l->v, l->v_bias}},
                            .n = 3,
                            .dst = b->at.q,
                            .signal = ACC_ON_CACHE};
    const acc_linear out = {
        .part = {{&l->o, NULL}}, .n = 1, .target = ACC_TARGET_ADD, .dst = b->at.x, .signal = ACC_ON_VECTOR};
    const acc_linear gate_up = {
        .part = {{&l->gate, NULL}, {&l->up, NULL}}, .n = 2, .turns = true, .dst = b->at.pairs, .signal = ACC_ON_VECTOR};
    const acc_linear down = {
        .part = {{&l->down, NULL}}, .n = 1, .target = ACC_TARGET_ADD, .dst = b->at.x, .signal = ACC_ON_VECTOR};

    acc_build_codes(b, ACC_VECTOR_NORM, hp->n_embd, b->at.x, acc_build_vector(b, l->attn_norm, hp->n_embd), 0, code);
    acc_build_linear(b, &qkv, code);
    attention(b, l, layer, code);
    acc_build_codes(b, ACC_VECTOR_CODES, hp->n_heads * hp->head_dim, b->at.att, 0, ACC_ON_CACHE, code);
    acc_build_linear(b, &out, code);
    acc_build_codes(b, ACC_VECTOR_NORM, hp->n_embd, b->at.x, acc_build_vector(b, l->ffn_norm, hp->n_embd),
                    ACC_ON_ENGINE, code);
    acc_build_linear(b, &gate_up, code);
    acc_build_codes(b, ACC_VECTOR_SILU, hp->n_ff, b->at.pairs, 0, ACC_ON_ENGINE, code);
    acc_build_linear(b, &down, code);
    if (!code) return;
    acc_inst *i = acc_build_emit(b, ACC_OP_MOV, ACC_ON_ENGINE,
                                 0); /* the residual, for the trace: a thousandth of a layer's bytes */
    acc_build_set(b, i, ACC_F_OP, ACC_MOVE_STORE);
    acc_build_set(b, i, ACC_F_N, hp->n_embd);
    acc_build_set(b, i, ACC_F_BLOCK, b->at.x);
    acc_build_set(b, i, ACC_F_ADDRESS,
                  b->im->h.region[ACC_REGION_TRACE].line +
                      (uint64_t)layer * acc_vector_lines(hp->n_embd, b->im->h.channels));
}

/* Whether the instructions of layer a serve layer c too. */
static bool layers_alike(const acc_packed_layer *a, const acc_packed_layer *c)
{
    const acc_stream_part pa[] = {{&a->q, a->q_bias}, {&a->k, a->k_bias}, {&a->v, a->v_bias}, {&a->o, NULL},
                                  {&a->gate, NULL},   {&a->up, NULL},     {&a->down, NULL}};
    const acc_stream_part pc[] = {{&c->q, c->q_bias}, {&c->k, c->k_bias}, {&c->v, c->v_bias}, {&c->o, NULL},
                                  {&c->gate, NULL},   {&c->up, NULL},     {&c->down, NULL}};
    bool alike = !a->k_mean == !c->k_mean && !a->q_direction == !c->q_direction;
    for (size_t i = 0; i < sizeof pa / sizeof *pa; i++) alike &= acc_stream_alike(&pa[i], &pc[i]);
    return alike;
}

void acc_build_layers(acc_builder *b)
{
    const uint32_t n = b->m->hp.n_layers;
    for (uint32_t first = 0, next; first < n; first = next) {
        for (next = first + 1; next < n && layers_alike(&b->m->layers[first], &b->m->layers[next]);) next++;
        const uint32_t at = b->n;
        const uint64_t line = b->line;
        (void)acc_build_emit(b, ACC_OP_LOOP, 0, 0);
        put_layer(b, first, true);
        acc_inst *loop = &b->program[at];
        acc_build_set(b, loop, ACC_F_ROUNDS, next - first);
        acc_build_set(b, loop, ACC_F_LENGTH, b->n - at - 1);
        acc_build_set(b, loop, ACC_F_WEIGHTS, b->line - line);
        acc_build_set(b, loop, ACC_F_CACHE, b->cache.layer_lines);
        acc_build_set(b, loop, ACC_F_TRACE, acc_vector_lines(b->m->hp.n_embd, b->im->h.channels));
        for (uint32_t l = first + 1; l < next; l++) put_layer(b, l, false);
    }
}
