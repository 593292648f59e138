"""How often `--until decided` errs on tasks, and how many items it takes.

Of every task and variant of finished runs whose expected score stands for the score, as many items
as the task has (or `--items`) are drawn with replacement and looked at as the product looks: in
growing parts, until the margin of 2 points is decided. Prints how often the interval of the lost
points misses their mean over all items at *any* look (aim: 5 % at most), how often the verdict is
wrong, how often there is one, and the items that were evaluated.

`chosen` is the alternative that the product does not take: from the second look on the reference
reads twice as many items, and a variant is evaluated on one of two, with a probability that grows
with p (1 - p), p being the reference's probability of the right answer, and weights of one over it
(Zrnic and Candès, arXiv:2403.03208). `cost` is the items that all models read for one variant's
verdict beside six others of its kind: 8 for each item that all models read; 10 for each that is
chosen, since the reference reads two to choose and the chosen one again beside the variants.

    python benchmarks/until_decided.py RUN... [--repeats 500] [--items N]

RUN is the directory of a `bitloss compare` with tasks and variants.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bitloss.analysis.expected_scores import expected_scores, stands_for_score
from bitloss.analysis.task_items import read_items
from bitloss.errors import StorageError
from bitloss.metrics.intervals import Interval
from bitloss.metrics.item_looks import item_look_sizes, widening
from bitloss.metrics.paired import UNSEEN, mean_shift
from bitloss.runner import RunStore

Floats = NDArray[np.float64]
MARGIN = 0.02
VARIANTS = 7
RATE, LEAST = 0.5, 0.3  # share of items that are chosen; of it, the smallest probability


@dataclass(frozen=True)
class Cell:
    """One variant on one task."""

    task: str
    variant: str
    right: Floats
    lost: Floats


@dataclass
class Found:
    """What came of the repeats of one way of drawing."""

    missed: int = 0
    wrong: int = 0
    decided: int = 0
    asked: float = 0.0
    cost: float = 0.0


def cells(folder: Path) -> Iterator[Cell]:
    store = RunStore(folder)
    try:
        manifest = store.read_manifest()
    except StorageError:
        manifest = store.read_unfinished()
    for task, entry in manifest.tasks.items():
        reference = read_items(store, entry, manifest.reference.name)
        if not stands_for_score(reference):
            continue
        right = expected_scores(reference)
        for variant in (one.name for one in manifest.variants if one.name in entry.items):
            lost = right - expected_scores(read_items(store, entry, variant))
            yield Cell(task, variant, right, lost)


def weighted_shift(lost: Floats, weights: Floats) -> Interval:
    """`mean_shift` of items that count differently."""
    each = weights * (len(weights) / weights.sum())
    n, added = len(lost) + 2, max(UNSEEN, float(np.abs(lost).max()))
    center = float((each * lost).sum()) / n
    spread = float(((each * (lost - center)) ** 2).sum()) + 2 * (added**2 + center**2)
    half = 1.959964 * np.sqrt(spread) / n
    return Interval(float((each * lost).mean()), center - half, center + half)


def chances(right: Floats, first: int) -> Floats:
    """The probability with which each item is evaluated; 1 at the first look."""
    spread = right * (1 - right)
    found = RATE * (LEAST + (1 - LEAST) * spread / max(spread[:first].mean(), 1e-12))
    found[:first] = 1.0
    return np.minimum(1.0, found)


def one_run(
    cell: Cell, draw: NDArray[np.int64], lots: Floats, found: Found, *, choose: bool
) -> None:
    """Look at growing parts of drawn items, until the margin is decided."""
    right, lost, truth = cell.right[draw], cell.lost[draw], float(cell.lost.mean())
    sizes = item_look_sizes(len(draw))
    chance = chances(right, sizes[0]) if choose else np.ones(len(draw))
    asked = lots < chance
    missed, end = False, 0
    for size in sizes:
        here = asked[:size]
        interval = (
            weighted_shift(lost[:size][here], 1 / chance[:size][here])
            if choose
            else mean_shift(lost[:size])
        )
        factor = widening(size, len(draw))
        low = interval.value - factor * (interval.value - interval.low)
        high = interval.value + factor * (interval.high - interval.value)
        missed |= not low <= truth <= high
        if not end and (high <= MARGIN or low > MARGIN):
            end = size
            found.decided += 1
            found.wrong += (high <= MARGIN) != (truth <= MARGIN)
    end = end or len(draw)
    n, first = int(asked[:end].sum()), min(end, sizes[0])
    found.missed += missed
    found.asked += n
    later = (end - first) + (n - first) if choose else end - first
    found.cost += first + later + VARIANTS * n


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("runs", type=Path, nargs="+")
    parser.add_argument("--repeats", type=int, default=500)
    parser.add_argument("--items", type=int, help="as many as the task has, if not given")
    arguments = parser.parse_args()
    for cell in (one for run in arguments.runs for one in cells(run)):
        generator = np.random.default_rng(0)
        total = arguments.items or len(cell.lost)
        ways = {"all": Found(), "chosen": Found()}
        for _ in range(arguments.repeats):
            draw, lots = generator.integers(len(cell.lost), size=total), generator.random(total)
            for name, found in ways.items():
                one_run(cell, draw, lots, found, choose=name == "chosen")
        n = arguments.repeats
        line = f"{cell.task:10.10} {cell.variant:12.12} lost {100 * cell.lost.mean():6.2f}"
        for name, one in ways.items():
            line += (
                f" | {name:6} missed {one.missed / n:6.1%} wrong {one.wrong / n:5.1%} decided "
                f"{one.decided / n:4.0%} items {one.asked / n:5.0f} cost {one.cost / n:6.0f}"
            )
        print(line, flush=True)


if __name__ == "__main__":
    main()
