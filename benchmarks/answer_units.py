"""Which measure of an answer stands for points lost: rank correlations over finished runs.

Of each capability and variant the loss is measured in several ways on one half of the items, drawn
at random, and each way is held against the points of score that were lost on the other half:
Spearman's rank correlation over all cells (a capability of a variant), and over the capabilities of
each variant alone, which is what a ranking of capabilities has to get right; means over many draws.
Other items, so that the score itself is a measure like the rest, and none is helped by an accident
of its own items. Capabilities that the reference is not shown to have are left out.

    python benchmarks/answer_units.py RUN... [--halves 200]

RUN is the directory of a finished `bitloss compare` with tasks.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bitloss.analysis.abilities import analyse_abilities
from bitloss.analysis.task_items import TaskItems, read_items
from bitloss.analysis.tasks import task_changes
from bitloss.results.manifest import Manifest
from bitloss.runner import RunStore

Floats = NDArray[np.float64]
Measure = Callable[[TaskItems, TaskItems], Floats]


def score(items: TaskItems, reference: TaskItems) -> Floats:
    metric = items.metrics[0]
    return _of_all(items, reference.score(metric) - items.score(metric))


def deciding(items: TaskItems, reference: TaskItems) -> Floats:
    """What the product ranks by: of the expected score where that stands for the score."""
    (change,) = task_changes({"": items}, reference).items.values()
    return _of_all(items, -change.means)


def _of_all(items: TaskItems, asked: Floats) -> Floats:
    found = np.full(len(items.asked), np.nan)
    found[items.asked] = asked
    return found


def column(name: str) -> Measure:
    return lambda items, _: items.columns[name].astype(np.float64)


def per_token(items: TaskItems, _: TaskItems) -> Floats:
    return items.columns["gold_kl"] / items.columns["gold_tokens"]


def right(items: TaskItems) -> Floats:
    """Probability of the right option; of the whole gold answer where none are offered."""
    chosen, written = items.columns["right"], np.exp(-items.columns["gold_nll"])
    return np.asarray(np.where(np.isnan(chosen), written, chosen), dtype=np.float64)


def log_odds(items: TaskItems) -> Floats:
    chosen = items.columns["right"]
    with np.errstate(divide="ignore", invalid="ignore"):
        odds = np.log(chosen) - np.log1p(-chosen)
    return np.where(np.isnan(chosen), -items.columns["gold_nll"], np.clip(odds, -20, 20))


def of_choice(name: str) -> Measure:
    """Of the options where they are offered, else of the gold answer's tokens."""

    def measure(items: TaskItems, _: TaskItems) -> Floats:
        chosen = items.columns["same_option"]
        return 1 - np.where(np.isnan(chosen), items.columns[name], chosen).astype(np.float64)

    return measure


def capped(tokens: int) -> Measure:
    """The Hellinger product of an answer of at most so many tokens like its own."""

    def measure(items: TaskItems, _: TaskItems) -> Floats:
        length = items.columns["gold_tokens"].astype(np.float64)
        share = np.minimum(length, tokens) / np.maximum(length, 1)
        return 1 - items.columns["gold_affinity"] ** share

    return measure


MEASURES: dict[str, Measure] = {
    "score": score,
    "deciding loss": deciding,
    "divergence per token": per_token,
    "summed divergence": column("gold_kl"),
    "1 - exp(-divergence)": lambda items, _: 1 - np.exp(-items.columns["gold_kl"]),
    "Hellinger product": lambda items, _: 1 - items.columns["gold_affinity"],
    "Hellinger product, 16 tokens": capped(16),
    "overlap product": lambda items, _: 1 - items.columns["gold_overlap"],
    "overlap of options, else product": of_choice("gold_overlap"),
    "overlap of options, else Hellinger": of_choice("gold_affinity"),
    "probability of right, lost": lambda items, ref: right(ref) - right(items),
    "probability of right, changed": lambda items, ref: abs(right(ref) - right(items)),
    "log-odds of right, lost": lambda items, ref: log_odds(ref) - log_odds(items),
    "log-odds of right, changed": lambda items, ref: abs(log_odds(ref) - log_odds(items)),
}


def ranks(values: Floats) -> Floats:
    """From 0; equal values share their mean rank."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts + 1) / 2)[inverse]


def correlation(one: Floats, other: Floats) -> float:
    """Spearman's; NaN where one of them does not vary."""
    a, b = ranks(one) - ranks(one).mean(), ranks(other) - ranks(other).mean()
    return float(a @ b / np.sqrt((a @ a) * (b @ b))) if a.any() and b.any() else float("nan")


@dataclass(frozen=True, slots=True)
class Run:
    """What a run's items lost.

    Attributes:
        name: of its directory.
        variants: that answered every task.
        capabilities: that the reference has.
        tasks: names of each capability's.
        losses: by task, variant and measure, item by item; NaN where there is none.
    """

    name: str
    variants: list[str]
    capabilities: list[str]
    tasks: dict[str, list[str]]
    losses: dict[tuple[str, str, str], Floats]


def read(folder: Path) -> Run:
    store = RunStore(folder)
    manifest = Manifest.from_json((folder / "manifest.json").read_text(), name=str(folder))
    entries = manifest.tasks
    reference = {
        t: read_items(store, entry, manifest.reference.name) for t, entry in entries.items()
    }
    able = [name for name, one in analyse_abilities(reference).items() if one.measurable]
    variants = [
        v.name for v in manifest.variants if all(v.name in e.items for e in entries.values())
    ]
    found = {}
    for task, entry in entries.items():
        for variant in variants:
            items = read_items(store, entry, variant)
            for name, measure in MEASURES.items():
                with np.errstate(divide="ignore", invalid="ignore"):
                    loss = measure(items, reference[task])
                known = items.asked if name in _WITHOUT_GOLD else items.has_gold
                found[task, variant, name] = np.where(known, loss, np.nan)
    tasks = {c: [t for t, entry in entries.items() if entry.capability == c] for c in able}
    return Run(folder.name, variants, able, tasks, found)


_WITHOUT_GOLD = ("score", "deciding loss")


def cells(run: Run, name: str, halves: dict[str, NDArray[np.bool_]]) -> Floats:
    """Mean losses of the chosen items, ``[variants, capabilities]``; tasks count the same."""
    found = np.zeros((len(run.variants), len(run.capabilities)))
    for row, variant in enumerate(run.variants):
        for at, capability in enumerate(run.capabilities):
            means = [
                np.nanmean(run.losses[task, variant, name][halves[task]])
                for task in run.tasks[capability]
            ]
            found[row, at] = np.mean(means)
    return found


def show(run: Run, draws: int) -> dict[str, float]:
    """Print a table of one run; each measure's mean correlation over all cells."""
    print(f"\n{run.name}: {len(run.variants)} variants, {len(run.capabilities)} capabilities")
    rng = np.random.default_rng(0)
    sizes = {task: len(loss) for (task, _, _), loss in run.losses.items()}
    whole: dict[str, list[float]] = {name: [] for name in MEASURES}
    alone: dict[str, list[list[float]]] = {name: [] for name in MEASURES}
    for _ in range(draws):
        one = {task: rng.random(n) < 0.5 for task, n in sizes.items()}
        points = cells(run, "score", {task: ~half for task, half in one.items()})
        for name in MEASURES:
            losses = cells(run, name, one)
            whole[name].append(correlation(losses.ravel(), points.ravel()))
            alone[name].append([correlation(a, b) for a, b in zip(losses, points, strict=True)])
    print(f"| measure | all cells | {' | '.join(run.variants)} |")
    print("|---" * (2 + len(run.variants)) + "|")
    for name in MEASURES:
        each = " | ".join(_mean(of_variant) for of_variant in zip(*alone[name], strict=True))
        print(f"| {name} | {_mean(whole[name])} | {each} |")
    return {name: float(np.nanmean(values)) for name, values in whole.items()}


def _mean(values: Sequence[float]) -> str:
    """Of the draws in which both vary; a dash if there is none."""
    known = [value for value in values if not np.isnan(value)]
    return f"{np.mean(known):.2f}" if known else "-"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN")
    parser.add_argument("--halves", type=int, default=200, help="draws of a half")
    arguments = parser.parse_args()
    found = [show(read(folder), arguments.halves) for folder in arguments.runs]
    if len(found) > 1:
        print("\nmean over the runs, all cells")
        for name in MEASURES:
            print(f"  {name:36} {np.mean([one[name] for one in found]):5.2f}")


if __name__ == "__main__":
    main()
