"""Processor seconds that tests take, by file and by test, with the processes that they start.

    python benchmarks/suite_costs.py [--workers N] [--rows N] [PATH ...]

Seconds on a clock say what else the machine did; these add up to what the whole suite costs.
A process counts where it is waited for, so one that several tests use counts at the last of them.
Each worker of pytest-xdist also reads all tests and imports what they import: `reading`.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

FOLDER = "BITLOSS_TEST_COSTS"


def spent() -> float:
    """Processor seconds of this process and of those that it has waited for."""
    parts = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(part.ru_utime + part.ru_stime for part in parts)


def note(name: str, before: float) -> None:
    """Write down what was spent since."""
    with Path(os.environ[FOLDER], f"{os.getpid()}.jsonl").open("a") as file:
        file.write(json.dumps([name, spent() - before]) + "\n")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: Any) -> Generator[None, Any, Any]:
    """A test, with the fixtures that are made for it."""
    before = spent()
    try:
        return (yield)
    finally:
        note(item.nodeid, before)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, Any, Any]:
    """Reading the tests."""
    before = spent()
    try:
        return (yield)
    finally:
        note("reading", before)


def main() -> int:
    """Run pytest with this file as a plugin, and print the sums."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("paths", nargs="*", default=["tests"])
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--rows", type=int, default=25)
    chosen = parser.parse_args()
    here = Path(__file__).resolve()
    paths = os.pathsep.join([str(here.parents[1] / "src"), str(here.parent)])
    with tempfile.TemporaryDirectory() as folder:
        before = spent()
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-p", here.stem, "-n", str(chosen.workers),
             "--dist", "worksteal", *chosen.paths],
            cwd=here.parents[1], env={**os.environ, "PYTHONPATH": paths, FOLDER: folder},
            check=False,
        )  # fmt: skip
        total = spent() - before
        tests: dict[str, float] = defaultdict(float)
        for file in Path(folder).glob("*.jsonl"):
            for line in file.read_text().splitlines():
                name, seconds = json.loads(line)
                tests[name] += seconds
    files: dict[str, float] = defaultdict(float)
    for name, seconds in tests.items():
        files[name.partition("::")[0]] += seconds
    for sums in (files, tests):
        print()
        for name, seconds in sorted(sums.items(), key=lambda one: -one[1])[: chosen.rows]:
            print(f"{seconds:8.1f} s  {name}")
    print(f"\n{total:8.1f} s of the processor in all")
    return done.returncode


if __name__ == "__main__":
    sys.exit(main())
