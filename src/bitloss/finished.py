"""The Python interface to finished runs: read, check and report them. No model is loaded."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from bitloss.spec.choices import StrPath

if TYPE_CHECKING:
    from bitloss.checks import CheckResult
    from bitloss.checks.rules import LimitValues
    from bitloss.reports.write import Written
    from bitloss.results import Comparison
    from bitloss.results.leaderboard import Leaderboard

__all__ = ["card", "check", "leaderboard", "load", "report"]


def check(
    run: StrPath,
    *,
    thresholds: StrPath | None = None,
    expectations: StrPath | None = None,
    variants: Sequence[str] = (),
    baseline: StrPath | None = None,
    undecided: str = "skip",
    **limits: LimitValues | None,
) -> CheckResult:
    """Check a finished run against thresholds: every value at the bound of its interval.

    Args:
        run: the run directory.
        thresholds: a YAML file with thresholds.
        expectations: the YAML file that the run's verdicts were made with; its levels and margins
            are the thresholds if there are no others.
        variants: names of the variants to check; all by default.
        baseline: an earlier run; thresholds then apply to the changes since.
        undecided: how an undecided threshold affects the gate: ``skip`` leaves it undecided,
            ``fail`` fails it, ``pass`` passes it.
        limits: ``max_relative_perplexity``, ``max_kld``, ``min_top1``, ``min_overlap`` and
            ``max_loss``: one threshold for all, or thresholds by the names of corpora,
            capabilities or tasks.

    Raises:
        BitlossError: see `bitloss.checks.gate.gate`.
    """
    from bitloss.checks.gate import gate

    return gate(
        Path(run),
        limits=limits,
        thresholds=None if thresholds is None else Path(thresholds),
        expectations=None if expectations is None else Path(expectations),
        variants=variants,
        baseline=None if baseline is None else Path(baseline),
        when_undecided=undecided,
    )


def load(run: StrPath) -> Comparison:
    """Load the result of a finished run, as `compare` returned it.

    Args:
        run: the run directory, or its ``comparison.json``.

    Raises:
        DataError: there is no result, or it is damaged or of another version.
    """
    from bitloss.results import Comparison

    return Comparison.load(run)


def leaderboard(runs: Sequence[StrPath]) -> Leaderboard:
    """Rank all variants of runs that were made from one pack.

    Args:
        runs: run directories, or their ``comparison.json``.

    Raises:
        DataError: a run is not finished, or was not made from a pack.
        Incomparable: the runs were made from different packs.
    """
    from bitloss.analysis.leaderboard import rank_runs
    from bitloss.results import Comparison

    return rank_runs({os.fspath(run): Comparison.load(run) for run in runs})


def card(
    run: StrPath,
    *,
    variants: Sequence[str] = (),
    base_model: str | None = None,
    name: str | None = None,
) -> str:
    """Write a model card on what quantization cost: metadata, and a section in Markdown.

    Args:
        run: the run directory, or its ``comparison.json``.
        variants: names of the variants that the card describes; by default all that did not fail.
        base_model: the reference on the hub (``org/name``); None is the reference's name, if that
            is a hub name.
        name: the model's name in the metadata; None is the variant's name.

    Returns:
        The card's text.

    Raises:
        BitlossError: see `bitloss.reports.card.card_content`.
    """
    from bitloss.reports.card import card_content
    from bitloss.reports.card_file import new_card

    return new_card(card_content(load(run), variants, base_model=base_model, model_name=name))


def report(
    run: StrPath,
    *,
    out: StrPath | None = None,
    formats: Sequence[str] = ("html",),
    expectations: StrPath | None = None,
) -> Written:
    """Write a finished run's report again from its records; no model is loaded.

    Args:
        run: the run directory.
        out: a folder, or for a single ``html`` or ``json`` format a file name with a suffix. None
            is the run directory, whose ``comparison.json`` does not change.
        formats: one or more of ``html``, ``markdown``, ``json``, ``csv`` and ``lm-eval``.
        expectations: a YAML file with levels, margins and expected losses for the verdicts.

    Raises:
        BitlossError: see `bitloss.reports.write.write_report`.
    """
    from bitloss.reports.write import write_report

    return write_report(
        Path(run),
        out=None if out is None else Path(out),
        formats=formats,
        expectations=None if expectations is None else Path(expectations),
    )
