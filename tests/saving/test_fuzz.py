"""Files that were mutated at random: clean errors, no crash, no hang, little memory.

`fuzz.py` makes and loads them in processes of their own, which this watches.
"""

import json
import os
import select
import subprocess
import sys
import time
from pathlib import Path

import pytest

FUZZ = Path(__file__).resolve().parent / "fuzz.py"
PATIENCE = 10.0  # seconds for one file
MEMORY = 1 << 30


def run(folder, seed, first, count):
    """Load ``count`` files; return (list of what went wrong, peak of the memory in bytes)."""
    wrong, peak, last = [], 0, first + count
    while first < last:
        command = [sys.executable, str(FUZZ), str(folder), str(seed), str(first), str(last - first)]
        env = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        with subprocess.Popen(command, env=env, cwd=folder, stdout=subprocess.PIPE) as process:
            lines, reason = watched(process)
        report = json.loads(lines[-1]) if lines and lines[-1].startswith("{") else None
        if report is not None:
            wrong += report["bad"] + [f"written: {name}" for name in report["others"]]
            peak = max(peak, report["peak_bytes"])
            break
        if not lines:
            raise AssertionError(f"the worker failed before it began: {reason}")
        first = int(lines[-1]) + 1
        wrong.append(f"{lines[-1]}: {reason}")
    return wrong, peak


def watched(process):
    """Return the lines of a process, and why it ended: its exit code or that it hung."""
    text, patience = b"", PATIENCE * 6  # it starts slowly
    deadline = time.monotonic() + patience
    while True:
        left = deadline - time.monotonic()
        ready = select.select([process.stdout], [], [], max(0, left))[0]
        if not ready:
            process.kill()
            return text.decode().splitlines(), "hung"
        block = os.read(process.stdout.fileno(), 1 << 16)
        if not block:
            return text.decode().splitlines(), f"exit code {process.wait()}"
        text += block
        deadline = time.monotonic() + PATIENCE


def check(folder, seed, first, count):
    wrong, peak = run(folder, seed, first, count)
    assert wrong == []
    assert peak < MEMORY
    assert set(os.listdir(folder)) <= {"m.h5"}


def test_mutated_files(tmp_path):
    check(tmp_path, 1, 0, 300)


@pytest.mark.slow
@pytest.mark.parametrize("first", range(0, 20_000, 2_500))
def test_twenty_thousand_mutated_files(first, tmp_path):
    check(tmp_path, 2, first, 2_500)
