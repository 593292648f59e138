"""`bitloss card`: a section for the model card of a quantized model."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from bitloss.cli import options
from bitloss.cli.console import print_status
from bitloss.errors import UsageError

__all__ = ["card"]


def card(
    run: options.RunDirectory,
    variant: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="Variant that the card describes; may be repeated.",
            show_default="all",
        ),
    ] = None,
    base_model: Annotated[
        str | None,
        typer.Option(
            metavar="ORG/NAME", help="Hub name of the reference.", show_default="its name"
        ),
    ] = None,
    name: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="Model name in the metadata.", show_default="the variant's"
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="File for a new card.", show_default="stdout"),
    ] = None,
    update: Annotated[
        Path | None,
        typer.Option(
            metavar="README",
            help="README or model directory to update with the section and metadata.",
        ),
    ] = None,
    force: Annotated[
        bool,
        typer.Option(
            "--force", help="Overwrite the card; update a directory that has another model's files."
        ),
    ] = False,
) -> None:
    """Write a model card's section on what quantization cost, and its model-index metadata."""
    from bitloss.files import write_text
    from bitloss.reports.card import card_content
    from bitloss.reports.card_file import new_card, update_file
    from bitloss.reports.card_owner import require_own_readme
    from bitloss.results import Comparison

    if out is not None and update is not None:
        raise UsageError("--out and --update are mutually exclusive", hint="use one of them")
    content = card_content(
        Comparison.load(run), variant or (), base_model=base_model, model_name=name
    )
    if update is not None:
        if not force:
            require_own_readme(update, content.variants)
        written = update_file(update, content, replace_base_model=base_model is not None)
        print_status(f"updated {written}")
    elif out is not None:
        if out.exists() and not force:
            raise UsageError(
                f"{out} is there already",
                hint="use --update to change only bitloss's part of it, or --force to overwrite it",
            )
        write_text(out, new_card(content))
        print_status(f"written to {out}")
    else:
        sys.stdout.write(new_card(content))
    if content.base_model is None:
        print_status(
            "base_model is left out: the reference is not on the hub; give it with --base-model"
        )
