#!/usr/bin/env python3
"""Kills `accllm compress` (SIGKILL) at random moments, resumes, and wants the bytes of an undisturbed run.

kill_resume.py ACCLLM MAKE_TINY [ROUNDS] [SOURCE]   without SOURCE: a tiny random checkpoint"""
import hashlib
import json
import os
import random
import subprocess
import sys
import tempfile
import time

ACCLLM, MAKE_TINY = sys.argv[1:3]


def digest(path):
    with open(path, "rb") as f:
        return hashlib.sha256(f.read()).hexdigest()


def command(source, out, *more):
    return [ACCLLM, "compress", source, out, "--weights", "w2s", "-t", "2", "--calib-tokens", "3000", *more]


def finish(source, out, *more):
    """Runs to the end; returns how many layers it took over from an interrupted run."""
    r = subprocess.run(command(source, out, "--json", *more), capture_output=True, text=True, check=False)
    if r.returncode != 0:
        sys.exit(f"{' '.join(r.args)}: exit {r.returncode}: {r.stderr}")
    return json.loads(r.stdout)["resumed_layers"]


def undisturbed(source, out):
    begin = time.monotonic()
    finish(source, out)
    return digest(out), time.monotonic() - begin


def one_round(source, out, seconds, rng):
    """Starts afresh, kills one to three times, then lets a resumed run finish. Returns how often it was killed and how
    many layers that run took over."""
    kills, resume = 0, []
    for _ in range(rng.randint(1, 3)):
        p = subprocess.Popen(command(source, out, *resume), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            p.wait(timeout=rng.uniform(0, seconds))
            break  # it was done before its time came
        except subprocess.TimeoutExpired:
            p.kill()
            p.wait()
            kills += 1
        resume = ["--resume"]
    return kills, finish(source, out, "--resume")


def main():
    rounds = int(sys.argv[3]) if len(sys.argv) > 3 else 10
    rng = random.Random(20240607)
    with tempfile.TemporaryDirectory() as folder:
        source, out = os.path.join(folder, "src.gguf"), os.path.join(folder, "out.gguf")
        if len(sys.argv) > 4:
            source = sys.argv[4]
        else:
            subprocess.run([MAKE_TINY, source, "layers=6", "heads=8", "ff=512"], check=True)
        want, seconds = undisturbed(source, out)
        kills = resumed = 0
        for i in range(rounds):
            os.unlink(out)
            k, layers = one_round(source, out, seconds, rng)
            kills, resumed = kills + k, resumed + layers
            if digest(out) != want:
                sys.exit(f"round {i}: the resumed output differs")
            left = sorted(os.listdir(folder))
            if [n for n in left if n.endswith((".work", ".part"))]:
                sys.exit(f"round {i}: left behind: {left}")
        print(f"{rounds} rounds, {kills} kills in runs of {seconds:.1f} s, {resumed} layers taken over: the same bytes each time")
        if kills < rounds // 2 or resumed == 0:
            sys.exit("too few kills to tell anything")


main()
