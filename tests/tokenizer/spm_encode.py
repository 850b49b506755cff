#!/usr/bin/env python3
"""accllm tokenize against SentencePiece's own spm_encode on 200 KB of text. spm_encode.py ACCLLM ROOT; exit 77: skipped."""
import json
import os
import shutil
import subprocess
import sys

ACCLLM, ROOT = sys.argv[1:3]
TINY = os.path.join(ROOT, "models", "tiny")


def main():
    if not shutil.which("spm_encode"):
        print("spm_encode is not installed (Debian package sentencepiece)", file=sys.stderr)
        return 77
    with open(os.path.join(ROOT, "data", "calibration.txt"), "rb") as f:
        text = f.read(200000).decode("utf-8", "ignore").replace("\n", " ")  # spm_encode works line by line
    theirs = subprocess.run(["spm_encode", "--model=" + os.path.join(TINY, "tokenizer.model"), "--output_format=id"],
                            input=text + "\n", capture_output=True, text=True, check=True).stdout
    ours = subprocess.run([ACCLLM, "tokenize", os.path.join(TINY, "tiny.gguf"), "--json", "-f", "-"], input=text,
                          capture_output=True, text=True, check=True).stdout
    a, b = [int(x) for x in theirs.split()], json.loads(ours)["ids"]
    if a != b:
        at = next((i for i, (x, y) in enumerate(zip(a, b)) if x != y), min(len(a), len(b)))
        print(f"not ok 1 - token {at} of {len(a)}: {b[at:at + 5]} instead of {a[at:at + 5]}")
        return 1
    print(f"ok 1 - {len(a)} tokens of {len(text)} characters are the same")
    return 0


sys.exit(main())
