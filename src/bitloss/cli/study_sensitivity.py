"""`bitloss study sensitivity`: which parts of a model carry the loss of a variant."""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Unpack

import typer
from rich.console import Console

from bitloss.cli import options
from bitloss.cli.console import make_progress, print_error, print_status, shown_together
from bitloss.cli.options import split_names
from bitloss.cli.study_page import write_study_page
from bitloss.spec.choices import PerplexityOptions
from bitloss.spec.options import PERPLEXITY

__all__ = ["sensitivity"]


class Until(StrEnum):
    """When a part is scored no further."""

    DECIDED = "decided"
    ALL = "all"


@options.takes_run_options(PERPLEXITY, without=("engine",))
def sensitivity(
    context: typer.Context,
    model: options.ModelName,
    variants: Annotated[
        list[str], typer.Argument(help="Recipes (`bitloss list recipes`) or quantized models.")
    ],
    parts: Annotated[
        list[str] | None,
        typer.Option(
            "--parts",
            metavar="NAME,...",
            help="Parts to measure: kinds, layers, tensors (a kind in a layer), experts, or single "
            "parts such as down, layer-3 or layer-3.down; kinds and layers by default.",
        ),
    ] = None,
    until: Annotated[
        Until,
        typer.Option(
            "--until",
            help="When to stop scoring a part: `decided` stops once it is known whether it is the "
            "worst and whether it is cheap.",
        ),
    ] = Until.DECIDED,
    no_restore: Annotated[
        bool,
        typer.Option(
            "--no-restore", help="Skip restoring each part of the reference in the variant."
        ),
    ] = False,
    out: Annotated[Path, typer.Option("--out", help="Directory of the results.")] = Path("studies"),
    as_json: options.AsJson = False,
    with_page: options.WithPage = True,
    quiet: options.Quiet = False,
    **choices: Unpack[PerplexityOptions],
) -> None:
    """Exchange parts of a variant one by one and rank them by the loss that they carry.

    Safe to interrupt: rerun the same command to resume. A variant that fails does not stop the
    others; the exit code is then 1.
    """
    from bitloss.studies.sensitivity import sensitivity as run_sensitivity
    from bitloss.studies.sensitivity.run import DEFAULT_PARTS, target_of
    from bitloss.studies.sensitivity.tables import render_sensitivity

    given: dict[str, Any] = dict(choices)
    result = run_sensitivity(
        model,
        variants,
        parts=DEFAULT_PARTS if parts is None else split_names(parts),
        restore=not no_restore,
        out=out,
        command=context.obj,
        progress=make_progress(quiet=quiet),
        until=until.value,
        **given,
    )
    if as_json:
        sys.stdout.write(result.to_json())
    else:
        render_sensitivity(result, Console(highlight=False))
    if with_page:
        write_study_page(result, target_of(model, out).with_name("page.html"))
    print_status(f"written to {target_of(model, out)}")
    failed = [variant for variant in result.variants if variant.error is not None]
    if as_json or not shown_together():  # otherwise the tables have just shown them
        for variant in failed:
            assert variant.error is not None
            print_error(f"{variant.name}: {variant.error.message}", variant.error.hint)
    if failed:
        raise typer.Exit(1)
