"""Requests that no sane client sends, from a seeded generator, and a client that throws them at a server."""
import json
import re
import socket

from live import KEYS

PATHS = ["/v1/completions"] * 4 + ["/v1/chat/completions"] * 3 + [
    "/tokenize", "/detokenize", "/v1/models", "/models/%ff%00", "/health", "/metrics", "/web/main.js", "/", "//", "/%00",
    "/v1/../x", "/v1/completions?stream=1#x", "http://x/v1/models", "*", "/" + "a" * 3000]
VALUES = [None, True, False, 0, -1, 1, 2 ** 31, 2 ** 63 - 1, 2 ** 70, 0.5, -1e-9, 1e308, "", "x", "\u00e9\U0001f600\uffff",
          "x" * 3000, [], [[]], [[[1]]], [None], [1, "x"], ["x"] * 200, {}, {"type": "text"}, {"a": {"b": [{}]}}, [{"role": "user"}],
          [{"role": "user", "content": [{"type": "text", "text": "hi"}]}], [{"role": "x", "content": 5}], "<|im_end|>"]
HEADERS = ["Transfer-Encoding: chunked", "Expect: 100-continue", "X: " + "y" * 5000, "Connection: close", ": :", "A", " folded",
           "Content-Length: 5", "Origin: http://evil.example", "Origin: \xff\xfe", "Host: ", "Authorization: Bearer ",
           "Upgrade: h2c", "Connection: keep-alive, close", "Accept-Encoding: gzip", "X-\x01: \x02"]
RAW = [b'{"prompt": "\\ud800"}', b'{"prompt": "a\\u0000b"}', b'{"prompt": "\xff\xfe"}', b'{"prompt": NaN}', b'{"prompt": 1e999}',
       b'{"prompt": "a", "prompt": "b"}', b'{"prompt": "a"} x', b"[" * 100000, b'{"a":' * 5000, b"\xef\xbb\xbf{}", b'{"prompt": "a',
       b'"' + b"\\" * 999, b"null", b"[]", b'{"messages": [' + b"{}," * 3000 + b"{}]}", b'{"prompt": ' + b"9" * 5000 + b"}"]


class Hostile:
    """Each next() is (what it is, the bytes, True if an answer must come)."""

    def __init__(self, r):
        self.r = r
        self.kinds = [self.valid] * 3 + [self.misshapen] * 5 + [self.exchanged] * 3 + [self.framed] * 4 + [
            self.raw, self.garbage, self.chunked, self.pipelined, self.many_headers]

    def next(self):
        if self.r.randrange(700) == 0:
            return self.oversized()
        return self.r.choice(self.kinds)()

    def body(self):
        """A request that is answered, short."""
        r = self.r
        body = {"max_tokens": r.randrange(1, 5), "temperature": r.choice([0, 0.8, 1.5]), "stream": r.random() < 0.5}
        extra = {"top_p": r.random(), "top_k": r.randrange(-1, 50), "min_p": r.random() / 5, "seed": r.randrange(2 ** 40),
                 "stop": r.choice(["e", ["a", "the"], [], ""]), "n": r.randrange(1, 4), "repetition_penalty": 1 + r.random() / 5,
                 "ignore_eos": r.random() < 0.5, "user": "x", "presence_penalty": 0, "frequency_penalty": 0.0}
        for key in r.sample(list(extra), r.randrange(4)):
            body[key] = extra[key]
        if r.random() < 0.4:
            roles = [r.choice(["system", "user", "assistant"]) for _ in range(r.randrange(1, 4))]
            body["messages"] = [{"role": role, "content": self.text()} for role in roles]
            if r.random() < 0.3:
                body.update(logprobs=True, top_logprobs=r.randrange(20))
        else:
            ids = [r.randrange(250) for _ in range(r.randrange(1, 40))]
            body["prompt"] = r.choice([self.text(), [self.text(), self.text()], ids, [[3, 4], [5]]])
            body.update(r.choice([{}, {}, {"echo": True}, {"logprobs": 3}, {"echo": True, "logprobs": 1, "max_tokens": 0}]))
        return body

    def text(self):
        r = self.r
        return "".join(r.choice("abc de fgh\n\t\"\\\u00e9\u20ac\U0001f600<|im_end|>") for _ in range(r.randrange(60)))

    def request(self, body, path=None, method="POST", headers=(), length=None):
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        path = path or ("/v1/chat/completions" if isinstance(body, dict) and "messages" in body else "/v1/completions")
        lines = [f"{method} {path} HTTP/1.1", "Host: x", f"Content-Length: {len(data) if length is None else length}", *headers]
        return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + data

    def valid(self):
        return "valid", self.request(self.body(), headers=["Connection: close"]), True

    def misshapen(self):
        body, r = self.body(), self.r
        keys = [*body, "model", "suffix", "best_of", "logit_bias", "tools", "response_format", "stream_options", "top_logprobs",
                "max_completion_tokens", "tokens", "content", "add_special_tokens", "repeat_last_n", "grammar", "input"]
        for _ in range(r.randrange(1, 4)):
            body[r.choice(keys)] = r.choice(VALUES)
        return "misshapen", self.request(body, r.choice([None, None, "/tokenize", "/detokenize", "/v1/embeddings"])), False

    def exchanged(self):
        """Some bytes of a good request exchanged, or its end cut off."""
        data, r = bytearray(self.request(self.body())), self.r
        for _ in range(r.randrange(1, 6)):
            data[r.randrange(len(data))] = r.randrange(256)
        return "exchanged", bytes(data[:r.randrange(1, len(data) + 1)] if r.random() < 0.4 else data), False

    def framed(self):
        """Good JSON in a bad frame."""
        r = self.r
        method = r.choice(["POST"] * 6 + ["GET", "HEAD", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "CONNECT", "post", "P\x00ST",
                                          "X" * 300])
        length = r.choice([None, None, 0, -1, 3, 10 ** 6, 10 ** 12, 10 ** 30, "0x10", "5, 5", "", "+7"])
        data = self.request(self.body(), r.choice(PATHS), method, r.sample(HEADERS, r.randrange(3)), length)
        if r.randrange(4) == 0:
            data = data.replace(b"HTTP/1.1", r.choice([b"HTTP/1.0", b"HTTP/9.9", b"HTTP/", b"", b"ICY"]), 1)
        return "framed", data, False

    def raw(self):
        return "raw", self.request(self.r.choice(RAW), self.r.choice(PATHS[:8] + ["/tokenize", "/detokenize"])), False

    def garbage(self):
        before = [b"", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"\x16\x03\x01\x02\x00", b"GET / "]
        return "garbage", self.r.choice(before) + self.r.randbytes(self.r.randrange(1, 600)), False

    def chunked(self):
        r = self.r
        size = r.choice(["5", "5;x=y", "0", "-1", "ffffffffffffffff", "zz", "", "7fffffff", "00000005"])
        head = b"POST /v1/completions HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
        good = json.dumps(self.body()).encode()
        pieces = b"".join(b"%x\r\n%s\r\n" % (len(p), p) for p in (good[:9], good[9:])) + b"0\r\n\r\n"
        bad = size.encode() + b"\r\n" + r.randbytes(r.randrange(9)) + b"\r\n0\r\n\r\n"
        return "chunked", head + r.choice([pieces, bad, pieces[:r.randrange(len(pieces))]]), False

    def pipelined(self):
        return "pipelined", b"".join(self.r.choice([self.valid, self.framed, self.misshapen, self.raw])()[1]
                                     for _ in range(self.r.randrange(2, 6))), False

    def many_headers(self):
        n = self.r.choice([50, 400, 3000])
        return "many headers", self.request(self.body(), headers=[f"X-{i}: {i}" for i in range(n)]), False

    def oversized(self):
        size = self.r.choice([(4 << 20) + 1, 6 << 20, (8 << 20) + 1, 12 << 20])
        return "oversized", self.request(b'{"prompt": "' + b"a" * size + b'"}'), False


def read_to_end(c):
    got = b""
    while more := c.recv(1 << 16):
        got += more
    return got


def check_reply(what, got):
    """A status line must be one for such a request; an error has all its keys."""
    echoed = what == "exchanged" and re.match(rb"HTTP/1\.\d 400 ", got)  # libevent answers with the request's version
    assert echoed or re.match(rb"HTTP/1\.[01] (100|200|204|304|4\d\d|501) ", got) or \
        (what in ("framed", "garbage", "exchanged") and not got.startswith(b"HTTP/")), (what, got[:300])
    head, _, body = got.partition(b"\r\n\r\n")
    if b"application/json" in head and body.startswith(b'{"error"'):
        assert set(json.JSONDecoder().raw_decode(body.decode())[0]["error"]) == KEYS, (what, body[:300])


def throw(s, request, r):
    """Sends it as well-mannered clients do, or leaves at once, or half-way, or sends it in pieces."""
    what, data, answered = request
    manner = "whole" if answered else r.choice(["whole"] * 6 + ["pieces", "leave", "reset"])
    with socket.create_connection((s.host, s.port), timeout=60) as c:
        try:
            if manner == "pieces":
                for i in range(0, len(data), max(1, len(data) // 5)):
                    c.sendall(data[i:i + max(1, len(data) // 5)])
            else:
                c.sendall(data)
            if manner == "reset":
                c.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            if manner in ("leave", "reset"):
                return what
            if not answered:
                c.shutdown(socket.SHUT_WR)  # whatever it was, the server must end the connection
            got = read_to_end(c)
        except TimeoutError:
            raise AssertionError(f"{what}, {manner}: the connection stays: {data[:300]!r}") from None
        except OSError:  # the server has ended it already
            assert not answered, what
            return what
    assert got or not answered, what
    if got:
        check_reply(what, got)
    if answered:
        assert re.match(rb"HTTP/1\.1 (200|400|429) ", got), (what, data, got[:300])
    return what
