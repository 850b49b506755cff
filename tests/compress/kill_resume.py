#!/usr/bin/env python3
"""Kills the compressor (SIGKILL) at random moments, resumes, and wants the bytes of an undisturbed run.

kill_resume.py DRIVER [ROUNDS] [SOURCE]   without SOURCE: a tiny random checkpoint"""
import hashlib
import os
import random
import subprocess
import sys
import tempfile
import time


def digest(path):
    with open(path, "rb") as f:
        return hashlib.sha256(f.read()).hexdigest()


def start(driver, source, out, *extra):
    return subprocess.Popen([driver, source, out, "--quiet", "--weights", "w2s", "-t", "2",
                             "--calib-tokens", "3000", *extra],
                            stdout=subprocess.DEVNULL)


def undisturbed(driver, source, out):
    begin = time.monotonic()
    if start(driver, source, out).wait() != 0:
        sys.exit("the undisturbed run failed")
    return digest(out), time.monotonic() - begin


def one_round(driver, source, out, seconds, rng):
    """Starts afresh, kills one to three times, then lets a resumed run finish. Returns how often it was killed."""
    kills, resume = 0, []
    for _ in range(rng.randint(1, 3)):
        p = start(driver, source, out, *resume)
        try:
            p.wait(timeout=rng.uniform(0, seconds))
            break  # it was done before its time came
        except subprocess.TimeoutExpired:
            p.kill()
            p.wait()
            kills += 1
        resume = ["--resume"]
    if start(driver, source, out, "--resume").wait() != 0:
        sys.exit("a resumed run failed")
    return kills


def main():
    driver = sys.argv[1]
    rounds = int(sys.argv[2]) if len(sys.argv) > 2 else 10
    rng = random.Random(20240607)
    with tempfile.TemporaryDirectory() as folder:
        source, out = os.path.join(folder, "src.gguf"), os.path.join(folder, "out.gguf")
        if len(sys.argv) > 3:
            source = sys.argv[3]
        else:
            subprocess.run([driver, "--tiny", source], check=True)
        want, seconds = undisturbed(driver, source, out)
        kills = 0
        for i in range(rounds):
            os.unlink(out)
            kills += one_round(driver, source, out, seconds, rng)
            if digest(out) != want:
                sys.exit(f"round {i}: the resumed output differs")
            left = sorted(os.listdir(folder))
            if [n for n in left if n.endswith((".work", ".part"))]:
                sys.exit(f"round {i}: left behind: {left}")
        print(f"{rounds} rounds, {kills} kills in runs of {seconds:.1f} s: the same bytes each time")
        if kills < rounds // 2:
            sys.exit("too few kills to tell anything")


main()
