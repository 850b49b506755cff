#!/usr/bin/env python3
"""The float reference against llama.cpp (llama-cpp-python, float32 cache, no flash attention) on the plain F32 GGUF that
`accllm export` writes of the model: greedy text of 64 tokens, and perplexity on the same tokens within 0.3 %.
A greedy text may differ first only where llama.cpp's two largest logits are within 1e-3."""
import os
import sys
import tempfile

import numpy as np
from llama_cpp import Llama

import common

TEXT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "data", "evaluation.txt")
N_GREEDY, CLOSE, PPL_LIMIT = 64, 1e-3, 0.003


def open_llama(path, ctx, threads):
    return Llama(model_path=path, n_ctx=ctx, n_batch=ctx, n_ubatch=512, logits_all=True, type_k=0, type_v=0,
                 flash_attn=False, n_threads=threads, n_threads_batch=threads, verbose=False)


def check_greedy(args, llama, prompt, index):
    got = common.accllm(args, "run", args.model, "-p", prompt, "-n", str(N_GREEDY), "--temp", "0", "--ignore-eos",
                        *common.engine(args))["ids"]
    llama.reset()
    llama.eval(common.accllm(args, "tokenize", args.model, "-p", prompt)["ids"])
    for i, token in enumerate(got):
        row = llama.scores[llama.n_tokens - 1]
        best = int(row.argmax())
        if token != best:
            gap = float(row[best] - row[token])
            print(f"prompt {index}: first difference at token {i}, the two logits {gap:.1e} apart")
            return gap <= CLOSE
        llama.eval([token])
    print(f"prompt {index}: {len(got)} greedy tokens equal")
    return len(got) == N_GREEDY


def llama_nll(llama, ids, ctx):
    """Windows of ctx tokens, one after the other; a window's first token has no score."""
    total, n = 0.0, 0
    for at in range(0, len(ids), ctx):
        window = ids[at:at + ctx]
        if len(window) < 2:
            break
        llama.reset()
        llama.eval(window)
        for i, token in enumerate(window[1:]):
            row = llama.scores[i]
            top = row.max()
            total += float(top) + np.log(np.exp(row - top).sum(dtype=np.float64)) - float(row[token])
            n += 1
    return total / n, n


def check_perplexity(args, llama, text):
    ids = common.accllm(args, "tokenize", args.model, "-f", text)["ids"][:args.tokens]
    ours = common.accllm(args, "eval ppl", args.model, "--text", text, "--ctx", str(args.ctx), "--max-tokens",
                         str(args.tokens), *common.engine(args))
    nll, n = llama_nll(llama, ids, args.ctx)
    ratio = np.exp(ours["nll"] - nll)
    print(f"perplexity {ours['ppl']:.5f}, llama.cpp {np.exp(nll):.5f}, ratio {ratio:.6f} ({ours['tokens']} and {n} tokens)")
    return n == ours["tokens"] and abs(ratio - 1) <= PPL_LIMIT


def main():
    args = common.arguments(__doc__, ("--text", {"default": TEXT, "help": "for the perplexity (data/evaluation.txt)"}),
                            ("--tokens", {"type": int, "default": 4096}), ("--ctx", {"type": int, "default": 512}),
                            ("--export", {"help": "where the F32 GGUF is written and kept (540 MB; a temporary file)"}))
    with tempfile.TemporaryDirectory() as folder:
        path = args.export or os.path.join(folder, "export.gguf")
        common.subprocess.run([args.accllm, "export", args.model, path, "--type", "f32"], check=True)
        llama = open_llama(path, args.ctx, int(args.threads))
        results = [check_greedy(args, llama, p, i) for i, p in enumerate(common.PROMPTS)]
        results.append(check_perplexity(args, llama, args.text))
    return 0 if all(results) else 1


sys.exit(main())
