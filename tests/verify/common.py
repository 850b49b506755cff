"""Shared by the verification scripts: arguments, running the program, five prompts of 64 tokens and more."""
import argparse
import json
import os
import subprocess
import sys

PROMPTS = [
    "The lighthouse keeper climbed the stairs every evening, lamp in hand, and counted the steps aloud so that the wind "
    "would not steal his thoughts. On the hundred and twelfth step he always paused, because the window there looked out "
    "over the reef where, years before, his brother's boat had broken in two, and he listened for the bell.",
    "def merge(left, right):\n    result = []\n    i = j = 0\n    while i < len(left) and j < len(right):\n        if "
    "left[i] <= right[j]:\n            result.append(left[i])\n            i += 1\n        else:\n            "
    "result.append(right[j])\n            j += 1\n    return result + left[i:] + right[j:]\n",
    "In 1905 the population was 14,327; by 1931 it had grown to 58,940, and in 2001 to 1,204,655. The average rainfall is "
    "812.4 mm, of which 63 % falls between June 15 and September 30. The railway of 1887 covers 246 km at gradients of up "
    "to 1:37.",
    "Zwölf Boxkämpfer jagen Viktor quer über den großen Sylter Deich. Le cœur déçu mais l'âme plutôt naïve, Louÿs rêva de "
    "crapaüter en canoë au delà des îles. Съешь же ещё этих мягких французских булок, да выпей чаю. 今天天气很好。",
    "Question: Why does a kettle sing before it boils?\nAnswer: The water at the bottom becomes hot first and forms small "
    "bubbles of steam. As these rise into the cooler water above they collapse, and each collapse makes a small sound. "
    "When all of the water is hot, the bubbles reach the surface whole, and the singing stops.\nQuestion:",
]


def arguments(about, *more):
    cache = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    a = argparse.ArgumentParser(description=about)
    a.add_argument("--accllm", default=os.environ.get("ACCLLM", "accllm"), help="the program")
    a.add_argument("--model", help="a llama-architecture GGUF",
                   default=os.environ.get("ACCLLM_MODEL", f"{cache}/accllm/SmolLM2-135M-Instruct.Q4_1.gguf"))
    a.add_argument("--threads", default="2")
    for name, kw in more:
        a.add_argument(name, **kw)
    args = a.parse_args()
    if not os.path.exists(args.model):
        print(f"no model at {args.model}: skipped")
        sys.exit(77)
    return args


def accllm(args, command, *words):
    """Runs one command with --json and returns the object."""
    out = subprocess.run([args.accllm, *command.split(), *words, "--json"], stdout=subprocess.PIPE, check=True).stdout
    return json.loads(out)


def engine(args):
    """Options of the float reference with full attention."""
    return ["--numerics", "float", "--full-attention", "-t", args.threads]
