"""How often a 95 % interval of items holds the true value (``docs/decisions/0005-intervals.md``).

    python benchmarks/item_coverage.py --clusters [--runs N]
    python benchmarks/item_coverage.py --gold RUN [--runs N]

`--clusters` simulates items in groups of five whose flips correlate 0.6, or not at all: intervals
of the difference, of the score and of the expected difference, taking the items for independent and
counting groups, and how often a p-value is below 5% where nothing is lost.

`--gold` draws items with replacement from those of a finished `bitloss compare` with tasks, and
compares the intervals of their answers' change with the mean over all of them. `interval_coverage`
has the windows of texts.
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bitloss.analysis.task_items import read_items
from bitloss.metrics.clusters import Clusters, sign_flip
from bitloss.metrics.intervals import Interval, Series, bootstrap
from bitloss.metrics.paired import (
    change,
    clustered_change,
    clustered_share,
    count_flips,
    mcnemar,
    mean_change,
    mean_shift,
    share,
)
from bitloss.metrics.unseen import with_unseen
from bitloss.runner import RunStore

RESAMPLES = 1500

Array = NDArray[np.float64]


def clusters(runs: int) -> None:
    """Print the table of items in groups of five in Markdown."""
    print(
        "| groups | correlation | lost, gained | difference, by items | by groups "
        "| score, by items | by groups | expected, by items | by groups "
        "| p < 5 %, by items | by groups |"
    )
    print("|---|---|---|---|---|---|---|---|---|---|---|")
    for count in (5, 10, 20, 40, 200):
        groups = Clusters.of(np.repeat(np.arange(count), 5).tolist())
        for correlation in (0.6, 0.0):
            for lost, gained in ((0.05, 0.01), (0.1, 0.04), (0.3, 0.05)):
                generator = np.random.default_rng([count, int(100 * lost)])
                drawn = _flips(generator, (runs, count), correlation, lost, gained)
                moved = drawn * generator.beta(2, 5, drawn.shape)
                right = _flips(generator, (runs, count), correlation, 0.0, 0.7)
                even = _flips(generator, (runs, count), correlation, lost / 2, lost / 2)
                true = gained - lost
                difference = [
                    [mean_change([change(*_counted(one), len(one))]) for one in drawn],
                    [mean_change([clustered_change(one, groups)]) for one in drawn],
                ]
                scores = [
                    [share(float(one.sum()), len(one)) for one in right],
                    [clustered_share(one, groups) for one in right],
                ]
                expected = [[mean_shift(one) for one in moved]]
                expected.append([mean_shift(one, groups) for one in moved])
                shown = [
                    np.mean([mcnemar(*_counted(one)) < 0.05 for one in even]),
                    np.mean([sign_flip(groups.sums(one).astype(np.int64)) < 0.05 for one in even]),
                ]
                cells = [f"{_shares(one, true)[0]:.1%}" for one in difference]
                cells += [f"{_shares(one, 0.7)[0]:.1%}" for one in scores]
                cells += [f"{_shares(one, true * 2 / 7)[0]:.1%}" for one in expected]
                cells += [f"{one:.1%}" for one in shown]
                row = f"| {count} | {correlation} | {lost:.0%}, {gained:.0%} | "
                print(f"{row}{' | '.join(cells)} |", flush=True)


def _counted(differences: Array) -> tuple[int, int]:
    return count_flips((differences < 0).astype(float), (differences > 0).astype(float))


def _flips(
    generator: np.random.Generator,
    shape: tuple[int, int],
    correlation: float,
    lost: float,
    gained: float,
) -> Array:
    """Items that lose (-1), gain (1) or stay (0), in groups of five, ``[runs, items]``.

    An item does as its group does with the probability whose square is the correlation.
    """
    rates = [lost, gained, 1 - lost - gained]
    group = generator.choice([-1.0, 1.0, 0.0], size=(*shape, 1), p=rates)
    own = generator.choice([-1.0, 1.0, 0.0], size=(*shape, 5), p=rates)
    alike = generator.random((*shape, 5)) < math.sqrt(correlation)
    return np.where(alike, group, own).reshape(shape[0], -1)


def gold(run: Path, runs: int) -> None:
    """Print the coverage of the mean change of answers drawn from a run's."""
    store = RunStore(run)
    manifest = store.read_manifest()
    cells = [
        read_items(store, entry, variant.name).answer_change.means
        for entry in manifest.tasks.values()
        for variant in manifest.variants
        if variant.name in entry.items
    ]
    print(
        "| items | bootstrap | its upper limit too low | worst cell | as used | too low | worst |"
    )
    print("|---|---|---|---|---|---|---|")
    for size in (50, 200, 1000):
        generator = np.random.default_rng(0)
        rates: list[list[tuple[float, float]]] = [[], []]
        for cell in (one for one in cells if one.std() > 0):
            drawn = cell[generator.integers(0, len(cell), (runs, size))]
            series = {
                str(i): Series(row, np.ones(size), bounds=(0.0, 1.0)) for i, row in enumerate(drawn)
            }
            plain = bootstrap(series, seed=1, block=1, resamples=RESAMPLES)
            used = [with_unseen(plain[name], one) for name, one in series.items()]
            rates[0].append(_shares(list(plain.values()), float(cell.mean())))
            rates[1].append(_shares(used, float(cell.mean())))
        shown = []
        for one in rates:
            held, below = np.mean(one, axis=0)
            shown.append(f"{held:.1%} | {below:.1%} | {min(each[0] for each in one):.0%}")
        print(f"| {size} | {' | '.join(shown)} |", flush=True)


def _shares(found: list[Interval], true: float) -> tuple[float, float]:
    """How often an interval holds the truth, and how often it lies below."""
    low, high = (np.array([getattr(one, end) for one in found]) for end in ("low", "high"))
    return float(np.mean((low <= true) & (true <= high))), float(np.mean(high < true))


def main() -> None:
    """Print a table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=1000, help="samples for each line")
    parser.add_argument("--clusters", action="store_true", help="items in groups")
    parser.add_argument("--gold", type=Path, help="a run directory with tasks")
    arguments = parser.parse_args()
    if arguments.gold:
        gold(arguments.gold, arguments.runs)
    else:
        clusters(arguments.runs)


if __name__ == "__main__":
    main()
