"""`bitloss quantize`: a quantized copy from a recipe."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Unpack

import typer

from bitloss.cli import options
from bitloss.cli.console import make_progress, print_status
from bitloss.spec.choices import QuantizeOptions
from bitloss.spec.options import QUANTIZE

__all__ = ["quantize"]


@options.takes_run_options(QUANTIZE)
def quantize(
    model: options.ModelName,
    out: Annotated[
        Path, typer.Argument(help="New directory; for GGUF also the name of a new .gguf file.")
    ],
    recipe: Annotated[
        str, typer.Option("--recipe", help="gptq-4, awq-4, gguf-q4_k_m ... (`bitloss list`).")
    ],
    quiet: options.Quiet = False,
    **choices: Unpack[QuantizeOptions],
) -> None:
    """Make a quantized copy of a model; prints where it is."""
    from bitloss import api

    made = api.quantize(
        model,
        out,
        recipe=recipe,
        progress=make_progress(quiet=quiet),
        on_note=lambda note: print_status(f"note: {note}"),
        **choices,
    )
    print(made)
