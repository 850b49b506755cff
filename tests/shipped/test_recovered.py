"""models/smollm2-135m-instruct: it answers what its card says, to the bit, and its figures are those of a trained model."""
import os
import re
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "cli"))
FOLDER = os.path.abspath(sys.argv[3])
del sys.argv[3]
import common
from common import Case

MODEL = os.path.join(FOLDER, "smollm2-135m-instruct-w2s.gguf")
TEXT = os.path.join(FOLDER, "..", "..", "data", "evaluation.txt")
with open(os.path.join(FOLDER, "README.md"), encoding="utf-8") as card_file:
    CARD = card_file.read()


class Recovered(Case):
    def test_shape_and_size(self):
        r = self.json("inspect", MODEL)
        self.assertLessEqual(r["bits_per_weight"], 1.95)
        self.assertEqual((r["n_layers"], r["n_embd"], r["n_vocab"]), (30, 576, 49152))
        self.assertEqual({t["format"] for t in r["tensors"] if ".attn_q." in t["name"]}, {"w2s"})

    def test_the_answer_is_the_cards(self):
        """The contract leaves no room: every kernel set gives these tokens and this hash of their logits."""
        shown = re.search(r"    > (What is the capital.*?)\n(.*?)\n\n", CARD, re.S)
        self.assertIsNotNone(shown)
        r = self.json("run", MODEL, "--chat", "-p", shown[1], "-n", "120", "--temp", "0", "--repeat-penalty", "1.15")
        self.assertEqual(r["text"], " ".join(line.strip() for line in shown[2].split("\n")))
        self.assertEqual((r["finish_reason"], r["trace_hash"]), ("stop", "cb6e9548a33193a7"))

    def test_perplexity(self):
        r = self.json("eval", "ppl", MODEL, "--text", TEXT, "--max-tokens", "512")
        self.assertAlmostEqual(r["ppl"], 37.310212, places=4)


if __name__ == "__main__":
    common.main()
