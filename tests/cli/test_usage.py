"""Help, version, bad usage: exit codes and messages. Needs no model."""
import unittest

import common
from common import Case

COMMANDS = ["compress", "run", "chat", "eval ppl", "eval kl", "eval tasks", "eval ladder", "bench", "inspect", "tokenize", "export", "serve"]


class Help(Case):
    def test_overview_lists_every_command(self):
        for args in (["help"], ["--help"], ["-h"]):
            out, err = self.run_it(*args)
            self.assertEqual(err, "")
            for c in COMMANDS:
                self.assertIn(c, out)
            for later in ("sim",):
                self.assertNotIn(later, out)

    def test_every_command_explains_itself(self):
        for c in COMMANDS:
            texts = {self.run_it(*c.split(), "--help")[0], self.run_it("help", *c.split())[0],
                     self.run_it(*c.split(), "-h")[0]}
            self.assertEqual(len(texts), 1)
            text = texts.pop()
            self.assertIn(f"usage: accllm {c} ", text)
            self.assertIn("examples:", text)
            self.assertIn("--json", text)
            self.assertLessEqual(max(map(len, text.splitlines())), 120)
            self.assertEqual("--grammar-file" in text, c == "run")

    def test_eval_help_shows_both(self):
        out, _ = self.run_it("eval", "--help")
        self.assertIn("accllm eval ppl", out)
        self.assertIn("accllm eval kl", out)
        self.assertIn("accllm eval tasks", out)

    def test_version(self):
        out, _ = self.run_it("--version")
        self.assertRegex(out, r"^accllm \d+\.\d+\.\d+\n$")
        self.assertEqual(self.run_it("run", "--version")[0], out)


class BadUsage(Case):
    def test_messages(self):
        for args, says in [
            ([], "needs a command"),
            (["rum"], "did you mean run?"),
            (["nonsense"], "unknown command nonsense"),
            (["--frob"], "unknown option --frob"),
            (["eval"], "needs ppl, kl, tasks or ladder"),
            (["eval", "pp"], "did you mean eval ppl?"),
            (["help", "rum"], "did you mean run?"),
            (["run", "--tmep", "1"], "did you mean --temp?"),
            (["run", "-q"], "unknown option -q"),
            (["run", "-p"], "-p needs a value"),
            (["run", "--prompt"], "--prompt needs a value"),
            (["run", "--json=yes"], "--json takes no value"),
            (["inspect", "--temp", "1"], "has no option --temp"),
            (["run"], "needs a model file"),
            (["run", "m"], "needs -p TEXT or -f FILE"),
            (["run", "m", "-p", "a", "-f", "b"], "not both"),
            (["run", "m", "extra", "-p", "a"], "unexpected argument extra"),
            (["run", "m", "-m", "n", "-p", "a"], "unexpected argument m"),
            (["run", "m", "-p", "a", "--pin-system"], "--pin-system needs --chat"),
            (["run", "m", "-p", "a", "--system", "s"], "--system needs --chat"),
            (["run", "m", "-p", "a", "--ctx", "64"], "--ctx: goes with --full-attention"),
            (["tokenize", "a", "b", "c"], "unexpected argument c"),
            (["compress", "a"], "needs the source and the file to write"),
            (["export", "a"], "needs the file to write"),
            (["eval", "ppl", "m"], "needs --text FILE"),
            (["eval", "kl", "m", "--text", "t"], "needs --ref MODEL2"),
            (["eval", "ladder", "m", "--text", "t"], "needs --ref SRC"),
            (["eval", "ladder", "m", "--ref", "s"], "needs --ref SRC and --text FILE"),
            (["eval", "ladder", "m", "--full-attention"], "has no option --full-attention"),
            (["eval", "tasks"], "needs a model file"),
            (["eval", "tasks", "m"], "needs --task FILE"),
            (["eval", "tasks", "m", "--task", "f", "--type", "essay"], "must be one of auto|choice"),
            (["eval", "tasks", "m", "--task", "f", "--limit", "0"], "must be 1 to"),
            (["compress", "a", "b", "c"], "unexpected argument c"),
            (["bench"], "needs a model file"),
            (["bench", "m", "--shape", "llama2-7b"], "not both"),
            (["bench", "m", "--weights", "w4"], "go with --shape"),
        ]:
            self.fails(2, *args, says=says)

    def test_values(self):
        for args, says in [
            (["run", "--temp", "x"], "not a number"),
            (["run", "--temp", "nan"], "must be"),
            (["run", "--temp=-1"], "must be 0 to"),
            (["run", "--top-p", "1.5"], "must be 0 to 1"),
            (["run", "-n", "1e3"], "not a whole number"),
            (["run", "-n", "-2"], "must be -1 to"),
            (["run", "-n", "99999999999999999999"], "must be"),
            (["run", "-n", ""], "not a whole number"),
            (["run", "--seed=-3"], "must be 0 to"),
            (["run", "--stop", ""], "must not be empty"),
            (["run", "-t", "0"], "must be 1 to"),
            (["run", "--window", "0"], "must be 1 to"),
            (["run", "--kv", "5"], "must be one of 4|8"),
            (["run", "--numerics", "double"], "must be one of contract|float"),
            (["compress", "a", "b", "--group", "50"], "must be one of 32|64|128"),
            (["compress", "a", "b", "--page", "48"], "must be a power of two"),
            (["compress", "a", "b", "--weights", "w3"], "must be one of"),
            (["compress", "a", "b", "--recover", "half"], "must be one of off|full"),
            (["bench", "--shape", "llama"], "must be one of llama2-7b"),
            (["bench", "m", "-r", "0"], "must be 1 to"),
            (["bench", "m", "-r", "1001"], "must be 1 to 1000"),
        ]:
            self.fails(2, *args, says=says)

    def test_a_target_size_chooses_the_formats(self):
        for target in ("--target-bpw", "--target-size"):
            self.fails(2, "compress", "a", "b", target, "3", "--weights", "w4", says="choose the formats themselves")
            self.fails(2, "compress", "a", "b", target, "3", "--method", "rtn", says="need obs")

    def test_recovery_from_a_file_keeps_its_formats(self):
        for more in (["--weights", "w4"], ["--group", "64"], ["--target-bpw", "3"]):
            self.fails(2, "compress", "a", "b", "--recover", "full", "--recover-from", "c", *more, says="formats are kept")

    def test_an_instruction_set_that_is_not_there(self):
        for args, env in ((["--isa", "mmx"], None), ([], {"ACCLLM_ISA": "mmx"})):
            self.fails(2, "run", "m", "-p", "a", *args, says="mmx", env=env)

    def test_what_belongs_to_later_versions(self):
        for args in (["sim"], ["help", "sim"]):
            self.fails(2, *args, says="not available in this version")


if __name__ == "__main__":
    common.main()
