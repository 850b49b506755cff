"""The web chat as HTTP serves it: the page, its headers, its files; what it reads of the model. See test_browser.py for
what it does."""
import re
import unittest

import server
from server import Models, Server, common

MODELS = Models()
TYPES = {"css": "text/css; charset=utf-8", "js": "text/javascript; charset=utf-8", "svg": "image/svg+xml"}
NAMESPACE = "http://www.w3.org/2000/svg"  # a name, which nothing loads


class Web(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.s = Server(MODELS.tiny, "--api-key", "secret")

    @classmethod
    def tearDownClass(cls):
        cls.s.stop()

    def files(self):
        """Every file that the page leads to, the page first: {path: text}."""
        found, ahead = {}, ["/"]
        while ahead:
            path = ahead.pop()
            status, head, data = self.s.request("GET", path)
            self.assertEqual(status, 200, path)
            if path != "/":
                self.assertEqual(head["Content-Type"], TYPES[path.rsplit(".", 1)[1]])
            found[path] = data.decode()
            names = re.findall(r'(?:src|href)="(web/[^"]+)"', found[path])
            names += ["web/" + n for n in re.findall(r'from "\./([^"]+)"', found[path])]
            ahead += ["/" + n for n in set(names) if "/" + n not in found]
        return found

    def test_page_and_headers(self):
        status, head, data = self.s.request("GET", "/")  # without the key
        self.assertEqual((status, head["Content-Type"]), (200, "text/html; charset=utf-8"))
        self.assertTrue(data.startswith(b"<!doctype html>"))
        policy = dict(p.split(" ", 1) for p in head["Content-Security-Policy"].split("; "))
        self.assertEqual(policy["default-src"], "'none'")
        self.assertEqual({policy[p] for p in ("script-src", "style-src", "connect-src", "img-src")}, {"'self'"})
        self.assertEqual({policy[p] for p in ("base-uri", "form-action", "frame-ancestors")}, {"'none'"})
        self.assertEqual((head["Cache-Control"], head["X-Content-Type-Options"]), ("no-cache", "nosniff"))
        status, head2, body = self.s.request("HEAD", "/")
        self.assertEqual((status, head2["ETag"], body), (200, head["ETag"], b""))

    def test_unchanged_files_are_not_sent_again(self):
        etags = set()
        for path in self.files():
            etag = self.s.request("GET", path)[1]["ETag"]
            etags.add(etag)
            for given, want in ((etag, 304), (f'"x", W/{etag}', 304), ('"x"', 200)):
                status, head, body = self.s.request("GET", path, None, {"If-None-Match": given})
                self.assertEqual((status, head["ETag"], body == b""), (want, etag, want == 304))
        self.assertEqual(len(etags), len(self.files()))

    def test_nothing_from_elsewhere(self):
        files = self.files()
        self.assertGreater(len(files), 3)
        for path, text in files.items():
            text = text.replace(NAMESPACE, "")
            self.assertNotRegex(text, r"""(https?:|["'(=]\s*)//\w""", path)
            self.assertNotRegex(text, r"@import|url\(|<iframe|innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(",
                                path)
        self.assertNotRegex(files["/"], r"""<style|\sstyle=|\son\w+=|<script(?![^>]*\ssrc=)""")

    def test_other_addresses(self):
        self.assertEqual(self.s.error("/web/other.js", None, 404, method="GET")["code"], "not_found")
        self.assertEqual(self.s.error("/web/../server.c", None, 404, method="GET")["code"], "not_found")
        for path in ("/v1/", "/web", "/index.html", "/other"):
            self.s.error(path, None, 404, method="GET")
        self.s.error("/", {}, 405)
        self.s.error("/v1/models", None, 401, method="GET")


class Model(unittest.TestCase):
    def meta(self, model, *options):
        with Server(model, *options) as s:
            (m,) = s.json("/v1/models")["data"]
            return m["max_model_len"], m["meta"]

    def test_window(self):
        _, meta = self.meta(MODELS.chat, "--window", "96", "--sinks", "8", "--temp", "0.35", "--top-k", "40", "-n", "77")
        self.assertEqual((meta["sinks"], meta["window"], meta["chat"], meta["n_ctx_train"]), (8, 96, True, 512))
        self.assertEqual(meta["sampling"], {"temperature": 0.35, "top_p": 0.95, "min_p": 0, "repetition_penalty": 1,
                                            "top_k": 40, "max_tokens": 77})

    def test_full_attention(self):
        length, meta = self.meta(MODELS.tiny, "--full-attention", "--ctx", "64")
        self.assertEqual((length, meta["sinks"], meta["window"], meta["chat"]), (64, None, None, False))


common.main()
