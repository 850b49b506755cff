#include "support/shapes.h"

static const struct {
    uint32_t heads, kv_heads, head_dim, embd, ff, vocab, page;
    bool tied, biases;
    acc_format format, head;
} shapes[N_SHAPES] = {
    {4, 4, 48, 0, 100, 300, 16, true, false, ACC_FMT_W2S, ACC_FMT_W8},
    {6, 2, 64, 0, 132, 300, 256, false, true, ACC_FMT_W4, ACC_FMT_W4},
    {5, 1, 128, 200, 200, 301, 64, true, true, ACC_FMT_W2S, ACC_FMT_W4},
    {2, 1, 256, 72, 68, 260, 4096, false, false, ACC_FMT_W8, ACC_FMT_W8},
    {3, 3, 8, 0, 52, 300, 32, true, true, ACC_FMT_W2S, ACC_FMT_W8},
    {9, 3, 64, 576, 300, 300, 256, true, false, ACC_FMT_W2S, ACC_FMT_W8},
    {4, 2, 48, 100, 132, 300, 64, false, true, ACC_FMT_W2, ACC_FMT_W8},
    {3, 1, 64, 0, 200, 301, 256, true, false, ACC_FMT_W2, ACC_FMT_W2},
    {2, 2, 32, 0, 96, 300, 64, false, false, ACC_FMT_W4, ACC_FMT_W2S},
};

void shape_options(uint32_t i, tiny_options *t, pack_options *p)
{
    *t = tiny_defaults();
    t->n_heads = shapes[i].heads;
    t->n_kv_heads = shapes[i].kv_heads;
    t->head_dim = shapes[i].head_dim;
    t->n_embd = shapes[i].embd;
    t->n_ff = shapes[i].ff;
    t->n_vocab = shapes[i].vocab;
    t->tied = shapes[i].tied;
    t->biases = shapes[i].biases;
    if (t->biases) t->arch = "qwen2";
    *p = pack_defaults(shapes[i].format);
    p->head = shapes[i].head;
    p->page = shapes[i].page;
    p->k_mean = i % 2 == 0;
    p->q_direction = i % 3 != 1;
    p->embd_scale = t->tied && i != 4;
}

pack_options mixed_options(uint32_t i)
{
    static const acc_format formats[ACC_N_LINEAR] = {ACC_FMT_W2S, ACC_FMT_W8, ACC_FMT_W4, ACC_FMT_W2,
                                                     ACC_FMT_W2S, ACC_FMT_W4, ACC_FMT_W8};
    pack_options p = pack_defaults(ACC_FMT_W4);
    for (uint32_t k = 0; k < ACC_N_LINEAR; k++) {
        if (i == 0) p.linear[k] = formats[k];
        if (i == 1) p.linear_group[k] = k % 2 ? 32 : 64;
    }
    return p;
}
