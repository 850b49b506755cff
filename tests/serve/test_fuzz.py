"""accllm serve under thousands of malformed requests (hostile.py), beside clients that must not notice. ACCLLM_FUZZ: how
many; ACCLLM_FUZZ_SEED: others than usual."""
import collections
import os
import random
import threading
import unittest

import hostile
import server
from server import PROMPT, Models, Server, common

MODELS = Models()
COUNT = int(os.environ.get("ACCLLM_FUZZ", 600))
SEED = int(os.environ.get("ACCLLM_FUZZ_SEED", 20260727))


class Honest(threading.Thread):
    """Asks the same thing again and again; keeps what went wrong."""

    def __init__(self, ask):
        super().__init__()
        self.ask, self.want = ask, ask()
        self.done, self.checked, self.wrong = threading.Event(), 0, []

    def run(self):
        while not self.done.is_set():
            try:
                got = self.ask()
            except Exception as e:  # noqa: BLE001 - told at the end
                got = repr(e)
            self.checked += 1
            if got != self.want:
                self.wrong.append(got)

    def end(self):
        self.done.set()
        self.join()


class Fuzz(unittest.TestCase):
    def test_malformed_requests_harm_nobody(self):
        r = random.Random(SEED)
        requests, counts = hostile.Hostile(r), collections.Counter()
        with Server(MODELS.chat, "--parallel", "6") as s:
            prompt = {"prompt": PROMPT, "max_tokens": 30, "temperature": 0, "logprobs": 2, "ignore_eos": True}
            chat = {"messages": [{"role": "user", "content": "hello"}], "max_tokens": 30, "temperature": 0, "ignore_eos": True}
            honest = [Honest(lambda: s.json("/v1/completions", prompt)["choices"]),
                      Honest(lambda: [e["choices"] for e in s.events("/v1/chat/completions", chat)])]
            for h in honest:
                h.start()
            try:
                for _ in range(COUNT):
                    counts[hostile.throw(s, requests.next(), r)] += 1
            finally:
                for h in honest:
                    h.end()
            for h in honest:
                self.assertGreater(h.checked, 2)
                self.assertEqual(h.wrong, [])
            s.wait_for("sessions_running", 0)
            self.assertEqual(s.metric("requests_waiting"), 0)
            self.assertLess(len(os.listdir(f"/proc/{s.process.pid}/fd")), 20)  # no connection is left behind
        print(f"# {sum(counts.values())} requests of seed {SEED}: {dict(counts)}; {[h.checked for h in honest]} answers beside")


common.main()
