#include "accel/image.h"

#include <string.h>

#include "core/hash.h"
#include "core/memory.h"

_Static_assert(sizeof(acc_image_header) == 168, "the header has no padding");

uint64_t acc_image_content(const acc_image *im)
{
    acc_image_header h = im->h;
    h.content = 0;
    uint64_t hash = acc_fnv1a(ACC_FNV_START, &h, sizeof h);
    return acc_fnv1a(hash, im->data, (size_t)h.channels * h.lines * ACC_ISA_LINE_BYTES);
}

accllm_status acc_image_write(const acc_image *im, uint8_t **out, size_t *bytes, accllm_error *err)
{
    const size_t data = (size_t)im->h.channels * im->h.lines * ACC_ISA_LINE_BYTES;
    void *p;
    *bytes = sizeof im->h + data;
    ACC_TRY(acc_alloc(&p, 1, *bytes, "image", err));
    *out = p;
    memcpy(*out, &im->h, sizeof im->h);
    memcpy(*out + sizeof im->h, im->data, data);
    return ACCLLM_OK;
}

static accllm_status read_header(acc_image_header *h, const uint8_t *bytes, size_t n, accllm_error *err)
{
    if (n < sizeof *h) return acc_fail(err, ACCLLM_E_FORMAT, "image: %zu bytes hold no header", n);
    memcpy(h, bytes, sizeof *h);
    if (h->magic != ACC_IMAGE_MAGIC) return acc_fail(err, ACCLLM_E_FORMAT, "image: the magic number is wrong");
    if (h->version != ACC_ISA_VERSION)
        return acc_fail(err, ACCLLM_E_UNSUPPORTED, "image: version %u; this is %u", h->version, ACC_ISA_VERSION);
    if (h->channels == 0 || h->channels > ACC_ISA_CHANNELS_MAX || h->lines == 0 || h->lines > ACC_ISA_CHANNEL_LINES)
        return acc_fail(err, ACCLLM_E_FORMAT, "image: %u channels of %u lines", h->channels, h->lines);
    const size_t data = (size_t)h->channels * h->lines * ACC_ISA_LINE_BYTES;
    if (n - sizeof *h != data)
        return acc_fail(err, ACCLLM_E_FORMAT, "image: %zu bytes behind the header instead of %zu", n - sizeof *h, data);
    return ACCLLM_OK;
}

accllm_status acc_image_read(acc_image *im, const uint8_t *bytes, size_t n, accllm_error *err)
{
    *im = (acc_image){0};
    void *p;
    ACC_TRY(read_header(&im->h, bytes, n, err));
    ACC_TRY(acc_alloc(&p, 1, n - sizeof im->h, "image", err));
    im->data = p;
    memcpy(im->data, bytes + sizeof im->h, n - sizeof im->h);
    accllm_status s = ACCLLM_OK;
    if (acc_image_content(im) != im->h.content) s = acc_fail(err, ACCLLM_E_FORMAT, "image: damaged (its hash differs)");
    if (s == ACCLLM_OK) s = acc_image_check(im, err);
    if (s != ACCLLM_OK) acc_image_free(im);
    return s;
}

void acc_image_free(acc_image *im)
{
    acc_free(im->data);
    *im = (acc_image){0};
}
