/* Rotary position embedding (Su et al., arXiv 2104.09864) from a table: docs/numerics.md "RoPE, page-relative". */
#include "numerics/numerics.h"

/* sin of a phase in turns with a 64-bit fraction. */
static float sine(uint64_t phase)
{
    uint32_t quadrant = (uint32_t)(phase >> 62);
    uint64_t y = phase & ((UINT64_C(1) << 62) - 1);
    if (quadrant & 1) y = (UINT64_C(1) << 62) - y;
    uint32_t i = (uint32_t)(y >> 52);
    float s = acc_sin_table[i];
    if (i < 1024) {
        float f = (float)(uint32_t)((y >> 28) & 0xffffff) * 0x1p-24f;
        s = s + (acc_sin_table[i + 1] - s) * f;
    }
    return quadrant & 2 ? -s : s;
}

void acc_sincos(uint64_t phase, float *sin, float *cos)
{
    *sin = sine(phase);
    *cos = sine(phase + (UINT64_C(1) << 62));
}

void acc_rope_angles(uint64_t distance, const uint64_t *steps, uint32_t head_dim, float *cos, float *sin)
{
    for (uint32_t j = 0; j < head_dim / 2; j++) acc_sincos(distance * steps[j], &sin[j], &cos[j]);
}

void acc_rope_rotate(float *x, const float *cos, const float *sin, uint32_t head_dim)
{
    uint32_t half = head_dim / 2;
    for (uint32_t j = 0; j < half; j++) {
        float x0 = x[j], x1 = x[j + half];
        x[j] = x0 * cos[j] - x1 * sin[j];
        x[j + half] = x1 * cos[j] + x0 * sin[j];
    }
}
