"""What `meson install` puts where, and that a program of somebody else builds and runs with it."""
import glob
import json
import os
import shlex
import shutil
import subprocess
import unittest

import tables
from common import ACCLLM, Case, main

BUILD = os.path.abspath(os.path.join(os.path.dirname(ACCLLM), "..", ".."))
DOCS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../docs")


def build_options():
    r = subprocess.run(["meson", "introspect", BUILD, "--buildoptions"], check=True, capture_output=True, text=True)
    return {o["name"]: o["value"] for o in json.loads(r.stdout)}


class Install(Case):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        o = build_options()
        cls.prefix, cls.libdir, cls.models = o["prefix"], o["libdir"], o["models"]
        subprocess.run(["meson", "install", "-C", BUILD, "--no-rebuild", "--quiet", "--destdir", cls.path("root")], check=True,
                       capture_output=True)
        cls.root = cls.path("root") + cls.prefix
        cls.model = cls.tiny("source.gguf")

    def names(self, folder, under=""):
        return sorted(os.listdir(os.path.join(self.root, folder, under)))

    def flags(self, *args):
        r = subprocess.run(["pkg-config", f"--define-variable=prefix={self.root}", *args, "accllm"], check=True,
                           capture_output=True, text=True,
                           env={**self.env, "PKG_CONFIG_PATH": os.path.join(self.root, self.libdir, "pkgconfig")})
        return shlex.split(r.stdout)

    def compiled(self, name, *flags):
        source = os.path.join(self.root, "share/doc/accllm/examples", name + ".c")
        out = self.path(name)
        subprocess.run(["cc", "-std=c11", "-Wall", "-Wextra", "-Werror", source, "-o", out, *flags], check=True, cwd=self.dir)
        return out

    def generated(self, program):
        r = subprocess.run([program, self.model, "Once upon", "12"], capture_output=True, text=True, timeout=120,
                           env={**self.env, "LD_LIBRARY_PATH": os.path.join(self.root, self.libdir)})
        self.assertEqual(r.returncode, 0, r.stderr)
        self.assertTrue(r.stdout.strip())
        return r.stdout

    def test_layout(self):
        top = sorted(f"{a}/{b}" for a in os.listdir(self.root) for b in os.listdir(os.path.join(self.root, a))
                     if a not in self.libdir.split("/"))
        self.assertEqual(top, ["bin/accllm", "include/accllm", *["share/accllm"] * self.models, "share/bash-completion",
                               "share/doc", "share/fish", "share/man", "share/zsh"])
        self.assertEqual(self.names("include/accllm"), sorted(
            os.path.basename(f) for f in glob.glob(os.path.join(os.path.dirname(__file__), "../../include/accllm/*.h"))))
        pages = ["accllm.1"] + ["accllm-" + c.replace(" ", "-") + ".1" for c in tables.commands()]
        self.assertEqual(self.names("share/man/man1"), sorted(pages))
        self.assertEqual(self.names("share/bash-completion/completions"), ["accllm"])
        self.assertEqual(self.names("share/zsh/site-functions"), ["_accllm"])
        self.assertEqual(self.names("share/fish/vendor_completions.d"), ["accllm.fish"])
        self.assertEqual(self.names("share/doc/accllm"), ["CHANGELOG.md", "LICENSE", "README.md", "docs", "examples",
                                                                *["models"] * self.models])
        self.assertEqual(self.names("share/doc/accllm/docs"), sorted(os.listdir(DOCS)))
        self.assertEqual(self.names("lib/systemd/system"), ["accllm@.service"])

    def test_pages_and_completions_are_the_programs(self):
        for path, args in (("share/man/man1/accllm-eval-kl.1", ["man", "eval", "kl"]),
                           ("share/bash-completion/completions/accllm", ["bash"]),
                           ("share/zsh/site-functions/_accllm", ["zsh"]),
                           ("share/fish/vendor_completions.d/accllm.fish", ["fish"])):
            with open(os.path.join(self.root, path), encoding="utf-8") as f:
                self.assertEqual(f.read(), tables.say("help", "--format", *args))

    def test_the_program_runs_where_it_is_installed(self):
        program = os.path.join(self.root, "bin/accllm")
        ours = self.json("run", self.model, "-p", "Once upon", "-n", "12", "--temp", "0", "--ignore-eos")
        theirs = self.json("run", self.model, "-p", "Once upon", "-n", "12", "--temp", "0", "--ignore-eos", program=[program])
        self.assertEqual(theirs["ids"], ours["ids"])
        self.assertEqual(len(ours["ids"]), 12)

    def test_the_unit_names_the_installed_program(self):
        with open(os.path.join(self.root, "lib/systemd/system/accllm@.service"), encoding="utf-8") as f:
            unit = f.read()
        self.assertIn(f"\nExecStart={self.prefix}/bin/accllm serve ", unit)
        self.assertIn(f"\nEnvironment=MODEL={self.prefix}/share/accllm/models/%i.gguf\n", unit)
        self.assertNotIn("@bindir@", unit)

    @unittest.skipUnless(shutil.which("pkg-config"), "pkg-config is not installed")
    def test_a_program_builds_with_the_shared_library_and_with_the_static_one(self):
        flags = self.flags("--cflags", "--libs")
        for name in self.names("share/doc/accllm/examples"):
            self.compiled(name.removesuffix(".c"), *flags)
        shared = self.path("generate")
        text = self.generated(shared)
        needed = subprocess.run(["objdump", "-p", shared], check=True, capture_output=True, text=True).stdout
        self.assertIn("NEEDED               libaccllm.so.0\n", needed)
        flags = ["-l:libaccllm.a" if f == "-laccllm" else f for f in self.flags("--cflags", "--libs", "--static")]
        static = self.compiled("generate", *flags)
        needed = subprocess.run(["objdump", "-p", static], check=True, capture_output=True, text=True).stdout
        self.assertNotIn("libaccllm", needed)
        self.assertEqual(self.generated(static), text)

    def test_the_shared_library_shows_its_interface_alone(self):
        library = os.path.join(self.root, self.libdir, "libaccllm.so.0")
        out = subprocess.run(["nm", "-D", "--defined-only", library], check=True, capture_output=True, text=True).stdout
        names = {line.split()[-1] for line in out.splitlines()}
        self.assertEqual({n for n in names if not n.startswith("accllm_")}, set())
        self.assertLessEqual({"accllm_version", "accllm_server_run"}, names)


if __name__ == "__main__":
    main()
