"""The real model: a chat's later turns see what a single prompt of the same text sees."""
import json
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


    def test_likelihoods_of_choices(self):
        """Against llama.cpp on the exported F32 file (tests/verify/verify_tasks.py computes such numbers)."""
        for name, item, want in [
            ("question", {"query": "Question: How do I keep bread fresh?\n", "gold": 0,
                          "choices": ["Wrap it in a cloth and keep it in a box.", "Leave it in the sun, uncovered."]},
             [-28.52735, -30.72691]),
            ("schema", {"context_options": ["The trophy does not fit into the bag because the trophy",
                                            "The trophy does not fit into the bag because the bag"],
                        "continuation": "is too large.", "gold": 0}, [-6.10406, -5.88628]),
            ("word", {"context": "He lit the lamp, climbed the stairs, and at the top of the tower he cleaned the",
                      "continuation": "lamp"}, [-3.29628]),
        ]:
            path, details = self.path(name), self.path(name + ".details")
            with open(path, "w", encoding="utf-8") as f:
                json.dump(item, f)
            r = self.json("eval", "tasks", MODEL, "--task", path, "--details", details)
            self.assertEqual(r["tasks"][0]["type"], name)
            with open(details, encoding="utf-8") as f:
                got = json.load(f)["logprob"]
            self.assertEqual(len(got), len(want))
            for a, b in zip(got, want):
                self.assertAlmostEqual(a, b, 2)


if __name__ == "__main__":
    if not os.path.exists(MODEL):
        sys.exit(77)
    common.main()
