#include "support/whole.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

void read_everything(const acc_source *s)
{
    accllm_error err;
    for (int i = 0; i < ACC_T_COUNT; i++) {
        acc_tensor_id id = (acc_tensor_id)i;
        uint64_t rows, cols;
        uint32_t n = acc_tensor_is_global(id) ? 1 : s->hp.n_layers;
        acc_tensor_shape(&s->hp, id, &rows, &cols);
        assert_true(rows * cols <= 1 << 20); /* no larger than the file allows */
        float *x = malloc(rows * cols * sizeof *x);
        assert_non_null(x);
        for (uint32_t layer = 0; layer < n; layer++) {
            if (!s->has(s, id, layer)) continue;
            accllm_status st = s->read_rows(s, id, layer, 0, rows, x, &err);
            assert_true(st == ACCLLM_OK || st == ACCLLM_E_NUMERIC);
        }
        free(x);
    }
}
