"""`bitloss report`: a finished run to read, made from its directory alone."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bitloss.cli import options
from bitloss.cli.console import note
from bitloss.errors import BitlossError

if TYPE_CHECKING:
    from bitloss.results import Comparison

__all__ = ["Format", "draw_beside", "report"]


class Format(StrEnum):
    """As `bitloss.report.write.FORMATS`."""

    HTML = "html"
    MARKDOWN = "markdown"
    JSON = "json"
    CSV = "csv"
    LM_EVAL = "lm-eval"


def report(
    run: Annotated[Path, typer.Argument(help="A finished run's directory.")],
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="PATH",
            help="A folder; for html or json a file, if it has an ending.  [default: RUN]",
        ),
    ] = None,
    formats: Annotated[
        list[Format] | None,
        typer.Option(
            "--format",
            help="html: one page. markdown: with pictures. json: as comparison.json. csv: token "
            "by token, item by item. lm-eval: its results files. May be repeated.  [default: html]",
        ),
    ] = None,
    expectations: options.ExpectationsFile = None,
) -> None:
    """Write a finished run's report anew from its records: no model is loaded.

    The page is one file without scripts from elsewhere, to be opened, sent or kept. The run's
    comparison.json stays as it is, whatever the expectations.
    """
    from bitloss import api

    written = api.report(
        run,
        out=out,
        formats=[choice.value for choice in formats or (Format.HTML,)],
        expectations=expectations,
    )
    for line in written.missing:
        note(line)
    for path in written.paths:
        note(f"written to {path}")


def draw_beside(comparison: Comparison, run: Path) -> None:
    """Write a run's page once its results are written; without it they are still there."""
    from bitloss.report.write import write_page_of

    try:
        page = write_page_of(comparison, run)
    except BitlossError as fault:
        note(f"no report: {fault.message}" + (f"; {fault.hint}" if fault.hint else ""))
    except Exception as fault:
        # A fault in drawing is no fault of the run: it is told, and the run ends as it would.
        told = f"{type(fault).__name__}: {fault}"
        note(f"no report: drawing it failed ({told}); bitloss --debug report {run} shows where")
    else:
        note(f"report: {page}")
