#include "structure.h"

#include <stdlib.h>
#include <string.h>

#include "input.h"
#include "report.h"

typedef accllm_status make_grammar(accllm_grammar **out, const char *text, size_t len, accllm_error *err);

static int from_text(cli_structure *s, make_grammar *make, const char *text, size_t len)
{
    accllm_error err = {0};
    return make(&s->grammar, text, len, &err) == ACCLLM_OK ? CLI_OK : cli_fail(&err);
}

static int from_file(cli_structure *s, make_grammar *make, const char *path)
{
    char *text;
    size_t len;
    int rc = cli_read_file(path, &text, &len);
    if (rc == CLI_OK) rc = from_text(s, make, text, len);
    free(text);
    return rc;
}

static int read_grammar(cli_structure *s, const cli_options *o)
{
    if (o->grammar) return from_text(s, accllm_grammar_parse, o->grammar, strlen(o->grammar));
    if (o->grammar_file) return from_file(s, accllm_grammar_parse, o->grammar_file);
    if (o->json_schema) return from_text(s, accllm_grammar_from_json_schema, o->json_schema, strlen(o->json_schema));
    return from_file(s, accllm_grammar_from_json_schema, o->json_schema_file);
}

int cli_structure_open(cli_structure *s, const cli_engine *e, const cli_options *o, bool at_start)
{
    accllm_error err = {0};
    int given =
        (o->grammar != NULL) + (o->grammar_file != NULL) + (o->json_schema != NULL) + (o->json_schema_file != NULL);
    if (given == 0) return CLI_OK;
    if (given > 1 || o->ignore_eos) {
        cli_error("run: %s", given > 1 ? "only one of --grammar, --grammar-file, --json-schema and --json-schema-file"
                                       : "--ignore-eos does not go with a grammar, which says where the text ends");
        return CLI_USAGE;
    }
    int rc = read_grammar(s, o);
    if (rc != CLI_OK) return rc;
    if (accllm_vocabulary_create(&s->vocabulary, e->tok, e->info->n_vocab, &err) != ACCLLM_OK ||
        accllm_matcher_create(&s->matcher, s->grammar, s->vocabulary, at_start, &err) != ACCLLM_OK)
        return cli_fail(&err);
    return CLI_OK;
}

void cli_structure_close(cli_structure *s)
{
    accllm_matcher_free(&s->matcher);
    accllm_grammar_free(&s->grammar);
    accllm_vocabulary_free(&s->vocabulary);
}
