"""`bitloss demo`: all of it, on the model that comes along."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bitloss.cli import options
from bitloss.cli.compare import tell_failures
from bitloss.cli.console import make_progress, note
from bitloss.cli.report import draw_beside
from bitloss.cli.show import show_overview

__all__ = ["demo"]


def demo(
    context: typer.Context,
    out: Annotated[Path, typer.Option("--out", help="The run directory.")] = Path("runs/demo"),
    as_json: options.AsJson = False,
    quiet: options.Quiet = False,
) -> None:
    """See what quantization costs a small model that comes along: no network, a few minutes.

    It is quantized to GPTQ, AWQ and GGUF at 8, 4, 3 and 2 bits, and all of them are asked about
    everything that it learnt. A second run goes on where the first stopped.
    """
    from bitloss.demo import plan_demo, run_demo

    planned = plan_demo()
    for line in planned.left_out:
        note(f"left out: {line}")
    if not quiet:
        spec = planned.spec
        note(
            f"quantizing `{spec.reference}` {len(spec.variants)} ways and asking all of them "
            f"{len(spec.tasks)} tasks; about two minutes on two cores"
        )
    progress = make_progress(quiet=quiet)
    comparison = run_demo(planned, out, command=context.obj, progress=progress)
    show_overview(comparison, as_json=as_json)
    draw_beside(comparison, out)
    note(f"written to {out}")
    tell_failures(comparison, as_json=as_json)
