/* compress-driver --tiny PATH: writes a tiny random checkpoint. compress-driver SRC OUT [--weights F] [--method M]
 * [--head F] [--calib FILE] [--calib-tokens N] [-t N] [--resume]
 * [--quiet] accllm_compress() from a program of its own, for tests that kill it. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "accllm/compress.h"
#include "support/tiny.h"

static void note(void *user, const char *line)
{
    (void)user;
    (void)fprintf(stderr, "%s\n", line);
}

static void progress(void *user, const accllm_progress *p)
{
    (void)user;
    (void)fprintf(stderr, "\r%5.1f %% %-32s %6.0f s left", 100 * p->fraction, p->stage, p->seconds_left);
    if (p->fraction >= 1) (void)fputc('\n', stderr);
}

static unsigned number(const char *s)
{
    return (unsigned)strtoul(s, NULL, 10);
}

static int usage(void)
{
    (void)fputs("usage: compress-driver SRC OUT [options]\n", stderr);
    return 2;
}

static int write_tiny(const char *path)
{
    tiny_options o = tiny_defaults();
    accllm_error err;
    o.n_layers = 6;
    o.n_heads = 8;
    o.n_ff = 512;
    if (tiny_write(path, &o, &err) == ACCLLM_OK) return 0;
    (void)fprintf(stderr, "driver: %s\n", err.text);
    return 1;
}

int main(int argc, char **argv)
{
    if (argc == 3 && !strcmp(argv[1], "--tiny")) return write_tiny(argv[2]);
    accllm_runtime_params rp;
    accllm_compress_params p;
    accllm_runtime *rt;
    accllm_error err;
    accllm_compress_result r;
    if (argc < 3) return usage();
    accllm_runtime_params_init(&rp);
    accllm_compress_params_init(&p);
    p.note = note;
    p.progress = progress;
    for (int i = 3; i < argc; i++) {
        const char *o = argv[i], *v = i + 1 < argc ? argv[i + 1] : "";
        if (!strcmp(o, "--resume")) {
            p.resume = true;
            continue;
        }
        if (!strcmp(o, "--quiet")) {
            p.note = NULL;
            p.progress = NULL;
            continue;
        }
        if (!strcmp(o, "--weights"))
            p.weights = v;
        else if (!strcmp(o, "--method"))
            p.method = v;
        else if (!strcmp(o, "--head"))
            p.head = v;
        else if (!strcmp(o, "--calib"))
            p.calib_path = v;
        else if (!strcmp(o, "--calib-tokens"))
            p.calib_tokens = number(v);
        else if (!strcmp(o, "--group"))
            p.group = number(v);
        else if (!strcmp(o, "-t"))
            rp.n_threads = number(v);
        else
            return usage();
        i++;
    }
    if (accllm_runtime_create(&rt, &rp, &err) != ACCLLM_OK) {
        (void)fprintf(stderr, "driver: %s\n", err.text);
        return 1;
    }
    accllm_status s = accllm_compress(rt, argv[1], argv[2], &p, &r, &err);
    if (s == ACCLLM_OK)
        (void)printf("{\"bits_per_weight\": %.4f, \"bits_per_weight_total\": %.4f, \"seconds\": %.2f, "
                     "\"peak_rss_bytes\": %llu, \"resumed_layers\": %u}\n",
                     r.bits_per_weight, r.bits_per_weight_total, r.seconds, (unsigned long long)r.peak_rss_bytes,
                     r.resumed_layers);
    else
        (void)fprintf(stderr, "driver: %s\n", err.text);
    accllm_runtime_free(&rt);
    return s == ACCLLM_OK ? 0 : 1;
}
