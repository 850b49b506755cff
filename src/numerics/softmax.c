/* The exponential in integers and the merge of segments: docs/numerics.md "Attention of one query and head". */
#include <string.h>

#include "numerics/numerics.h"

void acc_exp2_parts(float d, int32_t *n, int32_t *m)
{
    int32_t v = acc_rne(d);
    uint32_t i = ((uint32_t)v >> 10) & 63;
    int32_t f = v & 1023, low = acc_exp2_table[i];
    *n = v >> 16; /* floor: arithmetic shift */
    *m = low + (((acc_exp2_table[i + 1] - low) * f + 512) >> 10);
}

uint32_t acc_exp2_u16(float d)
{
    if (!(d >= -16.0f * 65536)) return 0; /* and NaN */
    int32_t n, m;
    acc_exp2_parts(d, &n, &m);
    uint32_t shift = (uint32_t)-n, e = (2u * (uint32_t)m + ((1u << shift) >> 1)) >> shift;
    return e > 65535 ? 65535 : e;
}

float acc_exp2_merge(float d)
{
    if (!(d >= -60.0f * 65536)) return 0;
    int32_t n, m;
    acc_exp2_parts(d, &n, &m);
    uint32_t bits = (uint32_t)(127 + n) << 23; /* 2^n */
    float scale;
    memcpy(&scale, &bits, sizeof scale);
    return scale * (float)m;
}

void acc_attn_merge(const acc_attn_part *parts, uint32_t n, uint32_t head_dim, float *out)
{
    float max = -__builtin_inff(), den = 0;
    for (uint32_t i = 0; i < n; i++)
        if (parts[i].max > max) max = parts[i].max;
    for (uint32_t d = 0; d < head_dim; d++) out[d] = 0;
    for (uint32_t i = 0; i < n; i++) {
        float e = acc_exp2_merge((parts[i].max - max) * ACC_LOG2E_65536);
        for (uint32_t d = 0; d < head_dim; d++) out[d] += e * parts[i].o[d];
        den += e * (float)parts[i].l;
    }
    float inv = 1.0f / den;
    for (uint32_t d = 0; d < head_dim; d++) out[d] *= inv;
}
