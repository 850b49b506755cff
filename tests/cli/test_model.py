"""The real model: a chat's later turns see what a single prompt of the same text sees."""
import os
import sys
import unittest

import common
from common import Case

CACHE = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
MODEL = os.environ.get("ACCLLM_MODEL") or os.path.join(CACHE, "accllm", "SmolLM2-135M-Instruct.Q4_1.gguf")


class RealModel(Case):
    def test_second_turn(self):
        rest = ["--temp", "0", "-n", "16"]
        r = self.json("chat", MODEL, "--system", "You are kind.", *rest, stdin=b"Two plus two?\nThree plus three?\n")
        a, b = r["turns"]
        turn = "<|im_start|>{}\n{}<|im_end|>\n".format
        text = (turn("system", "You are kind.") + turn("user", a["user"]) + turn("assistant", a["assistant"]) +
                turn("user", b["user"]) + "<|im_start|>assistant\n")
        self.assertEqual(self.json("run", MODEL, "-p", text, *rest)["text"], b["assistant"])

    def test_tokens_are_those_of_the_vocabulary(self):
        ids = self.json("tokenize", MODEL, "-p", "Hello world")["ids"]
        self.assertEqual(ids, [19556, 905])


if __name__ == "__main__":
    if not os.path.exists(MODEL):
        sys.exit(77)
    common.main()
