#include "accel/device.h"

#include <string.h>

#define START 1u
#define LINE ACC_ISA_LINE_BYTES

static uint32_t float_bits(float x)
{
    uint32_t u;
    memcpy(&u, &x, sizeof u);
    return u;
}

static accllm_status compare(acc_device *d, const acc_image_header *h, accllm_error *err)
{
    const struct {
        acc_isa_register r;
        uint32_t want;
        const char *what;
    } all[] = {{ACC_REG_CAP_MAGIC, ACC_DEVICE_MAGIC, "magic number"},
               {ACC_REG_CAP_VERSION, h->version, "version"},
               {ACC_REG_CAP_CHANNELS, h->channels, "channels"},
               {ACC_REG_CAP_LANES, h->lanes, "lanes"},
               {ACC_REG_CAP_TOKENS, h->tokens, "tokens"}};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        const uint32_t got = d->ops->get(d->self, all[i].r);
        if (got != all[i].want)
            return acc_fail(err, ACCLLM_E_UNSUPPORTED, "accelerator: %s %u; the image is for %u", all[i].what, got,
                            all[i].want);
    }
    const acc_image_region *last = &h->region[ACC_REGION_LOGITS];
    const uint32_t lines = d->ops->get(d->self, ACC_REG_CAP_LINES);
    if (last->line + last->lines <= lines) return ACCLLM_OK;
    return acc_fail(err, ACCLLM_E_UNSUPPORTED, "accelerator: channels of %u lines; the image needs %u", lines,
                    last->line + last->lines);
}

accllm_status acc_device_load(acc_device *d, const acc_image *im, accllm_error *err)
{
    const acc_image_header *h = &im->h;
    ACC_TRY(compare(d, h, err));
    for (uint32_t c = 0; c < h->channels; c++)
        ACC_TRY(d->ops->write(d->self, c, 0, acc_image_line(im, c, 0), (size_t)h->lines * LINE, err));
    const struct {
        acc_isa_register r;
        uint32_t value;
    } all[] = {{ACC_REG_HEADS, h->g.n_heads},
               {ACC_REG_KV_HEADS, h->g.n_kv_heads},
               {ACC_REG_HEAD_DIM, h->g.head_dim},
               {ACC_REG_PAGE, h->g.page},
               {ACC_REG_SINKS, h->g.sinks},
               {ACC_REG_WINDOW, h->g.window},
               {ACC_REG_NEAR, h->g.near},
               {ACC_REG_KV_BITS, h->g.kv_bits},
               {ACC_REG_RING_PAGES, h->g.ring_pages},
               {ACC_REG_NEAR_POSITIONS, h->g.near_positions},
               {ACC_REG_ROPE, h->rope},
               {ACC_REG_ATTENTION_SCALE, float_bits(h->attention_scale)},
               {ACC_REG_NORM_EPSILON, float_bits(h->norm_epsilon)}};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) d->ops->set(d->self, all[i].r, all[i].value);
    d->h = *h;
    return ACCLLM_OK;
}

/* What the error registers say, with the instruction as the device holds it. */
static accllm_status failed(acc_device *d, uint32_t code, accllm_error *err)
{
    const uint32_t at = d->ops->get(d->self, ACC_REG_ERROR_AT), round = d->ops->get(d->self, ACC_REG_ERROR_ROUND);
    const uint32_t channel = d->ops->get(d->self, ACC_REG_ERROR_CHANNEL);
    const char *name = code < ACC_ERROR_COUNT ? acc_isa_error_names[code] : "unknown error";
    char text[120] = "";
    acc_inst i;
    if (at < d->h.n_instructions) {
        ACC_TRY(d->ops->read(d->self, 0, (uint64_t)at * sizeof i, &i, sizeof i, err));
        acc_inst_text(&i, text, sizeof text);
    }
    return acc_fail(err, code == ACC_ERROR_NOT_FINITE ? ACCLLM_E_NUMERIC : ACCLLM_E_IO,
                    "accelerator: %s at instruction %u, round %u, channel %u: %s", name, at, round, channel, text);
}

accllm_status acc_device_run(acc_device *d, uint32_t token, uint64_t position, bool logits, accllm_error *err)
{
    const acc_image_header *h = &d->h;
    if (token >= h->n_vocab)
        return acc_fail(err, ACCLLM_E_ARG, "token %u is not in the vocabulary of %u", token, h->n_vocab);
    /* The hardware takes no arguments during a run, so one that was given up (an abort) goes on to its end first. */
    if (d->running) ACC_TRY(d->ops->wait(d->self, err));
    d->ops->set(d->self, ACC_REG_TOKEN, token);
    d->ops->set(d->self, ACC_REG_POSITION_LOW, (uint32_t)position);
    d->ops->set(d->self, ACC_REG_POSITION_HIGH, (uint32_t)(position >> 32));
    d->ops->set(d->self, ACC_REG_RING_PAGE, (uint32_t)(position / h->g.page % h->g.ring_pages));
    d->ops->set(d->self, ACC_REG_NEAR_SLOT, h->g.near ? (uint32_t)(position % h->g.near_positions) : 0);
    d->ops->set(d->self, ACC_REG_WANT_LOGITS, logits);
    d->ops->set(d->self, ACC_REG_CONTROL, START);
    d->running = true;
    ACC_TRY(d->ops->wait(d->self, err));
    d->running = false;
    const uint32_t code = d->ops->get(d->self, ACC_REG_ERROR);
    return code == ACC_ERROR_NONE ? ACCLLM_OK : failed(d, code, err);
}

accllm_status acc_device_vector(acc_device *d, uint32_t line, float *x, uint32_t n, accllm_error *err)
{
    const uint32_t channels = d->h.channels, per_line = LINE / sizeof *x;
    for (uint32_t i = 0, k = 0; i < n; i += per_line, k++) {
        const uint64_t address = (uint64_t)(line + k / channels) * LINE;
        const size_t bytes = (n - i < per_line ? n - i : per_line) * sizeof *x;
        ACC_TRY(d->ops->read(d->self, k % channels, address, x + i, bytes, err));
    }
    return ACCLLM_OK;
}

accllm_status acc_device_logits(acc_device *d, float *x, accllm_error *err)
{
    const uint32_t channels = d->h.channels, line = d->h.region[ACC_REGION_LOGITS].line, n = d->h.n_vocab;
    for (uint32_t i = 0, k = 0; i < n; i += ACC_ISA_LANES, k++) { /* by row blocks */
        const uint64_t address = ((uint64_t)line + k / channels * 4) * LINE;
        const size_t bytes = (n - i < ACC_ISA_LANES ? n - i : ACC_ISA_LANES) * sizeof *x;
        ACC_TRY(d->ops->read(d->self, k % channels, address, x + i, bytes, err));
    }
    return ACCLLM_OK;
}

void acc_device_close(acc_device *d)
{
    if (d->ops) d->ops->close(d->self);
    *d = (acc_device){0};
}
