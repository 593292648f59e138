"""`bitloss check`: a run held to limits, for pipelines."""

from __future__ import annotations

import os
import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bitloss.cli import options

if TYPE_CHECKING:
    from bitloss.check import CheckResult

__all__ = ["check"]


class Undecided(StrEnum):
    """As `bitloss.check.result.WhenUndecided`."""

    SKIP = "skip"
    FAIL = "fail"
    PASS = "pass"


def check(
    run: Annotated[Path, typer.Argument(help="A finished run's directory.")],
    max_relative_perplexity: Annotated[
        list[str] | None,
        typer.Option(metavar="[CORPUS=]RATIO", help="1.05 lets it grow by 5 %."),
    ] = None,
    max_kld: Annotated[
        list[str] | None,
        typer.Option(
            metavar="[NAME=]NATS",
            help="Mean KL divergence of every corpus, or of a corpus, capability or task.",
        ),
    ] = None,
    min_top1: Annotated[
        list[str] | None,
        typer.Option(metavar="[CORPUS=]SHARE", help="Same most likely token: 0.9 or 90%."),
    ] = None,
    max_loss: Annotated[
        list[str] | None,
        typer.Option(
            metavar="[NAME=]SHARE",
            help="Score lost in every capability, or in a capability or task: 0.02 or 2%.",
        ),
    ] = None,
    thresholds: Annotated[
        Path | None, typer.Option(metavar="FILE", help="A YAML file with thresholds.")
    ] = None,
    expectations: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Of the verdicts, which are the limits by default."),
    ] = None,
    variant: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="Judge only this one; may be repeated.")
    ] = None,
    baseline: Annotated[
        Path | None,
        typer.Option(metavar="OLD_RUN", help="An earlier run: limit the changes since it."),
    ] = None,
    undecided: Annotated[
        Undecided, typer.Option(help="What thresholds within the interval do to the gate.")
    ] = Undecided.SKIP,
    as_json: options.AsJson = False,
    junit: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write JUnit XML, for build servers.")
    ] = None,
    markdown: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Write a summary; $GITHUB_STEP_SUMMARY is added to, not replaced."
        ),
    ] = None,
) -> None:
    """Hold a finished run to thresholds: every figure at the bound of its 95 % interval.

    Exit code 0: all pass. 1: one fails, or a variant was not measured. 3: none fails, and one is
    undecided. Without thresholds, the limits are those of the run's verdicts.
    """
    from bitloss import api

    result = api.check(
        run,
        max_relative_perplexity=options.split_limits(
            "--max-relative-perplexity", max_relative_perplexity
        ),
        max_kld=options.split_limits("--max-kld", max_kld),
        min_top1=options.split_limits("--min-top1", min_top1),
        max_loss=options.split_limits("--max-loss", max_loss),
        thresholds=thresholds,
        expectations=expectations,
        variants=variant or (),
        baseline=baseline,
        undecided=undecided.value,
    )
    _write(result, junit, markdown)
    _show(result, as_json=as_json)
    if result.exit_code:
        raise typer.Exit(result.exit_code)


def _write(result: CheckResult, junit: Path | None, markdown: Path | None) -> None:
    from bitloss.check import junit as xml
    from bitloss.check import summary as summaries
    from bitloss.files import append_text, write_bytes, write_text

    if junit is not None:
        write_bytes(junit, xml.junit(result))
    if markdown is not None:
        summary = os.environ.get("GITHUB_STEP_SUMMARY", "")
        to_it = summary and markdown.resolve() == Path(summary).resolve()
        (append_text if to_it else write_text)(markdown, summaries.markdown(result))


def _show(result: CheckResult, *, as_json: bool) -> None:
    from rich.console import Console

    from bitloss.check.summary import headline, table
    from bitloss.report.terminal import render_table

    if as_json:
        sys.stdout.write(result.to_json())
        return
    console = Console(highlight=False)
    render_table(table(result), console)
    console.print(f"\n{headline(result)}", markup=False)
