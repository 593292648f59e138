"""`bitloss study recipe`: the types of tensors that lose least within a size."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Unpack

import typer
from rich.console import Console

from bitloss.cli import options
from bitloss.cli.console import make_progress, print_status
from bitloss.cli.study_page import write_study_page
from bitloss.spec.choices import CompareOptions
from bitloss.spec.options import COMPARE

__all__ = ["recipe"]

_WITHOUT = ("until", "precision", "replicates", "engine", "cache_type", "activations")


@options.takes_run_options(COMPARE, without=_WITHOUT)
def recipe(
    context: typer.Context,
    model: options.ModelName,
    size: Annotated[
        str | None,
        typer.Option(
            "--size",
            metavar="SIZE",
            help="Size of the file (3.2MB, 1.5GiB) or bits per weight (4.5bpw).",
            show_default="the size of the --like file",
        ),
    ] = None,
    like: Annotated[
        str | None,
        typer.Option(
            "--like",
            metavar="RECIPE",
            help="GGUF recipe to compare with, such as gguf-q4_k_m.",
            show_default="the largest single type that fits",
        ),
    ] = None,
    measure_on: Annotated[
        str | None,
        typer.Option(
            "--measure-on",
            metavar="TEXT",
            help="Text to measure sensitivities on; --corpus is the held-out text.",
            show_default="the default calibration text",
        ),
    ] = None,
    layer_groups: Annotated[
        int,
        typer.Option("--layer-groups", min=1, help="Number of groups of neighboring layers."),
    ] = 8,
    windows: Annotated[
        int, typer.Option("--windows", min=1, help="Windows to measure sensitivities on.")
    ] = 32,
    out: Annotated[Path, typer.Option("--out", help="Directory of the results.")] = Path("studies"),
    as_json: options.AsJson = False,
    with_page: options.WithPage = True,
    quiet: options.Quiet = False,
    **choices: Unpack[CompareOptions],
) -> None:
    """Find the types of tensors that lose least within a size, make the GGUF file and measure it.

    Safe to interrupt: rerun the same command to resume.
    """
    from bitloss.studies.recipe import recipe_study
    from bitloss.studies.recipe.run import target_of
    from bitloss.studies.recipe.tables import render_recipe

    result = recipe_study(
        model,
        size=size,
        like=like,
        measure_on=measure_on,
        layer_groups=layer_groups,
        windows=windows,
        out=out,
        command=context.obj,
        progress=make_progress(quiet=quiet),
        **choices,
    )
    if as_json:
        sys.stdout.write(result.to_json())
    else:
        render_recipe(result, Console(highlight=False))
    if with_page:
        write_study_page(result, target_of(model, out).with_name("page.html"))
    print_status(f"written to {target_of(model, out).parent}")
