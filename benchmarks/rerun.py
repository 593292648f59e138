"""Seconds that a user waits for what is already known: a finished run shown again, and the start.

    python benchmarks/rerun.py [--run RUN] [--rounds 5]

Timed are processes from their start to their end, wall clock and processor, medians. RUN is a
finished `bitloss demo` (made if it is not there); the aims are 2 s for showing it again, by the
same command or in other words, 0.4 s for `--help` and 1 s for a name that does not exist. The page
is drawn again as well, without anything remembered of it.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path

BITLOSS = (sys.executable, "-m", "bitloss")


def timed(*words: str) -> tuple[float, float]:
    """Seconds of one process: wall clock, processor."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    start = time.perf_counter()
    subprocess.run([*BITLOSS, *words], capture_output=True, check=False)
    wall = time.perf_counter() - start
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    spent = after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
    return wall, spent


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--run", type=Path, default=Path("runs/demo"))
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    demo, page = ("demo", "--out", str(arguments.run)), arguments.run / "again.html"
    timed(*demo)  # finished, and noted as such, from here on
    commands = {
        "the demonstration again": demo,
        "in other words": (*demo, "--quiet", "--json"),
        "the page drawn again": ("report", str(arguments.run), "--out", str(page)),
        "--help": ("--help",),
        "an unknown task": ("compare", "pocket", "gguf-q8_0", "--tasks", "no_such_task"),
    }
    print("| what | wall, s | processor, s |")
    print("|---|---|---|")
    for name, words in commands.items():
        walls, spent = zip(*(timed(*words) for _ in range(arguments.rounds)), strict=True)
        print(f"| {name} | {statistics.median(walls):.2f} | {statistics.median(spent):.2f} |")
    page.unlink(missing_ok=True)


if __name__ == "__main__":
    main()
