"""The gate from a run directory on: `bitloss check`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import get_args

from bitloss.checks.judge import judge
from bitloss.checks.measures import MEASURES
from bitloss.checks.result import CheckResult, WhenUndecided
from bitloss.checks.rules import LimitValues, Rule, read_thresholds, rules_of
from bitloss.errors import UnknownName, UsageError
from bitloss.expectations import AXES, AxisName, load_expectations
from bitloss.results import Comparison

__all__ = ["gate", "rules_of_verdict"]

_MEASURE_OF: Mapping[AxisName, str] = MappingProxyType(
    {
        "relative_perplexity": "max_relative_perplexity",
        "top1_agreement": "min_top1",
        "overlap": "min_overlap",
        "kl_divergence": "max_kld",
    }
)


def gate(
    run: Path,
    *,
    limits: Mapping[str, LimitValues | None],
    thresholds: Path | None = None,
    expectations: Path | None = None,
    variants: Sequence[str] = (),
    baseline: Path | None = None,
    when_undecided: str = "skip",
) -> CheckResult:
    """Check a run against limits.

    Args:
        run: a finished run's directory, or its ``comparison.json``.
        limits: by the keys of `bitloss.checks.measures.MEASURES`; they override the file's.
        thresholds: a YAML file with limits.
        expectations: without any limit, the limits are those of the run's verdicts: what is
            *usually* acceptable on every axis, and each capability's margin. This file changes
            them, as for `bitloss compare`.
        variants: the only ones to be judged; none is all.
        baseline: an earlier run; the limits are then for the changes since it.
        when_undecided: see `WhenUndecided`.

    Raises:
        UsageError: limits that cannot be, or are for what is not in the run.
        DataError: there is no finished run.
        Incomparable: run and baseline did not measure the same.
    """
    if when_undecided not in get_args(WhenUndecided):
        raise UnknownName("way to take what is undecided", when_undecided, get_args(WhenUndecided))
    policy: WhenUndecided = when_undecided  # type: ignore[assignment]
    rules = rules_of(limits)
    if thresholds is not None:
        rules += read_thresholds(thresholds)
    if rules and expectations is not None:
        raise UsageError(
            "expected thresholds or expectations to check against, got both",
            hint="omit --expectations or the thresholds",
        )
    comparison = Comparison.load(run)
    if baseline is not None:
        from bitloss.checks.baseline import judge_changes

        return judge_changes(run, baseline, rules, variants=variants, when_undecided=policy)
    rules = rules or rules_of_verdict(comparison, expectations)
    return judge(comparison, rules, variants=variants, when_undecided=policy, run=str(run))


def rules_of_verdict(comparison: Comparison, expectations: Path | None) -> tuple[Rule, ...]:
    """The limits that a run's verdicts are made with: nothing worse than *usually*.

    Args:
        comparison: what is to be judged.
        expectations: the user's file, None for the built-in tables.

    Raises:
        UsageError: the file has mistakes, or there is none and the run's verdicts were made with
            one.
    """
    table = load_expectations(expectations)
    answer = comparison.answer
    if expectations is None and answer is not None and answer.expectations[0] != table.source:
        raise UsageError(
            f"the run's verdicts were made with the expectations {answer.expectations[0]}",
            hint="give that file with --expectations, or thresholds",
        )
    rules = []
    if comparison.reference.corpora:
        rules += [
            Rule(MEASURES[_MEASURE_OF[axis]], None, table.thresholds[axis].usually, table.source)
            for axis in AXES
        ]
    capabilities = {task.capability for task in (comparison.reference.tasks or {}).values()}
    for capability, margin in table.margins.items():
        if capability in capabilities:
            name = f"capability:{capability}"
            rules.append(Rule(MEASURES["max_loss"], name, margin, table.source))
    return tuple(rules)
