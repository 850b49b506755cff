"""lm-evaluation-harness against a live server (local-completions with the server's tokenizer, tasks from local files) and
`accllm eval tasks` on the same items: the same log-likelihoods, so the same accuracy. Skipped where the harness is not
installed (scripts/setup --clients brings it into .venv)."""
import json
import os
import tempfile

import clients

CACHE = tempfile.TemporaryDirectory(prefix="accllm-lm-eval-")
os.environ.update(HF_HOME=CACHE.name, HF_HUB_OFFLINE="1", HF_DATASETS_OFFLINE="1", HF_HUB_DISABLE_TELEMETRY="1",
                  TOKENIZERS_PARALLELISM="false")
clients.need("lm-eval is", "--clients", "lm_eval", "requests")  # requests: of the harness's "api" extra

import random
import subprocess
import unittest

import lm_eval
from lm_eval.tasks import TaskManager

import server
from server import ACCLLM, FOLDER, Models, Server, common

MODELS = Models()
CHOICE = {"task": "choice", "output_type": "multiple_choice", "doc_to_text": "query", "doc_to_choice": "choices",
          "doc_to_target": "gold", "target_delimiter": " ",
          "metric_list": [{"metric": m, "aggregation": "mean", "higher_is_better": True} for m in ("acc", "acc_norm")]}
WORD = {"task": "word", "output_type": "loglikelihood", "doc_to_text": "context",
        "doc_to_target": "{{' ' + continuation}}",
        "metric_list": [{"metric": "acc", "aggregation": "mean", "higher_is_better": True},
                        {"metric": "perplexity", "aggregation": "perplexity", "higher_is_better": False}]}


def without_bos(path):
    """A copy of the model whose texts begin without BOS: the harness's remote tokenizer adds none."""
    key = b"tokenizer.ggml.add_bos_token\x07\0\0\0"
    with open(path, "rb") as f:
        data = bytearray(f.read())
    at = data.index(key) + len(key)
    assert data[at] == 1
    data[at] = 0
    out = path.replace(".gguf", "-no-bos.gguf")
    with open(out, "wb") as f:
        f.write(data)
    return out


def sentences():
    with open(os.path.join(FOLDER, "held-out.txt"), encoding="utf-8") as f:
        text = f.read().replace("\n", " ").replace("\"", "")
    found = [s.strip() for s in text.split(". ")]
    return [s for s in found if s.isascii() and 12 <= len(s.split()) <= 30]


def write_items(name, items):
    path = os.path.join(CACHE.name, name)
    with open(path, "w", encoding="utf-8") as f:
        f.writelines(json.dumps(item) + "\n" for item in items)
    return path


def choices(n):
    """How does the sentence go on: its own second half, or that of another."""
    r, s = random.Random(5), sentences()
    items = []
    for i in range(n):
        words = [x.split() for x in (s[i], *r.sample(s[:i] + s[i + 1:], 3))]
        ends = [" ".join(w[len(w) // 2:]) for w in words]
        order = r.sample(range(4), 4)
        items.append({"query": " ".join(words[0][:len(words[0]) // 2]), "choices": [ends[k] for k in order],
                      "gold": order.index(0)})
    return items


def words(n):
    return [dict(zip(("context", "continuation"), s.rsplit(" ", 1))) for s in sentences()[:n]]


class Harness(unittest.TestCase):
    def harness(self, s, task, path):
        """(metrics, log-likelihoods of each item)"""
        config = {**task, "dataset_path": "json", "dataset_kwargs": {"data_files": {"test": path}}, "test_split": "test"}
        r = lm_eval.simple_evaluate(
            model="local-completions", tasks=[config], bootstrap_iters=0, log_samples=True, batch_size=4,
            model_args=f"model={s.info['model']},base_url={s.info['url']}/v1/completions,tokenizer_backend=remote,max_length=480",
            task_manager=TaskManager(include_defaults=False))
        by_item = {x["doc_id"]: [one[0] for one in x["filtered_resps"]] for x in r["samples"][task["task"]]}
        return r["results"][task["task"]], [by_item[i] for i in sorted(by_item)]

    def own(self, model, task, path):
        details = os.path.join(CACHE.name, "details.jsonl")
        out = subprocess.run([ACCLLM, "eval", "tasks", model, "--task", path, "--type", task, "--details", details, "--json",
                              "-t", "1"], check=True, capture_output=True).stdout
        with open(details, encoding="utf-8") as f:
            return json.loads(out)["tasks"][0], [json.loads(line)["logprob"] for line in f]

    def compare(self, model, task, items):
        path = write_items(f"{task['task']}.jsonl", items)
        own, own_items = self.own(model, task["task"], path)
        with Server(model, "--parallel", "4") as s:
            theirs, their_items = self.harness(s, task, path)
        self.assertEqual(len(their_items), len(items))
        for a, b in zip(own_items, their_items):
            self.assertEqual(len(a), len(b))
            for x, y in zip(a, b):
                self.assertAlmostEqual(x, y, delta=1e-4 * abs(x))
        self.assertAlmostEqual(theirs["acc,none"], own["accuracy"], places=9)
        return own, theirs

    def test_multiple_choice(self):
        own, theirs = self.compare(without_bos(MODELS.tiny), CHOICE, choices(40))
        self.assertAlmostEqual(theirs["acc_norm,none"], own["accuracy_norm"], places=9)
        self.assertGreater(own["accuracy"], 0.3)  # of four: the model has learnt something
        print(f"# accuracy {own['accuracy']}, by length {own['accuracy_norm']}")

    def test_last_words(self):
        own, theirs = self.compare(without_bos(MODELS.tiny), WORD, words(60))
        self.assertAlmostEqual(theirs["perplexity,none"], own["perplexity"], delta=1e-3 * own["perplexity"])
        print(f"# accuracy {own['accuracy']}, perplexity {own['perplexity']}")

    def test_a_model_of_another_tokenizer(self):
        self.compare(MODELS.chat, CHOICE, choices(6))


common.main()
