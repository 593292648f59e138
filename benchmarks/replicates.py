"""Do intervals hold for a recipe, and not only for the copy that was made?

Two measurements:

* Simulated: a truth that is known, and seeds, items and what a seed does to single items that are
  random, in several proportions. How often `bitloss.metrics.replicates.combine` covers the truth,
  beside the interval of a single copy, which is all there is without ``--replicates``.
* Real: ``--copies`` of one recipe of the bundled model, made and scored as `bitloss compare
  --replicates` does it (a finished run directory goes on where it stopped). Prints what each seed
  loses. Then these copies and items are the whole population: N copies and n items are drawn from
  it with replacement, and the intervals of the draw are held against the mean of the population.

    python benchmarks/replicates.py simulate
    python benchmarks/replicates.py real --out DIR [--recipe gptq-4] [--copies 16]

Aim: 93 to 97 % with three replicates or more.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bitloss import Calibration, compare
from bitloss.analysis.expected_scores import expected_scores
from bitloss.analysis.task_items import TaskItems, read_items
from bitloss.analysis.tasks import analyse_task
from bitloss.metrics.intervals import Interval, Series
from bitloss.metrics.paired import change, count_flips, mean_change, mean_shift
from bitloss.metrics.replicates import combine, replicate_covariance
from bitloss.runner import RunStore

Z = 1.959964
TASKS = ("pocket_knowledge_en", "pocket_logic", "pocket_math")


def covers(found: Interval, truth: float) -> bool:
    return found.low <= truth <= found.high


# Simulated ------------------------------------------------------------------------------------

# Standard deviations of a copy's mean by its seed, by the items, by what a seed does to items.
MIXTURES = (
    (0, 1, 0.3),
    (0, 1, 1),
    (0, 0.2, 1),
    (0.5, 1, 0.5),
    (1, 1, 1),
    (1, 0.2, 1),
    (2, 0.5, 0.5),
)


def simulate(runs: int, items: int = 50) -> None:
    print(f"{runs} runs, {items} items; covered, of 95 %")
    print(f"{'seeds, items, both':24}{'one copy':>10}" + "".join(f"{n:>8} x" for n in (2, 3, 4, 8)))
    for mixture in MIXTURES:
        rng = np.random.default_rng(0)
        cells = [one_copy(mixture, items, runs, rng)]
        cells += [covered(mixture, items, n, runs, rng) for n in (2, 3, 4, 8)]
        print(f"{mixture!s:24}" + "".join(f"{100 * cell:>9.1f}%" for cell in cells))


def drawn(
    mixture: Sequence[float], items: int, copies: int, rng: np.random.Generator
) -> list[Series]:
    seed, item, both = mixture
    common = rng.normal(0, item, items) * math.sqrt(items)
    own = rng.normal(0, both, (copies, items)) * math.sqrt(items)
    rows = rng.normal(0, seed, (copies, 1)) + common + own
    return [Series(row, np.ones(items)) for row in rows]


def plain(series: Series) -> Interval:
    value, n = float(series.means.mean()), len(series.means)
    half = Z * float(series.means.std(ddof=1)) / math.sqrt(n)
    return Interval(value, value - half, value + half)


def one_copy(mixture: Sequence[float], items: int, runs: int, rng: np.random.Generator) -> float:
    return sum(covers(plain(drawn(mixture, items, 1, rng)[0]), 0.0) for _ in range(runs)) / runs


def covered(
    mixture: Sequence[float], items: int, copies: int, runs: int, rng: np.random.Generator
) -> float:
    hits = 0
    for _ in range(runs):
        series = drawn(mixture, items, copies, rng)
        found = combine([plain(one) for one in series], replicate_covariance([series]))
        hits += covers(found, 0.0)
    return hits / runs


# Real -----------------------------------------------------------------------------------------


def real(recipe: str, copies: int, out: Path, runs: int) -> None:
    result = compare(
        "pocket",
        [recipe],
        corpora=["pocket-prose"],
        tasks=TASKS,
        max_length=256,
        stride=256,
        dtype="fp32",
        calibration=Calibration("pocket-calibration-mixed", samples=16, length=256),
        replicates=copies,
        out=out,
    )
    (variant,) = result.variants
    assert variant.replicates is not None
    for name, metrics in variant.replicates.capabilities.items():
        for metric in ("difference", "expected_difference"):
            if metric in metrics:
                values = [100 * (value or 0.0) for value in metrics[metric].values]
                print(f"{name}, {metric}, points: " + " ".join(f"{v:+.1f}" for v in values))
                print(f"    mean {np.mean(values):+.2f}, SD {np.std(values, ddof=1):.2f}")
    for corpus, metrics in variant.replicates.corpora.items():
        ratios = metrics["relative_perplexity"].values
        print(f"{corpus}, relative PPL: " + " ".join(f"{v:.4f}" for v in ratios))
    store = RunStore(out)
    manifest = store.read_manifest()
    names = manifest.replicates[recipe]
    for task, entry in manifest.tasks.items():
        reference = read_items(store, entry, manifest.reference.name)
        population = [read_items(store, entry, name) for name in names]
        show(task, population, reference, runs)


def show(task: str, population: Sequence[TaskItems], reference: TaskItems, runs: int) -> None:
    """How often intervals of a draw cover the mean over the population."""
    metric = reference.metrics[0]
    before = reference.score(metric)
    instruments: dict[str, tuple[NDArray[np.float64], Callable[..., Interval]]] = {
        "score": (np.stack([one.score(metric) - before for one in population]), flips),
    }
    if analyse_task(population[0], reference, seed=0).expected_difference is not None:
        moved = [expected_scores(one) - expected_scores(reference) for one in population]
        instruments["expected score"] = (np.stack(moved), mean_shift)
    for what, (differences, interval) in instruments.items():
        cells = []
        for items in (50, 200):
            for copies in (1, 3, 4, 8):
                hits = resampled(differences, interval, copies, items, runs)
                cells.append(f"{copies} of {items}: {100 * hits:.1f}%")
        print(f"{task}, {what}: covered, copies of items: {', '.join(cells)}")


def flips(differences: NDArray[np.float64]) -> Interval:
    lost, gained = count_flips(np.maximum(-differences, 0.0), np.maximum(differences, 0.0))
    return mean_change([change(lost, gained, len(differences))])


def resampled(
    differences: NDArray[np.float64],
    interval: Callable[..., Interval],
    copies: int,
    items: int,
    runs: int,
) -> float:
    rng = np.random.default_rng(1)
    truth = float(differences.mean())
    hits = 0
    for _ in range(runs):
        rows = rng.integers(len(differences), size=copies)
        of = differences[rows][:, rng.integers(differences.shape[1], size=items)]
        found = [interval(one) for one in of]
        if copies > 1:
            series = [Series(one, np.ones(items)) for one in of]
            hits += covers(combine(found, replicate_covariance([series])), truth)
        else:
            hits += covers(found[0], truth)
    return hits / runs


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    simulated = commands.add_parser("simulate")
    measured = commands.add_parser("real")
    measured.add_argument("--recipe", default="gptq-4")
    measured.add_argument("--copies", type=int, default=16)
    measured.add_argument("--out", type=Path, required=True)
    for one in (simulated, measured):
        one.add_argument("--runs", type=int, default=1000)
    given = parser.parse_args()
    if given.command == "simulate":
        simulate(given.runs)
    else:
        real(given.recipe, given.copies, given.out, given.runs)
