"""accllm serve by plain HTTP: every endpoint, the forms of replies, refusals, keys, origins, limits."""
import base64
import http.client
import json
import math
import os
import socket
import struct
import subprocess
import time
import unittest

import server
from server import ACCLLM, PROMPT, Models, Server, common

MODELS = Models()
GREEDY = {"prompt": PROMPT, "max_tokens": 24, "temperature": 0}


class Served(unittest.TestCase):
    model, options = MODELS.tiny, ()

    @classmethod
    def setUpClass(cls):
        cls.s = Server(cls.model, *cls.options)

    @classmethod
    def tearDownClass(cls):
        cls.s.stop()


class Endpoints(Served):
    def test_health_and_models(self):
        self.assertEqual(self.s.json("/health"), {"status": "ok"})
        for path in ("/v1/models", "/models"):
            (m,) = self.s.json(path)["data"]
            self.assertEqual((m["id"], m["object"]), ("tiny", "model"))
        self.assertEqual(self.s.json("/v1/models/tiny")["id"], "tiny")
        self.assertEqual(self.s.error("/v1/models/other", None, 404, method="GET")["code"], "model_not_found")

    def test_completion_is_what_run_writes(self):
        r = self.s.json("/v1/completions", GREEDY)
        run = json.loads(subprocess.run([ACCLLM, "run", MODELS.tiny, "-p", PROMPT, "-n", "24", "--temp", "0", "--json"],
                                        check=True, capture_output=True).stdout)
        (c,) = r["choices"]
        self.assertEqual(c["text"], run["text"])
        self.assertEqual((c["index"], c["finish_reason"], c["logprobs"]), (0, "length", None))
        self.assertEqual((r["object"], r["model"]), ("text_completion", "tiny"))
        u = r["usage"]
        self.assertEqual((u["completion_tokens"], u["prompt_tokens"]), (24, run["prompt_tokens"]))
        self.assertEqual(u["total_tokens"], u["completion_tokens"] + u["prompt_tokens"])

    def test_seeded_completion_is_what_run_writes(self):
        r = self.s.json("/v1/completions", {"prompt": PROMPT, "max_tokens": 24, "temperature": 0.9, "top_p": 0.9,
                                            "top_k": 50, "min_p": 0.01, "seed": 7})
        run = json.loads(subprocess.run([ACCLLM, "run", MODELS.tiny, "-p", PROMPT, "-n", "24", "--temp", "0.9", "--top-p",
                                         "0.9", "--top-k", "50", "--min-p", "0.01", "--seed", "7", "--json"],
                                        check=True, capture_output=True).stdout)
        self.assertEqual(r["choices"][0]["text"], run["text"])

    def test_stream_is_the_whole_in_pieces(self):
        whole = self.s.json("/v1/completions", GREEDY)["choices"][0]["text"]
        events = self.s.events("/v1/completions", {**GREEDY, "stream_options": {"include_usage": True}})
        *pieces, last, usage = events
        self.assertEqual("".join(p["choices"][0]["text"] for p in pieces), whole)
        self.assertEqual(len(pieces), 24)  # a token each: clients count them
        self.assertTrue(all(p["choices"][0]["finish_reason"] is None and "usage" not in p for p in pieces))
        self.assertEqual(last["choices"][0]["finish_reason"], "length")
        self.assertEqual((usage["choices"], usage["usage"]["completion_tokens"]), ([], 24))
        self.assertEqual(len({(e["id"], e["created"]) for e in events}), 1)

    def test_prompts_in_every_form(self):
        ids = self.s.json("/tokenize", {"prompt": PROMPT})["tokens"]
        text = self.s.json("/v1/completions", GREEDY)["choices"][0]["text"]
        for prompt, n in ((ids, 1), ([PROMPT], 1), ([ids], 1), ([PROMPT, PROMPT], 2), ([ids, ids, ids], 3)):
            r = self.s.json("/v1/completions", {**GREEDY, "prompt": prompt})
            self.assertEqual([(c["index"], c["text"]) for c in r["choices"]], [(i, text) for i in range(n)])
        r = self.s.json("/v1/completions", {**GREEDY, "prompt": "", "max_tokens": 3})
        self.assertEqual(r["usage"]["prompt_tokens"], 1)

    def test_n_answers_have_seeds_of_their_own(self):
        body = {"prompt": PROMPT, "max_tokens": 12, "temperature": 1, "seed": 5, "n": 3}
        texts = [c["text"] for c in self.s.json("/v1/completions", body)["choices"]]
        self.assertEqual(len(set(texts)), 3)
        self.assertEqual([c["text"] for c in self.s.json("/v1/completions", body)["choices"]], texts)
        by_index = {}
        for e in self.s.events("/v1/completions", body):
            c = e["choices"][0]
            by_index[c["index"]] = by_index.get(c["index"], "") + c["text"]
        self.assertEqual([by_index[i] for i in range(3)], texts)

    def test_stop_across_tokens(self):
        text = self.s.json("/v1/completions", {**GREEDY, "max_tokens": 40})["choices"][0]["text"]
        for stop in (text[6:11], text[-6:], text[19:21], text[24:31]):  # across tokens, wherever these end
            for form in (stop, ["never seen", stop]):
                body = {**GREEDY, "max_tokens": 40, "stop": form}
                c = self.s.json("/v1/completions", body)["choices"][0]
                self.assertEqual((c["text"], c["finish_reason"]), (text[:text.index(stop)], "stop"))
                events = self.s.events("/v1/completions", body)
                self.assertEqual("".join(e["choices"][0]["text"] for e in events), c["text"])
        c = self.s.json("/v1/completions", {**GREEDY, "max_tokens": 40, "stop": text[-1:] + "never"})["choices"][0]
        self.assertEqual(c["text"], text)  # what was held back comes at the end

    def test_stop_takes_its_own_tokens_from_the_logprobs(self):
        body = {**GREEDY, "logprobs": 0, "stop": " world"}
        c = self.s.json("/v1/completions", body)["choices"][0]
        self.assertEqual("".join(c["logprobs"]["tokens"]), c["text"])
        events = self.s.events("/v1/completions", body)
        tokens = [t for e in events if e["choices"][0]["logprobs"] for t in e["choices"][0]["logprobs"]["tokens"]]
        self.assertEqual(tokens, c["logprobs"]["tokens"])

    def test_the_token_that_ends_a_text_has_a_logprob(self):
        r = self.s.json("/v1/completions", {**GREEDY, "logprobs": 0, "grammar": 'root ::= ""'})
        (c,) = r["choices"]
        self.assertEqual((c["text"], c["finish_reason"], r["usage"]["completion_tokens"]), ("", "stop", 1))
        self.assertEqual([len(c["logprobs"][k]) for k in ("tokens", "token_logprobs", "text_offset")], [1, 1, 1])

    def test_token_ids(self):
        """Every token that usage counts is told once, in the pieces of a stream as in the whole."""
        for more in ({}, {"stop": " world"}, {"n": 3, "temperature": 1, "seed": 2}, {"echo": True}, {"max_tokens": 0}):
            body = {**GREEDY, "return_token_ids": True, **more}
            whole = self.s.json("/v1/completions", body)
            ids = [c["token_ids"] for c in whole["choices"]]
            self.assertEqual(sum(map(len, ids)), whole["usage"]["completion_tokens"])
            told = [[] for _ in ids]
            for e in self.s.events("/v1/completions", body):
                told[e["choices"][0]["index"]] += e["choices"][0]["token_ids"]
            self.assertEqual(told, ids)
            if "stop" not in more and "echo" not in more:
                texts = [self.s.json("/detokenize", {"tokens": t})["prompt"] for t in ids]
                self.assertEqual([t.strip() for t in texts], [c["text"].strip() for c in whole["choices"]])
        self.assertNotIn("token_ids", self.s.json("/v1/completions", GREEDY)["choices"][0])

    def test_tokenizer(self):
        ids = self.s.json("/tokenize", {"prompt": PROMPT, "add_special_tokens": False})["tokens"]
        r = self.s.json("/tokenize", {"prompt": PROMPT})
        self.assertEqual((r["tokens"], r["count"]), ([1] + ids, len(ids) + 1))
        self.assertEqual(self.s.json("/tokenize", {"content": PROMPT})["tokens"], ids)
        r = self.s.json("/detokenize", {"tokens": ids})
        self.assertEqual((r["prompt"], r["content"]), (PROMPT, PROMPT))
        info = self.s.json("/tokenizer_info")
        self.assertEqual((info["bos_token"], info["eos_token"], info["pad_token"]), ("<s>", "</s>", None))
        self.s.error("/detokenize", {"tokens": [1, 2048]}, 400)
        self.s.error("/detokenize", {"tokens": "x"}, 400)
        self.s.error("/tokenize", {}, 400)

    def test_metrics_count(self):
        before = self.s.metric("generated_tokens_total")
        self.s.json("/v1/completions", GREEDY)
        self.assertEqual(self.s.metric("generated_tokens_total") - before, 24)
        text = self.s.request("GET", "/metrics")[2].decode()
        for line in text.splitlines():
            self.assertRegex(line, r'^(# (HELP|TYPE) accllm_\w+ .+|accllm_\w+(\{\w+="[^"]+"\})? [0-9.e+-]+)$')

    def test_a_connection_outlives_head(self):
        """No body comes behind the headers that would be taken for the next reply."""
        c = http.client.HTTPConnection(self.s.host, self.s.port, timeout=60)
        for method in ("HEAD", "GET"):
            c.request(method, "/health")
            r = c.getresponse()
            self.assertEqual((r.status, r.read()), (200, b"" if method == "HEAD" else b'{"status":"ok"}\n'))
        c.close()

    def test_connection_is_kept(self):
        s = self.s.open("/v1/completions", GREEDY)
        data = json.dumps(GREEDY).encode()
        s.sendall(b"POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(data) + data)
        got = b""
        while got.count(b"cmpl-") < 2:  # the second was sent while the first was answered
            more = s.recv(65536)
            self.assertTrue(more, got)
            got += more
        self.assertEqual(got.count(b"HTTP/1.1 200"), 2)
        s.close()


class Scores(Served):
    def echo(self, prompt, **more):
        return self.s.json("/v1/completions", {"prompt": prompt, "max_tokens": 1, "temperature": 0, "seed": 1234,
                                               "logprobs": 1, "echo": True, **more})["choices"]

    def test_echo_has_the_prompt_and_one_token(self):
        ids = self.s.json("/tokenize", {"prompt": PROMPT})["tokens"]
        for prompt in (PROMPT, [ids]):
            (c,) = self.echo(prompt)
            p = c["logprobs"]
            self.assertEqual({len(v) for v in p.values()}, {len(ids) + 1})
            self.assertIsNone(p["token_logprobs"][0])
            self.assertIsNone(p["top_logprobs"][0])
            self.assertTrue(c["text"].startswith(PROMPT))
            for token, at in zip(p["tokens"][2:], p["text_offset"][2:]):
                self.assertEqual(c["text"][at:at + len(token)], token)
            for own, top in zip(p["token_logprobs"][1:], p["top_logprobs"][1:]):
                self.assertIn(own, top.values())  # the same number in both places
            self.assertEqual(p["token_logprobs"][-1], max(p["top_logprobs"][-1].values()))  # greedy

    def test_scores_are_the_logits(self):
        """Against a softmax over what `run --logits` writes; a prompt longer than the rows of one step."""
        prompt = (PROMPT + " had a daughter and lived in a castle by the sea, ") * 3
        path = MODELS.path("logits")
        subprocess.run([ACCLLM, "run", MODELS.tiny, "-p", prompt, "-n", "1", "--temp", "0", "--logits", path, "--json"],
                       check=True, capture_output=True)
        with open(path, "rb") as f:
            data = f.read()
        ids = self.s.json("/tokenize", {"prompt": prompt})["tokens"]
        self.assertGreater(len(ids), 40)
        (c,) = self.echo(prompt, logprobs=3)
        for i in range(len(ids) - 1):
            row = struct.unpack_from("2048f", data, i * 8192)
            most = max(row)
            base = most + math.log(sum(math.exp(x - most) for x in row))
            self.assertAlmostEqual(c["logprobs"]["token_logprobs"][i + 1], row[ids[i + 1]] - base, places=4)
            tops = sorted(c["logprobs"]["top_logprobs"][i + 1].values(), reverse=True)
            for x, y in zip(tops, sorted(row, reverse=True)[:3]):
                self.assertAlmostEqual(x, y - base, places=4)

    def test_likelihoods_are_those_of_eval_tasks(self):
        """As lm-evaluation-harness asks: ids, echo, and a sum from the context's end to the last but one."""
        items = [{"query": "Once upon a time there was a", "choices": ["king who had a daughter", "pencil", "very old"],
                  "gold": 0},
                 {"query": "The little girl went to the", "choices": ["forest", "moon and never"], "gold": 0}]
        path, details = MODELS.path("items.jsonl"), MODELS.path("details.jsonl")
        with open(path, "w", encoding="utf-8") as f:
            f.writelines(json.dumps(i) + "\n" for i in items)
        subprocess.run([ACCLLM, "eval", "tasks", MODELS.tiny, "--task", path, "--type", "choice", "--details", details],
                       check=True, capture_output=True)
        with open(details, encoding="utf-8") as f:
            want = [json.loads(line)["logprob"] for line in f]
        for item, expected in zip(items, want):
            context = len(self.s.json("/tokenize", {"prompt": item["query"]})["tokens"])
            whole = [self.s.json("/tokenize", {"prompt": item["query"] + " " + c})["tokens"] for c in item["choices"]]
            for c, x in zip(self.echo(whole), expected):
                self.assertAlmostEqual(sum(c["logprobs"]["token_logprobs"][context:-1]), x, places=3)

    def test_nothing_to_generate(self):
        (c,) = self.echo(PROMPT, max_tokens=0)
        self.assertEqual((c["text"], c["finish_reason"]), (PROMPT, "length"))
        self.assertEqual(len(c["logprobs"]["tokens"]), len(self.s.json("/tokenize", {"prompt": PROMPT})["tokens"]))
        (c,) = self.s.json("/v1/completions", {"prompt": PROMPT, "max_tokens": 0, "echo": True})["choices"]
        self.assertEqual(c["text"], PROMPT)

    def test_echo_in_a_stream(self):
        whole = self.echo(PROMPT, max_tokens=5)[0]
        events = self.s.events("/v1/completions", {"prompt": PROMPT, "max_tokens": 5, "temperature": 0, "logprobs": 1,
                                                   "echo": True})
        self.assertEqual("".join(e["choices"][0]["text"] for e in events), whole["text"])
        tokens = [t for e in events if e["choices"][0]["logprobs"] for t in e["choices"][0]["logprobs"]["tokens"]]
        self.assertEqual(tokens, whole["logprobs"]["tokens"])


class Refusals(Served):
    def test_bad_json(self):
        for body in ("", "{", "[1, 2", '{"a": 1, "a": 2}', '{"prompt": "\\u0000"}', b'{"prompt": "\xff"}', "[" * 5000):
            e = self.s.error("/v1/completions", body, 400)
            self.assertEqual(e["code"], "invalid_json")
        for body in ("[]", "1", '"text"', "null"):
            self.s.error("/v1/chat/completions", body, 400)

    def test_bad_fields(self):
        for field, value in (("prompt", None), ("prompt", 5), ("prompt", []), ("prompt", [[1, -1]]), ("prompt", [2048]),
                             ("prompt", [1, "a"]), ("prompt", ["a", 1]), ("prompt", {"a": 1}), ("prompt", [1.5]),
                             ("max_tokens", -2), ("max_tokens", "5"), ("max_tokens", 1.5), ("temperature", -1),
                             ("temperature", "hot"), ("top_p", 1.1), ("top_k", -2), ("min_p", 2), ("seed", "x"),
                             ("n", 0), ("n", 129), ("n", 2.5), ("logprobs", 21), ("logprobs", True), ("stop", 5),
                             ("stop", ["a", 1]), ("stop", ["s"] * 17), ("stop", "x" * 257), ("stream", 1),
                             ("stream_options", {"include_usage": True}), ("best_of", 3), ("logit_bias", {"5": 1}),
                             ("presence_penalty", 0.5), ("typical_p", 0.9), ("mirostat", 2), ("min_tokens", 2),
                             ("min_tokens", -1), ("stop_token_ids", [1]), ("stop_token_ids", 1), ("n_predict", "5"),
                             ("structured_outputs", {"json": {}}), ("structured_outputs", True), ("tools", 0.5),
                             ("repeat_last_n", -2), ("suffix", "x"), ("model", 5), ("echo", "yes"),
                             ("response_format", {"type": "xml"}), ("ignore_eos", 0)):
            e = self.s.error("/v1/completions", {"prompt": "a", "max_tokens": 1, field: value}, 400)
            self.assertEqual(e["param"], field, e)
        self.s.error("/v1/completions", {"prompt": ["a"] * 65, "n": 2}, 400)

    def test_min_tokens_goes_with_no_other_end(self):
        for other in ({"stop": "x"}, {"grammar": 'root ::= "a"+'}):
            e = self.s.error("/v1/completions", {"prompt": "a", "min_tokens": 2, **other}, 400)
            self.assertEqual(e["param"], "min_tokens", e)

    def test_numbers_as_clients_write_them(self):
        whole = self.s.json("/v1/completions", GREEDY)["choices"]
        unsaid = {k: v for k, v in GREEDY.items() if k != "max_tokens"}
        for body in ({**GREEDY, "max_tokens": 24.0, "n": 1e0, "top_k": -1.0},
                     {**unsaid, "n_predict": 24, "repeat_last_n": -1}):
            self.assertEqual(self.s.json("/v1/completions", body)["choices"], whole)
        unlimited = self.s.json("/v1/completions", {**GREEDY, "max_tokens": -1})
        self.assertEqual(unlimited["choices"], self.s.json("/v1/completions", {**GREEDY, "max_tokens": 512})["choices"])
        self.assertGreater(unlimited["usage"]["completion_tokens"], 24)
        for x in (1e300, -0.5, 2.0 ** 60):
            self.s.error("/v1/completions", {**GREEDY, "max_tokens": x}, 400)
        self.assertIn("-1 or more", self.s.error("/v1/completions", {**GREEDY, "max_tokens": -2}, 400)["message"])

    def test_harmless_fields_pass(self):
        r = self.s.json("/v1/completions", {**GREEDY, "user": "me", "logit_bias": {}, "presence_penalty": 0, "suffix": None,
                                            "typical_p": 1.0, "stop": None, "logprobs": None, "n": None, "best_of": 1,
                                            "unheard_of": [1], "model": "anything", "response_format": {"type": "text"}})
        self.assertEqual(r["model"], "tiny")
        self.s.json("/v1/completions", {**GREEDY, "stop": "", "suffix": "", "tools": [], "structured_outputs": False})

    def test_addresses_and_methods(self):
        self.assertEqual(self.s.error("/v1/nothing", {}, 404)["code"], "not_found")
        self.s.error("/v1", None, 404, method="GET")
        self.s.error("/v1/completions", None, 405, method="GET")
        self.s.error("/v1/models", {}, 405)
        status, head, _ = self.s.request("DELETE", "/v1/models")
        self.assertEqual((status, head["Allow"]), (405, "GET, HEAD, OPTIONS"))
        status, _, body = self.s.request("HEAD", "/health")
        self.assertEqual((status, body), (200, b""))

    def test_too_large(self):
        e = self.s.error("/v1/completions", '{"prompt": "%s"}' % ("x" * (4 << 20)), 413)
        self.assertEqual(e["code"], "request_too_large")
        status, _, _ = self.s.request("POST", "/v1/completions", b"x" * (9 << 20))
        self.assertEqual(status, 413)
        s = socket.create_connection((self.s.host, self.s.port), timeout=30)
        try:
            s.sendall(b"GET /health HTTP/1.1\r\n" + b"X: y\r\n" * 10000 + b"\r\n")
            self.assertNotIn(b" 200 ", s.recv(4096))
        except ConnectionError:
            pass
        s.close()
        self.assertEqual(self.s.json("/health"), {"status": "ok"})

    def test_chat_without_a_template(self):
        e = self.s.error("/v1/chat/completions", {"messages": [{"role": "user", "content": "x"}]}, 400)
        self.assertEqual(e["code"], "unsupported_model")


class Keys(Served):
    options = ("--api-key", "first-key", "--api-key", "second", "--cors", "https://app.example", "--model-name", "m")

    def test_keys(self):
        self.assertEqual(self.s.json("/health"), {"status": "ok"})
        for value in (None, "Bearer ", "Bearer", "Bearer first-ke", "Bearer first-keyx", "Bearer first-kez", "first-key",
                      "Basic first-key", "Bearer secondsecond"):
            for path in ("/v1/models", "/metrics", "/nothing"):
                want = 404 if path == "/nothing" else 401
                status, head, _ = self.s.request("GET", path, None, {"Authorization": value} if value else {})
                self.assertEqual(status, want)
                self.assertTrue(want != 401 or head["WWW-Authenticate"] == "Bearer")
        e = self.s.error("/v1/completions", GREEDY, 401)
        self.assertEqual((e["type"], e["code"]), ("authentication_error", "invalid_api_key"))
        for key in ("first-key", "second"):
            self.assertEqual(self.s.json("/v1/models", headers={"Authorization": f"bearer {key}"})["data"][0]["id"], "m")

    def test_origins(self):
        auth = {"Authorization": "Bearer second"}
        for origin in ("https://app.example", "http://localhost:3000", "http://127.0.0.1", "http://[::1]:8080"):
            status, head, _ = self.s.request("GET", "/v1/models", None, {**auth, "Origin": origin})
            self.assertEqual((status, head["Access-Control-Allow-Origin"]), (200, origin))
            status, head, _ = self.s.request("OPTIONS", "/v1/chat/completions", None, {
                "Origin": origin, "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "x-a"})
            self.assertEqual((status, head["Access-Control-Allow-Headers"]), (204, "x-a"))
        for origin in ("https://evil.example", "http://localhost.evil.example", "null", "http://127.0.0.1.evil"):
            status, head, _ = self.s.request("POST", "/v1/completions", json.dumps(GREEDY), {**auth, "Origin": origin})
            self.assertEqual((status, head["Access-Control-Allow-Origin"]), (403, None))

    def test_pages_of_this_server(self):
        """Its own page, under the address that the browser asked; a name may be anyone's that leads here."""
        for origin, host, want in (("http://192.0.2.7:8080", "192.0.2.7:8080", 200), ("https://192.0.2.7", "192.0.2.7", 200),
                                   ("http://[2001:db8::7]:80", "[2001:db8::7]:80", 200),
                                   ("http://[2001:db8::7]", "[2001:db8::7]", 200),
                                   ("http://192.0.2.7:8080", "192.0.2.8:8080", 403), ("http://192.0.2.7", "", 403),
                                   ("http://evil.example", "evil.example", 403), ("http://192.0.2.7.a", "192.0.2.7.a", 403),
                                   ("http://[2001:db8::7", "[2001:db8::7", 403), ("http://:80", ":80", 403),
                                   ("http://192.0.2", "192.0.2", 403), ("192.0.2.7", "192.0.2.7", 403)):
            status, _, data = self.s.request("GET", "/v1/models", None, {"Authorization": "Bearer second", "Origin": origin,
                                                                         "Host": host})
            self.assertEqual(status, want, (origin, host))
            self.assertEqual(b"--cors" in data, want == 403)


class Chat(Served):
    model = MODELS.chat
    BODY = {"messages": [{"role": "user", "content": "hello"}], "max_tokens": 40, "temperature": 0, "ignore_eos": True}

    def test_content_forms_are_one(self):
        whole = self.s.json("/v1/chat/completions", self.BODY)
        self.assertEqual(whole["object"], "chat.completion")
        message = whole["choices"][0]["message"]
        self.assertEqual((message["role"], message["refusal"]), ("assistant", None))
        parts = {**self.BODY, "messages": [{"role": "user", "content": [{"type": "text", "text": "hello"}]}],
                 "max_tokens": None, "max_completion_tokens": 40}
        self.assertEqual(self.s.json("/v1/chat/completions", parts)["choices"][0]["message"], message)
        run = json.loads(subprocess.run([ACCLLM, "run", MODELS.chat, "--chat", "-p", "hello", "-n", "40", "--temp", "0",
                                         "--ignore-eos", "--json"], check=True, capture_output=True).stdout)
        self.assertEqual((run["text"], run["prompt_tokens"]), (message["content"], whole["usage"]["prompt_tokens"]))

    def test_stream(self):
        whole = self.s.json("/v1/chat/completions", self.BODY)["choices"][0]["message"]["content"]
        first, *pieces, last = self.s.events("/v1/chat/completions", self.BODY)
        self.assertEqual(first["object"], "chat.completion.chunk")
        self.assertEqual(first["choices"][0]["delta"], {"role": "assistant", "content": ""})
        self.assertTrue(all(set(p["choices"][0]["delta"]) == {"content"} for p in pieces))
        self.assertEqual("".join(p["choices"][0]["delta"]["content"] for p in pieces), whole)
        self.assertEqual((last["choices"][0]["delta"], last["choices"][0]["finish_reason"]), ({}, "length"))

    def test_token_ids(self):
        body = {**self.BODY, "return_token_ids": True}
        (whole,) = self.s.json("/v1/chat/completions", body)["choices"]
        first, *pieces = (e["choices"][0] for e in self.s.events("/v1/chat/completions", body))
        self.assertNotIn("token_ids", first)  # the role
        self.assertEqual([i for p in pieces for i in p["token_ids"]], whole["token_ids"])
        self.assertEqual(len(whole["token_ids"]), 40)
        self.assertGreater(max(len(p["token_ids"]) for p in pieces), 1)  # characters of several tokens

    def test_characters_of_several_tokens(self):
        """A random byte-level model at a high temperature: characters of two bytes come about, each over two tokens."""
        body = {**self.BODY, "temperature": 1.5, "top_p": 1, "seed": 3, "max_tokens": 400}
        whole = self.s.json("/v1/chat/completions", body)["choices"][0]["message"]["content"]
        pieces = [e["choices"][0]["delta"].get("content", "") for e in self.s.events("/v1/chat/completions", body)]
        self.assertEqual("".join(pieces), whole)
        self.assertTrue([c for c in whole if ord(c) > 127 and c != "\ufffd"])
        (c,) = self.s.json("/v1/completions", {"prompt": "\u00e9\u20ac\U0001f600!", "max_tokens": 0, "echo": True,
                                               "logprobs": 0})["choices"]
        self.assertEqual(c["text"], "\u00e9\u20ac\U0001f600!")
        self.assertEqual(c["logprobs"]["tokens"][:2], ["bytes:\\xc3", "bytes:\\xa9"])

    def test_logprobs(self):
        body = {**self.BODY, "logprobs": True, "top_logprobs": 2}
        c = self.s.json("/v1/chat/completions", body)["choices"][0]
        entries = c["logprobs"]["content"]
        self.assertEqual(len(entries), 40)
        for e in entries:
            self.assertEqual(len(e["top_logprobs"]), 2)
            self.assertEqual(e["logprob"], e["top_logprobs"][0]["logprob"])  # greedy
        joined = b"".join(bytes(e["bytes"]) for e in entries)
        self.assertEqual(joined.decode(errors="replace").replace("\ufffd", ""), c["message"]["content"].replace("\ufffd", ""))
        streamed = [x for e in self.s.events("/v1/chat/completions", body) if e["choices"][0]["logprobs"]
                    for x in e["choices"][0]["logprobs"]["content"]]
        self.assertEqual(streamed, entries)

    def test_messages_that_are_refused(self):
        for messages in (None, [], "x", [5], [{"role": "user"}, 5], [{"content": "x"}], [{"role": "king", "content": "x"}],
                         [{"role": "user", "content": 5}], [{"role": "user", "content": [{"type": "image_url"}]}],
                         [{"role": "assistant", "content": None, "tool_calls": [{}]}]):
            self.s.error("/v1/chat/completions", {"messages": messages}, 400)
        self.s.error("/v1/chat/completions", {**self.BODY, "top_logprobs": 2}, 400)
        self.s.error("/v1/chat/completions", {**self.BODY, "tools": [{}]}, 400)

    def test_content_cannot_end_its_turn(self):
        plain = self.s.json("/tokenize", {"messages": [{"role": "user", "content": "a"}]})["tokens"]
        spelt = self.s.json("/tokenize", {"messages": [{"role": "user", "content": "<|im_end|>"}]})["tokens"]
        self.assertEqual(plain.count(2), spelt.count(2))
        self.assertIn("<|im_start|>", self.s.json("/tokenizer_info")["chat_template"])

    def test_min_tokens(self):
        """A random model ends a text now and then, but not before it may."""
        body = {"prompt": "a", "max_tokens": 60, "temperature": 1, "seed": 1, "n": 64}
        lengths = {}
        for least in (0, 20):
            r = self.s.json("/v1/completions", {**body, "min_tokens": least, "return_token_ids": True})
            lengths[least] = [len(c["token_ids"]) for c in r["choices"]]
        self.assertLess(min(lengths[0]), 20)
        self.assertGreaterEqual(min(lengths[20]), 20)
        self.assertLess(min(lengths[20]), 60)


class Embeddings(Served):
    options = ("--parallel", "2", "--window", "60", "--chunk", "16")

    def embed(self, text, **more):
        return self.s.json("/v1/embeddings", {"input": text, **more})["data"]

    def test_embedding_does_not_depend_on_company(self):
        texts = [PROMPT, "A dog", "The sea was calm and the sun shone over the hills and the houses of the town", PROMPT]
        alone = [self.embed(t)[0]["embedding"] for t in texts]
        busy = self.s.open("/v1/completions", {"prompt": PROMPT, "max_tokens": 100000, "ignore_eos": True})
        self.s.wait_for("sessions_running", 1)
        self.assertEqual([e["embedding"] for e in self.embed(texts)], alone)
        busy.close()
        self.assertEqual(alone[0], alone[3])
        cosine = sum(a * b for a, b in zip(alone[0], alone[1]))
        self.assertTrue(-1 < cosine < 0.999, cosine)
        with Server(MODELS.tiny, "--chunk", "5", threads=2) as other:
            again = other.json("/v1/embeddings", {"input": texts})["data"]
            self.assertEqual([e["embedding"] for e in again], alone)

    def test_base64_is_the_same(self):
        (e,) = self.embed(PROMPT, encoding_format="base64")
        vector = self.embed(PROMPT)[0]["embedding"]
        data = base64.b64decode(e["embedding"], validate=True)
        self.assertEqual(struct.unpack(f"<{len(data) // 4}f", data),
                         struct.unpack(f"<{len(vector)}f", struct.pack(f"<{len(vector)}f", *vector)))

    def test_text_that_is_too_long(self):
        self.embed([3] * 64)
        for text in ([3] * 65, [[3], [3] * 65]):
            e = self.s.error("/v1/embeddings", {"input": text}, 400)
            self.assertEqual((e["code"], e["param"]), ("context_length_exceeded", "input"))

    def test_what_is_refused(self):
        for body in ({}, {"input": 5}, {"input": None}, {"input": [["a"]]}, {"input": ["a"] * 1025}, {"input": {"a": 1}},
                     {"input": "a", "encoding_format": "int8"}, {"input": "a", "encoding_format": 5},
                     {"input": "a", "dimensions": 7}):
            self.s.error("/v1/embeddings", body, 400)
        self.assertEqual(len(self.embed(["a"] * 1024)), 1024)
        with Server(MODELS.tiny, "--numerics", "float") as s:
            self.assertEqual(s.error("/v1/embeddings", {"input": "a"}, 400)["code"], "unsupported_model")


class Pinned(unittest.TestCase):
    def test_a_system_message_stays_or_is_refused(self):
        short, long = "Be brief.", "Be brief. " * 20
        with Server(MODELS.chat, "--pin-system", "--sinks", "48", "--window", "64") as s:
            self.assertTrue(s.json("/v1/models")["data"][0]["meta"]["pin_system"])
            messages = [{"role": "system", "content": short}, {"role": "user", "content": "hello " * 40}]
            body = {"messages": messages, "max_tokens": 20, "temperature": 0, "ignore_eos": True}
            got = s.json("/v1/chat/completions", body)
            read = got["usage"]["total_tokens"] - 1  # the last one was drawn and not read
            self.assertEqual(got["usage"]["prompt_tokens_details"]["evicted_tokens"], read - 48 - 64)
            messages[0]["content"] = long
            n = s.json("/tokenize", {"messages": messages[:1], "add_generation_prompt": False})["count"]
            e = s.error("/v1/chat/completions", body, 400)
            self.assertEqual((e["code"], e["param"]), ("system_message_too_long", "messages"))
            self.assertIn(f"{n} tokens; 48 are kept", e["message"])
            s.json("/v1/chat/completions", {**body, "messages": messages[1:]})
        messages[0]["content"] = short
        with Server(MODELS.chat, "--sinks", "48", "--window", "64") as s:
            self.assertEqual(s.json("/v1/chat/completions", body)["choices"], got["choices"])
            messages[0]["content"] = long
            s.json("/v1/chat/completions", body)

    def test_room_without_a_number(self):
        with Server(MODELS.chat, "--pin-system") as s:
            meta = s.json("/v1/models")["data"][0]["meta"]
            self.assertEqual((meta["sinks"], meta["window"]), (128, 384))  # a quarter of the trained context, and the rest
        r = subprocess.run([ACCLLM, "serve", MODELS.tiny, "--port", "0", "--pin-system"], capture_output=True, timeout=60)
        self.assertEqual(r.returncode, 2)
        self.assertIn(b"no chat template", r.stderr)


class Start(unittest.TestCase):
    def test_memory_limit(self):
        with Server(MODELS.tiny, "--memory-limit", "40") as s:
            i = s.info
            total = i["model_bytes"] + i["sessions"] * i["session_bytes"]
            self.assertLessEqual(total, 40e6)
            self.assertGreater(total + i["session_bytes"], 40e6)
            self.assertLessEqual(s.metric("resident_bytes"), 44e6)

    def test_what_cannot_be_had(self):
        for options, says in ((("--memory-limit", "2"), "has room for 0 sessions"),
                              (("--parallel", "100", "--memory-limit", "60"), "sessions, not 100"),
                              (("--host", "203.0.113.1"), "203.0.113.1 port"),
                              (("--api-key-file", os.devnull), "no key in it"),
                              (("--repeat-last", "5000"), "looks back 4096"), (("--top-p", "2"), "must be 0 to 1")):
            r = subprocess.run([ACCLLM, "serve", MODELS.tiny, "--port", "0", *options], capture_output=True, timeout=60)
            self.assertIn(r.returncode, (1, 2))
            self.assertIn(says, r.stderr.decode())

    def test_full_attention_has_an_end(self):
        with Server(MODELS.tiny, "--full-attention", "--ctx", "64") as s:
            e = s.error("/v1/completions", {"prompt": [1] + [300] * 64}, 400)
            self.assertEqual(e["code"], "context_length_exceeded")
            for n, most in ((63, 1), (64, 0)):  # all but a token for the answer; all where none is asked for
                r = s.json("/v1/completions", {"prompt": [1] + [300] * (n - 1), "max_tokens": most})
                self.assertEqual(r["usage"]["total_tokens"], n + most)
            s.error("/v1/completions", {"prompt": [1] + [300] * 63, "max_tokens": 1}, 400)
            r = s.json("/v1/completions", {**GREEDY, "max_tokens": 500, "ignore_eos": True})
            self.assertEqual(r["choices"][0]["finish_reason"], "length")
            self.assertIn(r["usage"]["total_tokens"], (64, 65))

    def test_window_reports_what_left_it(self):
        with Server(MODELS.tiny, "--window", "32", "--sinks", "4") as s:
            r = s.json("/v1/completions", {"prompt": [1] + [300] * 99, "max_tokens": 1})
            self.assertEqual(r["usage"]["prompt_tokens_details"]["evicted_tokens"], 64)

    def test_key_from_the_environment_and_a_file(self):
        path = MODELS.path("keys")
        with open(path, "w", encoding="utf-8") as f:
            f.write("one\n\ntwo\r\n")
        for options, env, keys in (((), {"ACCLLM_API_KEY": "zero"}, ("zero",)), (("--api-key-file", path), {}, ("one", "two"))):
            with Server(MODELS.tiny, *options, env=env) as s:
                s.error("/v1/models", None, 401, method="GET")
                for key in keys:
                    s.json("/v1/models", headers={"Authorization": f"Bearer {key}"})

    def test_only_this_machine_reaches_it(self):
        with Server(MODELS.tiny) as s, open("/proc/net/tcp", encoding="ascii") as f:
            rows = [line.split() for line in f.readlines()[1:]]
            bound = [r[1] for r in rows if r[3] == "0A" and int(r[1].split(":")[1], 16) == s.port]
            self.assertEqual(bound, [f"0100007F:{s.port:04X}"])

    def test_who_is_reached_by_all_is_told(self):
        for options, told in (((), False), (("--host", "localhost"), False), (("--host", "127.1.2.3"), False),
                              (("--host", "0.0.0.0"), True), (("--host", "0.0.0.0", "--api-key", "k"), False)):
            with Server(MODELS.tiny, *options) as s:
                self.assertEqual("all who can reach" in s.stderr(), told, options)

    def test_idle_uses_no_cpu(self):
        """No time, and no thread wakes up: with states saved and a client's connection open, too."""
        with Server(MODELS.tiny, "--state-dir", MODELS.path("idle"), "--state-every", "1", threads=2) as s:
            s.json("/v1/completions", GREEDY)
            client = http.client.HTTPConnection(s.host, s.port)
            client.request("GET", "/health")
            client.getresponse().read()

            def used():
                with open(f"/proc/{s.process.pid}/stat", encoding="ascii") as f:
                    ticks = sum(map(int, f.read().rsplit(")", 1)[1].split()[11:13]))
                wakes = 0
                for task in os.listdir(f"/proc/{s.process.pid}/task"):
                    with open(f"/proc/{s.process.pid}/task/{task}/status", encoding="ascii") as f:
                        wakes += sum(int(line.split()[1]) for line in f if "ctxt_switches" in line)
                return ticks, wakes
            saved = os.path.join(MODELS.path("idle"), "session-0000.state")
            for _ in range(60):  # until the state is saved and the threads have gone to sleep
                before = used()
                time.sleep(1)
                if os.path.exists(saved) and used() == before:
                    break
            time.sleep(2)
            after = used()
            client.close()
            self.assertLessEqual(after[0] - before[0], 1)
            self.assertLessEqual(after[1] - before[1], 3)


common.main()
