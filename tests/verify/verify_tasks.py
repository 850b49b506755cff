#!/usr/bin/env python3
"""`accllm eval tasks` in the float reference against llama.cpp (llama-cpp-python, float32 cache, no flash attention) on
the plain F32 GGUF that `accllm export` writes of the model: the log-likelihood of every choice of 12 items of five forms
within 0.01 nats. The wording of the items and the split into tokens are done here once more, on llama.cpp's tokens."""
import json
import os
import re
import sys
import tempfile

import numpy as np
from llama_cpp import Llama

import common

LIMIT = 0.01
ITEMS = {
    "question": [
        {"query": "Question: How do I keep bread fresh?\n", "gold": 0,
         "choices": ["Wrap it in a cloth and keep it in a box.", "Leave it in the sun, uncovered."]},
        {"query": "Question: Which of these is a source of light?", "gold": 2,
         "choices": ["the Moon's dust", "a mirror", "a burning candle", "cold water"]},
        {"query": "Question: Wo wohnt der Bär?", "gold": 1, "choices": ["im Büro", "in der Höhle"]},
    ],
    "choice": [
        {"query": "The capital of France is", "choices": ["Paris", "Rome", "a large number of 1,234 people"], "gold": 0},
        {"query": "In 1905 the railway ", "choices": ["was built", "sang"], "gold": 0},
    ],
    "hellaswag": [
        {"activity_label": "Roof shingle removal", "ctx_a": "A man is sitting on a roof. [header] Well.", "ctx_b": "he",
         "endings": ["is using wrap to wrap a pair of skis.", "is ripping level tiles off.", "holds a [substeps] cube.",
                     "starts pulling up roofing on a roof. [title] Next"], "label": "3"},
        {"activity_label": "Baking", "ctx_a": "How to bake [title] Take flour.", "ctx_b": "",
         "endings": ["Add water  and salt.", "Drive to the moon."], "label": "0"},
    ],
    "schema": [
        {"context_options": ["The trophy does not fit into the bag because the trophy",
                             "The trophy does not fit into the bag because the bag"],
         "continuation": "is too large.", "gold": 0},
        {"context_options": ["Sarah was a better surgeon than Maria so Sarah", "Sarah was a better surgeon than Maria so Maria"],
         "continuation": "always got the easier cases.", "gold": 1},
    ],
    "word": [
        {"context": "He lit the lamp, climbed the stairs, and at the top of the tower he cleaned the", "continuation": "lamp"},
        {"context": "\"Shane,\" she said. \"We won't be long.\"\n\nHe nodded. \"Fine,\" said", "continuation": "Shane"},
        {"context": "one two three four five six seven", "continuation": "eight"},
    ],
}


def clean(s):
    """lm-evaluation-harness's preprocessing of HellaSwag."""
    s = s.strip().replace(" [title]", ". ")
    return re.sub(r"\[.*?\]", "", s).replace("  ", " ")


def pairs(kind, item):
    """(context, continuation) of every choice."""
    if kind == "question":
        return [(item["query"].rstrip() + "\nAnswer:", " " + c) for c in item["choices"]]
    if kind == "choice":
        blank = "" if item["query"][-1].isspace() else " "
        return [(item["query"], blank + c) for c in item["choices"]]
    if kind == "hellaswag":
        context = clean(item["activity_label"] + ": " + item["ctx_a"] + " " + item["ctx_b"].capitalize())
        return [(context, " " + clean(e)) if not context.endswith(" ") else (context, clean(e)) for e in item["endings"]]
    if kind == "schema":
        return [(c, " " + item["continuation"]) for c in item["context_options"]]
    return [(item["context"], " " + item["continuation"])]


def likelihood(llama, context, continuation):
    """log P(continuation | context), and whether greedy decoding would write it."""
    bare = context.rstrip()
    continuation = context[len(bare):] + continuation
    head = llama.tokenize(bare.encode(), add_bos=False)
    tail = llama.tokenize((bare + continuation).encode(), add_bos=False)[len(head):]
    llama.reset()
    llama.eval(head + tail)
    total, greedy = 0.0, True
    for i, token in enumerate(tail):
        row = llama.scores[len(head) - 1 + i].astype(np.float64)
        total += row[token] - row.max() - np.log(np.exp(row - row.max()).sum())
        greedy &= int(row.argmax()) == token
    return total, greedy


def check(args, llama, kind, items, folder):
    path, details = os.path.join(folder, kind), os.path.join(folder, kind + ".details")
    with open(path, "w", encoding="utf-8") as f:
        f.writelines(json.dumps(i) + "\n" for i in items)
    engine = [o for o in common.engine(args) if o != "--full-attention"]
    r = common.accllm(args, "eval tasks", args.model, "--task", path, "--details", details, *engine)["tasks"][0]
    with open(details, encoding="utf-8") as f:
        ours = [json.loads(line) for line in f]
    worst, right = 0.0, 0
    for item, got in zip(items, ours, strict=True):
        want = [likelihood(llama, *p) for p in pairs(kind, item)]
        worst = max(worst, *(abs(a - b[0]) for a, b in zip(got["logprob"], want, strict=True)))
        gold = int(item.get("gold", item.get("label", 0)))
        right += want[0][1] if kind == "word" else int(np.argmax([w[0] for w in want])) == gold
    print(f"{kind}: {len(items)} items, largest difference {worst:.1e} nats, accuracy {r['accuracy']:.3f}, "
          f"llama.cpp {right / len(items):.3f}")
    return r["type"] == kind and worst <= LIMIT and abs(r["accuracy"] - right / len(items)) < 1e-9


def main():
    args = common.arguments(__doc__, ("--export", {"help": "where the F32 GGUF is written and kept (540 MB; a "
                                                           "temporary file)"}))
    with tempfile.TemporaryDirectory() as folder:
        path = args.export or os.path.join(folder, "export.gguf")
        common.subprocess.run([args.accllm, "export", args.model, path, "--type", "f32"], check=True)
        llama = Llama(model_path=path, n_ctx=512, n_batch=512, logits_all=True, type_k=0, type_v=0, flash_attn=False,
                      n_threads=int(args.threads), n_threads_batch=int(args.threads), verbose=False)
        results = [check(args, llama, kind, items, folder) for kind, items in ITEMS.items()]
    return 0 if all(results) else 1


sys.exit(main())
