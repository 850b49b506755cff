"""accllm serve with many clients: answers that do not depend on company, clients that leave, a full queue, slow readers,
the end by SIGTERM."""
import http.client
import json
import signal
import socket
import threading
import time
import unittest

import server
from server import PROMPT, Models, Server, common

MODELS = Models()
LONG = {"prompt": PROMPT, "max_tokens": 1000000, "temperature": 1, "ignore_eos": True}
PROMPTS = [PROMPT, "Once upon a time", "The old woman said", "In the forest", "A dog and a cat", "\"I am", "The sea was",
           "When the sun rose, the prince and his brothers rode out of the castle, and they rode for three days until"]


def parallel(work, items):
    """Runs work on all items at once; the results in order."""
    results, errors = [None] * len(items), []

    def run(i):
        try:
            results[i] = work(items[i])
        except Exception as e:  # noqa: BLE001 - reported below
            errors.append(e)
    threads = [threading.Thread(target=run, args=(i,)) for i in range(len(items))]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    if errors:
        raise errors[0]
    return results


class Company(unittest.TestCase):
    def test_answers_are_the_same_alone_and_among_eight(self):
        with Server(MODELS.tiny, "--parallel", "4", "--chunk", "16") as s:
            def ask(prompt, **more):
                return s.json("/v1/completions", {"prompt": prompt, "max_tokens": 48, "temperature": 0, "logprobs": 2,
                                                  "echo": True, **more})["choices"]

            def stream(prompt):
                events = s.events("/v1/completions", {"prompt": prompt, "max_tokens": 48, "temperature": 0})
                return "".join(e["choices"][0]["text"] for e in events)
            alone = [ask(p) for p in PROMPTS]
            streamed = [stream(p) for p in PROMPTS]
            for _ in range(2):
                self.assertEqual(parallel(ask, PROMPTS), alone)
                self.assertEqual(parallel(stream, PROMPTS), streamed)
            for a, b in zip(alone, streamed):
                self.assertTrue(a[0]["text"].endswith(b))

    def test_a_long_prompt_does_not_stall_others(self):
        """Others go on between the pieces of a prompt, and requests of one prompt have turns with those of many."""
        with Server(MODELS.tiny, "--parallel", "2", "--chunk", "32", "--ping", "1") as s:
            long = s.open("/v1/completions", {"prompt": [1] + [300] * 200000, "max_tokens": 1, "stream": True})
            s.wait_for("sessions_running", 1)
            s.json("/v1/completions", {"prompt": PROMPT, "max_tokens": 20})
            self.assertEqual(s.metric("sessions_running"), 1)  # the long prompt is not through
            many = threading.Thread(target=s.json, args=("/v1/completions", {"prompt": [PROMPT] * 100, "max_tokens": 16}))
            many.start()
            s.wait_for("sessions_running", 2)
            s.json("/v1/completions", {"prompt": PROMPT, "max_tokens": 1})
            self.assertTrue(many.is_alive())  # it did not wait for all of the hundred
            got = b""
            while b": ping\n\n" not in got:  # a stream is kept alive while its prompt is read
                piece = long.recv(4096)
                self.assertTrue(piece)
                got += piece
            self.assertNotIn(b"data:", got)
            long.close()
            many.join()
            s.wait_for("sessions_running", 0)

    def test_queue_is_bounded(self):
        with Server(MODELS.tiny, "--parallel", "1", "--queue", "2", "--ping", "1") as s:
            first = s.open("/v1/completions", LONG)
            s.wait_for("sessions_running", 1)
            second = s.open("/v1/completions", {**LONG, "stream": True})
            third = s.open("/v1/completions", LONG)
            s.wait_for("requests_waiting", 2)
            status, head, data = s.request("POST", "/v1/completions", LONG)
            self.assertEqual((status, json.loads(data)["error"]["code"]), (429, "queue_full"))
            self.assertGreaterEqual(int(head["Retry-After"]), 1)
            self.assertEqual(s.json("/health"), {"status": "ok"})
            got = b""
            while b": ping\n\n" not in got:  # a stream that waits is kept alive
                more = second.recv(4096)
                self.assertTrue(more)
                got += more
            self.assertNotIn(b"data:", got)
            third.close()
            s.wait_for("requests_waiting", 1)
            first.close()
            s.wait_for("requests_waiting", 0)
            while b"data:" not in got:
                got += second.recv(4096)
            second.close()
            s.wait_for("sessions_running", 0)
            self.assertEqual(s.metric("cancelled_total"), 3)

    def test_the_queue_is_for_those_beyond_the_sessions(self):
        """Sessions are given out between steps; what comes during a long one finds those that are free."""
        with Server(MODELS.tiny, "--parallel", "8", "--queue", "1", "--chunk", "2048") as s:
            long = s.open("/v1/completions", {"prompt": [1] + [300] * 200000, "max_tokens": 1, "stream": True})
            s.wait_for("sessions_running", 1)
            for n in (2, 8):  # a free session for each; one has to wait
                got = parallel(lambda n: s.request("POST", "/v1/completions", {"prompt": PROMPT, "max_tokens": 2})[0],
                               range(n))
                self.assertEqual(got, [200] * n)
            long.close()


class Leaving(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.s = Server(MODELS.tiny, "--parallel", "2", "--chunk", "32")

    @classmethod
    def tearDownClass(cls):
        cls.s.stop()

    def test_clients_go_away(self):
        many = {"prompt": [[1] + [300] * 100000] * 3, "max_tokens": 5}
        for body in (LONG, {**LONG, "stream": True}, {**LONG, "n": 5}, many, {**many, "echo": True, "logprobs": 2}):
            for reset in (False, True):
                c = self.s.open("/v1/completions", body)
                self.s.wait_for("sessions_running", 2 if "n" in body or body["prompt"] != PROMPT else 1)
                if reset:  # RST instead of FIN
                    c.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
                c.close()
                self.s.wait_for("sessions_running", 0)
                self.assertEqual(self.s.metric("requests_waiting"), 0)

    def test_a_client_leaves_with_a_second_request_on_the_way(self):
        c = self.s.open("/v1/completions", LONG)
        c.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
        self.s.wait_for("sessions_running", 1)
        c.close()
        self.s.wait_for("sessions_running", 0)

    def test_a_slow_reader_is_waited_for(self):
        c, now = unread_stream(self.s)
        self.assertEqual(self.s.metric("sessions_running"), 1)
        self.s.json("/v1/completions", {"prompt": PROMPT, "max_tokens": 50, "ignore_eos": True})
        self.assertEqual(self.s.metric("generated_tokens_total"), now + 50)  # others are served, and it rests
        while self.s.metric("generated_tokens_total") < now + 200:
            self.assertTrue(c.recv(1 << 20))
        c.close()
        self.s.wait_for("sessions_running", 0)


def unread_stream(s):
    """A stream that its client does not read, once what is unread has filled all there is; and the tokens of it."""
    c = socket.create_connection((s.host, s.port))
    c.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    data = json.dumps({**LONG, "stream": True, "logprobs": 20}).encode()
    c.sendall(b"POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(data) + data)
    s.wait_for("sessions_running", 1)
    now = rests = 0
    while rests < 10:  # times in a row, which on a busy machine says more than that nothing came for a while
        time.sleep(0.2)
        sleeps, before, now = s.sleeps(), now, s.metric("generated_tokens_total")
        rests = rests + 1 if sleeps and now == before > 0 else 0
    return c, now


class End(unittest.TestCase):
    def test_running_answers_may_end(self):
        with Server(MODELS.tiny, "--parallel", "1", "--drain", "1000") as s:
            client = http.client.HTTPConnection(s.host, s.port, timeout=60)
            client.request("GET", "/health")
            client.getresponse().read()
            running = s.open("/v1/completions", {**LONG, "max_tokens": 2000, "stream": True,
                                                 "stream_options": {"include_usage": True}})
            s.wait_for("sessions_running", 1)
            waiting = s.open("/v1/completions", LONG)
            s.wait_for("requests_waiting", 1)
            s.process.send_signal(signal.SIGTERM)
            refused = waiting.recv(65536)
            self.assertIn(b"503", refused.split(b"\r\n")[0])
            self.assertIn(b"\r\nRetry-After: ", refused)
            client.request("GET", "/health")  # a connection that was there before the port was closed
            health = client.getresponse()
            self.assertEqual((health.status, json.load(health)["error"]["code"]), (503, "shutting_down"))
            self.assertGreater(int(health.headers["Retry-After"]), 0)
            got = b""
            while more := running.recv(65536):
                got += more
            self.assertIn(b'"completion_tokens":2000', got)
            self.assertIn(b"data: [DONE]", got)
            self.assertEqual(s.process.wait(timeout=20), 0)

    def test_a_second_signal_cuts_off(self):
        with Server(MODELS.tiny, "--drain", "1000") as s:
            stream = s.open("/v1/completions", {**LONG, "stream": True})
            whole = s.open("/v1/completions", LONG)
            s.wait_for("sessions_running", 2)
            s.process.send_signal(signal.SIGINT)
            time.sleep(0.5)
            self.assertIsNone(s.process.poll())
            s.process.send_signal(signal.SIGINT)
            got = b""
            while more := stream.recv(65536):
                got += more
            self.assertIn(b'data: {"error":', got)
            self.assertNotIn(b"[DONE]", got)
            self.assertIn(b"503", whole.recv(65536).split(b"\r\n")[0])
            self.assertEqual(s.process.wait(timeout=20), 0)

    def test_drain_has_an_end(self):
        with Server(MODELS.tiny, "--drain", "1") as s:
            c = s.open("/v1/completions", LONG)
            s.wait_for("sessions_running", 1)
            s.process.send_signal(signal.SIGTERM)
            self.assertEqual(s.process.wait(timeout=20), 0)
            c.close()

    def test_an_unread_stream_does_not_hold_up_the_end(self):
        for options, signals in ((("--drain", "1"), 1), (("--drain", "1000"), 2)):
            with Server(MODELS.tiny, *options) as s:
                c, _ = unread_stream(s)
                for _ in range(signals):
                    s.process.send_signal(signal.SIGTERM)
                    time.sleep(0.5)
                self.assertEqual(s.process.wait(timeout=20), 0)
                c.close()


common.main()
