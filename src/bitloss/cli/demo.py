"""`bitloss demo`: all of it, on the bundled model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bitloss.cli import options
from bitloss.cli.compare import exit_on_failures
from bitloss.cli.console import make_progress, print_status
from bitloss.cli.report import write_report_page
from bitloss.cli.show import show_overview

__all__ = ["demo"]


def demo(
    context: typer.Context,
    out: Annotated[Path, typer.Option("--out", help="Run directory.")] = Path("runs/demo"),
    as_json: options.AsJson = False,
    quiet: options.Quiet = False,
) -> None:
    """Show what quantization costs a small bundled model: no network, a few minutes.

    The model is quantized to GPTQ, AWQ and GGUF at 8, 4, 3 and 2 bits, and every variant is
    evaluated on everything that the model learned. Safe to interrupt: rerun to resume.
    """
    from bitloss.demo import plan_demo, run_demo

    planned = plan_demo()
    for line in planned.left_out:
        print_status(f"skipped: {line}")
    if not quiet:
        spec = planned.spec
        print_status(
            f"quantizing `{spec.reference}` {len(spec.variants)} ways and evaluating every variant "
            f"on {len(spec.tasks)} tasks; about two minutes on two cores"
        )
    progress = make_progress(quiet=quiet)
    comparison = run_demo(planned, out, command=context.obj, progress=progress)
    show_overview(comparison, as_json=as_json)
    write_report_page(comparison, out)
    print_status(f"written to {out}")
    exit_on_failures(comparison, as_json=as_json)
