"""llama-benchy, a benchmark client of another project, against a live server: it counts the prompts' tokens by a tokenizer
of its own (Hugging Face's, made from the model file's vocabulary) and the answers' by the pieces of the stream and the ids
in them. Skipped where it is not installed (scripts/setup --clients brings it into .venv)."""
import os
import sys
import tempfile

import clients

HOME = tempfile.TemporaryDirectory(prefix="accllm-benchy-")
os.environ.update(HOME=HOME.name, HF_HUB_OFFLINE="1", HF_HUB_DISABLE_TELEMETRY="1", TOKENIZERS_PARALLELISM="false")
clients.need("llama-benchy is", "--clients", "llama_benchy", "tokenizers")  # the first is run as a program

import functools
import http.server
import json
import subprocess
import threading
import unittest

import tokenizers

import server
from server import FOLDER, Models, Server, common

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "verify"))
from gguf_read import Gguf

MODELS = Models()
SMOLLM2 = os.path.join(FOLDER, "..", "smollm2-135m-instruct", "smollm2-135m-instruct-w2s.gguf")
PP, TG, RUNS, CLIENTS = 96, 24, 2, (1, 3)
# The client draws its prompts from a text without a seed.
SEEDED = "import numpy, sys; numpy.random.seed(1); from llama_benchy.__main__ import main; main()"


def make_tokenizer(model, path):
    """A tokenizer.json of the file's vocabulary, with the pre-tokenizer of SmolLM's own."""
    meta = Gguf(model).meta
    assert meta["tokenizer.ggml.pre"] == "smollm", meta["tokenizer.ggml.pre"]
    tokens = meta["tokenizer.ggml.tokens"]
    merges = [tuple(m.split(" ")) for m in meta["tokenizer.ggml.merges"]]
    t = tokenizers.Tokenizer(tokenizers.models.BPE(vocab={s: i for i, s in enumerate(tokens)}, merges=merges))
    pre = tokenizers.pre_tokenizers
    t.pre_tokenizer = pre.Sequence([pre.Digits(individual_digits=True), pre.ByteLevel(add_prefix_space=False)])
    t.decoder = tokenizers.decoders.ByteLevel()
    t.add_special_tokens([s for s, kind in zip(tokens, meta["tokenizer.ggml.token_type"]) if kind == 3])
    t.save(path)


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args):
        pass


class Benchy(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.book = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=FOLDER))
        threading.Thread(target=cls.book.serve_forever, daemon=True).start()

    @classmethod
    def tearDownClass(cls):
        cls.book.shutdown()
        cls.book.server_close()

    def bench(self, s, tokenizer, *options):
        """(the report's benchmarks, the events of each request by their type, what the client said)"""
        report, progress = (os.path.join(HOME.name, n) for n in ("report.json", "progress.jsonl"))
        out = subprocess.run(
            [sys.executable, "-c", SEEDED, "--base-url", s.info["url"] + "/v1", "--model", s.info["model"], "--tokenizer",
             tokenizer, "--book-url", f"http://127.0.0.1:{self.book.server_port}/held-out.txt", "--pp", str(PP), "--tg",
             str(TG), "--runs", str(RUNS), "--concurrency", *map(str, CLIENTS), "--exact-tg", "--exit-on-first-fail",
             "--format", "json", "--save-result", report, "--emit-progress", progress, *options],
            capture_output=True, text=True, timeout=300)
        self.assertEqual(out.returncode, 0, out.stdout + out.stderr)
        requests = {}
        with open(progress, encoding="utf-8") as f:
            for line in f:
                e = json.loads(line)
                if "request_id" in e:
                    requests.setdefault(e["request_id"], {}).setdefault(e["type"], []).append(e)
        with open(report, encoding="utf-8") as f:
            return json.load(f)["benchmarks"], list(requests.values()), out.stdout

    def check_counts(self, benchmarks, requests, prompt_tokens):
        self.assertEqual([b["concurrency"] for b in benchmarks], list(CLIENTS))
        self.assertEqual(len(requests), RUNS * sum(CLIENTS))
        for r in requests:
            (end,) = r["request_end"]
            self.assertEqual((end["error"], end["prompt_tokens"], end["total_tokens"]), ("", prompt_tokens, TG))
            self.assertFalse(any(e.get("estimated") for e in r["tokens"]))  # counted by ids
            self.assertEqual(sum(e["count"] for e in r["tokens"]), TG)
            self.assertGreater(end["decode_seconds"], 0)

    def test_counts_of_a_trained_model(self):
        """Prompts are as long as the client wanted by its own tokenizer, and each token is a piece of the stream."""
        path = os.path.join(HOME.name, "smollm2.json")
        make_tokenizer(SMOLLM2, path)
        with Server(SMOLLM2, "--parallel", "3", "--temp", "0", threads=None) as s:
            benchmarks, requests, said = self.bench(s, path)
        self.assertIn("Coherence test PASSED", said)
        self.check_counts(benchmarks, requests, PP)
        self.assertEqual([len(r["tokens"]) for r in requests], [TG] * len(requests))

    def test_counts_and_times_of_a_random_model(self):
        """Its tokens are mostly bytes, so that a piece of the stream has several of them."""
        path = os.path.join(HOME.name, "chat.json")
        make_tokenizer(MODELS.chat, path)
        with Server(MODELS.chat, "--parallel", "3") as s:
            empty = s.json("/tokenize", {"messages": [{"role": "user", "content": ""}]})["count"]
            benchmarks, requests, _ = self.bench(s, path, "--skip-coherence", "--no-warmup", "--no-adapt-prompt",
                                                 "--latency-mode", "none", "--extra-body", "temperature=1,seed=3")
            generated = s.metric("generated_tokens_total")
            own, n = (s.metric(f"first_token_seconds_{name}") for name in ("sum", "count"))
        self.check_counts(benchmarks, requests, PP + empty)
        self.assertLess(min(len(r["tokens"]) for r in requests), TG)
        self.assertEqual((generated, n), (TG * len(requests), len(requests)))
        theirs = sum(r["request_first_token"][0]["ttft_s"] for r in requests)
        self.assertLess(own, theirs)  # the client's clock starts before the request comes and stops after it has the token
        self.assertGreater(own, 0)


common.main()
