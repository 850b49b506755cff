"""Shared by the end-to-end tests: running the program, a tiny model, TAP output."""
import json
import os
import subprocess
import sys
import tempfile
import unittest

ACCLLM, MAKE_TINY = os.path.abspath(sys.argv[1]), os.path.abspath(sys.argv[2])
PRINTABLE = {0, 1, 2, 130}


class Case(unittest.TestCase):
    """Every case has a folder of its own with a state folder, so that nothing is left in the user's home."""

    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory(prefix="accllm-cli-")
        cls.dir = cls.folder.name
        cls.env = {k: v for k, v in os.environ.items() if not k.startswith("ACCLLM_")}
        cls.env["XDG_STATE_HOME"] = os.path.join(cls.dir, "state")

    @classmethod
    def tearDownClass(cls):
        cls.folder.cleanup()

    @classmethod
    def path(cls, name):
        return os.path.join(cls.dir, name)

    @classmethod
    def tiny(cls, name, *words):
        path = cls.path(name)
        subprocess.run([MAKE_TINY, path, *words], check=True)
        return path

    def run_it(self, *args, expect=0, stdin=b"", env=None, cwd=None, program=(ACCLLM,)):
        """Runs accllm; checks the exit code and that a failure says one `accllm: ` line."""
        r = subprocess.run([*program, *args], input=stdin, capture_output=True, timeout=120,
                           env={**self.env, **(env or {})}, cwd=cwd or self.dir)
        err = r.stderr.decode()
        self.assertEqual(r.returncode, expect, f"{args}: exit {r.returncode}, stderr: {err}")
        if expect in (1, 2):
            lines = err.strip().splitlines()
            self.assertTrue(lines and lines[-1].startswith("accllm: "), f"{args}: stderr: {err}")
        return r.stdout.decode(), err

    def json(self, *args, **kw):
        """Runs with --json; standard output must be exactly one object."""
        out, _ = self.run_it(*args, "--json", **kw)
        self.assertEqual(out.count("\n"), 1, out)
        value = json.loads(out)
        self.assertIsInstance(value, dict)
        return value

    def fails(self, code, *args, says, **kw):
        out, err = self.run_it(*args, expect=code, **kw)
        self.assertEqual(out, "", args)
        self.assertIn(says, err)


class Tap(unittest.TextTestResult):
    """Prints one TAP line per case on standard output."""
    count = 0

    def line(self, word, test, note=""):
        Tap.count += 1
        print(f"{word} {Tap.count} - {test.id().split('.', 1)[-1]}{note}", flush=True)

    def addSuccess(self, test):
        super().addSuccess(test)
        self.line("ok", test)

    def addFailure(self, test, err):
        super().addFailure(test, err)
        self.line("not ok", test)

    def addError(self, test, err):
        super().addError(test, err)
        self.line("not ok", test)

    def addSkip(self, test, reason):
        super().addSkip(test, reason)
        self.line("ok", test, f" # SKIP {reason}")


def main():
    runner = unittest.TextTestRunner(resultclass=Tap, verbosity=0)
    unittest.main(argv=sys.argv[:1] + sys.argv[3:], testRunner=runner)
