/* W4 and W8: the sweep over single columns (GPTQ, Frantar et al. 2022, with static scales and reordered columns). */
#include "compress/solver.h"

static inline float round_even(float x)
{
    return (x + 12582912.0f) - 12582912.0f; /* |x| < 2^22: ties to even, in vector code */
}

void acc_sweep_dense(const acc_sweep *s, uint32_t r0, float (*w)[ACC_LANES], float (*e)[ACC_LANES])
{
    acc_codes *c = s->c;
    const float lo = c->format == ACC_FMT_W4 ? -8 : -127, hi = c->format == ACC_FMT_W4 ? 7 : 127;
    for (uint32_t j = 0; j < s->count; j++) {
        const uint32_t at = s->begin + j, col = s->f->order[at];
        const float *scale = c->scale + (size_t)(col / c->group) * c->rows_pad + r0;
        const float *u = s->f->u + (size_t)at * s->f->n + s->begin, inv = 1 / u[j];
        float q[ACC_LANES];
        for (int l = 0; l < ACC_LANES; l++) {
            /* Feedback can push a weight far out; the clamp comes first, so that rounding stays in its range. */
            float v = scale[l] > 0 ? w[j][l] / scale[l] : 0;
            v = v < lo ? lo : v;
            v = v > hi ? hi : v;
            q[l] = round_even(v);
            e[j][l] = (w[j][l] - scale[l] * q[l]) * inv;
        }
        for (uint32_t l = 0; l < ACC_LANES; l++) c->codes[(size_t)(r0 + l) * c->n_units + col] = (int8_t)q[l];
        for (uint32_t k = j + 1; k < s->count; k++)
            for (int l = 0; l < ACC_LANES; l++) w[k][l] -= e[j][l] * u[k];
    }
}
