"""How long the answers take that need no model: `--help`, `--version`, unknown names.

    python benchmarks/start.py

Each command is run in a process of its own, as a user does. The aims: 0.4 s for help, 1 s for a
name that means nothing.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import subprocess
import sys
import tempfile
import time

COMMANDS = {
    "--version": 0.4,
    "--help": 0.4,
    "compare --help": 0.4,
    "nosuch": 1.0,
    "compare nosuch gptq-4": 1.0,
    "compare pocket nosuch-4": 1.0,
    "perplexity nosuch": 1.0,
    "quantize nosuch out --recipe gptq-4": 1.0,
    "pack nosuch --out x.pack": 1.0,
    "study bits nosuch": 1.0,
    "check nosuch": 1.0,
    "report nosuch": 1.0,
}


def once(words: list[str], folder: str) -> tuple[float, float]:
    """Seconds on the clock and of the processor."""
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(
        [sys.executable, "-m", "bitloss", *words], cwd=folder, capture_output=True, check=False
    )
    taken, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    return taken, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    """Print medians."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    print(f"{'command':<38} clock    cpu    aim")
    with tempfile.TemporaryDirectory() as folder:
        for command, aim in COMMANDS.items():
            times = [once(command.split(), folder) for _ in range(rounds)]
            clock, cpu = (statistics.median(column) for column in zip(*times, strict=True))
            print(f"{command:<38} {clock:.2f} s {cpu:.2f} s {aim:.1f} s")


if __name__ == "__main__":
    main()
