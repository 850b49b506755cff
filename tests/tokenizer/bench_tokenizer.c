/* Tokenizes a file: its speed on standard error, and the ids, one per line, on standard output with "-v". For checks
 * against other tokenizers. Usage: bench_tokenizer MODEL TEXT [-v] */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "accllm/tokenizer.h"
#include "core/clock.h"
#include "core/file.h"

static int failed(const accllm_error *err)
{
    (void)fprintf(stderr, "%s\n", err->text);
    return 1;
}

int main(int argc, char **argv)
{
    accllm_error err;
    accllm_tokenizer *tok;
    acc_file f;
    int32_t *ids;
    size_t n;
    if (argc < 3) return 2;
    double t0 = acc_seconds();
    if (accllm_tokenizer_open(&tok, argv[1], &err) != ACCLLM_OK) return failed(&err);
    double t1 = acc_seconds();
    if (acc_file_open(&f, argv[2], false, &err) != ACCLLM_OK) return failed(&err);
    double best = 1e9;
    for (int rep = 0; rep < 3; rep++) {
        double t2 = acc_seconds();
        if (accllm_tokenize(tok, (const char *)f.data, f.size, 0, &ids, &n, &err) != ACCLLM_OK) return failed(&err);
        double t3 = acc_seconds();
        if (t3 - t2 < best) best = t3 - t2;
        if (rep < 2) free(ids);
    }
    (void)fprintf(stderr, "open %.1f ms; %zu bytes, %zu tokens, %.2f MB/s\n", (t1 - t0) * 1e3, f.size, n,
                  (double)f.size / best / 1e6);
    for (size_t i = 0; argc > 3 && strcmp(argv[3], "-v") == 0 && i < n; i++) (void)printf("%d\n", ids[i]);
    free(ids);
    acc_file_close(&f);
    accllm_tokenizer_free(&tok);
    return 0;
}
