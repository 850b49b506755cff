"""A live server: accllm serve on a free port of this machine, over plain HTTP."""
import http.client
import json
import os
import signal
import socket
import subprocess
import tempfile
import time

KEYS = {"message", "type", "param", "code"}


class Server:
    program = None  # the path of accllm, where a test does not say

    def __init__(self, model, *options, env=None, program=None, threads=1):
        clean = {k: v for k, v in os.environ.items() if not k.startswith("ACCLLM_")}
        self.log = tempfile.TemporaryFile()
        options = [*(["-t", str(threads)] if threads else []), *options]
        self.process = subprocess.Popen([program or self.program, "serve", model, "--port", "0", "--json", *options],
                                        stdout=subprocess.PIPE, stderr=self.log, env={**clean, **(env or {})})
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"the server did not start: {self.stderr()}")
        self.info = json.loads(line)
        self.host, port = self.info["url"].removeprefix("http://").rsplit(":", 1)
        self.port = int(port)

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.stop(kill=exc[0] is not None)

    def stderr(self):
        self.log.seek(0)
        return self.log.read().decode(errors="replace")

    def stop(self, kill=False):
        """Ends it by SIGTERM; the exit code must be 0 (sanitizers make it another)."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL if kill else signal.SIGTERM)
        code = self.process.wait(timeout=60)
        self.process.stdout.close()
        assert kill or code == 0, f"exit code {code}: {self.stderr()}"

    def request(self, method, path, body=None, headers=None):
        """(status, headers, body) of one request on a connection of its own."""
        c = http.client.HTTPConnection(self.host, self.port, timeout=60)
        try:
            if isinstance(body, (dict, list)):
                body = json.dumps(body)
            c.request(method, path, body, headers or {})
            r = c.getresponse()
            return r.status, r.headers, r.read()
        finally:
            c.close()

    def json(self, path, body=None, expect=200, headers=None):
        status, _, data = self.request("GET" if body is None else "POST", path, body, headers)
        assert status == expect, f"{path}: {status}: {data[:300]!r}"
        return json.loads(data)

    def error(self, path, body, status, headers=None, method="POST"):
        """The error object of a refused request, after a check of its form."""
        got, head, data = self.request(method, path, body, headers)
        assert got == status, f"{path} {str(body)[:200]}: {got}: {data[:300]!r}"
        assert head["Content-Type"] == "application/json", head
        e = json.loads(data)["error"]
        assert set(e) == KEYS and e["message"] and e["type"], e
        return e

    def open(self, path, body):
        """A socket with the request sent and nothing read."""
        s = socket.create_connection((self.host, self.port), timeout=60)
        data = json.dumps(body).encode()
        s.sendall(b"POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % (path.encode(), len(data)) + data)
        return s

    def sleeps(self):
        """Whether none of its threads runs or waits for a processor."""
        states = set()
        for task in os.listdir(f"/proc/{self.process.pid}/task"):
            with open(f"/proc/{self.process.pid}/task/{task}/stat", encoding="ascii") as f:
                states.add(f.read().rsplit(")", 1)[1].split()[0])
        return states == {"S"}

    def metric(self, name):
        for line in self.request("GET", "/metrics")[2].decode().splitlines():
            if line.startswith(f"accllm_{name} "):
                return float(line.split()[1])
        raise KeyError(name)

    def wait_for(self, name, value, seconds=60):
        end = time.monotonic() + seconds
        while self.metric(name) != value:
            assert time.monotonic() < end, f"{name} is {self.metric(name)}, not {value}"
            time.sleep(0.05)

    def events(self, path, body, headers=None):
        """The events of a stream, parsed as clients do; the last must be [DONE]."""
        status, head, data = self.request("POST", path, {**body, "stream": True}, headers)
        assert status == 200 and head["Content-Type"].startswith("text/event-stream"), (status, data)
        events = [e for e in data.decode().split("\n\n") if e and not e.startswith(":")]
        assert all(e.startswith("data: ") for e in events), events
        assert events[-1] == "data: [DONE]", events[-1]
        return [json.loads(e[6:]) for e in events[:-1]]
