/* The option table itself: name, letter, argument, kind, value, range, choices, commands, help. */
#include "options.h"

#define FIELD(f) offsetof(cli_options, f)
#define FLAG(f) NULL, CLI_FLAG, FIELD(f), 0, 0, NULL
#define TEXT(arg, f) arg, CLI_TEXT, FIELD(f), 0, 0, NULL
#define INT(arg, f, min, max) arg, CLI_INT, FIELD(f), min, max, NULL
#define REAL(arg, f, min, max) arg, CLI_REAL, FIELD(f), min, max, NULL
#define CHOICE(arg, f, choices) arg, CLI_CHOICE, FIELD(f), 0, 0, choices
#define NUMBER_CHOICE(arg, f, choices) arg, CLI_NUMBER_CHOICE, FIELD(f), 0, 0, choices

#define U32 4294967295.0
#define I64 9.2e18

#define SESSION (CLI_GENERATE | CLI_EVAL | CLI_BENCH | CLI_SERVE)

const cli_option cli_option_table[] = {
    {"model", 'm', TEXT("MODEL", model), CLI_ALL & ~CLI_COMPRESS, "the model file (also as the first argument)"},

    /* run, chat */
    {"prompt", 'p', TEXT("TEXT", prompt), CLI_RUN,
     "the text to start from; without --chat, names of special tokens (<|im_end|>) become those tokens"},
    {"prompt", 'p', TEXT("TEXT", prompt), CLI_TOKENIZE, "the text"},
    {"file", 'f', TEXT("FILE", file), CLI_RUN | CLI_TOKENIZE, "read the text from FILE (- is standard input)"},
    {"predict", 'n', INT("N", n_predict, -1, I64), CLI_GENERATE, "most tokens to generate; -1: no end (256)"},
    {"chat", 0, FLAG(chat), CLI_RUN,
     "the text is a user's message for the model's chat template; all of it is plain text"},
    {"system", 0, TEXT("TEXT", system), CLI_GENERATE, "system message of the chat"},
    {"pin-system", 0, FLAG(pin_system), CLI_GENERATE, "keep the whole system message for ever (as sinks)"},
    {"pin-system", 0, FLAG(pin_system), CLI_SERVE,
     "keep the whole system message of every chat for ever (as sinks): up to --sinks tokens (256, at most a quarter of "
     "the "
     "trained context); chats with a longer one are refused"},
    {"seed", 's', INT("S", seed, 0, I64), CLI_GENERATE, "seed of the random generator (a random one)"},
    {"temp", 0, REAL("T", temperature, 0, 1e6), CLI_SAMPLE, "temperature; 0: always the likeliest token (0.7)"},
    {"top-k", 0, INT("K", top_k, 0, U32), CLI_SAMPLE, "keep the K likeliest tokens; 0: all (0)"},
    {"top-p", 0, REAL("P", top_p, 0, 1), CLI_SAMPLE, "keep the likeliest tokens up to mass P (0.95)"},
    {"min-p", 0, REAL("P", min_p, 0, 1), CLI_SAMPLE, "keep tokens of at least P times the likeliest (0)"},
    {"repeat-penalty", 0, REAL("R", repeat_penalty, 1e-3, 1e3), CLI_SAMPLE,
     "divide the logits of recent tokens by R (1)"},
    {"repeat-last", 0, INT("N", repeat_last, 0, 1048576), CLI_SAMPLE, "tokens that count as recent (64)"},
    {"stop", 0, "TEXT", CLI_TEXTS, FIELD(stop), 0, 0, NULL, CLI_RUN, "end before TEXT is written (may be repeated)"},
    {"ignore-eos", 0, FLAG(ignore_eos), CLI_RUN, "go on after the model's end-of-text token"},
    {"logits", 0, TEXT("FILE", logits), CLI_RUN,
     "write float32 logits, one row per prompt and generated position (prompt rows then enter the trace hash)"},
    {"trace", 0, TEXT("FILE", trace), CLI_RUN, "write position, id and trace hash of every step"},
    {"grammar", 0, TEXT("GBNF", grammar), CLI_RUN,
     "write only what this grammar allows (GBNF, as llama.cpp has it); the text ends where the grammar does"},
    {"grammar-file", 0, TEXT("FILE", grammar_file), CLI_RUN, "the same, read from FILE (- is standard input)"},
    {"json-schema", 'j', TEXT("SCHEMA", json_schema), CLI_RUN,
     "write only JSON that this schema allows; {} is any JSON value"},
    {"json-schema-file", 0, TEXT("FILE", json_schema_file), CLI_RUN, "the same, read from FILE (- is standard input)"},

    /* compress, export */
    {"weights", 0, CHOICE("FORMAT", weights, "w2s|w2|w4|w8"), CLI_COMPRESS, "weight format: w2s, w2, w4, w8 (w4)"},
    {"method", 0, CHOICE("METHOD", method, "rtn|obs"), CLI_COMPRESS, "rtn: round; obs: use second-order data (obs)"},
    {"recover", 0, CHOICE("MODE", recover, "off|full"), CLI_COMPRESS,
     "recovery: off, full: train the whole model to give its source's answers (off)"},
    {"recover-tokens", 0, INT("N", recover_tokens, 1, U32), CLI_COMPRESS, "tokens of recovery training (1000000)"},
    {"recover-from", 0, TEXT("FILE", recover_from), CLI_COMPRESS,
     "start it from this compressed file, made earlier of the same SRC, instead of solving"},
    {"recover-length", 0, INT("N", recover_length, 32, 4096), CLI_COMPRESS, "tokens of a training sequence (256)"},
    {"recover-rate", 0, REAL("X", recover_rate, 0, 1), CLI_COMPRESS,
     "its learning rate, relative to each matrix (0.01 for w2s and w2, 0.001 for w4 and w8)"},
    {"group", 0, NUMBER_CHOICE("N", group, "32|64|128"), CLI_COMPRESS,
     "columns that share a scale: 32, 64, 128 (by the shape)"},
    {"head", 0, CHOICE("FORMAT", head, "w8|w4"), CLI_COMPRESS | CLI_BENCH,
     "format of embedding and output: w8, w4 (w8; compress: with --target-size the better, with --recover-from the "
     "file's)"},
    {"calib", 0, TEXT("FILE", calib), CLI_COMPRESS, "calibration text (built in)"},
    {"calib-tokens", 0, INT("N", calib_tokens, 1, U32), CLI_COMPRESS,
     "tokens of calibration text to use (32768; rtn: 4096)"},
    {"target-bpw", 0, REAL("X", target_bpw, 1, 16), CLI_COMPRESS,
     "mixed formats, chosen by what each matrix is worth: at most X bits per linear weight"},
    {"target-size", 0, REAL("MB", target_size, 0.01, 1e6), CLI_COMPRESS, "the same for a file of at most MB megabytes"},
    {"page", 0, INT("P", page, 16, 4096), CLI_COMPRESS, "positions per page of keys, a power of two (256)"},
    {"kv", 0, NUMBER_CHOICE("BITS", kv, "4|8"), CLI_COMPRESS,
     "default bits of the key/value cache: 4, 8 (4 from heads of 32 dimensions on)"},
    {"resume", 0, FLAG(resume), CLI_COMPRESS, "go on with an interrupted run's finished layers and chosen formats"},
    {"type", 0, CHOICE("TYPE", type, "f16|f32"), CLI_EXPORT, "type of the weights: f16, f32 (f16)"},

    /* eval, bench, inspect, tokenize */
    {"text", 0, TEXT("FILE", text), CLI_WINDOWS, "the text to evaluate on (- is standard input)"},
    {"ref", 0, TEXT("MODEL", ref), CLI_KL, "the model to compare with"},
    {"ref", 0, TEXT("SRC", ref), CLI_LADDER, "the checkpoint that MODEL was made of"},
    {"w8", 0, TEXT("FILE", w8), CLI_LADDER,
     "SRC compressed to 8-bit weights; made there if absent (a temporary file, made and removed)"},
    {"ctx", 0, INT("N", ctx, 2, U32), CLI_WINDOWS, "tokens evaluated together (2048, at most the trained context)"},
    {"stride", 0, INT("N", stride, 1, U32), CLI_WINDOWS, "tokens scored per window (ctx)"},
    {"stream", 0, FLAG(stream), CLI_PPL, "one endless pass over the text instead of windows"},
    {"bucket", 0, INT("N", bucket, 1, U32), CLI_PPL, "with --stream or --stride: tokens per reported bucket (10000)"},
    {"bos", 0, CHOICE("WHERE", bos_at, "auto|none|once|window"), CLI_WINDOWS,
     "where a beginning-of-text token stands: none, once (before the text), window (before each); auto: window if the "
     "tokenizer's metadata says that it adds one, else none (auto)"},
    {"whole-windows", 0, FLAG(whole_windows), CLI_WINDOWS, "leave out the last window if it is short"},
    {"max-tokens", 0, INT("N", max_tokens, 1, I64), CLI_WINDOWS, "stop after N tokens of the text"},
    {"task", 0, "FILE", CLI_TEXTS, FIELD(task), 0, 0, NULL, CLI_TASKS,
     "a file of items (- is standard input; may be repeated, and more files may follow)"},
    {"type", 0, CHOICE("TYPE", type, "auto|choice|question|hellaswag|schema|word"), CLI_TASKS,
     "form of the items: choice, question, hellaswag, schema, word (auto: by the first item)"},
    {"limit", 0, INT("N", limit, 1, I64), CLI_TASKS, "the first N items of each file only"},
    {"details", 0, TEXT("FILE", details), CLI_TASKS, "write each item's log-likelihoods, one JSON object a line"},
    {"shape", 0, CHOICE("NAME", shape, "llama2-7b|llama3.2-1b|tinyllama-1.1b|qwen2.5-0.5b|smollm2-135m"), CLI_BENCH,
     "a built-in shape with random weights in place of a model"},
    {"weights", 0, CHOICE("FORMAT", weights, "w2s|w2|w4|w8"), CLI_BENCH,
     "with --shape: weight format: w2s, w2, w4, w8 (w2s)"},
    {"n-prompt", 'p', INT("N", n_prompt, 0, 16777216), CLI_BENCH, "prompt tokens to measure (512)"},
    {"n-gen", 'n', INT("N", n_gen, 0, 16777216), CLI_BENCH, "generated tokens to measure (128)"},
    {"depth", 'd', INT("N", depth, 0, I64), CLI_BENCH, "position in the text at which to measure (0)"},
    {"reps", 'r', INT("N", reps, 1, 1000), CLI_BENCH, "repetitions (5)"},
    {"sessions", 0, INT("N", sessions, 1, 1024), CLI_BENCH,
     "sessions that decode together, in one pass over the weights a step; token/s counts all (1)"},
    {"verify", 0, FLAG(verify), CLI_INSPECT,
     "check every packed code and scale; fails for a file that is not compressed"},
    {"bos", 0, FLAG(bos), CLI_TOKENIZE, "put the beginning-of-text token first"},
    {"special", 0, FLAG(special), CLI_TOKENIZE, "take the names of special tokens as those tokens"},

    /* serve */
    {"host", 0, TEXT("ADDRESS", host), CLI_SERVE,
     "address to listen on; others than this machine's own reach the "
     "network (127.0.0.1)"},
    {"port", 0, INT("N", port, 0, 65535), CLI_SERVE, "port to listen on; 0: any that is free (8080)"},
    {"parallel", 0, INT("N", parallel, 1, 1024), CLI_SERVE,
     "sessions that run at once (4, or as many as --memory-limit has room for, up to 64)"},
    {"memory-limit", 0, REAL("MB", memory_limit, 1, 1e9), CLI_SERVE, "most megabytes for model and sessions together"},
    {"queue", 0, INT("N", queue, 1, 65536), CLI_SERVE, "requests that may wait for a session (64)"},
    {"api-key", 0, "KEY", CLI_TEXTS, FIELD(api_key), 0, 0, NULL, CLI_SERVE,
     "clients must send this key (may be repeated; others on this machine can read it here, so prefer the two ways "
     "below)"},
    {"api-key-file", 0, TEXT("FILE", api_key_file), CLI_SERVE,
     "the keys, one a line; without either option ACCLLM_API_KEY holds one"},
    {"cors", 0, "ORIGIN", CLI_TEXTS, FIELD(cors), 0, 0, NULL, CLI_SERVE,
     "a site whose pages may ask, * for all (may be repeated; pages of this machine always may)"},
    {"model-name", 0, TEXT("NAME", model_name), CLI_SERVE, "the model's name for clients (by the file)"},
    {"predict", 'n', INT("N", answer, 1, I64), CLI_SERVE,
     "most tokens of a chat's answer whose request does not say, and where any says -1 (the trained context)"},
    {"ping", 0, INT("S", ping, 1, 3600), CLI_SERVE, "seconds after which a silent stream gets a comment line (10)"},
    {"drain", 0, INT("S", drain, 1, 86400), CLI_SERVE,
     "seconds that running answers may take to end after SIGTERM (10)"},
    {"state-dir", 0, TEXT("DIR", state_dir), CLI_SERVE,
     "save the sessions' conversations there, and go on from them after a restart"},
    {"state-every", 0, INT("S", state_every, 1, 86400), CLI_SERVE, "least seconds between two saves (10)"},

    /* attention and cache */
    {"sinks", 0, INT("S", sinks, 0, U32 - 1), SESSION, "first tokens that are kept for ever, up to 1024 (4)"},
    {"window", 0, INT("W", window, 1, U32), SESSION,
     "last tokens that are kept (2048, at most the trained context less the sinks)"},
    {"full-attention", 0, FLAG(full_attention), SESSION & ~CLI_LADDER, "no window: keep all tokens, up to --ctx"},
    {"ctx", 0, INT("N", context, 1, U32), CLI_GENERATE | CLI_SERVE,
     "with --full-attention: tokens that the cache has room for; a full one ends the text (the trained context)"},
    {"kv", 0, NUMBER_CHOICE("BITS", kv, "4|8"), SESSION, "bits of the key/value cache: 4, 8 (by the file)"},
    {"kv-near", 0, INT("N", kv_near, 0, 256), SESSION & ~CLI_LADDER,
     "with 4 bits: last tokens that are kept at 8 bits too (64)"},
    {"chunk", 0, INT("N", chunk, 1, U32), SESSION,
     "prompt tokens computed together, up to 4096, for serve less the sessions (128)"},
    {"force", 0, FLAG(force), SESSION, "allow sinks + window, or --ctx, above the trained context"},

    /* everywhere */
    {"threads", 't', INT("N", threads, 1, 1024), CLI_ENGINE | CLI_COMPRESS | CLI_EXPORT,
     "threads (the machine's cores)"},
    {"isa", 0, "SET", CLI_TEXT, FIELD(isa), 0, 0, "auto|scalar|avx2|avxvnni|avx512|amx|neon|dotprod|i8mm",
     CLI_ENGINE | CLI_COMPRESS | CLI_EXPORT,
     "instruction set: auto, scalar; avx2, avxvnni, avx512, amx; neon, dotprod, i8mm (ACCLLM_ISA, else auto)"},
    {"numerics", 0, CHOICE("WHICH", numerics, "contract|float"), CLI_ENGINE & ~CLI_LADDER,
     "contract: the bit-exact engine; float: the float reference (by the file)"},
    {"backend", 0, CHOICE("WHERE", backend, "cpu|device|rtl"), CLI_RUN | CLI_PPL,
     "what computes, to the same bits: cpu, device (the accelerator's instruction-level model, slow), rtl (its "
     "Verilated RTL, slower still; ACCLLM_RTL names it, scripts/build-rtl makes it) (cpu)"},
    {"no-mmap", 0, FLAG(no_mmap), CLI_ENGINE | CLI_COMPRESS, "read the file into memory instead of mapping it"},
    {"json", 0, FLAG(json), CLI_ALL, "print one JSON object on standard output"},
    {"help", 'h', FLAG(help), CLI_ALL, "show this help"},
    {"version", 0, FLAG(version), CLI_ALL, "show the version"},
};

const size_t cli_option_count = sizeof cli_option_table / sizeof *cli_option_table;
