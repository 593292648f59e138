"""Seconds to analyse a large run, and to show a finished one again.

    python benchmarks/analysis.py [RUN] [--rounds 3]

Without RUN a run is made up: a reference and seven variants, a corpus of 300,000 scored tokens and
ten tasks of 1,000 items, written by the run directory's own writer. RUN is the directory of a
finished run, which is copied first. Timed are

analyse   reading and analysing the records (`collect`) and writing ``comparison.json``, in this
          process, after the imports
report    `bitloss report RUN` as a user types it: a process of its own, imports and page included
again     the run's own command a second time (``--again``, with RUN)

Each has seconds on the clock and seconds of processor (user and system): on a machine that does
something else beside it, only the latter says something. The digest is that of the result, with
which two versions are compared. Aims: analyse 10 s, report 2 s.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from bitloss.analysis.collect import collect
from bitloss.runner import RunStore
from made_up_run import write_run


def seconds(work: Callable[[], object]) -> tuple[float, float]:
    """On the clock, and of processor: this process and the children that it waited for."""
    clock, before = time.perf_counter(), os.times()
    work()
    after = os.times()
    return time.perf_counter() - clock, sum(after[:4]) - sum(before[:4])


def analyse(folder: Path) -> None:
    store = RunStore(folder)
    collect(store, store.read_manifest()).write(folder / "comparison.json")


def bitloss(*words: str) -> None:
    subprocess.run(
        [sys.executable, "-m", "bitloss", *words], check=True, stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("run", nargs="?", type=Path, metavar="RUN")
    parser.add_argument("--variants", type=int, default=7)
    parser.add_argument("--tokens", type=int, default=300_000)
    parser.add_argument("--items", type=int, default=1000, help="of each of ten tasks")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--again", action="store_true", help="repeat RUN's own command too")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary, "run")
        if arguments.run is None:
            write_run(
                RunStore(folder), variants=arguments.variants, tokens=arguments.tokens,
                items=arguments.items,
            )  # fmt: skip
        else:
            shutil.copytree(arguments.run, folder)
        timed: dict[str, Callable[[], object]] = {
            "analyse": lambda: analyse(folder),
            "report": lambda: bitloss("report", str(folder)),
        }
        if arguments.again:
            words = shlex.split(RunStore(arguments.run).read_manifest().environment.command)[1:]
            timed["again"] = lambda: bitloss(*words)
        print("| | clock, s | processor, s |\n|---|---|---|")
        for name, work in timed.items():
            clock, processor = zip(*(seconds(work) for _ in range(arguments.rounds)), strict=True)
            middle = arguments.rounds // 2
            print(f"| {name} | {sorted(clock)[middle]:.1f} | {sorted(processor)[middle]:.1f} |")
        result = (folder / "comparison.json").read_bytes()
        digest = hashlib.sha256(result).hexdigest()[:16]
        print(f"\ncomparison.json: {len(result):,} bytes, {digest}")


if __name__ == "__main__":
    main()
