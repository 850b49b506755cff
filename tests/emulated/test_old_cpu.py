"""The program on x86 processors below this one, played by QEMU's user-mode emulation: no illegal instruction, the kernel
set that belongs to the processor, and the bits that this machine computes."""
import os
import shutil
import subprocess
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "cli"))
KERNELS = os.path.abspath(sys.argv[3])
del sys.argv[3]
import common
from common import ACCLLM, Case

QEMU = shutil.which("qemu-x86_64-static")


@unittest.skipUnless(QEMU, "qemu-x86_64-static is not installed")
class OldCpu(Case):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.source = cls.tiny("m.gguf")

    def check_program(self, cpu, isa):
        for weights in ("w2s", "w4"):
            packed = self.path(weights + ".gguf")
            if not os.path.exists(packed):
                self.json("compress", self.source, packed, "--weights", weights, "--method", "rtn")
            run = ("run", packed, "-p", "once upon a time", "-n", "4", "--ignore-eos", "--seed", "1", "-t", "2")
            here, there = self.json(*run), self.json(*run, program=(QEMU, "-cpu", cpu, ACCLLM))
            self.assertEqual(there["isa"], isa)
            self.assertEqual((there["trace_hash"], there["ids"]), (here["trace_hash"], here["ids"]))

    def test_without_avx(self):
        self.check_program("Nehalem", "scalar")

    def test_without_avx2(self):
        self.check_program("IvyBridge", "scalar")

    def test_with_avx2(self):
        self.check_program("Haswell", "avx2")

    def test_the_avx2_kernels(self):
        env = {**self.env, "ACCLLM_SEED": "1", "CMOCKA_MESSAGE_OUTPUT": "TAP"}
        r = subprocess.run((QEMU, "-cpu", "Haswell", KERNELS, "avx2 *"), capture_output=True, text=True, timeout=500, env=env)
        self.assertEqual(r.returncode, 0, r.stdout + r.stderr)
        self.assertIn("ok 1 - avx2 matvec\n", r.stdout)
        self.assertNotIn("# SKIP", r.stdout)


common.main()
