/* W2, W4 and W8: the sweep over single columns (GPTQ, Frantar et al. 2022, with static scales and reordered columns).
 */
#include "compress/solver.h"
#include "core/clones.h"

ACC_CLONES void acc_sweep_dense(const acc_sweep *s, uint32_t r0, float (*w)[ACC_LANES], float (*e)[ACC_LANES])
{
    acc_codes *c = s->c;
    const acc_grid grid = acc_grid_of(c->format);
    for (uint32_t j = 0; j < s->count; j++) {
        const uint32_t at = s->begin + j, col = s->f->order[at];
        const float *scale = c->scale + (size_t)(col / c->group) * c->rows_pad + r0;
        const float *u = s->f->u + (size_t)at * s->f->n + s->begin, inv = 1 / u[j];
        float q[ACC_LANES];
        for (int l = 0; l < ACC_LANES; l++) {
            q[l] = acc_grid_round(grid, scale[l] > 0 ? w[j][l] / scale[l] : 0);
            e[j][l] = (w[j][l] - scale[l] * q[l]) * inv;
        }
        for (uint32_t l = 0; l < ACC_LANES; l++) c->codes[(size_t)(r0 + l) * c->n_units + col] = (int8_t)q[l];
        for (uint32_t k = j + 1; k < s->count; k++)
            for (int l = 0; l < ACC_LANES; l++) w[k][l] -= e[j][l] * u[k];
    }
}
