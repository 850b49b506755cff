#!/usr/bin/env python3
"""llama.cpp's quantisations of the model, each read back to floats and judged by the same float reference on the same
windows: what its formats lose, weights alone, beside the bits they take of the block matrices. The embedding is Q8_0
throughout; the importance matrix comes from --calib. Files named behind the options (ours) are judged the same way."""
import os
import shutil
import subprocess
import sys
import tempfile

import common
from gguf_read import Gguf

TYPES = ["Q2_0", "Q2_K", "Q3_K_S", "Q4_0", "IQ4_NL", "Q4_K_M", "Q5_1"]


def tool(args, folder, name, *words):
    """One of llama.cpp's programs, in the folder, with short names: it has written files that end early, depending on the
    length of those that it keeps in them. Its output is shown only if it fails."""
    programs = os.path.abspath(args.llama)
    ran = subprocess.run([os.path.join(programs, name), *words], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                         env={**os.environ, "LD_LIBRARY_PATH": programs}, cwd=folder)
    if ran.returncode:
        sys.exit(f"{name}: status {ran.returncode}\n{ran.stdout.decode(errors='replace')[-2000:]}")


def linear_bits(path):
    """Bits per weight of the block matrices, scales and padding included: from where each tensor's bytes end."""
    g = Gguf(path)
    starts = sorted([offset for _, _, offset in g.tensors.values()] + [len(g.data) - g.base])
    size = weights = 0
    for name, (dims, _, offset) in g.tensors.items():
        if name.startswith("blk.") and len(dims) == 2:
            size += starts[starts.index(offset) + 1] - offset
            weights += dims[0] * dims[1]
    return 8 * size / weights


def perplexity(args, path, *options):
    words = ["--text", args.text, "-t", args.threads, "--numerics", "float", *options]
    if args.tokens:
        words += ["--max-tokens", args.tokens]
    return common.accllm(args, "eval ppl", path, *words)["ppl"]


def row(name, bits, size, value, teacher):
    print(f"{name:28} {bits:6.3f} {size / 1e6:8.1f} {value:10.3f} {value / teacher:8.4f}", flush=True)


def main():
    args = common.arguments(__doc__, ("--llama", {"required": True, "help": "folder of llama-quantize, llama-imatrix"}),
                            ("--text", {"required": True, "help": "text to judge on"}),
                            ("--calib", {"help": "text of the importance matrix; none: without one"}),
                            ("--tokens", {"help": "tokens of --text (all)"}),
                            ("--types", {"default": ",".join(TYPES), "help": "llama.cpp's names, with commas"}),
                            ("ours", {"nargs": "*", "help": "packed files"}))
    with tempfile.TemporaryDirectory() as folder:
        packed, back = f"{folder}/q.gguf", f"{folder}/b.gguf"
        common.accllm(args, "export", args.model, f"{folder}/p.gguf", "--type", "f32")
        if args.calib:
            shutil.copy(args.calib, f"{folder}/c.txt")
            tool(args, folder, "llama-imatrix", "-m", "p.gguf", "-f", "c.txt", "-o", "m.gguf", "-c", "1024", "-t", args.threads)
        teacher = perplexity(args, args.model)
        print(f"{'weights alone':28} {'bits':>6} {'MB':>8} {'perplexity':>10} {'ratio':>8}")
        row(os.path.basename(args.model), linear_bits(args.model), os.path.getsize(args.model), teacher, teacher)
        for kind in args.types.split(","):
            options = ["--imatrix", "m.gguf"] if args.calib else []
            tool(args, folder, "llama-quantize", *options, "--token-embedding-type", "q8_0", "p.gguf", "q.gguf", kind, args.threads)
            tool(args, folder, "llama-quantize", "--allow-requantize", "q.gguf", "b.gguf", "F32", args.threads)
            row(f"llama.cpp {kind}", linear_bits(packed), os.path.getsize(packed), perplexity(args, back), teacher)
        for path in args.ours:
            bits = common.accllm(args, "inspect", path)["bits_per_weight"]
            row(os.path.basename(path), bits, os.path.getsize(path), perplexity(args, path), teacher)


if __name__ == "__main__":
    main()
