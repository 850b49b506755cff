#include "commands.h"

#include <string.h>

const cli_command cli_commands[] = {
    {"compress", CLI_COMPRESS, cmd_compress, "SRC OUT.gguf", "make a small model file from a checkpoint",
     "SRC is a GGUF file of llama or qwen2 architecture (F32, F16, BF16, Q8_0, Q4_0, Q4_1) or a llama2.c checkpoint "
     "with its tokenizer beside it. What the run needs in memory, disk and time is said beforehand. "
     "OUT.gguf.report.html and OUT.gguf.report.json have the figures of every matrix. An interrupted run leaves "
     "finished layers and chosen formats in OUT.gguf.work; --resume goes on from them.",
     "accllm compress SmolLM2-135M-Instruct.Q4_1.gguf small.gguf\n"
     "accllm compress model.gguf small.gguf --weights w8 --method rtn\n"
     "accllm compress model.gguf small.gguf --target-bpw 3.5\n"
     "accllm compress model.gguf small.gguf --resume"},
    {"run", CLI_RUN, cmd_run, "MODEL (-p TEXT | -f FILE)", "generate text that continues a prompt",
     "The text goes to standard output, everything else to standard error. Ctrl-C ends the text and prints the "
     "statistics; the exit code is then 130.",
     "accllm run small.gguf -p 'Once upon a time'\n"
     "accllm run small.gguf --chat -p 'Why is the sky blue?' --temp 0\n"
     "accllm run small.gguf -f notes.txt -n -1 --json\n"
     "accllm run small.gguf --chat -p 'Is the sky blue?' --grammar 'root ::= \"yes\" | \"no\"'\n"
     "accllm run small.gguf --chat -p 'Name three cities.' -j '{\"type\": \"array\", \"items\": {\"type\": "
     "\"string\"}}'"},
    {"chat", CLI_CHAT, cmd_chat, "MODEL", "talk with a model",
     "Commands inside: /help /reset /system /save /load /stats /exit. A line that ends in \\ goes on in the next. "
     "Ctrl-C stops an answer; at the prompt, twice ends the program.",
     "accllm chat small.gguf\n"
     "accllm chat small.gguf --system 'Answer in one sentence.' --pin-system"},
    {"serve", CLI_SERVE, cmd_serve, "MODEL", "serve a model over HTTP as OpenAI's API does",
     "Clients are given http://127.0.0.1:8080/v1 as base URL. Sampling options are for requests that do not say. The "
     "number of sessions and their memory are fixed and printed at the start. SIGTERM or Ctrl-C lets running answers "
     "end; a second one cuts them off. What clients may ask: docs/server.md.",
     "accllm serve small.gguf\n"
     "accllm serve small.gguf --port 9000 --parallel 16 --api-key-file keys.txt\n"
     "accllm serve small.gguf --memory-limit 512 --window 1024\n"
     "curl http://127.0.0.1:8080/v1/chat/completions -d '{\"messages\": [{\"role\": \"user\", \"content\": "
     "\"Hello\"}]}'"},
    {"eval ppl", CLI_PPL, cmd_eval_ppl, "MODEL --text FILE", "measure perplexity on a text",
     "The text is cut into tokens as one piece, then into windows of --ctx tokens, one after the other; a window's "
     "first token has no score. Printed: perplexity per token, nats per token and, for models of different "
     "vocabularies, "
     "nats per byte. The protocol of the quantisation papers (GPTQ, Wanda) is --ctx 2048 --bos once --whole-windows "
     "--full-attention. With --stream the text is read in one pass, as a long conversation is.",
     "accllm eval ppl small.gguf --text wiki.test.raw\n"
     "accllm eval ppl small.gguf --text book.txt --stream --window 512"},
    {"eval kl", CLI_KL, cmd_eval_kl, "MODEL --ref MODEL2 --text FILE", "compare a model's predictions with another's",
     "Prints the mean Kullback-Leibler divergence KL(MODEL2 || MODEL) in nats per token and how often the likeliest "
     "token is the same. The reference sees each window whole.",
     "accllm eval kl small.gguf --ref SmolLM2-135M-Instruct.Q4_1.gguf --text wiki.test.raw"},
    {"eval tasks", CLI_TASKS, cmd_eval_tasks, "MODEL --task FILE...", "measure accuracy on choices and last words",
     "Items are lines of JSON, worded and scored as lm-evaluation-harness does (zero-shot, by likelihood):\n"
     "  choice     {\"query\",\"choices\",\"gold\"}: which choice continues the query?\n"
     "  question   the same with \"Answer:\" behind the query (PIQA, ARC; auto: it begins with \"Question:\")\n"
     "  hellaswag  {\"activity_label\",\"ctx_a\",\"ctx_b\",\"endings\",\"label\"}, or a text of six lines a task: "
     "context,\n"
     "             number of the right ending, four endings\n"
     "  schema     {\"context_options\",\"continuation\",\"gold\"}: which context fits? (WinoGrande)\n"
     "  word       {\"context\",\"continuation\"}: would the model itself write the last word? (LAMBADA)\n"
     "Accuracy counts the largest log-likelihood; \"by length\" the largest per character of the choice (acc_norm). "
     "Behind +- stands the standard error.",
     "accllm eval tasks small.gguf --task piqa.jsonl arc_easy.jsonl\n"
     "accllm eval tasks small.gguf --task lambada.jsonl --limit 500 --json\n"
     "bzcat hellaswag_val_full.txt.bz2 | accllm eval tasks small.gguf --task -"},
    {"eval ladder", CLI_LADDER, cmd_eval_ladder, "MODEL --ref SRC --text FILE",
     "measure what each step of compression costs",
     "Perplexity over the same windows of a text, one change more at every rung:\n"
     "  FP     SRC's weights in the float reference, full attention\n"
     "  +Λ     the same, attention to sinks and a window\n"
     "  +KV4   SRC's weights rounded to 8 bits, in the float reference; keys and values pass through the codes of the\n"
     "         cache (simulated). The rounding is part of this rung\n"
     "  +A8    the same 8-bit weights in the quantised engine: 8-bit activations, integer attention\n"
     "  +2:4   the same, with 0 where MODEL drops weights. The weights that stay are SRC's, not what the compressor "
     "made\n"
     "         of them: what dropping costs when nothing makes up for it. Left out if MODEL is dense\n"
     "  +W2    MODEL as it runs (+W4, +W8: by its format)\n"
     "\"to FP\" is the perplexity over FP's, \"step\" over the rung's before.",
     "accllm eval ladder small.gguf --ref SmolLM2-135M-Instruct.Q4_1.gguf --text wiki.test.raw --max-tokens 20000\n"
     "accllm eval ladder small.gguf --ref model.gguf --w8 model-w8.gguf --text wiki.test.raw --window 512"},
    {"bench", CLI_BENCH, cmd_bench, "(MODEL | --shape NAME)", "measure speed and memory traffic",
     "Speed is compared with what plain reads of memory reach in the same run. With --sessions N, as a server has "
     "them, "
     "N sessions feed a token each per step: the weights are read once for all, each session's cache for itself.",
     "accllm bench small.gguf\n"
     "accllm bench small.gguf --sessions 16 -d 1000\n"
     "accllm bench --shape llama2-7b --weights w2s -d 100000"},
    {"inspect", CLI_INSPECT, cmd_inspect, "MODEL", "show what is in a model file", NULL,
     "accllm inspect small.gguf\n"
     "accllm inspect small.gguf --verify"},
    {"tokenize", CLI_TOKENIZE, cmd_tokenize, "MODEL (-p TEXT | --file FILE)", "show the tokens of a text",
     "A GGUF file with a vocabulary alone will do.",
     "accllm tokenize small.gguf -p 'Hello world'\n"
     "accllm tokenize vocab.gguf --file notes.txt --json"},
    {"export", CLI_EXPORT, cmd_export, "MODEL OUT.gguf", "write a plain llama GGUF of the same weights", NULL,
     "accllm export small.gguf plain.gguf --type f32"},
    {"sim", 0, NULL, NULL, NULL, NULL, NULL},
};

const size_t cli_command_count = sizeof cli_commands / sizeof *cli_commands;

const cli_command *cli_command_find(const char *name)
{
    for (size_t i = 0; i < cli_command_count; i++)
        if (strcmp(cli_commands[i].name, name) == 0) return &cli_commands[i];
    return NULL;
}

bool cli_command_takes(const cli_command *c, const cli_option *opt)
{
    return opt->commands & c->bit;
}
