"""Would other items have recommended another file? Resampled records of finished runs.

The items of every task are drawn with replacement, the same ones for all models, and judged and
recommended from as the product does; the texts stay as they were scored. Prints how often each
variant was recommended, or named as the least risky, beside what the run itself says.

    python benchmarks/recommendation.py RUN... [--repeats 100]

RUN is the directory of a finished `bitloss compare` with tasks. Aim: a run that recommends a file
recommends the same one in at least 95 % of the draws.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bitloss.analysis.abilities import analyse_abilities
from bitloss.analysis.collect import collect
from bitloss.analysis.recommendation import Recommendation, recommend
from bitloss.analysis.task_items import TaskItems, read_items
from bitloss.analysis.tasks import analyse_capabilities
from bitloss.analysis.verdicts import judge, without_ability
from bitloss.expectations import load_expectations
from bitloss.results import VariantResult
from bitloss.results.manifest import Manifest
from bitloss.runner import RunStore

Records = Mapping[str, TaskItems]


def drawn(records: Records, rows: Mapping[str, NDArray[np.int64]]) -> dict[str, TaskItems]:
    """The records of some items of each task."""
    return {
        task: replace(items, columns={k: v[rows[task]] for k, v in items.columns.items()})
        for task, items in records.items()
    }


def named(found: Recommendation | None) -> str:
    if found is None:
        return "none"
    return found.variant.name if found.shown else f"least risky: {found.variant.name}"


def show(folder: Path, repeats: int) -> None:
    store = RunStore(folder)
    manifest = Manifest.from_json((folder / "manifest.json").read_text(), name=str(folder))
    variants = collect(store, manifest).variants
    table = load_expectations()

    def read(model: str) -> Records:
        return {task: read_items(store, entry, model) for task, entry in manifest.tasks.items()}

    reference = read(manifest.reference.name)
    missing = without_ability(analyse_abilities(reference), table)
    able = [t for t, entry in manifest.tasks.items() if entry.capability not in missing]
    records = {one.name: read(one.name) for one in variants if one.status == "ok"}
    generator = np.random.default_rng(0)
    counts: Counter[str] = Counter()
    for _ in range(repeats):
        sizes = {task: len(reference[task].asked) for task in able}
        rows = {task: generator.integers(0, n, n) for task, n in sizes.items()}
        base = drawn({task: reference[task] for task in able}, rows)
        judged: list[VariantResult] = []
        for one in (one for one in variants if one.name in records):
            own = drawn({task: records[one.name][task] for task in able}, rows)
            capabilities = analyse_capabilities({t: (own[t], base[t]) for t in able}, seed=0)
            new = one.model_copy(update={"capabilities": capabilities})
            judged.append(new.model_copy(update={"verdict": judge(new, table)}))
        counts[named(recommend(judged))] += 1
    print(f"\n{folder.name}: {named(recommend(variants))}")
    for name, count in counts.most_common():
        print(f"  {count / repeats:6.1%}  {name}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN")
    parser.add_argument("--repeats", type=int, default=100)
    arguments = parser.parse_args()
    for folder in arguments.runs:
        show(folder, arguments.repeats)


if __name__ == "__main__":
    main()
