"""Structured output: answers that keep to response_format, a schema or a grammar, asked for with the official client and
checked with jsonschema. The models have random weights or write fairy tales; none would write JSON by itself. Skipped where
client or checker are not installed (scripts/setup --python brings them into .venv)."""
import json

import clients

clients.need("the openai client or jsonschema is", "--python", "jsonschema", "openai")

import unittest

import jsonschema
import openai

import server
from server import PROMPT, Models, Server, common

MODELS = Models()
HELLO = [{"role": "user", "content": "Answer in JSON."}]

PERSON = {
    "type": "object", "additionalProperties": False, "required": ["name", "age", "tags", "born", "kind", "score"],
    "properties": {
        "name": {"type": "string", "minLength": 1, "maxLength": 12},
        "age": {"type": "integer", "minimum": 0, "maximum": 130},
        "tags": {"type": "array", "items": {"enum": ["a", "b", "c d"]}, "minItems": 1, "maxItems": 3},
        "born": {"type": "string", "format": "date"},
        "kind": {"const": "person"},
        "score": {"type": ["number", "null"], "minimum": 0, "exclusiveMaximum": 1},
        "note": {"type": "string", "pattern": "^[A-Z][a-z]{1,5}$"},
    },
}
SCHEMAS = [
    PERSON,
    {"$ref": "#/$defs/tree", "$defs": {"tree": {
        "type": "object", "required": ["value", "below"], "additionalProperties": False, "properties": {
            "value": {"type": "boolean"},
            "below": {"type": "array", "maxItems": 1, "items": {"$ref": "#/$defs/tree"}}}}}},
    {"anyOf": [{"type": "integer"}, {"type": "array", "prefixItems": [{"type": "null"}, {"type": "string", "maxLength": 4}],
                                     "items": False}]},
    {"oneOf": [{"type": "object", "properties": {"k": {"const": 1}}, "required": ["k"], "additionalProperties": False},
               {"type": "object", "properties": {"k": {"const": 2}, "x": {"type": "number", "exclusiveMinimum": -1}},
                "required": ["k", "x"], "additionalProperties": False}]},
    {"type": "object", "additionalProperties": {"type": "integer", "maximum": -3}, "required": ["ab"],
     "properties": {"ab": {"type": "string", "format": "uuid"}}},
]


def named(schema):
    return {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema, "strict": True}}


class Client(unittest.TestCase):
    model, options = MODELS.chat, ()

    @classmethod
    def setUpClass(cls):
        cls.s = Server(cls.model, *cls.options)
        cls.client = openai.OpenAI(base_url=cls.s.info["url"] + "/v1", api_key="none", max_retries=0, timeout=120)

    @classmethod
    def tearDownClass(cls):
        cls.client.close()
        cls.s.stop()

    def chat(self, **more):
        return self.client.chat.completions.create(model="m", messages=HELLO, **{"temperature": 1, "max_tokens": 600, **more})

    def complete(self, **more):
        return self.client.completions.create(model="m", prompt=PROMPT, **{"temperature": 1, "max_tokens": 600, **more})

    def refused(self, says, **more):
        with self.assertRaises(openai.BadRequestError) as caught:
            self.chat(**more)
        self.assertIn(says, caught.exception.message)
        return caught.exception


class Chat(Client):
    def test_any_object(self):
        """Random weights may go on for long; what ends is an object, what is cut says so."""
        ended = 0
        for seed in range(8):
            c = self.chat(response_format={"type": "json_object"}, seed=seed).choices[0]
            if c.finish_reason == "stop":
                self.assertIsInstance(json.loads(c.message.content), dict)
                ended += 1
            else:
                self.assertEqual(c.finish_reason, "length")
                self.assertTrue(c.message.content.startswith("{"))
        self.assertGreater(ended, 0)

    def test_schemas(self):
        for schema in SCHEMAS:
            for seed in range(3):
                c = self.chat(response_format=named(schema), seed=seed, temperature=(0, 1, 2)[seed]).choices[0]
                if c.finish_reason == "stop":
                    jsonschema.validate(json.loads(c.message.content), schema,
                                        format_checker=jsonschema.FormatChecker())
            self.assertIn(c.finish_reason, ("stop", "length"))
        ends = [self.chat(response_format=named(PERSON), seed=seed).choices[0].finish_reason for seed in range(4)]
        self.assertEqual(ends, ["stop"] * 4)  # all of it is bounded

    def test_streams_say_the_same(self):
        for more in ({"temperature": 0}, {"seed": 5}):
            whole = self.chat(response_format=named(PERSON), **more).choices[0]
            with self.chat(response_format=named(PERSON), stream=True, **more) as stream:
                chunks = list(stream)
            self.assertEqual("".join(c.choices[0].delta.content or "" for c in chunks), whole.message.content)
            self.assertEqual(chunks[-1].choices[0].finish_reason, "stop")
            jsonschema.validate(json.loads(whole.message.content), PERSON)

    def test_several_answers_and_scores(self):
        r = self.chat(response_format=named(PERSON), seed=1, n=3, logprobs=True, top_logprobs=2)
        texts = {c.message.content for c in r.choices}
        self.assertEqual(len(texts), 3)
        for c in r.choices:
            jsonschema.validate(json.loads(c.message.content), PERSON)
            self.assertEqual(bytes(sum((e.bytes for e in c.logprobs.content), [])).decode(), c.message.content)

    def test_a_short_answer_is_cut_in_the_open(self):
        c = self.chat(response_format=named(PERSON), max_tokens=3).choices[0]
        self.assertEqual(c.finish_reason, "length")
        with self.assertRaises(json.JSONDecodeError):
            json.loads(c.message.content)

    def test_the_end_of_the_text_ends_the_answer(self):
        c = self.chat(response_format=named({"const": {"a": 1}})).choices[0]
        self.assertEqual((c.message.content, c.finish_reason), ('{"a":1}', "stop"))

    def test_text_is_free(self):
        free = self.chat(seed=1, max_tokens=20).choices[0].message.content
        self.assertEqual(self.chat(seed=1, max_tokens=20, response_format={"type": "text"}).choices[0].message.content, free)
        self.assertEqual(self.chat(seed=1, max_tokens=20, extra_body={"grammar": ""}).choices[0].message.content, free)

    def test_refusals(self):
        e = self.refused("multipleOf", response_format=named({"type": "integer", "multipleOf": 2}))
        self.assertEqual((e.param, e.code), ("response_format", "unsupported_value"))
        self.refused("leads nowhere", response_format=named({"$ref": "#/$defs/x"}))
        self.refused("schema is missing", response_format={"type": "json_schema", "json_schema": {"name": "x"}})
        self.refused("type xml", response_format={"type": "xml"})
        self.refused("must be an object with a type", extra_body={"response_format": "json"})
        self.assertEqual(self.refused("line 1", extra_body={"grammar": "root ::= ("}).param, "grammar")
        self.refused("left recursion", extra_body={"grammar": 'root ::= root "a" | "b"'})
        self.refused("only one of", response_format={"type": "json_object"}, extra_body={"grammar": 'root ::= "a"'})
        self.refused("ignore_eos", response_format={"type": "json_object"}, extra_body={"ignore_eos": True})
        many = "root ::= r0\n" + "".join(f'r{i} ::= r{i + 1} "a" | r{i + 1} "b"\n' for i in range(20)) + 'r20 ::= "c"'
        self.refused("ambiguous", extra_body={"grammar": many})
        self.assertEqual(self.chat(response_format=named({"const": 1})).choices[0].message.content, "1")


class Base(Client):
    """A model without a chat template, over completions; llama.cpp's fields."""
    model = MODELS.tiny

    def test_schema(self):
        for seed in range(3):
            c = self.complete(seed=seed, extra_body={"response_format": named(PERSON)}).choices[0]
            self.assertEqual(c.finish_reason, "stop")
            jsonschema.validate(json.loads(c.text), PERSON, format_checker=jsonschema.FormatChecker())
        c = self.complete(extra_body={"json_schema": {"type": "array", "items": {"type": "null"}, "maxItems": 2}}).choices[0]
        self.assertIn(len(json.loads(c.text)), (0, 1, 2))

    def test_grammar(self):
        grammar = 'root ::= "The " who " " ("went" | "slept")\nwho ::= "king" | "queen" | "c\u00e9t"'
        for seed in range(4):
            c = self.complete(seed=seed, extra_body={"grammar": grammar}).choices[0]
            self.assertRegex(c.text, "^The (king|queen|c\u00e9t) (went|slept)$")
            self.assertEqual(c.finish_reason, "stop")

    def test_an_end_is_allowed_where_the_grammar_has_one(self):
        c = self.complete(temperature=0, max_tokens=12, extra_body={"grammar": 'root ::= ("ab" " "?)+'}).choices[0]
        self.assertRegex(c.text, "^(ab ?)*a?$")
        self.assertIn(c.finish_reason, ("stop", "length"))

    def test_others_are_not_held_up_or_changed(self):
        alone = self.complete(temperature=0, max_tokens=40).choices[0].text
        with self.complete(extra_body={"response_format": {"type": "json_object"}}, stream=True) as busy:
            next(iter(busy))
            self.assertEqual(self.complete(temperature=0, max_tokens=40).choices[0].text, alone)


common.main()
