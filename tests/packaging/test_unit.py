"""The systemd unit: systemd's own checks of it, and that it starts the program with options that it has."""
import os
import re
import shutil
import subprocess
import unittest

import tables
from common import ACCLLM, Case, main

UNIT = os.path.join(os.path.dirname(ACCLLM), "..", "..", "packaging", "accllm@.service")


@unittest.skipUnless(os.path.exists(UNIT), "the build has no unit")
class Unit(Case):
    def instance(self):
        """The unit as an instance of this build's program."""
        with open(UNIT, encoding="utf-8") as f:
            text = re.sub(r"^ExecStart=\S+", f"ExecStart={ACCLLM}", f.read(), flags=re.M)
        with open(self.path("accllm@x.service"), "w", encoding="utf-8") as f:
            f.write(text)
        return self.path("accllm@x.service")

    def analyze(self, *args):
        r = subprocess.run(["systemd-analyze", *args, self.instance()], capture_output=True, text=True, timeout=60)
        return r.returncode, r.stdout + r.stderr

    @unittest.skipUnless(shutil.which("systemd-analyze"), "systemd is not installed")
    def test_systemd_understands_every_line(self):
        self.assertEqual(self.analyze("verify", "--man=no"), (0, ""))

    @unittest.skipUnless(shutil.which("systemd-analyze"), "systemd is not installed")
    def test_the_sandbox_stays_tight(self):
        code, out = self.analyze("security", "--offline=true", "--threshold=15", "--no-pager")
        self.assertEqual(code, 0, out)

    def test_its_options_are_serves(self):
        with open(UNIT, encoding="utf-8") as f:
            start = re.search(r"^ExecStart=\S+/accllm serve (.*)$", f.read(), re.M).group(1)
        used = set(re.findall(r"--[a-z-]+", start))
        self.assertLessEqual(used, set(tables.options("serve")))
        self.assertIn("--state-dir", used)


if __name__ == "__main__":
    main()
