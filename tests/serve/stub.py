"""A server for the web chat's tests that answers as it was told to: the page comes from a live accllm serve, the API's
replies from a list, so that slow words, refusals and markup come when a test wants them."""
import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

MODEL = {"id": "stub", "object": "model", "max_model_len": 2048, "meta": {
    "n_params": 134515008, "n_vocab": 49152, "bits_per_weight": 3.8, "chat": True, "n_ctx_train": 2048, "sinks": 4,
    "window": 60, "sampling": {"temperature": 0.7, "top_p": 0.95, "min_p": 0.0, "repetition_penalty": 1.0, "top_k": 0,
                               "max_tokens": 2048}}}


def answer(*pieces, delay=0.0, end="stop", prompt=20, broken=False):
    """A streamed reply: a piece per token; broken: it ends before the answer does."""
    return {"pieces": pieces, "delay": delay, "end": end, "prompt": prompt, "broken": broken}


def refusal(status, message, retry_after=None):
    return {"status": status, "message": message, "retry_after": retry_after}


class Stub:
    def __init__(self, page):
        """page(path): (status, headers, bytes) of a file of the page."""
        self.page = page
        self.model = MODEL
        self.key = None
        self.replies = []   # to chat requests, in this order; the last one stays
        self.requests = []  # bodies of chat requests
        self.gone = 0       # clients that left before the end
        stub = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *args):
                pass

            def handle(self):
                try:
                    super().handle()
                except ConnectionError:
                    pass  # a page that was left

            def do_GET(self):
                stub.get(self)

            def do_POST(self):
                stub.post(self, json.loads(self.rfile.read(int(self.headers["Content-Length"]))))

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.http.server_port}/"
        threading.Thread(target=self.http.serve_forever, daemon=True).start()

    def close(self):
        self.http.shutdown()
        self.http.server_close()

    def send(self, h, status, headers, body):
        h.send_response(status)
        for name, value in headers.items():
            h.send_header(name, value)
        h.send_header("Content-Length", str(len(body)))
        h.end_headers()
        h.wfile.write(body)

    def json(self, h, status, value, headers=None):
        self.send(h, status, {"Content-Type": "application/json", **(headers or {})}, json.dumps(value).encode())

    def refuse(self, h, status, message, retry_after=None):
        headers = {"Retry-After": str(retry_after)} if retry_after else {}
        error = {"message": message, "type": "error", "param": None, "code": None}
        self.json(h, status, {"error": error}, headers)

    def allowed(self, h):
        if self.key is None or h.headers["Authorization"] == f"Bearer {self.key}":
            return True
        self.refuse(h, 401, "the API key is missing or wrong")
        return False

    def get(self, h):
        if h.path == "/v1/models":
            if self.allowed(h):
                self.json(h, 200, {"object": "list", "data": [self.model]})
        else:
            status, headers, body = self.page(h.path)
            keep = ("Content-Type", "Content-Security-Policy", "X-Content-Type-Options")
            self.send(h, status, {k: headers[k] for k in keep if headers[k]}, body)

    def post(self, h, body):
        if not self.allowed(h):
            return
        if h.path == "/tokenize":
            self.json(h, 200, {"tokens": [], "count": sum(len(m["content"].split()) + 4 for m in body["messages"])})
            return
        self.requests.append(body)
        reply = self.replies.pop(0) if len(self.replies) > 1 else self.replies[0]
        if "status" in reply:
            self.refuse(h, **reply)
            return
        try:
            self.stream(h, **reply)
        except ConnectionError:
            self.gone += 1

    def stream(self, h, pieces, delay, end, prompt, broken):
        h.send_response(200)
        h.send_header("Content-Type", "text/event-stream; charset=utf-8")
        h.send_header("Transfer-Encoding", "chunked")
        h.end_headers()

        def event(text):
            data = f"data: {text}\n\n".encode()
            h.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))

        def choice(**more):
            event(json.dumps({"choices": [{"index": 0, "logprobs": None, "finish_reason": None, **more}]}))

        choice(delta={"role": "assistant", "content": ""})
        for piece in pieces:
            time.sleep(delay)
            choice(delta={"content": piece})
        if not broken:
            choice(delta={}, finish_reason=end)
            usage = {"prompt_tokens": prompt, "completion_tokens": len(pieces), "total_tokens": prompt + len(pieces)}
            event(json.dumps({"choices": [], "usage": usage}))
            event("[DONE]")
        h.wfile.write(b"0\r\n\r\n")
