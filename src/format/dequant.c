/* ggml tensor types: names, block sizes, conversion to float. */
#include <inttypes.h>
#include <string.h>

#include "format/gguf_internal.h"
#include "numerics/numerics.h"

#define BLOCK 32 /* elements of a Q4_0, Q4_1 or Q8_0 block */

const char *acc_ggml_type_name(uint32_t type)
{
    static const char *const names[] = {
        "f32",     "f16",   "q4_0",   "q4_1",  "type 4",  "type 5",  "q5_0",    "q5_1",    "q8_0",
        "q8_1",    "q2_k",  "q3_k",   "q4_k",  "q5_k",    "q6_k",    "q8_k",    "iq2_xxs", "iq2_xs",
        "iq3_xxs", "iq1_s", "iq4_nl", "iq3_s", "iq2_s",   "iq4_xs",  "i8",      "i16",     "i32",
        "i64",     "f64",   "iq1_m",  "bf16",  "type 31", "type 32", "type 33", "tq1_0",   "tq2_0",
    };
    return type < sizeof names / sizeof *names ? names[type] : "unknown type";
}

bool acc_ggml_block(uint32_t type, uint32_t *elements, uint32_t *bytes)
{
    *elements = 1;
    switch (type) {
    case ACC_GGML_F32:
        *bytes = 4;
        return true;
    case ACC_GGML_F16:
    case ACC_GGML_BF16:
        *bytes = 2;
        return true;
    case ACC_GGML_I8:
        *bytes = 1;
        return true;
    case ACC_GGML_Q4_0:
        *elements = BLOCK;
        *bytes = 2 + BLOCK / 2;
        return true;
    case ACC_GGML_Q4_1:
        *elements = BLOCK;
        *bytes = 4 + BLOCK / 2;
        return true;
    case ACC_GGML_Q8_0:
        *elements = BLOCK;
        *bytes = 2 + BLOCK;
        return true;
    default:
        return false;
    }
}

static void from_f16(const uint8_t *src, size_t n, float *out)
{
    for (size_t i = 0; i < n; i++) out[i] = acc_f16_to_f32(acc_load_u16(src + 2 * i));
}

static void from_bf16(const uint8_t *src, size_t n, float *out)
{
    for (size_t i = 0; i < n; i++) {
        uint32_t bits = (uint32_t)acc_load_u16(src + 2 * i) << 16;
        memcpy(&out[i], &bits, sizeof bits);
    }
}

static void from_i8(const uint8_t *src, size_t n, float *out)
{
    for (size_t i = 0; i < n; i++) out[i] = (float)(int8_t)src[i];
}

/* A block: f16 scale, 32 int8. */
static void from_q8_0(const uint8_t *src, size_t n, float *out)
{
    for (; n; n -= BLOCK, src += 2 + BLOCK, out += BLOCK) {
        float d = acc_f16_to_f32(acc_load_u16(src));
        for (size_t i = 0; i < BLOCK; i++) out[i] = d * (float)(int8_t)src[2 + i];
    }
}

/* A block: f16 scale, then nibbles: element i low, element i + 16 high, both minus 8. */
static void from_q4_0(const uint8_t *src, size_t n, float *out)
{
    for (; n; n -= BLOCK, src += 2 + BLOCK / 2, out += BLOCK) {
        float d = acc_f16_to_f32(acc_load_u16(src));
        for (size_t i = 0; i < BLOCK / 2; i++) {
            out[i] = d * (float)((src[2 + i] & 15) - 8);
            out[i + BLOCK / 2] = d * (float)((src[2 + i] >> 4) - 8);
        }
    }
}

/* A block: f16 scale, f16 minimum, then nibbles as above, unsigned. */
static void from_q4_1(const uint8_t *src, size_t n, float *out)
{
    for (; n; n -= BLOCK, src += 4 + BLOCK / 2, out += BLOCK) {
        float d = acc_f16_to_f32(acc_load_u16(src)), m = acc_f16_to_f32(acc_load_u16(src + 2));
        for (size_t i = 0; i < BLOCK / 2; i++) {
            out[i] = d * (float)(src[4 + i] & 15) + m;
            out[i + BLOCK / 2] = d * (float)(src[4 + i] >> 4) + m;
        }
    }
}

accllm_status acc_gguf_read_f32(const acc_gguf *g, const acc_gguf_tensor *t, uint64_t first, size_t n, float *out,
                                accllm_error *err)
{
    int shown = t->name.n < 64 ? (int)t->name.n : 64;
    uint32_t elements, bytes;
    if (!acc_ggml_block(t->type, &elements, &bytes))
        return acc_fail(err, ACCLLM_E_UNSUPPORTED, "tensor %.*s has type %s (%" PRIu32 "), which is not read", shown,
                        t->name.s, acc_ggml_type_name(t->type), t->type);
    uint64_t total = t->bytes / bytes * elements;
    if (first % elements != 0 || n % elements != 0 || first > total || n > total - first)
        return acc_fail(err, ACCLLM_E_ARG, "tensor %.*s: elements %" PRIu64 " + %zu of %" PRIu64, shown, t->name.s,
                        first, n, total);
    const uint8_t *src = acc_gguf_data(g, t) + first / elements * bytes;
    switch ((acc_ggml_type)t->type) {
    case ACC_GGML_F32:
        if (n) memcpy(out, src, n * sizeof *out);
        break;
    case ACC_GGML_F16:
        from_f16(src, n, out);
        break;
    case ACC_GGML_BF16:
        from_bf16(src, n, out);
        break;
    case ACC_GGML_I8:
        from_i8(src, n, out);
        break;
    case ACC_GGML_Q8_0:
        from_q8_0(src, n, out);
        break;
    case ACC_GGML_Q4_0:
        from_q4_0(src, n, out);
        break;
    case ACC_GGML_Q4_1:
        from_q4_1(src, n, out);
        break;
    }
    return ACCLLM_OK;
}
