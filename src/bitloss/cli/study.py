"""`bitloss study`: one factor varied over models, everything else held."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Unpack

import typer
from rich.console import Console

from bitloss.cli import options
from bitloss.cli.console import make_progress, print_error, print_status, shown_together
from bitloss.cli.options import split_names
from bitloss.errors import BitlossError
from bitloss.spec.choices import CompareOptions
from bitloss.spec.options import COMPARE

if TYPE_CHECKING:
    from bitloss.studies import StudyResult

__all__ = ["study", "write_study_page"]


@options.takes_run_options(COMPARE, without=("until", "precision"))
def study(
    context: typer.Context,
    name: Annotated[
        str, typer.Argument(help="A study (`bitloss list studies`), or a study file (YAML).")
    ],
    models: Annotated[
        list[str],
        typer.Argument(help="Unquantized models: paths or hub names (org/name)."),
    ],
    vary: Annotated[
        list[str] | None,
        typer.Option(
            "--vary",
            metavar="VALUE,...",
            help="Levels of the factor, separated by commas; the study's own by default.",
        ),
    ] = None,
    out: Annotated[
        Path,
        typer.Option(
            "--out", help="Directory of the results; studies with the same one share their work."
        ),
    ] = Path("studies"),
    as_json: options.AsJson = False,
    with_page: Annotated[
        bool, typer.Option("--page/--no-page", help="Write page.html beside the results.")
    ] = True,
    quiet: options.Quiet = False,
    **choices: Unpack[CompareOptions],
) -> None:
    """Vary one factor of quantization, hold the rest, and compare its levels with intervals.

    Two studies have commands of their own: `bitloss study sensitivity MODEL VARIANT...` and
    `bitloss study recipe MODEL`.

    Safe to interrupt: rerun the same command to resume. A level that fails does not stop the
    others; the exit code is then 1.
    """
    from bitloss.studies import study as run_study
    from bitloss.studies.tables import render_study

    result = run_study(
        name,
        models,
        vary=None if vary is None else split_names(vary),
        out=out,
        command=context.obj,
        progress=make_progress(quiet=quiet),
        **choices,
    )
    if as_json:
        sys.stdout.write(result.to_json())
    else:
        render_study(result, Console(highlight=False))
    folder = out / result.study
    if with_page:
        write_study_page(result, folder / "page.html")
    print_status(f"written to {folder / 'study.json'}")
    failed = [
        (model.name, level) for model in result.models for level in model.levels if level.error
    ]
    if as_json or not shown_together():  # otherwise the tables have just shown them
        for model_name, level in failed:
            assert level.error is not None
            print_error(f"{model_name}, {level.level}: {level.error.message}", level.error.hint)
    if failed:
        raise typer.Exit(1)


def write_study_page(result: StudyResult, path: Path) -> None:
    """Write a study's page beside its results, which a failure here leaves intact."""
    from bitloss.studies.page import write_page

    try:
        write_page(result, path)
    except BitlossError as error:
        print_status(f"no page: {error.message}" + (f"; {error.hint}" if error.hint else ""))
    else:
        print_status(f"page: {path}")
