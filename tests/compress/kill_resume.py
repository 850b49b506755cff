#!/usr/bin/env python3
"""Kills `accllm compress` at random moments, resumes, and wants the bytes of an undisturbed run.

kill_resume.py ACCLLM MAKE_TINY [--rounds N] [--kills N] [--source FILE] [--signal term] [--options="--weights w2 ..."]
without --source: a tiny random checkpoint; options are for compress. A round is one run, killed --kills times (without it: one to
three times) before it may end. SIGTERM lets recovery training write a checkpoint first, SIGKILL does not."""
import argparse
import hashlib
import json
import os
import random
import shlex
import signal
import subprocess
import sys
import tempfile
import time


def digest(path):
    with open(path, "rb") as f:
        return hashlib.sha256(f.read()).hexdigest()


def arguments():
    a = argparse.ArgumentParser(description=__doc__)
    a.add_argument("accllm")
    a.add_argument("make_tiny")
    a.add_argument("--rounds", type=int, default=10)
    a.add_argument("--kills", type=int)
    a.add_argument("--source")
    a.add_argument("--signal", choices=["kill", "term"], default="kill")
    a.add_argument("--options", default="--weights w2s -t 2 --calib-tokens 3000")
    return a.parse_args()


def finish(words):
    """Runs to the end; returns how many layers it took over from an interrupted run."""
    r = subprocess.run([*words, "--json"], capture_output=True, text=True, check=False)
    if r.returncode != 0:
        sys.exit(f"{' '.join(r.args)}: exit {r.returncode}: {r.stderr}")
    return json.loads(r.stdout)["resumed_layers"]


def one_round(words, number, longest, wanted, rng):
    """Starts afresh, kills `wanted` times, each within `longest` seconds, then lets a resumed run finish. Returns how often
    it was killed and how many layers that run took over."""
    kills, resume = 0, []
    for _ in range(wanted):
        p = subprocess.Popen([*words, *resume], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            p.wait(timeout=rng.uniform(0, longest))
            break  # it was done before its time came
        except subprocess.TimeoutExpired:
            p.send_signal(number)
            p.wait()
            kills += 1
        resume = ["--resume"]
    return kills, finish([*words, "--resume"])


def main():
    args = arguments()
    number = signal.SIGKILL if args.signal == "kill" else signal.SIGTERM
    rng = random.Random(20240607)
    with tempfile.TemporaryDirectory() as folder:
        source, out = args.source or os.path.join(folder, "src.gguf"), os.path.join(folder, "out.gguf")
        if not args.source:
            subprocess.run([args.make_tiny, source, "layers=6", "heads=8", "ff=512"], check=True)
        words = [args.accllm, "compress", source, out, *shlex.split(args.options)]
        begin = time.monotonic()
        finish(words)
        want, seconds = digest(out), time.monotonic() - begin
        kills = resumed = 0
        for i in range(args.rounds):
            os.unlink(out)
            wanted = args.kills or rng.randint(1, 3)
            k, layers = one_round(words, number, 2 * seconds / (args.kills + 1) if args.kills else seconds, wanted, rng)
            kills, resumed = kills + k, resumed + layers
            if digest(out) != want:
                sys.exit(f"round {i}: the resumed output differs")
            left = sorted(os.listdir(folder))
            if [n for n in left if n.endswith((".work", ".part"))]:
                sys.exit(f"round {i}: left behind: {left}")
        print(f"{args.rounds} rounds, {kills} kills in runs of {seconds:.1f} s, {resumed} layers taken over: the same bytes each time")
        if kills < args.rounds // 2 or resumed == 0:
            sys.exit("too few kills to tell anything")


main()
