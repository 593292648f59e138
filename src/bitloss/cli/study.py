"""`bitloss study`: one factor varied over models, everything else held."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Unpack

import typer
from rich.console import Console

from bitloss.cli import options
from bitloss.cli.console import make_progress, print_error, print_status, shown_together
from bitloss.cli.options import split_names
from bitloss.cli.study_page import write_study_page
from bitloss.spec.choices import CompareOptions
from bitloss.spec.options import COMPARE

__all__ = ["study"]


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
    with_page: options.WithPage = True,
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
