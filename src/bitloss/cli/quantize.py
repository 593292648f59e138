"""`bitloss quantize`: a quantized copy from a recipe."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bitloss.cli import options
from bitloss.cli.console import make_progress

__all__ = ["quantize"]


def quantize(
    model: Annotated[str, typer.Argument(help="A path, or org/name[@revision] on a hub.")],
    out: Annotated[
        Path, typer.Argument(help="A new directory; for GGUF a new .gguf file may be named.")
    ],
    recipe: Annotated[
        str, typer.Option("--recipe", help="gptq-4, awq-4, gguf-q4_k_m ... (`bitloss list`).")
    ],
    calibration: options.Calibration = "web",
    samples: Annotated[int, typer.Option("--samples", min=1, help="Calibration texts.")] = 128,
    sample_length: Annotated[
        int, typer.Option("--sample-length", min=1, help="Tokens of each.")
    ] = 512,
    seed: options.Seed = 0,
    data: options.Data = None,
    device: options.Device = "cpu",
    trust_remote_code: options.TrustRemoteCode = False,
    quiet: options.Quiet = False,
) -> None:
    """Make a quantized copy of a model; prints where it is."""
    from bitloss import api

    made = api.quantize(
        model,
        out,
        recipe=recipe,
        calibration=calibration,
        samples=samples,
        sample_length=sample_length,
        seed=seed,
        data=data,
        device=device,
        trust_remote_code=trust_remote_code,
        progress=make_progress(quiet=quiet),
    )
    print(made)
