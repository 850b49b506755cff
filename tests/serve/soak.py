#!/usr/bin/env python3
"""Load for accllm serve: streaming clients for a while, each greedy answer compared with the one that the same request got
alone before. Reports, as JSON, token/s of all together and of one alone, the time to the first token, and the server's
resident memory: the least in the second eighth of the time (early) and in its last quarter (late), since bodies of requests and
states on their way to the disk come and go, and the most.

    soak.py ACCLLM MODEL [--clients 16] [--seconds 600] [--nuisances] [server option]...

It fails (1) when an answer is another than it was alone, a request fails, memory grows from early to late by more than --growth
MB, or all together have less than --ratio times the token/s of one. --nuisances: beside the clients one reads slowly, one
leaves its streams and one sends malformed requests."""
import argparse
import http.client
import json
import random
import socket
import sys
import threading
import time

import hostile
from live import Server

WORDS = ("the king and his old wife went into a dark forest where three brothers lived beside water under stone bread "
         "golden bird little house morning wolf asked why never came back again until winter").split()
SYSTEM = "You answer in short sentences."


def text(r, n):
    return " ".join(r.choice(WORDS) for _ in range(n)).capitalize()


class Work:
    """A request and what it was answered alone."""

    def __init__(self, body, path):
        self.body, self.path, self.want = body, path, None


def stream(s, work, each=lambda: None):
    """(text, tokens, seconds to the first token, seconds to the end); each is called for each piece of text."""
    c = http.client.HTTPConnection(s.host, s.port, timeout=600)
    begun, first, pieces, usage = time.monotonic(), None, [], None
    try:
        c.request("POST", work.path, json.dumps({**work.body, "stream": True, "stream_options": {"include_usage": True}}))
        answer = c.getresponse()
        if answer.status != 200:
            raise RuntimeError(f"{work.path}: {answer.status}: {answer.read()[:300]!r}")
        for line in answer:
            if not line.startswith(b"data: {"):
                continue
            event = json.loads(line[6:])
            if "error" in event:
                raise RuntimeError(f"in a stream: {event['error']}")
            usage = event.get("usage", usage)
            for choice in event["choices"]:
                piece = choice.get("text") or choice.get("delta", {}).get("content")
                if piece:
                    first = first or time.monotonic()
                    pieces.append(piece)
                    each()
        if line != b"\n" or usage is None:
            raise RuntimeError("a stream without its end")
    finally:
        c.close()
    end = time.monotonic()
    return "".join(pieces), usage["completion_tokens"], (first or end) - begun, end - begun


def make_works(s, chat, n, tokens, r):
    """n requests of different lengths, each asked alone; in a chat every second one is the next turn of the one before. Also
    token/s of a client that is alone."""
    works, sums = [], [0, 0.0]
    for i in range(n):
        common = {"temperature": 0, "max_tokens": r.randrange(tokens // 2, tokens + 1)}
        if not chat:
            work = Work({"prompt": text(r, r.choice([3, 10, 30, 100])), **common}, "/v1/completions")
        elif i % 2 == 0:
            turns = [{"role": "system", "content": SYSTEM}, {"role": "user", "content": text(r, r.choice([5, 20, 80]))}]
            work = Work({"messages": turns, **common}, "/v1/chat/completions")
        else:
            turns = works[-1].body["messages"] + [{"role": "assistant", "content": works[-1].want},
                                                  {"role": "user", "content": text(r, 8)}]
            work = Work({"messages": turns, **common}, "/v1/chat/completions")
        work.want, got, _, seconds = stream(s, work)
        sums = [sums[0] + got, sums[1] + seconds]
        works.append(work)
    return works, sums[0] / sums[1]


class Clients:
    """Threads that ask until the end; what they saw."""

    def __init__(self, s, works, n, seconds, least, nuisances, seed):
        self.s, self.works, self.least = s, works, least
        self.end, self.last = time.monotonic() + seconds, time.monotonic() + 20 * seconds
        self.lock = threading.Lock()
        self.answers = self.tokens = 0
        self.first, self.wrong, self.errors = [], [], []
        self.nuisances = {"slow": 0, "left": 0, "malformed": 0}
        jobs = [self.ask] * n + ([self.read_slowly, self.leave, self.malformed] if nuisances else [])
        self.threads = [threading.Thread(target=self.run, args=(job, random.Random(seed + i))) for i, job in enumerate(jobs)]
        for t in self.threads:
            t.start()

    def goes_on(self):
        now = time.monotonic()
        return len(self.errors) < 20 and (now < self.end or (self.answers < self.least and now < self.last))

    def run(self, job, r):
        while self.goes_on():
            try:
                job(r)
            except Exception as e:  # noqa: BLE001 - told in the report
                with self.lock:
                    self.errors.append(f"{job.__name__}: {e!r}")

    def ask(self, r):
        work = r.choice(self.works)
        got, tokens, first, _ = stream(self.s, work)
        with self.lock:
            self.answers += 1
            self.tokens += tokens
            self.first.append(first)
            if got != work.want:
                self.wrong.append({"body": work.body, "got": got, "want": work.want})

    def endless(self, r):
        return {**r.choice(self.works).body, "max_tokens": 100000, "ignore_eos": True, "stream": True, "temperature": 1}

    def read_slowly(self, r):
        with socket.socket() as c:
            c.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            c.settimeout(60)
            c.connect((self.s.host, self.s.port))
            c.sendall(hostile.Hostile(r).request(self.endless(r)))
            until = time.monotonic() + 20
            while time.monotonic() < until and self.goes_on():
                if not c.recv(100):
                    raise RuntimeError("the server left")
                time.sleep(0.05)
        self.nuisances["slow"] += 1

    def leave(self, r):
        with self.s.open(self.works[0].path, {**self.works[0].body, **self.endless(r)}) as c:
            for _ in range(r.randrange(4)):
                c.recv(r.randrange(1, 2000))
            if r.random() < 0.5:
                c.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self.nuisances["left"] += 1
        time.sleep(r.random() / 2)

    def malformed(self, r):
        hostile.throw(self.s, hostile.Hostile(r).next(), r)
        self.nuisances["malformed"] += 1
        time.sleep(r.random() / 10)


def resident(pid):
    with open(f"/proc/{pid}/status", encoding="ascii") as f:
        return next(int(line.split()[1]) * 1024 for line in f if line.startswith("VmRSS:"))


def quantile(values, q):
    return sorted(values)[min(len(values) - 1, int(q * len(values)))] if values else None


def soak(s, clients, seconds, tokens=64, requests=None, least=0, nuisances=False, seed=1):
    """The report of a run against the server s; it takes longer, up to 20 times, until there are so many answers at least."""
    r = random.Random(seed)
    chat = s.json("/v1/models")["data"][0]["meta"]["chat"]
    works, alone = make_works(s, chat, requests or 2 * clients, tokens, r)
    begun, samples = time.monotonic(), []
    crowd = Clients(s, works, clients, seconds, least, nuisances, seed)
    while any(t.is_alive() for t in crowd.threads):
        samples.append((time.monotonic() - begun, resident(s.process.pid)))
        time.sleep(min(1, seconds / 40))
    took = time.monotonic() - begun
    early = [x for at, x in samples if took / 8 <= at < took / 4] or [samples[0][1]]
    late = [x for at, x in samples if at >= took * 3 / 4] or [samples[-1][1]]
    return {"clients": clients, "seconds": took, "answers": crowd.answers, "wrong": crowd.wrong, "errors": crowd.errors,
            "tokens": crowd.tokens, "tok_s": crowd.tokens / took, "alone_tok_s": alone, "ratio": crowd.tokens / took / alone,
            "first_token_p50": quantile(crowd.first, 0.5), "first_token_p95": quantile(crowd.first, 0.95),
            "rss_early": min(early), "rss_late": min(late), "rss_most": max(x for _, x in samples),
            "nuisances": crowd.nuisances}


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("accllm")
    p.add_argument("model")
    p.add_argument("--clients", type=int, default=16)
    p.add_argument("--seconds", type=float, default=600)
    p.add_argument("--tokens", type=int, default=64, help="most tokens of an answer, and twice the least")
    p.add_argument("--requests", type=int, help="different requests (twice the clients)")
    p.add_argument("--growth", type=float, default=4, help="megabytes")
    p.add_argument("--ratio", type=float, default=0, help="least total token/s, to that of one alone")
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--nuisances", action="store_true")
    a, options = p.parse_known_args()
    sessions = a.clients + (3 if a.nuisances else 0)
    with Server(a.model, "--parallel", str(sessions), *options, program=a.accllm, threads=None) as s:
        report = soak(s, a.clients, a.seconds, a.tokens, a.requests, nuisances=a.nuisances, seed=a.seed)
        report["server"] = s.info
    print(json.dumps(report, indent=1))
    flat = report["rss_late"] <= report["rss_early"] + a.growth * 1e6
    good = report["answers"] and not report["wrong"] and not report["errors"] and report["ratio"] >= a.ratio
    return 0 if flat and good else 1


if __name__ == "__main__":
    sys.exit(main())
