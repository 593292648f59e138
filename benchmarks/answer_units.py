"""Which measure of an answer stands for points lost: rank correlations over finished runs.

Of each capability and variant the loss is measured in several ways from the same records, and each
way is held against the points of score that were lost: Spearman's rank correlation over all cells
(a capability of a variant), and over the capabilities of each variant alone, which is what a
ranking of capabilities has to get right. Capabilities that the reference is not shown to have are
left out.

    python benchmarks/answer_units.py RUN...

RUN is the directory of a finished `bitloss compare` with tasks.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bitloss.analysis.abilities import analyse_abilities
from bitloss.analysis.task_items import TaskItems, read_items
from bitloss.results.manifest import Manifest
from bitloss.runner import RunStore

Floats = NDArray[np.float64]
Measure = Callable[[TaskItems, TaskItems], Floats]


def column(name: str) -> Measure:
    return lambda items, _: items.columns[name].astype(np.float64)


def per_token(items: TaskItems, _: TaskItems) -> Floats:
    return items.columns["gold_kl"] / items.columns["gold_tokens"]


def right(items: TaskItems) -> Floats:
    """Probability of the right option; of the whole gold answer where none are offered."""
    chosen, written = items.columns["right"], np.exp(-items.columns["gold_nll"])
    return np.where(np.isnan(chosen), written, chosen).astype(np.float64)


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


MEASURES: dict[str, Measure] = {
    "divergence per token": per_token,
    "summed divergence": column("gold_kl"),
    "1 - exp(-divergence)": lambda items, _: 1 - np.exp(-items.columns["gold_kl"]),
    "Hellinger product": lambda items, _: 1 - items.columns["gold_affinity"],
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


def losses(folder: Path) -> tuple[list[str], list[str], dict[str, Floats]]:
    """Variants, capabilities, and each measure as ``[variants, capabilities]``."""
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
    found = {name: np.zeros((len(variants), len(able))) for name in ("points", *MEASURES)}
    for row, variant in enumerate(variants):
        items = {t: read_items(store, entry, variant) for t, entry in entries.items()}
        for at, capability in enumerate(able):
            own = [t for t, entry in entries.items() if entry.capability == capability]
            for name, values in found.items():
                values[row, at] = np.mean([_mean(name, items[t], reference[t]) for t in own])
    return variants, able, found


def _mean(name: str, items: TaskItems, reference: TaskItems) -> float:
    if name == "points":
        metric = items.metrics[0]
        return 100 * float(
            np.average(reference.score(metric), weights=reference.weight(metric))
            - np.average(items.score(metric), weights=items.weight(metric))
        )
    return float(MEASURES[name](items, reference)[items.has_gold].mean())


def show(folder: Path) -> Mapping[str, Floats]:
    variants, capabilities, found = losses(folder)
    points = found["points"]
    print(f"\n{folder.name}: {len(variants)} variants, {len(capabilities)} capabilities")
    for row, variant in enumerate(variants):
        lost = ", ".join(f"{c} {p:+.1f}" for c, p in zip(capabilities, points[row], strict=True))
        print(f"  {variant}: points lost: {lost}")
    width = max(map(len, MEASURES))
    print(f"  {'rank correlation with points lost':{width}}  all cells  " + "  ".join(variants))
    for name in MEASURES:
        whole = correlation(found[name].ravel(), points.ravel())
        each = [
            f"{correlation(found[name][row], points[row]):{len(variant)}.2f}"
            for row, variant in enumerate(variants)
        ]
        print(f"  {name:{width}}  {whole:9.2f}  " + "  ".join(each))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN")
    runs = [show(folder) for folder in parser.parse_args().runs]
    if len(runs) > 1:
        print("\nmean over runs of the correlation over all cells")
        for name in MEASURES:
            each = [correlation(found[name].ravel(), found["points"].ravel()) for found in runs]
            print(f"  {name:36} {np.nanmean(each):5.2f}")


if __name__ == "__main__":
    main()
