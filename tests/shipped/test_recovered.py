"""models/smollm2-135m-instruct: the files answer what their card says, to the bit, with the figures of trained models."""
import os
import re
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "cli"))
FOLDER = os.path.abspath(sys.argv[3])
del sys.argv[3]
import common
from common import Case

TEXT = os.path.join(FOLDER, "..", "..", "data", "evaluation.txt")
with open(os.path.join(FOLDER, "README.md"), encoding="utf-8") as card_file:
    CARD = card_file.read()
SHOWN = re.findall(r"    > (What is the capital.*?)\n(.*?)\n\n", CARD, re.S)


class Shipped:
    """What both files have in common; `place`: which of the card's answers is this file's."""

    def test_shape_and_size(self):
        r = self.json("inspect", self.model())
        self.assertLessEqual(r["bits_per_weight"], self.bits)
        self.assertEqual((r["n_layers"], r["n_embd"], r["n_vocab"]), (30, 576, 49152))
        self.assertEqual({t["format"] for t in r["tensors"] if ".attn_q." in t["name"]}, self.formats)

    def test_the_answer_is_the_cards(self):
        """The contract leaves no room: every kernel set gives these tokens and this hash of their logits."""
        self.assertEqual(len(SHOWN), 2)
        question, answer = SHOWN[self.place]
        r = self.json("run", self.model(), "--chat", "-p", question, "-n", "120", "--temp", "0", "--repeat-penalty", "1.15")
        self.assertEqual(r["text"].replace("\n", " "), " ".join(line.strip() for line in answer.split("\n")))
        self.assertEqual((r["finish_reason"], r["trace_hash"]), (self.end, self.hash))

    def test_perplexity(self):
        r = self.json("eval", "ppl", self.model(), "--text", TEXT, "--max-tokens", "512")
        self.assertAlmostEqual(r["ppl"], self.ppl, places=4)

    def model(self):
        return os.path.join(FOLDER, f"smollm2-135m-instruct-{self.name}.gguf")


class W2s(Shipped, Case):
    name, place, bits, formats = "w2s", 0, 1.95, {"w2s"}
    hash, ppl, end = "ce3a3c120fb9133d", 37.162954, "length"


class Mixed(Shipped, Case):
    name, place, bits, formats = "mixed", 1, 4.2, {"w2s", "w4"}
    hash, ppl, end = "6b53059287d8af7a", 26.547345, "stop"


if __name__ == "__main__":
    common.main()
