"""Client libraries of other projects, which tests need: they are in .venv (scripts/setup)."""
import importlib
import os
import sys

PYTHON = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", "..", ".venv", "bin", "python"))


def need(what, option, *modules):
    """Goes on with .venv's Python where this one lacks a module; without them there the test program is skipped."""
    try:
        for name in modules:
            importlib.import_module(name)
    except ImportError:
        if sys.executable != PYTHON and os.path.exists(PYTHON):
            os.execv(PYTHON, [PYTHON, *sys.argv])
        print(f"1..0 # SKIP {what} not installed: scripts/setup {option}")
        sys.exit(77)
