/*
 * The table of pre-tokenizers. A row is the names that tokenizer.ggml.pre may carry and the passes, as the models' own
 * tokenizer files give them, with two changes that match the same: \s is spelled out (PCRE2's holds U+180E, Unicode's
 * White_Space does not), and patterns are written so that no text makes them slow.
 */
#define PCRE2_CODE_UNIT_WIDTH 8
#include "tokenizer/pretokenizer.h"

#include <pcre2.h>
#include <stdio.h>
#include <string.h>

#include "tokenizer/utf8.h"

/* White_Space of Unicode, for use inside brackets. */
#define WS "\\x{9}-\\x{D}\\x{20}\\x{85}\\x{A0}\\x{1680}\\x{2000}-\\x{200A}\\x{2028}\\x{2029}\\x{202F}\\x{205F}\\x{3000}"
#define S "[" WS "]"
/* \s+(?!\S)|\s+ : leaves the last blank before a word to the word. */
#define BLANKS S "+(?![^" WS "])|" S "+"
#define GPT2 "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^" WS "\\p{L}\\p{N}]+|" BLANKS
/* (?i:...) would fold U+017F into s. */
#define CONTRACTIONS "'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD]"
#define TIKTOKEN(digits) \
    CONTRACTIONS "|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|" digits "| ?[^" WS "\\p{L}\\p{N}]+[\\r\\n]*|" S "*[\\r\\n]+|" BLANKS
/* The letters of DeepSeek's pattern, as its tokenizer.json lists them. */
#define DEEPSEEK_LETTERS                                                                                               \
    "A-Za-z\\x{b5}\\x{c0}-\\x{d6}\\x{d8}-\\x{f6}\\x{f8}-\\x{1ba}\\x{1bc}-\\x{1bf}\\x{1c4}-\\x{293}\\x{295}-\\x{2af}"   \
    "\\x{370}-\\x{373}\\x{376}\\x{377}\\x{37b}-\\x{37d}\\x{37f}\\x{386}\\x{388}-\\x{38a}\\x{38c}\\x{38e}-\\x{3a1}"     \
    "\\x{3a3}-\\x{3f5}\\x{3f7}-\\x{481}\\x{48a}-\\x{52f}\\x{531}-\\x{556}\\x{10a0}-\\x{10c5}\\x{13a0}-\\x{13f5}"       \
    "\\x{13f8}-\\x{13fd}\\x{1c90}-\\x{1cba}\\x{1cbd}-\\x{1cbf}\\x{1d00}-\\x{1d2b}\\x{1d6b}-\\x{1d77}"                  \
    "\\x{1d79}-\\x{1d9a}\\x{1e00}-\\x{1f15}\\x{1f18}-\\x{1f1d}\\x{1f20}-\\x{1f45}\\x{1f48}-\\x{1f4d}"                  \
    "\\x{1f50}-\\x{1f57}\\x{1f59}\\x{1f5b}\\x{1f5d}\\x{1f5f}-\\x{1f7d}\\x{1f80}-\\x{1fb4}\\x{1fb6}-\\x{1fbc}\\x{1fbe}" \
    "\\x{1fc2}-\\x{1fc4}\\x{1fc6}-\\x{1fcc}\\x{1fd0}-\\x{1fd3}\\x{1fd6}-\\x{1fdb}\\x{1fe0}-\\x{1fec}"                  \
    "\\x{1ff2}-\\x{1ff4}\\x{1ff6}-\\x{1ffc}\\x{2102}\\x{2107}\\x{210a}-\\x{2113}\\x{2115}\\x{2119}-\\x{211d}\\x{2124}" \
    "\\x{2126}\\x{2128}\\x{212a}-\\x{212d}\\x{212f}-\\x{2134}\\x{2139}\\x{213c}-\\x{213f}\\x{2145}-\\x{2149}\\x{214e}" \
    "\\x{2183}\\x{2184}\\x{2c00}-\\x{2c7b}\\x{2c7e}-\\x{2ce4}\\x{2ceb}-\\x{2cee}\\x{2cf2}\\x{2cf3}\\x{a640}-\\x{a66d}" \
    "\\x{a680}-\\x{a69b}\\x{a722}-\\x{a76f}\\x{a771}-\\x{a787}\\x{a78b}-\\x{a78e}\\x{ab70}-\\x{abbf}"                  \
    "\\x{fb00}-\\x{fb06}\\x{fb13}-\\x{fb17}\\x{ff21}-\\x{ff3a}\\x{ff41}-\\x{ff5a}\\x{10400}-\\x{1044f}"                \
    "\\x{104b0}-\\x{104d3}\\x{104d8}-\\x{104fb}\\x{10c80}-\\x{10cb2}\\x{10cc0}-\\x{10cf2}\\x{118a0}-\\x{118df}"        \
    "\\x{1e900}-\\x{1e943}"
#define DEEPSEEK_MARKS "!-/:-~\\x{ff01}-\\x{ff0f}\\x{ff1a}-\\x{ff5e}\\x{2018}-\\x{201f}\\x{3000}-\\x{3002}"
#define CJK "[\\x{800}-\\x{9fa5}\\x{ac00}-\\x{d7ff}]+"

typedef struct row {
    const char *names; /* parted by blanks */
    bool whole_words, adds_bos;
    const char *pass[ACC_MAX_PASSES];
} row;

static const row rows[] = {
    {"smollm starcoder refact command-r codeshell exaone minerva-7b", false, false, {"\\p{N}", GPT2}},
    {"gpt-2 phi-2 mpt olmo jais", false, false, {GPT2}},
    {"llama-bpe llama3 llama-v3", true, true, {TIKTOKEN("\\p{N}{1,3}")}},
    {"qwen2 stablelm2 deepseek-r1-qwen", false, false, {TIKTOKEN("\\p{N}")}},
    {"deepseek-llm",
     false,
     false,
     {"[\\r\\n]", S "?[" DEEPSEEK_LETTERS "]+", S "?[" DEEPSEEK_MARKS "]+", "(?<!" S ")" S "++\\z", CJK, "\\p{N}+"}},
    {"deepseek-coder", false, false, {"[\\r\\n]", S "?\\p{L}+", S "?\\p{P}+", CJK, "\\p{N}"}},
    {"falcon", false, false, {"[\\p{P}$+<=>^~|`]+", GPT2, "[0-9][0-9][0-9]"}},
    {"default", false, false, {"[\\p{P}$+<=>^~|]+", GPT2, "\\p{N}+", "[0-9][0-9][0-9]"}},
};

/* True if the blank-parted list holds name. */
static bool listed(const char *list, acc_str name)
{
    for (const char *p = list; *p;) {
        size_t n = strcspn(p, " ");
        if (n == name.n && memcmp(p, name.s, n) == 0) return true;
        p += n + (p[n] == ' ');
    }
    return false;
}

static accllm_status unknown(acc_str name, accllm_error *err)
{
    char known[192];
    size_t used = 0;
    for (size_t i = 0; i < sizeof rows / sizeof *rows && used < sizeof known; i++)
        used += (size_t)snprintf(known + used, sizeof known - used, "%s%s", i ? " " : "", rows[i].names);
    return acc_fail(err, ACCLLM_E_UNSUPPORTED, "pre-tokenizer \"%.*s\" is unknown; known: %s",
                    (int)(name.n < 32 ? name.n : 32), name.s, known);
}

static accllm_status compile(pcre2_code **out, const char *pattern, accllm_error *err)
{
    int code;
    PCRE2_SIZE at;
    *out = pcre2_compile((PCRE2_SPTR)pattern, PCRE2_ZERO_TERMINATED, PCRE2_UTF | PCRE2_UCP, &code, &at, NULL);
    if (!*out) return acc_fail(err, ACCLLM_E_NOMEM, "pre-tokenizer pattern at %zu: PCRE2 error %d", (size_t)at, code);
    (void)pcre2_jit_compile(*out, PCRE2_JIT_COMPLETE); /* without it the interpreter does the same, slower */
    return ACCLLM_OK;
}

accllm_status acc_pretokenizer_init(acc_pretokenizer *p, acc_str name, accllm_error *err)
{
    const row *r = NULL;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (listed(rows[i].names, name)) r = &rows[i];
    if (!r) return unknown(name, err);
    p->whole_words = r->whole_words;
    p->adds_bos = r->adds_bos;
    for (p->n_passes = 0; p->n_passes < ACC_MAX_PASSES && r->pass[p->n_passes]; p->n_passes++)
        ACC_TRY(compile(&p->pass[p->n_passes], r->pass[p->n_passes], err));
    return ACCLLM_OK;
}

void acc_pretokenizer_free(acc_pretokenizer *p)
{
    for (unsigned i = 0; i < ACC_MAX_PASSES; i++) {
        pcre2_code_free(p->pass[i]);
        p->pass[i] = NULL;
    }
}

accllm_status acc_matcher_init(acc_matcher *m, accllm_error *err)
{
    m->data = pcre2_match_data_create(1, NULL);
    m->context = pcre2_match_context_create(NULL);
    if (!m->data || !m->context) return acc_fail(err, ACCLLM_E_NOMEM, "out of memory: matcher");
    (void)pcre2_set_heap_limit(m->context, 65536); /* KiB */
    return ACCLLM_OK;
}

void acc_matcher_free(acc_matcher *m)
{
    pcre2_match_data_free(m->data);
    pcre2_match_context_free(m->context);
    *m = (acc_matcher){0};
}

/* One text and what is done with its words. */
typedef struct cutter {
    const acc_pretokenizer *p;
    acc_matcher *m;
    acc_word_fn *word;
    void *ctx;
} cutter;

/* The next match in s[at..len); *found false: none. */
static accllm_status next_match(const cutter *c, unsigned pass, const char *s, size_t len, size_t at, size_t match[2],
                                bool *found, accllm_error *err)
{
    const pcre2_code *code = c->p->pass[pass];
    int rc = pcre2_match(code, (PCRE2_SPTR)s, len, at, PCRE2_NO_UTF_CHECK, c->m->data, c->m->context);
    if (rc == PCRE2_ERROR_JIT_STACKLIMIT)
        rc = pcre2_match(code, (PCRE2_SPTR)s, len, at, PCRE2_NO_UTF_CHECK | PCRE2_NO_JIT, c->m->data, c->m->context);
    *found = rc >= 0;
    if (rc == PCRE2_ERROR_NOMATCH) return ACCLLM_OK;
    if (rc == PCRE2_ERROR_NOMEMORY) return acc_fail(err, ACCLLM_E_NOMEM, "out of memory: pre-tokenizer");
    if (rc < 0) return acc_fail(err, ACCLLM_E_LIMIT, "pre-tokenizer: PCRE2 error %d", rc);
    const PCRE2_SIZE *o = pcre2_get_ovector_pointer(c->m->data);
    match[0] = o[0];
    match[1] = o[1];
    return ACCLLM_OK;
}

static accllm_status cut(const cutter *c, unsigned pass, const char *s, size_t len, accllm_error *err)
{
    if (pass == c->p->n_passes) return c->word(c->ctx, s, len, err);
    size_t at = 0, match[2] = {0};
    while (at < len) {
        bool found;
        ACC_TRY(next_match(c, pass, s, len, at, match, &found, err));
        if (!found) break;
        if (match[1] <= match[0]) return acc_fail(err, ACCLLM_E_LIMIT, "pre-tokenizer: an empty match");
        if (match[0] > at) ACC_TRY(cut(c, pass + 1, s + at, match[0] - at, err));
        ACC_TRY(cut(c, pass + 1, s + match[0], match[1] - match[0], err));
        at = match[1];
    }
    return at < len ? cut(c, pass + 1, s + at, len - at, err) : ACCLLM_OK;
}

/* The length of the run of invalid bytes that s begins with. */
static size_t invalid_run(const char *s, size_t len)
{
    size_t i = 0;
    while (i < len) {
        acc_utf8_seq q = acc_utf8_scan(s + i, len - i);
        if (q.state == ACC_UTF8_VALID) break;
        i += q.len;
    }
    return i;
}

accllm_status acc_pretokenize(const acc_pretokenizer *p, acc_matcher *m, const char *s, size_t len, acc_word_fn *word,
                              void *ctx, accllm_error *err)
{
    const cutter c = {p, m, word, ctx};
    /* The patterns step a bounded number of times over every character: more is a fault, not a long text. */
    uint64_t limit = 100000 + 16 * (uint64_t)len;
    (void)pcre2_set_match_limit(m->context, limit < UINT32_MAX ? (uint32_t)limit : UINT32_MAX);
    for (size_t at = 0; at < len;) {
        size_t n = acc_utf8_valid(s + at, len - at);
        if (n > 0) ACC_TRY(cut(&c, 0, s + at, n, err));
        at += n;
        if (at == len) break;
        n = invalid_run(s + at, len - at);
        ACC_TRY(word(ctx, s + at, n, err));
        at += n;
    }
    return ACCLLM_OK;
}
