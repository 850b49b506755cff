/* Compiles a packed model for the accelerator: prints its regions and its program, and writes the image where asked. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "accel/compile.h"
#include "core/file.h"
#include "core/memory.h"

static void list(const acc_image *im)
{
    const acc_image_header *h = &im->h;
    (void)printf("model %016" PRIx64 ", image %016" PRIx64 ", %u channels, %u lines of 64 bytes each\n", h->model,
                 h->content, h->channels, h->lines);
    for (int r = 0; r < ACC_REGION_COUNT; r++)
        (void)printf("%-10s line %8u, %8u lines\n", acc_isa_region_names[r], h->region[r].line, h->region[r].lines);
    for (uint32_t i = 0; i < h->n_instructions; i++) {
        char text[200];
        acc_inst_text(&acc_image_program(im)[i], text, sizeof text);
        (void)printf("%4u  %s\n", i, text);
    }
}

static accllm_status save(const acc_image *im, const char *path, accllm_error *err)
{
    uint8_t *bytes;
    size_t n;
    acc_writer w;
    ACC_TRY(acc_image_write(im, &bytes, &n, err));
    accllm_status s = acc_writer_open(&w, path, err);
    if (s == ACCLLM_OK) {
        acc_writer_put(&w, bytes, n);
        s = acc_writer_commit(&w, err);
    }
    acc_free(bytes);
    return s;
}

static accllm_status compile(const char *path, const char *out, uint32_t channels, accllm_error *err)
{
    acc_packed *m;
    acc_image im = {0};
    ACC_TRY(acc_packed_open(&m, path, true, false, err));
    const acc_compile_params p = {.channels = channels,
                                  .sinks = m->default_sinks,
                                  .window = m->default_window ? m->default_window : 2048,
                                  .kv_bits = m->default_kv_bits,
                                  .near = 64};
    accllm_status s = acc_compile(&im, m, &p, err);
    if (s == ACCLLM_OK) s = acc_image_check(&im, err);
    if (s == ACCLLM_OK) list(&im);
    if (s == ACCLLM_OK && out) s = save(&im, out, err);
    acc_image_free(&im);
    acc_packed_free(&m);
    return s;
}

int main(int argc, char **argv)
{
    accllm_error err;
    char *end = NULL;
    const unsigned long channels = argc > 2 ? strtoul(argv[2], &end, 10) : 1;
    if (argc < 2 || argc > 4 || (end && *end) || channels == 0 || channels > ACC_ISA_CHANNELS_MAX) {
        (void)fprintf(stderr, "usage: accel-image MODEL [CHANNELS [IMAGE]]\n");
        return 2;
    }
    if (compile(argv[1], argc > 3 ? argv[3] : NULL, (uint32_t)channels, &err) == ACCLLM_OK) return fflush(stdout) != 0;
    (void)fprintf(stderr, "accel-image: %s\n", err.text);
    return 1;
}
