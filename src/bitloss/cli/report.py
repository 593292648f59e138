"""`bitloss report`: a finished run to read, made from its directory alone."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bitloss.cli import options
from bitloss.cli.console import print_status
from bitloss.errors import BitlossError

if TYPE_CHECKING:
    from bitloss.results import Comparison

__all__ = ["Format", "report", "write_report_page"]


class Format(StrEnum):
    """As `bitloss.reports.write.FORMATS`."""

    HTML = "html"
    MARKDOWN = "markdown"
    JSON = "json"
    CSV = "csv"
    LM_EVAL = "lm-eval"


def report(
    run: options.RunDirectory,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="PATH",
            help="Folder; for a single html or json format also a file name with a suffix.",
            show_default="RUN",
        ),
    ] = None,
    formats: Annotated[
        list[Format] | None,
        typer.Option(
            "--format",
            help="html: one page. markdown: with charts. json: as comparison.json. csv: a summary, "
            "and one row per token and per item. lm-eval: its results files. May be repeated.",
            show_default="html",
        ),
    ] = None,
    expectations: options.ExpectationsFile = None,
) -> None:
    """Write a finished run's report again from its records, without loading a model.

    The page is one self-contained file. The run's comparison.json does not change, whatever the
    expectations.
    """
    from bitloss import finished

    written = finished.report(
        run,
        out=out,
        formats=[choice.value for choice in formats or (Format.HTML,)],
        expectations=expectations,
    )
    for line in written.missing:
        print_status(line)
    for path in written.paths:
        print_status(f"written to {path}")


def write_report_page(comparison: Comparison, run: Path) -> None:
    """Write a run's page beside its results, which a failure here leaves intact."""
    from bitloss.reports.write import write_page_of

    try:
        page = write_page_of(comparison, run)
    except BitlossError as error:
        print_status(f"no report: {error.message}" + (f"; {error.hint}" if error.hint else ""))
    except Exception as error:
        # A failed page does not make the run a failure: report it, and end as without a page.
        reason = f"{type(error).__name__}: {error}"
        print_status(
            f"no report: writing it failed ({reason}); bitloss --debug report {run} shows where"
        )
    else:
        print_status(f"report: {page}")
