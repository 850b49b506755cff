"""tools/train end to end: a tiny shape learns, killed and resumed runs give the same bytes, bad input is refused."""
import os
import random
import signal
import subprocess
import sys
import time
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "cli"))
TRAIN, ROOT = os.path.abspath(sys.argv[3]), os.path.abspath(sys.argv[4])
del sys.argv[3:5]
import common
from common import ACCLLM, Case

VOCAB = os.path.join(ROOT, "models", "tiny", "tokenizer.vocab")
TEXT = os.path.join(ROOT, "data", "evaluation.txt")
HELD_OUT = os.path.join(ROOT, "models", "tiny", "held-out.txt")
SHAPE = ["--dim", "32", "--heads", "2", "--kv-heads", "1", "--layers", "2", "--ff", "64", "--context", "64", "--batch", "2",
         "--tokens", "12800", "--rate", "0.01", "-t", "2"]


def read(path):
    with open(path, "rb") as f:
        return f.read()


def when_written(path):
    try:
        return os.stat(path).st_mtime_ns
    except FileNotFoundError:
        return None


class Train(Case):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.held = cls.path("held-out.txt")
        with open(cls.held, "wb") as f:
            f.write(read(HELD_OUT)[:3000])
        cls.whole = cls.path("whole.gguf")
        r = cls.finish(cls.whole)
        cls.said = r.stdout

    @classmethod
    def command(cls, out, *more):
        return [TRAIN, "--vocab", VOCAB, "--held-out", cls.held, "--out", out, *SHAPE, *more, TEXT]

    @classmethod
    def finish(cls, out, *more):
        r = subprocess.run(cls.command(out, *more), capture_output=True, text=True, timeout=120, check=False)
        if r.returncode != 0:
            raise AssertionError(f"{r.args}: exit {r.returncode}: {r.stderr}")
        return r

    def refuses(self, code, args, says):
        r = subprocess.run([TRAIN, *args], capture_output=True, text=True, timeout=60, check=False)
        self.assertEqual(r.returncode, code, r.stderr)
        self.assertIn(says, r.stderr)
        self.assertEqual(r.stdout, "")

    def interrupted(self, out, number, seconds, *more):
        """True if the run was ended by the signal, some time after it wrote a checkpoint, before it was done."""
        before = when_written(out + ".checkpoint")
        p = subprocess.Popen(self.command(out, "--checkpoint-minutes", "0", *more), stdout=subprocess.DEVNULL,
                             stderr=subprocess.PIPE)
        deadline = time.monotonic() + 60
        while when_written(out + ".checkpoint") == before and p.poll() is None and time.monotonic() < deadline:
            time.sleep(0.005)
        time.sleep(seconds)
        p.send_signal(number)
        err = p.communicate(timeout=60)[1]
        self.assertIn(p.returncode, (0, 130) if number == signal.SIGTERM else (0, -number), err)
        if p.returncode == 130:
            self.assertIn(b"--resume", err)
        return p.returncode != 0

    def test_it_learns(self):
        r = self.json("eval", "ppl", self.whole, "--text", self.held, "--ctx", "64")
        self.assertLess(r["ppl"], 1000)  # of 2,048 pieces; 100 steps
        self.assertIn("step 100 of 100", self.said)

    def test_the_file_is_what_others_read(self):
        r = self.json("inspect", self.whole)
        self.assertEqual(r["architecture"], "llama")
        self.assertFalse(os.path.exists(self.whole + ".checkpoint"))
        run = self.json("run", self.whole, "-p", "The", "-n", "4", "--temp", "0")
        self.assertGreater(len(run["ids"]), 0)

    def test_f32_is_the_same_model(self):
        out = self.path("f32.gguf")
        self.finish(out, "--f32")
        self.assertGreater(os.path.getsize(out), 1.5 * os.path.getsize(self.whole))
        a, b = (self.json("eval", "ppl", m, "--text", self.held, "--ctx", "64")["ppl"] for m in (out, self.whole))
        self.assertLess(abs(a / b - 1), 1e-3)

    def test_another_seed_is_another_model(self):
        out = self.path("seed.gguf")
        self.finish(out, "--seed", "2")
        self.assertNotEqual(read(out), read(self.whole))

    def test_interrupted_runs_give_the_same_bytes(self):
        rng, kills = random.Random(3), 0
        for number in (signal.SIGTERM, signal.SIGKILL):
            out = self.path(f"again-{int(number)}.gguf")
            kills += self.interrupted(out, number, rng.uniform(0, 0.2))
            if os.path.exists(out + ".checkpoint"):
                kills += self.interrupted(out, number, rng.uniform(0, 0.2), "--resume")
            self.finish(out, *(["--resume"] if os.path.exists(out + ".checkpoint") else []))
            self.assertEqual(read(out), read(self.whole))
        self.assertGreater(kills, 0)

    def test_a_checkpoint_is_not_overwritten_by_accident(self):
        out = self.path("kept.gguf")
        if not self.interrupted(out, signal.SIGTERM, 0):
            self.skipTest("the run was over before its signal")
        kept = read(out + ".checkpoint")
        self.refuses(1, self.command(out)[1:], "--resume goes on from it")
        self.refuses(1, self.command(out, "--resume", "--rate", "0.02")[1:], "other options")
        self.assertEqual(read(out + ".checkpoint"), kept)

    def test_bad_usage(self):
        full = self.command(self.path("never.gguf"))[1:]
        self.refuses(2, full + ["--dim", "33"], "multiple of --heads")
        self.refuses(2, full + ["--layers", "0"], "must be 1 to 256")
        self.refuses(2, full + ["--rate", "fast"], "not a number")
        self.refuses(2, full + ["--colour", "red"], "unknown option")
        self.refuses(2, full[:2], "needs --held-out")
        self.refuses(1, full + ["--batch", "512"], "does not fill one batch")
        self.refuses(1, full + ["--dim", "18"], "")
        self.assertIn("usage: train", subprocess.run([TRAIN, "--help"], capture_output=True, text=True, check=True).stdout)

    def test_bad_vocabularies(self):
        bad = self.path("bad.vocab")
        for content, says in ((b"", "0 pieces"), (b"<unk> 0\n", "not a piece, a tab and a score"),
                              (b"<unk>\tx\n", "score is not a number"), (b"<unk>\t0\n<s>\t0\n", "no piece </s>"),
                              (b"<unk>\tnan\n<s>\t0\n</s>\t0\n", "score is not a number"), (None, "cannot")):
            if content is None:
                os.remove(bad)
            else:
                with open(bad, "wb") as f:
                    f.write(content)
            self.refuses(1, self.command(self.path("never.gguf"), "--vocab", bad)[1:], says if content is not None else "bad.vocab")


if __name__ == "__main__":
    common.main()
