"""Completion in bash, zsh and fish: what is offered, and a Tab in a live shell."""
import os
import pty
import select
import shutil
import subprocess
import time
import unittest

import tables
from common import ACCLLM, Case, main

COMMANDS = tables.commands()
SECONDS = 60


def installed(shell):
    return unittest.skipUnless(shutil.which(shell), f"{shell} is not installed")


class Shell(Case):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        for shell, name in (("bash", "accllm.bash"), ("zsh", "_accllm"), ("fish", "accllm.fish")):
            with open(cls.path(name), "w", encoding="utf-8") as f:
                f.write(tables.say("help", "--format", shell))

    def said(self, *argv):
        r = subprocess.run(argv, capture_output=True, text=True, env=self.env, cwd=self.dir, timeout=SECONDS)
        self.assertEqual((r.returncode, r.stderr), (0, ""), argv)
        return r.stdout

    def type_into(self, shell, keys, expected):
        """Keys typed at a terminal that runs the shell; waits for the text that they lead to."""
        pid, fd = pty.fork()
        if pid == 0:
            os.chdir(self.dir)
            env = {**self.env, "TERM": "dumb", "HOME": self.dir, "PATH": os.path.dirname(ACCLLM) + ":" + os.environ["PATH"]}
            os.execvpe(shell[0], shell, env)
        out, end = b"", time.monotonic() + SECONDS
        try:
            os.write(fd, keys.encode())
            while expected not in out and time.monotonic() < end:
                if select.select([fd], [], [], 0.2)[0]:
                    out += os.read(fd, 65536)
        except OSError:
            pass # the shell ended
        finally:
            os.close(fd)
            os.waitpid(pid, 0)
        self.assertIn(expected, out)

    def bash(self, *lines):
        """For every line of words, the last of which is being typed, what is offered."""
        script = "source accllm.bash; declare -F _accllm >/dev/null || exit 9\n"
        for words in lines:
            quoted = " ".join(f"'{w}'" for w in words)
            script += f"COMP_WORDS=({quoted}); COMP_CWORD={len(words) - 1}; _accllm; echo \"${{COMPREPLY[*]}}\"\n"
        return [line.split() for line in self.said("bash", "--norc", "-c", script).splitlines()]

    def test_bash_offers_commands_and_options(self):
        first, measures = self.bash(["accllm", ""], ["accllm", "eval", ""])
        words = {c.split()[0] for c in COMMANDS}
        self.assertEqual(set(first), words | {"help", "--help", "--version"})
        self.assertEqual(set(measures), {c[5:] for c in COMMANDS if c.startswith("eval ")} | {"--help"})
        for c, offered in zip(COMMANDS, self.bash(*[["accllm", *c.split(), "-"] for c in COMMANDS])):
            self.assertEqual(set(offered), set(tables.options(c)), c)

    def test_bash_offers_values(self):
        os.makedirs(self.path("folder"), exist_ok=True)
        for words, expected in [
            (["accllm", "run", "--kv", ""], ["4", "8"]),
            (["accllm", "run", "--kv", "="], ["4", "8"]),
            (["accllm", "run", "--kv", "=", "8"], ["8"]),
            (["accllm", "run", "m.gguf", "--isa", "avx"], ["avx2", "avxvnni", "avx512"]),
            (["accllm", "eval", "ppl", "--bos", "o"], ["once"]),
            (["accllm", "serve", "--state-dir", "fo"], ["folder"]),
            (["accllm", "help", "--format", ""], ["man", "bash", "zsh", "fish"]),
            (["accllm", "run", ""], []), # files, by bash
            (["accllm", "run", "-p", "-"], []),
            (["accllm", "nonsense", "-"], []),
        ]:
            self.assertEqual(self.bash(words), [expected], words)

    def test_bash_completes_what_is_typed(self):
        self.type_into(["bash", "--norc", "--noprofile", "-i"], "source accllm.bash\naccllm he\t--for\t ma\tinsp\t\n",
                       b".TH ACCLLM\\-INSPECT 1")

    @installed("zsh")
    def test_zsh_completes_what_is_typed(self):
        self.said("zsh", "-n", "_accllm")
        self.type_into(["zsh", "-f", "-i"],
                       "fpath=($PWD $fpath); autoload -U compinit; compinit -D -u\naccllm insp\t--vers\t\n", b"accllm 0.")

    @installed("zsh")
    def test_zsh_knows_every_option(self):
        with open(self.path("_accllm"), encoding="utf-8") as f:
            script = f.read()
        for c in COMMANDS:
            part = script.split(f"    '{c}')\n")[1].split(";;")[0]
            for name in tables.options(c):
                self.assertRegex(part, rf"[ '{{,]\*?{name}[=+\[,}}]", c)

    @installed("fish")
    def test_fish_offers_commands_options_and_values(self):
        def offered(line):
            out = self.said("fish", "--no-config", "-c", f"source accllm.fish; complete -C '{line}'")
            return {x.split("\t")[0] for x in out.splitlines()}
        self.assertEqual(offered("accllm "), {c.split()[0] for c in COMMANDS} | {"help"})
        self.assertEqual(offered("accllm eval "), {c[5:] for c in COMMANDS if c.startswith("eval ")})
        for c in ("run", "serve", "eval ppl"):
            self.assertLessEqual({n for n in tables.options(c) if n.startswith("--")}, offered(f"accllm {c} --"), c)
        self.assertEqual(offered("accllm run --kv "), {"4", "8"})
        self.assertEqual(offered("accllm eval ppl --bos=o"), {"--bos=once"})


if __name__ == "__main__":
    main()
