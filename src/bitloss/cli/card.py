"""`bitloss card`: a section for the model card of a quantized model."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from bitloss.cli.console import note
from bitloss.errors import UsageError

__all__ = ["card"]


def card(
    run: Annotated[Path, typer.Argument(help="A finished run's directory.")],
    variant: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME", help="The model that the card is of; may be repeated.  [default: all]"
        ),
    ] = None,
    base_model: Annotated[
        str | None,
        typer.Option(metavar="ORG/NAME", help="The reference on the hub.  [default: its name]"),
    ] = None,
    name: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="Of the model in the metadata.  [default: the variant's]"
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write a new card.  [default: stdout]")
    ] = None,
    update: Annotated[
        Path | None,
        typer.Option(
            metavar="README", help="Put section and metadata into a README, or a model's directory."
        ),
    ] = None,
) -> None:
    """Write a model card's section on what quantization cost, and its model-index metadata."""
    from bitloss.files import write_text
    from bitloss.report.card import card_content
    from bitloss.report.card_file import new_card, update_file
    from bitloss.results import Comparison

    if out is not None and update is not None:
        raise UsageError("--out and --update exclude each other", hint="give one of them")
    content = card_content(
        Comparison.load(run), variant or (), base_model=base_model, model_name=name
    )
    if update is not None:
        written = update_file(update, content, replace_base_model=base_model is not None)
        note(f"updated {written}")
    elif out is not None:
        write_text(out, new_card(content))
        note(f"written to {out}")
    else:
        sys.stdout.write(new_card(content))
    if content.base_model is None:
        note("base_model is left out: the reference is not on the hub; give it with --base-model")
