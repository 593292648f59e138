"""How often a page that should say nothing says something (`bitloss.analysis.families`).

    python benchmarks/family_errors.py [--runs 600] [--run RUN...]

* *null*: variants that truly lose nothing, 1 to 8 of them in 7 capabilities. The same items are
  fragile in all of them (as they are in copies of one model), and flip either way alike. How many
  tables have a false cell out of parentheses, and how many pages say anything false: a lower or
  higher score, or a loss beyond the margin?
* *power*: one capability of each variant truly loses 5 points of 200 items.
* *margin*: every capability of every variant truly loses just its margin. How many pages call a
  loss beyond it? And is a certain capability called kept, of any variant? Then a variant that is as
  good as the others elsewhere would be recommended for it.
* *expected*: on six texts the true relative perplexity is upon the upper end of what is expected.
  How many pages call a variant worse than expected?

With RUN, the directory of a finished `bitloss compare` with tasks, *null* and *margin* are repeated
with its own records: items are drawn with replacement, the same ones for all variants, and in half
of them reference and variants change roles.

*Before* is what was done before: intervals one by one, and Holm over the capabilities of a variant.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from statistics import NormalDist

import numpy as np

from bitloss.analysis.expected_scores import expected_scores, stands_for_score
from bitloss.analysis.families import change_shown, families_of, with_p_values
from bitloss.analysis.task_items import read_items
from bitloss.analysis.verdicts import judge, judge_loss
from bitloss.expectations import load_expectations
from bitloss.metrics.intervals import Series, block_length, bootstrap
from bitloss.metrics.multiple import SIGNIFICANT, holm
from bitloss.metrics.paired import change, mcnemar, mean_change, mean_shift
from bitloss.results import CorpusComparison, Estimate, VariantResult
from bitloss.results.manifest import Manifest
from bitloss.results.tasks import CapabilityResult, Flips
from bitloss.runner import RunStore
from bitloss.types import FloatArray

MARGIN = 0.02
TOGETHER = 0.7  # the correlation of what quantization does to an item in two variants
TABLE = load_expectations()
NAMES = (
    "text completion", "knowledge (English)", "knowledge (Chinese)", "instruction following",
    "math", "code", "logic",
)  # fmt: skip


@dataclass(frozen=True)
class Items:
    """One capability: what every variant scored more than the reference, item by item.

    Attributes:
        score: -1, 0 or 1, shape ``[variants, items]``.
        expected: of the expected score, same shape; None where it does not stand for the score.
    """

    score: FloatArray
    expected: FloatArray | None

    def drawn(self, rng: np.random.Generator, *, swap: bool) -> Items:
        """As many of them with replacement; `swap` makes that nothing is truly lost."""
        n = self.score.shape[1]
        rows = rng.integers(0, n, n)
        sign = rng.choice([-1.0, 1.0], n) if swap else np.ones(n)
        known = self.expected
        return Items(self.score[:, rows] * sign, None if known is None else known[:, rows] * sign)


Run = Mapping[str, Items]


def result(items: Items, variant: int) -> CapabilityResult:
    """As `bitloss.analysis.tasks` has it, of one task."""
    score = items.score[variant]
    lost, gained = int((score < 0).sum()), int((score > 0).sum())
    expected = None if items.expected is None else items.expected[variant]
    return CapabilityResult(
        tasks=("made up",),
        n_scored=len(score),
        score=None,
        reference_score=None,
        difference=Estimate.of(mean_change([change(lost, gained, len(score))])),
        expected_difference=None if expected is None else Estimate.of(mean_shift(expected)),
        flips=Flips(right_to_wrong=lost, wrong_to_right=gained, p_value=mcnemar(lost, gained)),
    )


def page(run: Run) -> list[VariantResult]:
    """The variants of a run, judged as the product does it."""
    count = len(next(iter(run.values())).score)
    variants = [
        VariantResult(
            name=str(i), capabilities={name: result(items, i) for name, items in run.items()}
        )
        for i in range(count)
    ]
    families = families_of(variants, TABLE)
    return [
        (new := with_p_values(one, families)).model_copy(
            update={"verdict": judge(new, TABLE, families=families)}
        )
        for one in variants
    ]


def cells(variants: Sequence[VariantResult]) -> list[tuple[VariantResult, str]]:
    return [(one, name) for one in variants for name in one.capabilities or {}]


def out_of_parentheses(one: VariantResult, name: str) -> tuple[bool, bool]:
    """Before, and now."""
    found = (one.capabilities or {})[name]
    return found.difference.excludes_zero, change_shown(one, name) is not None


def lost(one: VariantResult, name: str) -> tuple[bool, bool]:
    """Whether a loss beyond the margin is reported, before and now."""
    assert one.verdict is not None
    found = (one.capabilities or {})[name]
    before = judge_loss(found, TABLE.margin(name)).outcome == "lost"
    return before, one.verdict.capabilities[name].outcome == "lost"


def told(variants: Sequence[VariantResult]) -> tuple[bool, bool]:
    """Whether a page says that anything changed, before and now."""
    before = after = False
    for one in variants:
        results = one.capabilities or {}
        ps = holm([found.flips.p_value for found in results.values() if found.flips])
        for (name, found), p in zip(results.items(), ps, strict=True):
            exceeds = lost(one, name)
            before |= (p < SIGNIFICANT and found.difference.excludes_zero) or exceeds[0]
            after |= change_shown(one, name) is not None or exceeds[1]
    return before, after


# Made-up runs -------------------------------------------------------------------------------------


def made_up(rng: np.random.Generator, variants: int, items: int, loss: float = 0.0) -> Run:
    """Seven capabilities, in four of which the expected score stands for the score. From the first
    variant to the last, 1 to 15 % of items flip; with a loss, one capability of each has it.
    """
    flips = np.linspace(0.01, 0.15, variants) if variants > 1 else np.array([0.06])
    run = {}
    for index, name in enumerate(NAMES):
        fragile = math.sqrt(TOGETHER) * rng.normal(size=items)
        fragile = fragile + math.sqrt(1 - TOGETHER) * rng.normal(size=(variants, items))
        side = rng.choice([-1.0, 1.0], items)  # whether the reference is right, near the line
        limits = np.array([NormalDist().inv_cdf(1 - share) for share in flips])
        score = np.where(fragile > limits[:, None], side, 0.0)
        spread = flips[:, None] * np.exp(0.5 * rng.normal(size=items))
        expected = np.clip(spread * side * np.maximum(fragile, 0.0), -1, 1)
        mine = np.arange(variants) % len(NAMES) == index
        if loss:
            falls = (rng.random(items) < loss) & mine[:, None]
            score = np.where(falls & (score == 0), -1.0, score)
            expected = np.where(mine[:, None], expected - loss, expected)
        run[name] = Items(score, expected if index % 2 == 0 else None)
    return run


def null(runs: int) -> None:
    """Pages of variants that lose nothing."""
    print(
        "\n| variants | items | any cell out of parentheses: before | now | anything told | now |"
    )
    print("|---|---|---|---|---|---|")
    for variants, items in product((1, 3, 8), (50, 200, 1000)):
        rng = np.random.default_rng([variants, items])
        _print_null(f"{variants} | {items}", (made_up(rng, variants, items) for _ in range(runs)))


def _print_null(label: str, drawn) -> None:  # type: ignore[no-untyped-def]
    counts, number = np.zeros(4), 0
    for run in drawn:
        judged = page(run)
        shown = [out_of_parentheses(*cell) for cell in cells(judged)]
        counts[:2] += np.any(shown, axis=0)
        counts[2:] += told(judged)
        number += 1
    print(f"| {label} | {' | '.join(f'{c / number:.1%}' for c in counts)} |", flush=True)


def power(runs: int) -> None:
    """True losses of 5 points of 200 items: out of parentheses, and beyond the margin."""
    print(
        "\n| variants | by | out of parentheses: before | now | beyond the margin: before | now |"
    )
    print("|---|---|---|---|---|---|")
    for variants in (1, 3, 7):
        rng = np.random.default_rng(variants)
        counts = {"score": np.zeros(5), "expected score": np.zeros(5)}
        for _ in range(runs // 3):
            judged = page(made_up(rng, variants, 200, loss=0.05))
            for index, one in enumerate(judged):
                name = NAMES[index % len(NAMES)]
                kind = "score" if index % 2 else "expected score"
                values = (*out_of_parentheses(one, name), *lost(one, name), 1)
                counts[kind] += values
        for kind, found in counts.items():
            if found[-1]:
                shares = " | ".join(f"{x / found[-1]:.0%}" for x in found[:-1])
                print(f"| {variants} | {kind} | {shares} |", flush=True)


def margin(runs: int) -> None:
    """Every capability truly loses just its margin."""
    print(f"\n| variants | items | {_MARGIN_COLUMNS} |")
    print("|---|---|---|---|---|---|")
    for variants, items in product((1, 3, 8), (50, 200, 1000)):
        rng = np.random.default_rng([variants, items])
        _print_margin(
            f"{variants} | {items}", (made_up(rng, variants, items) for _ in range(runs)), MARGIN
        )


_MARGIN_COLUMNS = (
    "any `lost`: before | now | one capability `kept` of any, by expected score | by score"
)


def _print_margin(label: str, drawn, extra: float) -> None:  # type: ignore[no-untyped-def]
    """`extra` is what is added to losses of nothing: items fall that did not flip."""
    counts, number = np.zeros(4), 0
    rng = np.random.default_rng(0)
    for run in drawn:
        judged = page({name: _worse(items, extra, rng) for name, items in run.items()})
        counts[:2] += np.any([lost(*cell) for cell in cells(judged)], axis=0)
        for place, known in ((2, True), (3, False)):
            names = [n for n, items in run.items() if (items.expected is not None) is known]
            counts[place] += bool(names) and any(
                one.verdict.capabilities[names[0]].outcome == "kept"
                for one in judged
                if one.verdict is not None
            )
        number += 1
    print(f"| {label} | {' | '.join(f'{c / number:.1%}' for c in counts)} |", flush=True)


def _worse(items: Items, loss: float, rng: np.random.Generator) -> Items:
    """Truly worse by so much: by that share of the items that did not flip either way."""
    calm = (items.score == 0).mean(axis=1, keepdims=True)
    falls = (rng.random(items.score.shape[1]) < loss / calm) & (items.score == 0)
    score = np.where(falls, -1.0, items.score)
    return Items(score, None if items.expected is None else items.expected - loss)


# Texts --------------------------------------------------------------------------------------------


def expected(runs: int, texts: int = 6) -> None:
    """Every variant truly upon the upper end of what is expected, on every text."""
    row = next(one for one in TABLE.formats if one.format == "GPTQ" and one.bits == 4)
    assert row.high is not None
    print(
        "\n| variants | windows | any `worse than expected`: before | now "
        "| one is truly, by 5 %: before | now |"
    )
    print("|---|---|---|---|---|---|")
    for variants, windows in product((1, 3), (20, 50, 200)):
        rng = np.random.default_rng([variants, windows])
        counts = np.zeros(4)
        for seed in range(runs):
            lines = np.full((variants, texts), row.high)
            counts[:2] += _standings(lines, windows, rng, seed, row.high)
            lines = np.full((variants, texts), 1.08)
            lines[0, 0] = 1.05 * row.high
            counts[2:] += _standings(lines, windows, rng, seed, row.high)
        shares = " | ".join(f"{count / runs:.1%}" for count in counts)
        print(f"| {variants} | {windows} | {shares} |", flush=True)


def _standings(
    truth: FloatArray, windows: int, rng: np.random.Generator, seed: int, high: float
) -> tuple[bool, bool]:
    """Whether any variant is called worse, before (on the text with the highest upper bound) and
    now. Windows as in ``verdict_errors.py``: lognormal, autocorrelated by 0.2.
    """
    variants, texts = truth.shape
    block = block_length(windows)
    series = {}
    for text in range(texts):
        shared = _autocorrelated(windows, rng)
        for variant in range(variants):
            noise = math.sqrt(TOGETHER) * shared
            noise = noise + math.sqrt(1 - TOGETHER) * _autocorrelated(windows, rng)
            means = math.log(truth[variant, text]) * np.exp(0.5 * noise - 0.125)
            series[variant, text] = Series(means, np.ones(windows), "exp")
    keyed = bootstrap({str(k): s for k, s in series.items()}, seed=seed, resamples=1000)
    made = []
    before = False
    for variant in range(variants):
        found = {t: Estimate.of(keyed[str((variant, t))]) for t in range(texts)}
        worst = max(found.values(), key=lambda one: one.high or 0.0)
        before |= (worst.low or 0.0) > high
        corpora = {
            str(t): CorpusComparison.model_construct(
                relative_perplexity=one, n_blocks=windows // block, out_of_domain=None
            )
            for t, one in found.items()
        }
        made.append(
            VariantResult.model_construct(
                name=str(variant),
                format="gptq",
                bits=4.0,
                recipe=None,
                corpora=corpora,
                capabilities=None,
                error=None,
            )
        )
    return before, min(families_of(made, TABLE).above.values()) < SIGNIFICANT


def _autocorrelated(windows: int, rng: np.random.Generator) -> FloatArray:
    noise = rng.normal(size=windows)
    for i in range(1, windows):
        noise[i] = 0.2 * noise[i - 1] + math.sqrt(1 - 0.2**2) * noise[i]
    return noise


# Finished runs ------------------------------------------------------------------------------------


def read(folder: Path) -> Run:
    """What the variants of a run scored more than the reference, a task for each capability."""
    store = RunStore(folder)
    manifest = Manifest.from_json((folder / "manifest.json").read_text(), name=str(folder))
    found = {}
    for task, entry in manifest.tasks.items():
        reference = read_items(store, entry, manifest.reference.name)
        first = reference.metrics[0]
        if not reference.binary(first):
            continue
        variants = [
            read_items(store, entry, one) for one in entry.items if one != manifest.reference.name
        ]
        score = np.array([one.score(first) - reference.score(first) for one in variants])
        likely = None
        if stands_for_score(reference):
            base = expected_scores(reference)
            likely = np.array([expected_scores(one) - base for one in variants])
        found[entry.capability] = Items(score, likely)
        print(f"  {task}: {entry.capability}, {score.shape[0]} variants, {score.shape[1]} items")
    return found


def resampled(folder: Path, runs: int) -> None:
    """Null pages, and pages upon the margin, of a run's own records."""
    print(f"\n{folder.name}")
    run = read(folder)
    rng = np.random.default_rng(0)

    def draws():  # type: ignore[no-untyped-def]
        for _ in range(runs):
            yield {name: items.drawn(rng, swap=True) for name, items in run.items()}

    print("\n| run | any cell out of parentheses: before | now | anything told | now |")
    print("|---|---|---|---|---|")
    _print_null(folder.name, draws())
    print(f"\n| run | {_MARGIN_COLUMNS} |")
    print("|---|---|---|---|---|")
    _print_margin(folder.name, draws(), MARGIN)


def families(runs: int) -> None:
    """All that is made up."""
    null(runs)
    margin(runs)
    power(runs)
    expected(runs)


def main() -> None:
    """Print the tables in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--runs", type=int, default=600, help="simulated runs for each line")
    parser.add_argument("--run", type=Path, nargs="*", default=[], metavar="RUN")
    arguments = parser.parse_args()
    for folder in arguments.run:
        resampled(folder, arguments.runs)
    if not arguments.run:
        families(arguments.runs)


if __name__ == "__main__":
    main()
