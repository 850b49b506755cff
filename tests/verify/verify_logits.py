#!/usr/bin/env python3
"""The float reference's logits against an independent numpy implementation on the same GGUF: 5 prompts x 64 positions, the
largest difference must be at most 2e-3. Needs numpy."""
import os
import sys
import tempfile

import numpy as np

import common
from gguf_read import Gguf
from llama_numpy import Llama

POSITIONS, LIMIT = 64, 2e-3


def program_logits(args, ids, prompt, n_vocab, folder):
    out = os.path.join(folder, "logits.f32")
    r = common.accllm(args, "run", args.model, "-p", prompt, "-n", "0", "--logits", out, *common.engine(args))
    rows = np.fromfile(out, "<f4").reshape(-1, n_vocab)
    if r["prompt_tokens"] != len(ids) or len(rows) != len(ids):
        sys.exit(f"{len(ids)} tokens, {r['prompt_tokens']} run, {len(rows)} rows of logits")
    return rows[:POSITIONS]


def main():
    args = common.arguments(__doc__)
    gguf = Gguf(args.model)
    model = Llama(gguf)
    bos = ["--bos"] if gguf.meta.get("tokenizer.ggml.add_bos_token") else []
    worst = agree = total = 0
    with tempfile.TemporaryDirectory() as folder:
        for i, prompt in enumerate(common.PROMPTS):
            ids = common.accllm(args, "tokenize", args.model, "-p", prompt, *bos)["ids"]
            if len(ids) < POSITIONS:
                sys.exit(f"prompt {i} has only {len(ids)} tokens")
            want = model.logits(ids[:POSITIONS])
            got = program_logits(args, ids, prompt, want.shape[1], folder)
            diff = np.abs(got - want).max()
            agree += int((got.argmax(1) == want.argmax(1)).sum())
            total += POSITIONS
            worst = max(worst, diff)
            print(f"prompt {i}: {POSITIONS} positions, largest logit difference {diff:.2e} "
                  f"(logits {want.min():.1f} to {want.max():.1f})")
    print(f"largest difference {worst:.2e} (limit {LIMIT}), same likeliest token {agree} of {total}")
    return 0 if worst <= LIMIT else 1


sys.exit(main())
