"""The commands and their options, as the program's help shows them."""
import os
import re
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "cli"))
from common import ACCLLM


def say(*args):
    return subprocess.run([ACCLLM, *args], check=True, capture_output=True, text=True).stdout


def commands():
    """["compress", "eval ppl", ...]: the overview's, without help."""
    block = say("help").split("\n\n")[2]
    names = re.findall(r"^  ((?:eval )?[a-z]+) +\S", block, re.M)
    names.remove("help")
    assert {"compress", "serve", "eval ladder"} <= set(names), names
    return names


def options(command):
    """{"--kv": "BITS", "--json": None, ...} with -x for those that have a letter."""
    found = {}
    text = say("help", *command.split()).split("\noptions (defaults in parentheses):\n")[1].split("\nexamples:")[0]
    for letter, name, argument in re.findall(r"^  (?:(-\w), |    )(--[a-z0-9-]+)(?: ([A-Z]+))?(?:  |$)", text, re.M):
        found[name] = argument or None
        if letter:
            found[letter] = argument or None
    assert "--json" in found and "-h" in found, found
    return found
