"""`--backend rtl` and scripts/cosim: the Verilated RTL gives the CPU engine's tokens and trace hash, and is the device model after
every instruction. Builds the RTL (minutes) unless it is there; skipped where Verilator is not installed."""
import os
import re
import subprocess
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "cli"))
ROOT, BUILD, COSIM, TEST_REFUSALS = (os.path.abspath(a) for a in sys.argv[3:7])
del sys.argv[3:7]
import common
from common import ACCLLM, Case

TINY = os.path.join(ROOT, "models", "tiny", "tiny.gguf")
PROMPT = "Once upon"


class Rtl(Case):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        built = subprocess.run([os.path.join(ROOT, "scripts", "build-rtl"), BUILD], capture_output=True, text=True)
        if built.returncode == 77:
            raise unittest.SkipTest(built.stderr.strip())
        if built.returncode != 0:
            raise AssertionError(built.stderr)
        cls.env["ACCLLM_RTL"] = built.stdout.strip()

    def pack(self, weights):
        path = self.path("tiny-" + weights)
        subprocess.run([ACCLLM, "compress", TINY, path, "--weights", weights, "--method", "rtn"], check=True,
                       capture_output=True, env=self.env)
        return path

    def cosim(self, *args):
        r = subprocess.run([COSIM, *args], capture_output=True, text=True, env=self.env, cwd=self.dir)
        self.assertEqual((r.returncode, r.stderr), (0, ""), r.stdout)
        lines = dict(re.findall(r"^(cpu|device|rtl) +([0-9a-f]{16} .*)$", r.stdout, re.M))
        self.assertEqual(len(lines), 3, r.stdout)
        self.assertEqual(len(set(lines.values())), 1, r.stdout)
        return r.stdout

    def test_the_backend_is_the_cpu(self):
        path = self.pack("w2s")
        cpu, rtl = (self.json("run", path, "-p", PROMPT, "-n", "2", "--temp", "0", "--backend", b) for b in ("cpu", "rtl"))
        for key in ("ids", "text", "trace_hash", "prompt_tokens"):
            self.assertEqual(cpu[key], rtl[key])

    def test_perplexity_is_the_cpus(self):
        path = self.pack("w2s")
        text = os.path.join(ROOT, "data", "evaluation.txt")
        cpu, rtl = (self.json("eval", "ppl", path, "--text", text, "--max-tokens", "4", "--backend", b) for b in ("cpu", "rtl"))
        for key in ("ppl", "nll", "nats_per_byte", "tokens", "windows"):
            self.assertEqual(cpu[key], rtl[key])

    # The device model's words for each, and the next run works.
    def test_bad_programs_end_in_their_error(self):
        r = subprocess.run([TEST_REFUSALS, "rtl"], capture_output=True, text=True, env=self.env, cwd=self.dir)
        self.assertEqual(r.returncode, 0, r.stdout + r.stderr)
        self.assertIn("the_rtl_survives_bad_programs", r.stdout)

    def test_every_instruction_is_the_model(self):
        for weights, kv, more in (("w2s", "4", ["--window", "16", "--depth", "70"]), ("w8", "8", ["--stall", "3", "--latency", "9"])):
            out = self.cosim(self.pack(weights), "-p", PROMPT, "-n", "2", "--trace", "--kv", kv, *more)
            ended, compared = map(int, re.search(r"lockstep: (\d+) instructions, (\d+) ", out).groups())
            positions = len(re.findall(r"^position", out, re.M))
            self.assertGreaterEqual(ended, 45 * positions)  # four layers of eleven and the embedding
            self.assertEqual(ended, compared)

    # Places in pages, segments of 4,096 positions and both rings are alike every 20,480 positions at this window.
    def test_far_into_a_text(self):
        path, cycles = self.pack("w2s"), []
        for depth in (70 + 20480, 70 + 20480 * 5 * 10**7):
            out = self.cosim(path, "-p", "a", "-n", "1", "--window", "16", "--depth", str(depth))
            cycles.append(re.findall(r"^position.* (\d+) cycles$", out, re.M))
        self.assertGreater(len(cycles[0]), 1)
        self.assertEqual(*cycles)

    def test_where_there_is_none(self):
        path = self.pack("w2s")
        run = ("run", path, "-p", PROMPT, "-n", "1", "--backend", "rtl")
        self.fails(1, *run, env={"ACCLLM_RTL": ""}, says="scripts/build-rtl")
        self.fails(1, *run, env={"ACCLLM_RTL": self.path("none.so")}, says="none.so")
        self.fails(1, "run", TINY, "-p", PROMPT, "--backend", "rtl", says="AccLLM files")


if __name__ == "__main__":
    common.main()
