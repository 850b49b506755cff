"""accllm serve driven by the official OpenAI client. Skipped where the client is not installed (scripts/setup --python
brings it into .venv)."""
import clients

clients.need("the openai client is", "--python", "openai")

import threading
import unittest

import openai

import server
from server import PROMPT, Models, Server, common

MODELS = Models()
HELLO = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "hello"}]
FREE = {"extra_body": {"ignore_eos": True}}


class Client(unittest.TestCase):
    model, options, key = MODELS.tiny, (), "none"

    @classmethod
    def setUpClass(cls):
        cls.s = Server(cls.model, *cls.options)
        cls.client = openai.OpenAI(base_url=cls.s.info["url"] + "/v1", api_key=cls.key, max_retries=0, timeout=60)
        cls.name = cls.s.info["model"]

    @classmethod
    def tearDownClass(cls):
        cls.client.close()
        cls.s.stop()

    def complete(self, **more):
        return self.client.completions.create(model=self.name, **{"prompt": PROMPT, "temperature": 0, **more})


class Completions(Client):
    def test_models(self):
        self.assertEqual([m.id for m in self.client.models.list()], ["tiny"])
        self.assertEqual(self.client.models.retrieve("tiny").owned_by, "accllm")
        with self.assertRaises(openai.NotFoundError):
            self.client.models.retrieve("other")

    def test_whole_and_stream(self):
        whole = self.complete(max_tokens=30)
        self.assertEqual(whole.choices[0].finish_reason, "length")
        self.assertEqual(whole.usage.completion_tokens, 30)
        with self.complete(max_tokens=30, stream=True, stream_options={"include_usage": True}) as stream:
            chunks = list(stream)
        self.assertEqual("".join(c.choices[0].text for c in chunks if c.choices), whole.choices[0].text)
        self.assertEqual(chunks[-1].usage.completion_tokens, 30)

    def test_logprobs_and_echo(self):
        p = self.complete(max_tokens=3, logprobs=2, echo=True).choices[0].logprobs
        self.assertEqual({len(p.tokens), len(p.token_logprobs), len(p.top_logprobs), len(p.text_offset)}, {len(p.tokens)})
        self.assertIsNone(p.token_logprobs[0])
        self.assertTrue(all(x < 0 for x in p.token_logprobs[1:]))

    def test_stop_seed_and_n(self):
        text = self.complete(max_tokens=30).choices[0].text
        self.assertEqual(self.complete(max_tokens=30, stop=[text[8:14]]).choices[0].text, text[:8])
        a, b = (self.complete(max_tokens=20, temperature=1, seed=11, n=2) for _ in range(2))
        self.assertEqual([c.text for c in a.choices], [c.text for c in b.choices])
        self.assertNotEqual(a.choices[0].text, a.choices[1].text)

    def test_errors(self):
        for bad in ({"max_tokens": -2}, {"logit_bias": {"5": 1}}, {"prompt": [[99999]]}, {"temperature": -1}):
            with self.assertRaises(openai.BadRequestError) as caught:
                self.complete(**bad)
            self.assertEqual(caught.exception.param, next(iter(bad)))
            self.assertEqual(set(caught.exception.body), {"message", "type", "param", "code"})

    def test_leaving_a_stream_ends_its_answer(self):
        stream = self.complete(max_tokens=1000000, stream=True, temperature=1, **FREE)
        for _, chunk in zip(range(3), stream):
            self.assertEqual(len(chunk.choices), 1)
        self.assertEqual(self.s.metric("sessions_running"), 1)
        stream.close()
        self.s.wait_for("sessions_running", 0)

    def test_eight_at_once(self):
        prompts = [f"{PROMPT} {word}" for word in ("had", "was", "saw", "went", "lived", "sat", "said", "came")]

        def ask(prompt, out):
            with self.complete(prompt=prompt, max_tokens=32, stream=True) as stream:
                out.append("".join(c.choices[0].text for c in stream))
        for p in prompts:
            ask(p, alone := [])
            setattr(self, "want_" + p.split()[-1], alone[0])
        got = {p: [] for p in prompts}
        threads = [threading.Thread(target=ask, args=(p, got[p])) for p in prompts]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        for p in prompts:
            self.assertEqual(got[p], [getattr(self, "want_" + p.split()[-1])])


class Embeddings(Client):
    def embed(self, text, **more):
        return self.client.embeddings.create(model=self.name, input=text, **more)

    def test_forms_of_input(self):
        one = self.embed(PROMPT)  # the client asks for base64
        vector = one.data[0].embedding
        self.assertEqual((one.object, one.data[0].object, one.data[0].index), ("list", "embedding", 0))
        self.assertAlmostEqual(sum(x * x for x in vector), 1, places=5)
        ids = self.s.json("/tokenize", {"prompt": PROMPT})["tokens"]
        self.assertEqual((one.usage.prompt_tokens, one.usage.total_tokens), (len(ids), len(ids)))
        for text in (ids, [ids], [PROMPT]):
            self.assertEqual(self.embed(text).data[0].embedding, vector)
        many = self.embed([PROMPT, "The sea", PROMPT], encoding_format="float")
        self.assertEqual([e.index for e in many.data], [0, 1, 2])
        for e in (many.data[0], many.data[2]):
            self.assertLess(max(abs(a - b) for a, b in zip(e.embedding, vector)), 1e-7)
        self.assertNotEqual(many.data[1].embedding, many.data[0].embedding)

    def test_errors(self):
        self.assertEqual(self.embed("").usage.prompt_tokens, 1)  # what stands for a text's beginning
        for text, more, param in (([], {}, "input"), ([[99999]], {}, "input"), ("a", {"dimensions": 3}, "dimensions"),
                                  ([3] * 5000, {}, "input")):
            with self.assertRaises(openai.BadRequestError) as caught:
                self.embed(text, **more)
            self.assertEqual(caught.exception.param, param)


class Chat(Client):
    model, options, key = MODELS.chat, ("--api-key", "the-key"), "the-key"

    def chat(self, **more):
        return self.client.chat.completions.create(model=self.name, messages=HELLO, **{"temperature": 0, **FREE, **more})

    def test_whole_and_stream(self):
        whole = self.chat(max_completion_tokens=40)
        self.assertEqual(whole.choices[0].message.role, "assistant")
        with self.chat(max_tokens=40, stream=True, stream_options={"include_usage": True}) as stream:
            chunks = list(stream)
        self.assertEqual(chunks[0].choices[0].delta.role, "assistant")
        self.assertEqual("".join(c.choices[0].delta.content or "" for c in chunks if c.choices),
                         whole.choices[0].message.content)
        self.assertEqual(chunks[-2].choices[0].finish_reason, "length")
        self.assertEqual((chunks[-1].choices, chunks[-1].usage.completion_tokens), ([], 40))
        self.assertEqual(chunks[-1].usage.prompt_tokens, whole.usage.prompt_tokens)

    def test_turns_of_a_conversation(self):
        """Each turn goes on from the one before; the answers are those of a server that never saw it."""
        messages, before = list(HELLO), 0
        for turn in range(3):
            r = self.client.chat.completions.create(model=self.name, messages=messages, temperature=0, max_tokens=20,
                                                    **FREE)
            with Server(self.model, *self.options) as other:
                client = openai.OpenAI(base_url=other.info["url"] + "/v1", api_key=self.key)
                same = client.chat.completions.create(model=self.name, messages=messages, temperature=0, max_tokens=20,
                                                      **FREE)
                client.close()
            self.assertEqual(r.choices[0].message.content, same.choices[0].message.content)
            self.assertEqual(same.usage.prompt_tokens_details.cached_tokens, 0)
            self.assertGreaterEqual(r.usage.prompt_tokens_details.cached_tokens, before)
            before = r.usage.prompt_tokens
            messages += [{"role": "assistant", "content": r.choices[0].message.content},
                         {"role": "user", "content": f"and number {turn}?"}]

    def test_logprobs(self):
        c = self.chat(max_tokens=5, logprobs=True, top_logprobs=3).choices[0]
        self.assertEqual([len(e.top_logprobs) for e in c.logprobs.content], [3] * 5)

    def test_wrong_key(self):
        for key in ("other", "the-ke", "the-keyy"):
            with openai.OpenAI(base_url=self.s.info["url"] + "/v1", api_key=key, max_retries=0) as other:
                with self.assertRaises(openai.AuthenticationError):
                    other.models.list()

    def test_too_large(self):
        with self.assertRaises(openai.APIStatusError) as caught:
            self.client.chat.completions.create(model=self.name, messages=[{"role": "user", "content": "x" * (5 << 20)}])
        self.assertEqual(caught.exception.status_code, 413)


class Full(Client):
    options = ("--parallel", "1", "--queue", "1")

    def test_a_full_queue_is_a_rate_limit(self):
        busy = self.complete(max_tokens=1000000, stream=True, temperature=1, **FREE)
        next(iter(busy))
        waiting = self.s.open("/v1/completions", {"prompt": PROMPT, "max_tokens": 5})
        self.s.wait_for("requests_waiting", 1)
        with self.assertRaises(openai.RateLimitError) as caught:
            self.complete(max_tokens=5)
        self.assertGreaterEqual(int(caught.exception.response.headers["retry-after"]), 1)
        busy.close()
        self.assertIn(b"200 OK", waiting.recv(65536))
        waiting.close()


common.main()
