/* accllm tokenize: ids of a text. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "accllm/accllm.h"
#include "commands.h"
#include "engine.h"
#include "input.h"
#include "report.h"

/* Whole, however long it is. */
static void print_name(const char *name)
{
    const size_t n = strlen(name);
    for (size_t i = 0, len; i < n; i += len ? len : 1) {
        len = cli_printable(name + i, n - i);
        (void)fwrite(len ? name + i : "?", 1, len ? len : 1, stdout);
    }
    (void)putchar('\n');
}

/* One line per token: id and the bytes that it stands for, or the name of a token that adds no text. */
static void print_token(const accllm_tokenizer *tok, int32_t id)
{
    size_t n;
    const char *bytes = accllm_token_bytes(tok, id, &n);
    (void)printf("%7d  ", (int)id);
    if (n == 0) {
        print_name(accllm_token_text(tok, id));
        return;
    }
    (void)putchar('\'');
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)bytes[i];
        size_t whole = c >= 0x80 ? cli_printable(bytes + i, n - i) : 0;
        if (whole > 0) {
            (void)fwrite(bytes + i, 1, whole, stdout);
            i += whole - 1;
        } else if (c == '\n')
            (void)fputs("\\n", stdout);
        else if (c == '\\' || c == '\'')
            (void)printf("\\%c", c);
        else if (c < ' ' || c >= 0x7f)
            (void)printf("\\x%02x", c);
        else
            (void)putchar(c);
    }
    (void)puts("'");
}

static int print_tokens(const cli_options *o, const accllm_tokenizer *tok, const int32_t *ids, size_t n)
{
    if (o->json) {
        json_t *out = json_object();
        cli_json_ids(out, "ids", ids, n);
        cli_json_u64(out, "count", n);
        return cli_json_print(out);
    }
    for (size_t i = 0; i < n; i++) print_token(tok, ids[i]);
    int rc = cli_finish_output();
    cli_error("%zu tokens", n);
    return rc;
}

int cmd_tokenize(const cli_options *o)
{
    const char *path;
    char *text = NULL;
    size_t len, n = 0;
    int32_t *ids = NULL;
    accllm_tokenizer *tok = NULL;
    accllm_error err = {0};
    int rc = cli_model_path(o, "tokenize", 0, &path);
    if (rc == CLI_OK) rc = cli_read_prompt("tokenize", o->prompt, o->file, &text, &len);
    if (rc == CLI_OK && accllm_tokenizer_open(&tok, path, &err) != ACCLLM_OK) rc = cli_fail(&err);
    unsigned flags = (o->bos ? ACCLLM_TOKENIZE_BOS : 0u) | (o->special ? ACCLLM_TOKENIZE_SPECIAL : 0u);
    if (rc == CLI_OK && accllm_tokenize(tok, text, len, flags, &ids, &n, &err) != ACCLLM_OK) rc = cli_fail(&err);
    if (rc == CLI_OK) rc = print_tokens(o, tok, ids, n);
    accllm_tokenizer_free(&tok);
    free(ids);
    free(text);
    return rc;
}
