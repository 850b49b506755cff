"""`--backend device`: the models of the repository give the CPU engine's tokens, hash and perplexity on the device model."""
import os
import re
import subprocess
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "cli"))
ROOT, ACCEL_IMAGE = os.path.abspath(sys.argv[3]), os.path.abspath(sys.argv[4])
del sys.argv[3:5]
import common
from common import ACCLLM, Case

TINY = os.path.join(ROOT, "models", "tiny", "tiny.gguf")
SMOLLM2 = os.path.join(ROOT, "models", "smollm2-135m-instruct", "smollm2-135m-instruct-w2s.gguf")
TEXT = os.path.join(ROOT, "data", "evaluation.txt")


class Backends(Case):
    def alike(self, *args, keys):
        cpu, device = (self.json(*args, "--backend", b) for b in ("cpu", "device"))
        self.assertEqual({k: cpu[k] for k in keys}, {k: device[k] for k in keys})
        return device

    def run_alike(self, model, n, *options):
        return self.alike("run", model, "-p", "Once upon a time there was a king who", "-n", str(n), "--temp", "0",
                          "--ignore-eos", *options, keys=("ids", "text", "trace_hash", "prompt_tokens"))

    def ppl_alike(self, model, n, *options):
        self.alike("eval", "ppl", model, "--text", TEXT, "--max-tokens", str(n), "--ctx", "64", *options,
                   keys=("ppl", "nll", "nats_per_byte", "tokens", "windows"))

    def pack(self, src, weights):
        path = self.path(os.path.basename(src) + weights)
        subprocess.run([ACCLLM, "compress", src, path, "--weights", weights, "--method", "rtn"], check=True,
                       capture_output=True, env=self.env)
        return path

    def test_tiny_in_every_format(self):
        for weights in ("w2s", "w2", "w4", "w8"):
            path = self.pack(TINY, weights)
            for kv in ("4", "8"):
                r = self.run_alike(path, 32, "--kv", kv, "--window", "24")
                self.assertEqual(len(r["ids"]), 32)
        self.ppl_alike(path, 100)

    @unittest.skipUnless(os.path.exists(SMOLLM2), "models/smollm2-135m-instruct is not here")
    def test_smollm2(self):
        self.run_alike(SMOLLM2, 3)

    def test_the_compiler_lists_and_writes(self):
        path, image = self.pack(self.tiny("small.gguf"), "w4"), self.path("small.img")
        out = subprocess.run([ACCEL_IMAGE, path, "2", image], check=True, capture_output=True, text=True).stdout
        words = re.findall(r"^ *\d+  (\w+)", out, re.M)
        self.assertEqual(words, ["MOV", "LOOP", "VEC", "MM", "KVW", "ATT", "VEC", "MM", "VEC", "MM", "VEC", "MM", "MOV",
                                 "END", "VEC", "MM", "TOP", "END"])
        lines = int(re.search(r"2 channels, (\d+) lines", out)[1])
        self.assertEqual(os.path.getsize(image), 168 + 2 * lines * 64)
        r = subprocess.run([ACCEL_IMAGE, path, "33"], capture_output=True, text=True)
        self.assertEqual((r.returncode, r.stdout), (2, ""))

    def test_what_it_cannot_run(self):
        self.fails(1, "run", TINY, "-p", "a", "--backend", "device", says="AccLLM files")
        self.fails(2, "bench", TINY, "--backend", "device", says="--backend")


if __name__ == "__main__":
    common.main()
