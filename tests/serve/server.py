"""A live server for tests: accllm serve on a free port of this machine, over models/tiny or a random model that knows
ChatML."""
import os
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "cli"))
FOLDER = os.path.abspath(sys.argv[3])
del sys.argv[3]
import common
from common import ACCLLM, MAKE_TINY
from live import KEYS, Server

Server.program = ACCLLM
PROMPT = "There was once a king who"


class Models:
    """Compressed once for a whole test program."""

    def __init__(self):
        self.folder = tempfile.TemporaryDirectory(prefix="accllm-serve-")
        self.tiny = self.compress(os.path.join(FOLDER, "tiny.gguf"), "tiny-w8.gguf")
        source = self.path("chat.gguf")
        subprocess.run([MAKE_TINY, source, "vocab=300", "ctx=512"], check=True)
        self.chat = self.compress(source, "chat-w8.gguf")

    def path(self, name):
        return os.path.join(self.folder.name, name)

    def compress(self, source, name):
        out = self.path(name)
        subprocess.run([ACCLLM, "compress", source, out, "--weights", "w8", "--method", "rtn", "--calib-tokens", "512",
                        "-t", "1"], check=True, capture_output=True)
        return out
