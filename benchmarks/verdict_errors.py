"""How often verdicts are wrong where it is hardest not to be (``docs/verdicts.md``).

    python benchmarks/verdict_errors.py

Everything is simulated, so the truth is known, and put exactly upon the line between two verdicts:

* *margin*: the true loss of score is the margin. A verdict ``kept`` or ``lost`` is then wrong
  (the truth may be taken as just beyond either); how often does each come out? Items flip from
  right to wrong and back with given probabilities.
* *level*: the true relative perplexity is 1.05. ``yes`` is wrong (the truth may be taken as just
  above). Windows as measured in ``docs/decisions/0005-intervals.md``: lognormal differences with
  an autocorrelation of 0.2.
* *axes*: several axes are truly upon their lines of `yes`, the others far from them. ``yes`` is
  wrong (an axis may be taken as just beyond its line), and so is what is shown to be below `yes`
  (all may be taken as just within). The four axes of a window have some damage in common: their
  logarithms correlate by 0.7.
* *worst*: some capabilities truly lose the same, so none suffers most, but one is named (5 % of
  items flip from right to wrong).
* *ability*: a model guesses in seven capabilities, so none is measurable, but one is called so.
* *families*: pages of several variants in several capabilities, which truly lose nothing or just
  what is allowed: ``family_errors.py``.

Each is asked 1,000 times; less than 5 % may be wrong.
"""

from __future__ import annotations

import argparse
import math
from itertools import product
from typing import Literal

import numpy as np

from bitloss.analysis.abilities import SHOWN
from bitloss.analysis.loss_ranking import SURE
from bitloss.analysis.score_losses import probabilities_worst
from bitloss.analysis.verdicts import judge_loss
from bitloss.expectations import AXES, AxisName, Expectations, load_expectations
from bitloss.expectations.axes import worst_of
from bitloss.metrics.ability import TaskScores, guessing_p_value
from bitloss.metrics.intervals import Series, bootstrap
from bitloss.metrics.multiple import holm
from bitloss.metrics.paired import change, mean_change
from bitloss.results import Estimate
from bitloss.results.tasks import CapabilityResult
from bitloss.types import FloatArray
from family_errors import families

MARGIN = 0.02
CHANCE = 0.25


def margin(runs: int) -> None:
    """Non-inferiority with the true loss at the margin."""
    print("\n| items | right to wrong | wrong to right | `kept` | `lost` |")
    print("|---|---|---|---|---|")
    rng = np.random.default_rng(1)
    for items in (50, 200, 1000, 5000):
        for gained in (0.0, 0.01, 0.05):
            lost = gained + MARGIN
            drawn = rng.multinomial(items, [lost, gained, 1 - lost - gained], size=runs)
            outcomes = []
            for down, up, _ in drawn.tolist():
                found = Estimate.of(mean_change([change(down, up, items)]))
                result = CapabilityResult(
                    tasks=("made up",), score=None, reference_score=None, difference=found
                )
                outcomes.append(judge_loss(result, MARGIN).outcome)
            shares = [f"{outcomes.count(name) / runs:.1%}" for name in ("kept", "lost")]
            print(f"| {items} | {lost:.0%} | {gained:.0%} | {' | '.join(shares)} |", flush=True)


def level(runs: int) -> None:
    """The level with the true relative perplexity upon the line of `yes`."""
    table = load_expectations()
    line = table.thresholds["relative_perplexity"].yes
    print("\n| windows | `yes` | settled above |")
    print("|---|---|---|")
    for windows in (10, 30, 100, 300):
        rng = np.random.default_rng(windows)
        noise = rng.normal(size=(runs, windows))
        for i in range(1, windows):
            noise[:, i] = 0.2 * noise[:, i - 1] + math.sqrt(1 - 0.2**2) * noise[:, i]
        # Skewed like measured differences: lognormal with a log sd of 0.5, about its mean.
        means = math.log(line) + 0.44 * math.log(line) * (
            np.exp(0.5 * noise - 0.125) - 1
        ) / math.sqrt(math.expm1(0.25))
        ones = np.ones(windows)
        series = {str(i): Series(row, ones, "exp") for i, row in enumerate(means)}
        found = bootstrap(series, seed=2, resamples=2000).values()
        ranges = [table.level_range("relative_perplexity", one.low, one.high) for one in found]
        yes = sum(one.worst == "yes" for one in ranges) / runs
        above = sum(one.best != "yes" for one in ranges) / runs
        print(f"| {windows} | {yes:.1%} | {above:.1%} |", flush=True)


def axes(runs: int) -> None:
    """The level with some axes upon their lines of `yes`, and the others far from them."""
    print("\n| axes upon their lines | windows | `yes` | shown below `yes` | first alone: `yes` |")
    print("|---|---|---|---|---|")
    for on_line, windows in product(_ON_LINE, (30, 100, 300)):
        table, rng = load_expectations(), np.random.default_rng([len(on_line), windows])
        yes = below = alone = 0
        for seed in range(runs):
            found = bootstrap(_drawn(table, on_line, windows, rng), seed=seed, resamples=1000)
            ranges = {x: table.level_range(x, found[x].low, found[x].high) for x in AXES}
            together = worst_of(ranges.values())
            yes += together.worst == "yes"
            below += together.best != "yes"
            alone += ranges[on_line[0]].worst == "yes"
        shares = " | ".join(f"{count / runs:.1%}" for count in (yes, below, alone))
        print(f"| {', '.join(on_line)} | {windows} | {shares} |", flush=True)


_ON_LINE: tuple[tuple[AxisName, ...], ...] = (
    ("kl_divergence",),
    ("top1_agreement",),
    ("overlap",),
    ("top1_agreement", "kl_divergence"),
    tuple(AXES),
)


def _drawn(
    table: Expectations, on_line: tuple[AxisName, ...], windows: int, rng: np.random.Generator
) -> dict[str, Series]:
    """Window means of every axis; those far from the line lose a tenth of what it allows.

    The variation is that of 512-token windows on the two small models of docs/verdicts.md: a log sd
    of 0.5 for what is lost, half of it for agreement and overlap.
    """
    shared, ones = _autocorrelated(windows, rng), np.ones(windows)
    series: dict[str, Series] = {}
    for name, axis in AXES.items():
        line = table.thresholds[name].yes
        loss = math.log(line) if name == "relative_perplexity" else 1 - line if axis.share else line
        loss *= 1.0 if name in on_line else 0.1
        noise = math.sqrt(0.7) * shared + math.sqrt(0.3) * _autocorrelated(windows, rng)
        spread = 0.25 if axis.share else 0.5
        lost = loss * np.exp(spread * noise - spread**2 / 2)
        if axis.share:
            series[name] = Series(1 - lost, ones, bounds=(0.0, 1.0))
        else:
            scale: Literal["linear", "exp"] = "exp" if name == "relative_perplexity" else "linear"
            series[name] = Series(lost, ones, scale)
    return series


def _autocorrelated(windows: int, rng: np.random.Generator) -> FloatArray:
    """Normal with variance 1 and an autocorrelation of 0.2."""
    noise = rng.normal(size=windows)
    for i in range(1, windows):
        noise[i] = 0.2 * noise[i - 1] + math.sqrt(1 - 0.2**2) * noise[i]
    return noise


def worst(runs: int) -> None:
    """How often one of several capabilities that lose the same share of score is named."""
    print("\n| capabilities | items | named |")
    print("|---|---|---|")
    for count in (2, 3, 7):
        for items in (50, 200, 1000):
            rng = np.random.default_rng([count, items])
            drawn = rng.multinomial(items, [0.05, 0.01, 0.94], size=(runs, count))
            named = 0
            for number, run in enumerate(drawn.tolist()):
                losses = {
                    str(i): Estimate.of(mean_change([change(down, up, items)])).negated()
                    for i, (down, up, _) in enumerate(run)
                }
                named += max(probabilities_worst(losses, seed=number).values()) >= SURE
            print(f"| {count} | {items} | {named / runs:.1%} |", flush=True)


def ability(runs: int) -> None:
    """How often a model that guesses is said to be able to do something, and to do one thing."""
    print("\n| tasks of each | items | one capability alone | any of seven |")
    print("|---|---|---|---|")
    for tasks, items in product((1, 3), (50, 200, 1000)):
        rng = np.random.default_rng(items)
        alone = anything = 0
        for _ in range(runs):
            right = (rng.random((7, tasks, items)) < CHANCE).astype(float)
            p_values = [
                guessing_p_value([TaskScores(row, np.ones(items), CHANCE) for row in one])
                for one in right
            ]
            alone += p_values[0] < SHOWN
            anything += min(holm(p_values)) < SHOWN
        print(f"| {tasks} | {items} | {alone / runs:.1%} | {anything / runs:.1%} |", flush=True)


def main() -> None:
    """Print the tables in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--runs", type=int, default=1000, help="simulated runs for each line")
    runs: int = parser.parse_args().runs
    margin(runs)
    level(runs)
    axes(runs)
    worst(runs)
    ability(runs)
    families(runs)


if __name__ == "__main__":
    main()
