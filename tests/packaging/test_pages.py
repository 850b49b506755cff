"""Manual pages: one for the program and one for each command, with every option, and clean by man and mandoc."""
import os
import re
import shutil
import subprocess
import unittest

import tables
from common import Case, main

COMMANDS = tables.commands()


class Pages(Case):
    def pages(self):
        yield "accllm", tables.say("help", "--format", "man")
        for c in COMMANDS:
            yield "accllm-" + c.replace(" ", "-"), tables.say("help", "--format", "man", *c.split())

    def rendered(self, page):
        with open(self.path("page.1"), "w", encoding="utf-8") as f:
            f.write(page)
        # lintian's call, warnings apart from the text
        r = subprocess.run(["man", "--warnings", "-E", "UTF-8", "-l", "-Tutf8", self.path("page.1")], capture_output=True,
                           text=True, env={**os.environ, "LC_ALL": "C.UTF-8", "MANROFFSEQ": "", "MANWIDTH": "80", "MANPAGER": "cat"})
        self.assertEqual((r.returncode, r.stderr), (0, ""))
        return re.sub(r".\x08|\x1b\[[0-9;]*m", "", r.stdout)

    @unittest.skipUnless(shutil.which("man"), "man is not installed")
    def test_man_renders_them_without_warnings(self):
        for name, page in self.pages():
            text = self.rendered(page)
            self.assertIn(f"{name} - ", text)
            shown = tables.say("help", *name.split("-")[1:])
            self.assertEqual(text.count("\\"), shown.count("\\"), name) # more would be what is left of an escape
            for section in ("SYNOPSIS", "EXAMPLES"):
                self.assertRegex(text, rf"(?m)^{section}$")

    @unittest.skipUnless(shutil.which("mandoc"), "mandoc is not installed")
    def test_mandoc_finds_nothing(self):
        for name, page in self.pages():
            r = subprocess.run(["mandoc", "-Tlint", "-Wwarning"], input=page, capture_output=True, text=True)
            # A date would make every build another; the version stands there instead.
            left = [line for line in r.stdout.splitlines() if "missing date" not in line]
            self.assertEqual(left, [], name)

    def test_every_option_is_there(self):
        for c in COMMANDS:
            page = tables.say("help", "--format", "man", *c.split()).replace("\\-", "-")
            found = set(re.findall(r"\\fB(-[-\w]+)\\fR", page.split(".SH OPTIONS")[1].split(".SH EXAMPLES")[0]))
            self.assertEqual(found, set(tables.options(c)), c)

    def test_every_command_is_there(self):
        page = tables.say("help", "--format", "man").replace("\\-", "-")
        self.assertEqual(re.findall(r"^\.BR accllm-(\S+) \(1\)$", page, re.M), [c.replace(" ", "-") for c in COMMANDS])

    def test_bad_usage(self):
        for args in (["--format"], ["--format", "html"], ["--format", "csh", "run"], ["--format", "bash", "run"]):
            self.fails(2, "help", *args, says="--format is man")
        self.fails(2, "help", "--format", "man", "rum", says="did you mean run?")


if __name__ == "__main__":
    main()
