"""models/tiny: it does what its card says, and compressed it stays near its source."""
import os
import re
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "cli"))
FOLDER = os.path.abspath(sys.argv[3])
del sys.argv[3]
import common
from common import Case

MODEL, HELD_OUT = os.path.join(FOLDER, "tiny.gguf"), os.path.join(FOLDER, "held-out.txt")
with open(os.path.join(FOLDER, "README.md"), encoding="utf-8") as card_file:
    CARD = card_file.read()


class Tiny(Case):
    def ppl(self, model, *more):
        return self.json("eval", "ppl", model, "--text", HELD_OUT, "--ctx", "512", *more)

    def ratio(self, *compress):
        """Perplexity of a compressed model over its source's, both on the held-out text's first tokens (3,000)."""
        out = self.path("-".join(compress).replace("--", "") + ".gguf")
        self.json("compress", MODEL, out, *compress, "--calib-tokens", "4096")
        return self.ppl(out, "--kv", "8", "--max-tokens", "3000")["ppl"] / self.source

    def test_size(self):
        self.assertLess(os.path.getsize(MODEL), 8 << 20)
        r = self.json("inspect", MODEL)
        self.assertEqual((r["architecture"], r["head_dim"]), ("llama", 64))

    def test_greedy_text_is_the_cards(self):
        """Nowhere on this way are the two likeliest tokens' logits nearer than the card says: rounding cannot part it."""
        shown = re.search(r"\$ accllm run tiny\.gguf -p '([^']+)' -n 100 --temp 0\n(.*?)\n```", CARD, re.S)
        self.assertIsNotNone(shown)
        r = self.json("run", MODEL, "-p", shown[1], "-n", "100", "--temp", "0")
        self.assertEqual(len(r["ids"]), 100)
        self.assertEqual(r["text"].strip(), "\n".join(line.strip() for line in shown[2].split("\n")).strip())

    def test_perplexity_is_the_cards(self):
        ppl = re.search(r"\| perplexity, held-out text \| ([0-9.]+) \|", CARD)
        nats = re.search(r"\| nats per byte, held-out text \| ([0-9.]+) \|", CARD)
        r = self.ppl(MODEL)
        self.assertLess(abs(r["ppl"] / float(ppl[1]) - 1), 0.005)
        self.assertLess(abs(r["nats_per_byte"] / float(nats[1]) - 1), 0.005)

    def test_what_formats_cost(self):
        """The card has 1.0005, 1.0016 and 1.117 over the whole text."""
        self.source = self.ppl(MODEL, "--max-tokens", "3000")["ppl"]
        self.assertLess(abs(self.ratio("--weights", "w8", "--method", "rtn") - 1), 0.005)
        self.assertLess(abs(self.ratio("--weights", "w4") - 1), 0.02)
        pruned = self.ratio("--weights", "w2s")
        self.assertLess(pruned, 1.25)
        self.assertGreater(pruned, 1.02)  # pruning and two bits cannot be had for nothing

    def test_endless_text(self):
        """Past the trained context in a window."""
        out = self.path("window.gguf")
        self.json("compress", MODEL, out, "--weights", "w8", "--method", "rtn")
        r = self.json("run", out, "-p", "Once upon a time", "-n", "700", "--window", "256", "--ignore-eos", "--seed", "1")
        self.assertEqual(len(r["ids"]), 700)


if __name__ == "__main__":
    common.main()
