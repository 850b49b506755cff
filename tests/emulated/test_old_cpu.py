"""The program on x86 processors below this one, played by QEMU's user-mode emulation: no illegal instruction, the kernel
set that belongs to the processor, and the bits that this machine computes."""
import os
import shutil
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "cli"))
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
                self.json("compress", self.source, packed, "--weights", weights, "--method", "rtn",
                          "--calib-tokens", "4096")
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


common.main()
