"""A short run of soak.py on the small models, nuisances and all."""
import os
import unittest

import server
import soak
from server import Models, Server, common

MODELS = Models()
SECONDS = float(os.environ.get("ACCLLM_SOAK", 10))
SANITIZED = "ASAN_OPTIONS" in os.environ or "TSAN_OPTIONS" in os.environ  # they keep what was freed


class Soak(unittest.TestCase):
    def run_on(self, model, *options, **how):
        with Server(model, "--parallel", "7", "--chunk", "32", *options, **how) as s:
            r = soak.soak(s, 4, SECONDS, tokens=24, requests=12, least=16, nuisances=True)
            s.wait_for("sessions_running", 0)
            self.assertLess(len(os.listdir(f"/proc/{s.process.pid}/fd")), 20)
        self.assertEqual((r["wrong"], r["errors"]), ([], []))
        self.assertGreaterEqual(r["answers"], 16)
        for kind, n in r["nuisances"].items():
            self.assertGreater(n, 0, kind)
        self.assertLessEqual(r["first_token_p50"], r["first_token_p95"])
        if not SANITIZED:
            self.assertLess(r["rss_late"] - r["rss_early"], 4e6)
        print(f"# {r['answers']} answers, {r['nuisances']}, memory {r['rss_early']} then {r['rss_late']} bytes")

    def test_completions_with_two_threads(self):
        self.run_on(MODELS.tiny, threads=2)

    def test_chats_with_states_saved_beside(self):
        self.run_on(MODELS.chat, "--window", "128", "--state-dir", MODELS.path("states"), "--state-every", "1")


common.main()
