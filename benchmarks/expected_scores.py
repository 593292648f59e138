"""Where the expected score stands for the score, and with how much less variance.

Of every task and variant of finished runs: the points that the score lost and those that the
expected score lost (`bitloss.analysis.expected_scores`), each with its standard error over the
items; how many times the variance of the first is that of the second; and whether the two part,
their difference being more than three of its own standard errors (paired by items).

With `--coverage`, items of each task are drawn from the run's own, with replacement, and the
product's interval of the expected loss is held against the mean over all of them.

    python benchmarks/expected_scores.py RUN... [--coverage REPEATS]

RUN is the directory of a finished `bitloss compare` with tasks.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bitloss.analysis.expected_scores import expected_scores, stands_for_score
from bitloss.analysis.task_items import TaskItems, read_items
from bitloss.metrics.paired import mean_shift
from bitloss.results.manifest import Manifest
from bitloss.runner import RunStore

Floats = NDArray[np.float64]

PARTS = 3.0  # standard errors
SIZES = (50, 200, 1000)


@dataclass(frozen=True)
class Cell:
    """One variant on one task: losses item by item."""

    task: str
    variant: str
    stands: bool
    score: Floats
    expected: Floats

    @property
    def parts(self) -> bool:
        """Whether score and expected score are shown to differ."""
        apart = self.score - self.expected
        return bool(abs(apart.mean()) > PARTS * error(apart))


def error(values: Floats) -> float:
    return float(values.std(ddof=1) / np.sqrt(len(values)))


def cells(folder: Path) -> Iterator[Cell]:
    store = RunStore(folder)
    manifest = Manifest.from_json((folder / "manifest.json").read_text(), name=str(folder))
    for task, entry in manifest.tasks.items():
        reference = read_items(store, entry, manifest.reference.name)
        first = reference.metrics[0]
        stands = stands_for_score(reference)
        known = has_answer(reference)
        own = 100 * reference.score(first)[known].mean()
        likely = 100 * expected_scores(reference)[known].mean()
        word = "stands" if stands else "does not stand"
        print(f"\n{folder.name}, {task}: score {own:.1f}, expected {likely:.1f}: {word}")
        for variant in (one.name for one in manifest.variants if one.name in entry.items):
            items = read_items(store, entry, variant)
            score = (reference.score(first) - items.score(first))[known]
            expected = (expected_scores(reference) - expected_scores(items))[known]
            yield Cell(task, variant, stands, 100 * score, 100 * expected)


def has_answer(items: TaskItems) -> NDArray[np.bool_]:
    return items.has_gold[items.asked]


def show(cell: Cell) -> None:
    less = cell.score.var() / cell.expected.var() if cell.expected.any() else np.nan
    print(
        f"  {cell.variant:12} score {cell.score.mean():6.2f} ± {error(cell.score):5.2f}"
        f"   expected {cell.expected.mean():6.2f} ± {error(cell.expected):5.2f}"
        f"   variance / {less:5.1f}{'   they part' if cell.parts else ''}"
    )


def coverage(found: list[Cell], repeats: int) -> None:
    """How often the interval of an expected loss holds the mean that items were drawn from."""
    generator = np.random.default_rng(0)
    print("\nitems   covered   true loss above   true loss below   worst cell")
    for size in SIZES:
        hits = above = below = total = 0
        least = 1.0
        for cell in (one for one in found if one.stands and one.expected.std() > 0):
            truth = cell.expected.mean() / 100
            covered = 0
            for _ in range(repeats):
                drawn = cell.expected[generator.integers(0, len(cell.expected), size)] / 100
                interval = mean_shift(drawn)
                above += interval.high < truth
                below += interval.low > truth
                covered += interval.low <= truth <= interval.high
            hits += covered
            total += repeats
            least = min(least, covered / repeats)
        print(
            f"{size:5}   {hits / total:7.1%}   {above / total:15.1%}   {below / total:15.1%}"
            f"   {least:10.1%}"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN")
    parser.add_argument("--coverage", type=int, default=0, metavar="REPEATS")
    arguments = parser.parse_args()
    found = []
    for folder in arguments.runs:
        for cell in cells(folder):
            show(cell)
            found.append(cell)
    for stands in (True, False):
        own = [cell for cell in found if cell.stands is stands]
        parted = sum(cell.parts for cell in own)
        word = "stands" if stands else "does not stand"
        print(f"\nwhere it {word}: {len(own)} cells, the two part in {parted}")
    if arguments.coverage:
        coverage(found, arguments.coverage)


if __name__ == "__main__":
    main()
