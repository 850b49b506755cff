/* W2S: the cheapest of all 121 code words for a quad, and the sweep over quads. */
#include <string.h>

#include "compress/solver.h"
#include "core/clones.h"

/* The last words (reserved ones excluded) of acc_w2s_quad's table. */
#define N_WORDS 121

static bool is_representative(const int8_t q[4])
{
    for (int k = 0; k < 4; k++)
        if (q[k] != 0) return q[k] > 0;
    return false;
}

void acc_w2s_book_init(acc_w2s_book *book, int level1, int level2)
{
    unsigned n = 0;
    memset(book, 0, sizeof *book);
    for (unsigned c = 0; c < N_WORDS && n < ACC_W2S_HALF; c++) {
        int8_t q[4], minus[4];
        acc_w2s_quad(c, level1, level2, q);
        if (!is_representative(q)) continue;
        unsigned i = 0, j = 3;
        while (q[i] == 0) i++;
        while (j > i && q[j] == 0) j--;
        for (int k = 0; k < 4; k++) minus[k] = (int8_t)-q[k];
        book->i[n] = (uint8_t)i;
        book->j[n] = (uint8_t)j;
        book->a[n] = q[i];
        book->b[n] = j > i ? q[j] : 0;
        memcpy(book->quad[n], q, 4);
        book->plus[n] = (uint8_t)c;
        book->minus[n] = (uint8_t)acc_w2s_code(minus, level1, level2);
        n++;
    }
}

void acc_quad_form_init(acc_quad_form *f, const double a[4][4], const acc_w2s_book *book)
{
    for (int i = 0; i < 4; i++)
        for (int j = 0; j < 4; j++) f->a[i][j] = (float)a[i][j];
    for (int c = 0; c < ACC_W2S_HALF; c++) {
        double k = 0;
        for (int i = 0; i < 4; i++)
            for (int j = 0; j < 4; j++) k += book->quad[c][i] * a[i][j] * book->quad[c][j];
        f->k[c] = (float)k;
    }
}

/*
 * (w - s q) a (w - s q)^T = w a w^T + s (s q a q^T - 2 q g), g = a w: with q a q^T in a table, each word costs two
 * products of g. +q and -q share everything but the sign of q g.
 */
ACC_CLONES void acc_w2s_choose(const acc_w2s_book *book, const acc_quad_form *f, const float w[4][ACC_LANES],
                               const float s[ACC_LANES], uint8_t code[ACC_LANES], float q[4][ACC_LANES])
{
    float g[4][ACC_LANES], best[ACC_LANES] = {0}, sign[ACC_LANES] = {0};
    int32_t which[ACC_LANES];
    for (int l = 0; l < ACC_LANES; l++) which[l] = -1;
    for (int i = 0; i < 4; i++)
        for (int l = 0; l < ACC_LANES; l++)
            g[i][l] = f->a[i][0] * w[0][l] + f->a[i][1] * w[1][l] + f->a[i][2] * w[2][l] + f->a[i][3] * w[3][l];
    for (int c = 0; c < ACC_W2S_HALF; c++) {
        const float *x = g[book->i[c]], *y = g[book->j[c]];
        const float a = book->a[c], b = book->b[c], k = f->k[c];
        for (int l = 0; l < ACC_LANES; l++) {
            float t = a * x[l] + b * y[l];
            float cost = s[l] * (s[l] * k - 2 * __builtin_fabsf(t));
            which[l] = cost < best[l] ? c : which[l];
            sign[l] = cost < best[l] ? t : sign[l];
            best[l] = cost < best[l] ? cost : best[l];
        }
    }
    for (int l = 0; l < ACC_LANES; l++) {
        int c = which[l];
        code[l] = c < 0 ? ACC_W2S_ZERO : sign[l] >= 0 ? book->plus[c] : book->minus[c];
        for (int i = 0; i < 4; i++) q[i][l] = c < 0 ? 0 : sign[l] >= 0 ? book->quad[c][i] : -(float)book->quad[c][i];
    }
}

/* Errors of a quad's columns in units of the factor's diagonal, each carried on to the columns after it. */
ACC_CLONES static void carry_quad(const acc_sweep *s, uint32_t at, const float q[4][ACC_LANES], const float *scale,
                                  float (*w)[ACC_LANES], float (*e)[ACC_LANES])
{
    const uint32_t j = at - s->begin;
    for (uint32_t k = 0; k < 4; k++) {
        const float *u = s->f->u + (size_t)(at + k) * s->f->n + at;
        const float inv = 1 / u[k];
        for (int l = 0; l < ACC_LANES; l++) e[j + k][l] = (w[j + k][l] - scale[l] * q[k][l]) * inv;
        for (uint32_t c = k + 1; c < 4; c++)
            for (int l = 0; l < ACC_LANES; l++) w[j + c][l] -= e[j + k][l] * u[c];
    }
    const float *u = s->f->u + (size_t)at * s->f->n + s->begin;
    const size_t n = s->f->n;
    for (uint32_t c = j + 4; c < s->count; c++) {
        const float u0 = u[c], u1 = u[c + n], u2 = u[c + 2 * n], u3 = u[c + 3 * n];
        for (int l = 0; l < ACC_LANES; l++)
            w[c][l] -= e[j][l] * u0 + e[j + 1][l] * u1 + e[j + 2][l] * u2 + e[j + 3][l] * u3;
    }
}

void acc_sweep_w2s(const acc_sweep *s, uint32_t r0, float (*w)[ACC_LANES], float (*e)[ACC_LANES])
{
    const acc_codes *c = s->c;
    for (uint32_t j = 0; j < s->count; j += 4) {
        const uint32_t at = s->begin + j, quad = s->f->order[at / 4];
        const float *scale = c->scale + (size_t)(quad * 4 / c->group) * c->rows_pad + r0;
        uint8_t code[ACC_LANES];
        float q[4][ACC_LANES];
        acc_w2s_choose(s->book, &s->forms[at / 4], w + j, scale, code, q);
        for (uint32_t l = 0; l < ACC_LANES; l++) c->codes[(size_t)(r0 + l) * c->n_units + quad] = (int8_t)code[l];
        carry_quad(s, at, q, scale, w, e);
    }
}
