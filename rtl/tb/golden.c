/* What the benches compare with: the library's own functions, called through DPI-C. */
#include <stdint.h>
#include <string.h>

#include "svdpi.h"
#include "weights/weights.h"

/* The sum of a quad's products; words: bits 7..0 of a W2S code, levels of the package's enumeration. */
int golden_w2s(int code, int levels, int act)
{
    const int l1 = levels == 2 ? 2 : 1, l2 = levels == 2 ? 5 : levels == 1 ? 3 : 2;
    int8_t quad[4];
    int sum = 0;
    acc_w2s_quad((unsigned)code, l1, l2, quad);
    for (int k = 0; k < 4; k++) sum += quad[k] * (int8_t)((unsigned)act >> (8 * k));
    return sum;
}

/* The same of a dense W2 row: the level of column k in bits 2k and 2k + 1. */
int golden_w2(int word, int act)
{
    int sum = 0;
    for (int k = 0; k < 4; k++)
        sum += (2 * (int)((unsigned)word >> (2 * k) & 3) - 3) * (int8_t)((unsigned)act >> (8 * k));
    return sum;
}
