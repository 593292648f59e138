"""`bitloss check`: a run checked against thresholds, for pipelines."""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bitloss import environment
from bitloss.cli import options

if TYPE_CHECKING:
    from bitloss.checks import CheckResult

__all__ = ["check"]


class Undecided(StrEnum):
    """As `bitloss.checks.result.WhenUndecided`."""

    SKIP = "skip"
    FAIL = "fail"
    PASS = "pass"


def check(
    run: options.RunDirectory,
    max_relative_perplexity: Annotated[
        list[str] | None,
        typer.Option(
            metavar="[CORPUS=]RATIO", help="Maximum relative perplexity; 1.05 allows 5% growth."
        ),
    ] = None,
    max_kld: Annotated[
        list[str] | None,
        typer.Option(
            metavar="[NAME=]NATS",
            help="Maximum mean KL divergence on every corpus, or for one corpus, capability or "
            "task.",
        ),
    ] = None,
    min_top1: Annotated[
        list[str] | None,
        typer.Option(metavar="[CORPUS=]SHARE", help="Minimum top-1 agreement: 0.9 or 90%."),
    ] = None,
    min_overlap: Annotated[
        list[str] | None,
        typer.Option(metavar="[CORPUS=]SHARE", help="Minimum overlap: 0.95 or 95%."),
    ] = None,
    max_loss: Annotated[
        list[str] | None,
        typer.Option(
            metavar="[NAME=]SHARE",
            help="Maximum loss of score in every capability, or in one capability or task: 0.02 "
            "or 2%.",
        ),
    ] = None,
    thresholds: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Thresholds (YAML).")
    ] = None,
    expectations: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Verdict levels and margins (YAML); used as thresholds when none are given.",
        ),
    ] = None,
    variant: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Variant to check; may be repeated.", show_default="all"),
    ] = None,
    baseline: Annotated[
        Path | None,
        typer.Option(metavar="OLD_RUN", help="Earlier run; thresholds apply to the changes since."),
    ] = None,
    undecided: Annotated[
        Undecided, typer.Option(help="How undecided thresholds affect the exit code.")
    ] = Undecided.SKIP,
    as_json: options.AsJson = False,
    junit: Annotated[
        Path | None, typer.Option(metavar="FILE", help="File for JUnit XML, for build servers.")
    ] = None,
    markdown: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help=f"File for a Markdown summary; ${environment.STEP_SUMMARY.name} is appended to.",
        ),
    ] = None,
) -> None:
    """Check a finished run against thresholds: every value at the bound of its 95% interval.

    Exit code 0: all pass. 1: one fails, or a variant was not measured. 3: none fails, and one is
    undecided. Without thresholds, the levels of the run's verdicts apply.
    """
    from bitloss import finished

    result = finished.check(
        run,
        max_relative_perplexity=options.split_limits(
            "--max-relative-perplexity", max_relative_perplexity
        ),
        max_kld=options.split_limits("--max-kld", max_kld),
        min_top1=options.split_limits("--min-top1", min_top1),
        min_overlap=options.split_limits("--min-overlap", min_overlap),
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
    from bitloss.checks import junit as xml
    from bitloss.checks import summary as summaries
    from bitloss.files import append_text, write_bytes, write_text

    if junit is not None:
        write_bytes(junit, xml.junit(result))
    if markdown is not None:
        summary = environment.step_summary()
        is_summary = summary is not None and markdown.resolve() == summary.resolve()
        (append_text if is_summary else write_text)(markdown, summaries.markdown(result))


def _show(result: CheckResult, *, as_json: bool) -> None:
    from rich.console import Console

    from bitloss.checks.summary import headline, table
    from bitloss.reports.terminal import render_table

    if as_json:
        sys.stdout.write(result.to_json())
        return
    console = Console(highlight=False)
    render_table(table(result), console)
    console.print(f"\n{headline(result)}", markup=False)
