"""Ctrl-C, SIGTERM and a closed output while the program works."""
import fcntl
import json
import os
import signal
import struct
import subprocess
import termios
import time
import unittest

import common
from common import ACCLLM, Case


class Interrupt(Case):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.src = cls.tiny("m.gguf")
        cls.model = cls.path("w8.gguf")
        subprocess.run([ACCLLM, "compress", cls.src, cls.model, "--weights", "w8", "--method", "rtn"], check=True,
                       env=cls.env, capture_output=True)

    def start(self, *args, **kw):
        return subprocess.Popen([ACCLLM, *args], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=self.env, **kw)

    def endless(self, *more):
        return self.start("run", self.model, "-p", "hello", "-n", "-1", "--ignore-eos", "--temp", "1", *more)

    def test_an_endless_run_ends_with_its_statistics(self):
        for number in (signal.SIGINT, signal.SIGTERM):
            p = self.endless()
            self.assertTrue(p.stdout.read(200))
            p.send_signal(number)
            out, err = p.communicate(timeout=60)
            self.assertEqual(p.returncode, 130, err)
            self.assertIn(b"interrupted", err)
            self.assertIn(b"tokens", err)

    def test_json_is_still_whole(self):
        trace = self.path("trace")
        p = self.endless("--json", "--trace", trace)
        deadline = time.time() + 60
        while time.time() < deadline and not (os.path.exists(trace) and os.path.getsize(trace)):  # until tokens are there
            time.sleep(0.05)
        p.send_signal(signal.SIGINT)
        out, err = p.communicate(timeout=60)
        self.assertEqual(p.returncode, 130, err)
        r = json.loads(out)
        self.assertEqual(r["finish_reason"], "interrupted")
        self.assertGreater(len(r["ids"]), 0)

    def test_a_write_that_waits_goes_on(self):
        r, w = os.pipe()
        p = subprocess.Popen([ACCLLM, "run", self.model, "-p", "hello", "-n", "-1", "--ignore-eos", "--temp", "1"],
                             stdout=w, stderr=subprocess.PIPE, env=self.env)
        before, now = 0, 0
        while now == 0 or now != before:  # until the pipe takes no more
            time.sleep(0.1)
            before, now = now, struct.unpack("i", fcntl.ioctl(r, termios.FIONREAD, bytes(4)))[0]
        os.close(w)
        p.send_signal(signal.SIGINT)
        time.sleep(0.1)  # a reader at once would often end the wait before the signal does
        with open(r, "rb") as f:
            self.assertTrue(f.read())
        _, err = p.communicate(timeout=60)
        self.assertEqual(p.returncode, 130, err)

    def test_a_closed_output_ends_the_run(self):
        p = self.endless()
        self.assertTrue(p.stdout.read(50))
        p.stdout.close()
        err = p.stderr.read()
        self.assertEqual(p.wait(timeout=60), 1)
        self.assertIn(b"accllm: standard output: Broken pipe", err)
        p.stderr.close()

    def test_evaluation_stops(self):
        text = self.path("long.txt")
        with open(text, "w", encoding="utf-8") as f:
            f.write("some words and more of them " * 400000)
        p = self.start("eval", "ppl", self.model, "--text", text, "--stream")
        self.assertIn(b"eval", p.stderr.readline())  # it is under way
        p.send_signal(signal.SIGINT)
        out, err = p.communicate(timeout=60)
        self.assertEqual(p.returncode, 130, err)
        self.assertEqual(out, b"")

    def test_a_ladder_keeps_the_rungs_that_were_done(self):
        text, tmp = self.path("ladder.txt"), self.path("tmp")
        os.mkdir(tmp)
        with open(text, "w", encoding="utf-8") as f:
            f.write("some words and more of them " * 20000)
        args = ["eval", "ladder", self.model, "--ref", self.src, "--text", text, "--max-tokens", "40000", "--json"]
        p = subprocess.Popen([ACCLLM, *args], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                             env={**self.env, "TMPDIR": tmp})
        for line in p.stderr:  # the first of five rungs is a fifth of the work
            if b"ladder" in line and int(line.split(b"%")[0]) > 20:
                break
        p.send_signal(signal.SIGINT)
        out, err = p.communicate(timeout=60)
        self.assertEqual(p.returncode, 130, err)
        names = [row["name"] for row in json.loads(out)["rows"]]
        self.assertIn("FP", names)
        self.assertLess(len(names), 5)
        self.assertEqual(os.listdir(tmp), [])

    def test_an_interrupted_compression_goes_on(self):
        big = self.tiny("big.gguf", "layers=16")
        whole, again = self.path("whole.gguf"), self.path("again.gguf")
        args = ["--weights", "w4", "--calib-tokens", "2048"]
        self.run_it("compress", big, whole, *args)
        p = self.start("compress", big, again, *args)
        deadline = time.time() + 60
        while time.time() < deadline and p.poll() is None:  # until two layers are there
            work = again + ".work"
            if os.path.isdir(work) and len(os.listdir(work)) > 2:
                break
            time.sleep(0.01)
        p.send_signal(signal.SIGINT)
        _, err = p.communicate(timeout=60)
        self.assertEqual(p.returncode, 130, err)
        self.assertIn(b"--resume", err)
        self.assertFalse(os.path.exists(again))
        r = self.json("compress", big, again, *args, "--resume")
        self.assertGreater(r["resumed_layers"], 0)
        self.assertEqual(open(again, "rb").read(), open(whole, "rb").read())
        self.assertFalse(os.path.exists(again + ".work"))


if __name__ == "__main__":
    common.main()
