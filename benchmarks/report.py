"""Seconds to analyse and draw a large run, and how large its page becomes.

    python benchmarks/report.py

The run is made up: eight variants, a corpus of 300,000 scored tokens in windows of 512, ten tasks
of 1,000 items with questions and answers of the usual lengths. Timed are what `bitloss report`
does: reading and analysing the records (`collect`), then the page. The page of a second run of as
many items, with long answers, shows where the page stops growing.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np

from bitloss.analysis.collect import collect
from bitloss.reports.details import read_details
from bitloss.reports.page import write_page
from bitloss.runner import RunStore
from made_up_run import write_run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--variants", type=int, default=8)
    parser.add_argument("--tokens", type=int, default=300_000)
    parser.add_argument("--items", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    print("| answers, characters | analyse, s | page, s | first page, s | page, MB |")
    print("|---|---|---|---|---|")
    for answer in (100, 2000):
        with tempfile.TemporaryDirectory() as folder:
            store = RunStore(Path(folder))
            write_run(
                store, variants=arguments.variants, tokens=arguments.tokens,
                items=arguments.items, answer=answer,
            )  # fmt: skip
            analysed, drawn = [], []
            for _ in range(arguments.rounds):
                start = time.perf_counter()
                manifest = store.read_manifest()
                result = collect(store, manifest)
                middle = time.perf_counter()
                page = write_page(result, read_details(store, manifest), Path(folder, "r.html"))
                analysed.append(middle - start)
                drawn.append(time.perf_counter() - middle)
            size = page.stat().st_size / 1e6
        figures = (np.median(analysed), np.median(drawn), drawn[0], size)
        print(f"| {answer} | {' | '.join(f'{value:.1f}' for value in figures)} |", flush=True)


if __name__ == "__main__":
    main()
