"""How often `--until decided` errs on tasks, and how many items it takes; and what it saves.

Of every task and variant of finished runs whose expected score stands for the score, items are
drawn with replacement, as many as the task has, and looked at as the product looks: in growing
parts, all of them asked or those that `bitloss.metrics.drawing` chooses. Prints how often the
interval of the lost points misses their mean over all items at *any* look (aim: 5 % at most), how
often a verdict against the margin is wrong, how many items are asked until it is there, and the
width at the last look beside that of asking all.

    python benchmarks/until_decided.py RUN... [--repeats 500] [--items N]

RUN is the directory of a finished `bitloss compare` with tasks and variants.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bitloss.analysis.expected_scores import expected_scores, stands_for_score
from bitloss.analysis.task_items import read_items
from bitloss.metrics.drawing import asking_probabilities, typical_spread
from bitloss.metrics.paired import mean_shift
from bitloss.metrics.item_looks import item_look_sizes, widening
from bitloss.results.manifest import Manifest
from bitloss.runner import RunStore

Floats = NDArray[np.float64]
MARGIN = 0.02


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
    width: float = 0.0


def cells(folder: Path) -> Iterator[Cell]:
    store = RunStore(folder)
    manifest = Manifest.from_json(
        next(
            p for p in (folder / "manifest.json", folder / "unfinished.json") if p.exists()
        ).read_text(),
        name=str(folder),
    )
    for task, entry in manifest.tasks.items():
        reference = read_items(store, entry, manifest.reference.name)
        if not stands_for_score(reference):
            continue
        right = expected_scores(reference)
        for variant in (one.name for one in manifest.variants if one.name in entry.items):
            lost = right - expected_scores(read_items(store, entry, variant))
            yield Cell(task, variant, right, lost)


def one_run(cell: Cell, draw: Floats, lots: Floats, *, choose: bool, found: Found) -> None:
    """Look at growing parts of drawn items, until the margin is decided."""
    right, lost = cell.right[draw], cell.lost[draw]
    total, truth = len(draw), float(cell.lost.mean())
    sizes = item_look_sizes(total)
    chance = np.ones(total)
    if choose and len(sizes) > 1:
        first = sizes[0]
        chance[first:] = asking_probabilities(right[first:], typical_spread(right[:first]))
    asked = lots < chance
    missed = False
    decided = 0
    for size in sizes:
        here = asked[:size]
        interval = mean_shift(lost[:size][here], weights=1 / chance[:size][here])
        factor = widening(size, total)
        low = interval.value - factor * (interval.value - interval.low)
        high = interval.value + factor * (interval.high - interval.value)
        missed |= not low <= truth <= high
        if not decided and (high <= MARGIN or low > MARGIN):
            decided = int(here.sum())
            found.decided += 1
            found.wrong += (high <= MARGIN) != (truth <= MARGIN)
    found.missed += missed
    found.asked += decided or int(asked.sum())
    found.width += (high - low) / math.sqrt(1 if not choose else 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("runs", type=Path, nargs="+")
    parser.add_argument("--repeats", type=int, default=500)
    parser.add_argument("--items", type=int, help="as many as the task has, if not given")
    arguments = parser.parse_args()
    for cell in (one for run in arguments.runs for one in cells(run)):
        generator = np.random.default_rng(0)
        total = arguments.items or len(cell.lost)
        ways = {False: Found(), True: Found()}
        for _ in range(arguments.repeats):
            draw = generator.integers(len(cell.lost), size=total)
            lots = generator.random(total)
            for choose, found in ways.items():
                one_run(cell, draw, lots, choose=choose, found=found)
        line = f"{cell.task:12} {cell.variant:14} lost {100 * cell.lost.mean():6.2f}"
        n = arguments.repeats
        for choose, found in ways.items():
            line += (
                f" | {'chosen' if choose else 'all':6} missed {found.missed / n:6.1%} wrong "
                f"{found.wrong / n:6.1%} decided {found.decided / n:4.0%} items {found.asked / n:6.0f}"
            )
        print(line)


if __name__ == "__main__":
    main()
