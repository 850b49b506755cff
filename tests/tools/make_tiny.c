/* Writes a tiny random checkpoint for end-to-end tests:
 *   make_tiny OUT.gguf [spm] [untied] [f16] [layers=N] [heads=N] [kv=N] [head=N] [ff=N]
 *             [ctx=N] [vocab=N] [seed=N]                       kv: key-value heads; head: a head's dimension
 * A model of TinyLlama-1.1B's shape: f16 untied layers=22 heads=32 kv=4 head=64 ff=5632 ctx=2048 vocab=32000 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/tiny.h"

static int set(tiny_options *o, const char *word)
{
    const struct {
        const char *name;
        uint32_t *field;
    } numbers[] = {{"layers=", &o->n_layers}, {"heads=", &o->n_heads}, {"kv=", &o->n_kv_heads}, {"head=", &o->head_dim},
                   {"ff=", &o->n_ff},         {"ctx=", &o->n_ctx},     {"vocab=", &o->n_vocab}};
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        size_t n = strlen(numbers[i].name);
        if (strncmp(word, numbers[i].name, n) != 0) continue;
        *numbers[i].field = (uint32_t)strtoul(word + n, NULL, 10);
        return 0;
    }
    if (strncmp(word, "seed=", 5) == 0)
        o->seed = strtoul(word + 5, NULL, 10);
    else if (strcmp(word, "spm") == 0)
        o->tokenizer = TINY_SPM;
    else if (strcmp(word, "untied") == 0)
        o->tied = false;
    else if (strcmp(word, "f16") == 0)
        o->f16 = true;
    else
        return 1;
    return 0;
}

int main(int argc, char **argv)
{
    tiny_options o = tiny_defaults();
    accllm_error err = {0};
    for (int i = 2; i < argc; i++) {
        if (set(&o, argv[i]) == 0) continue;
        (void)fprintf(stderr, "make_tiny: unknown word %s\n", argv[i]);
        return 2;
    }
    if (argc < 2) {
        (void)fputs("make_tiny: needs a file name\n", stderr);
        return 2;
    }
    if (tiny_write(argv[1], &o, &err) == ACCLLM_OK) return 0;
    (void)fprintf(stderr, "make_tiny: %s\n", err.text);
    return 1;
}
