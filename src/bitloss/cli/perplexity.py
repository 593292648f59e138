"""`bitloss perplexity`: one model on one text."""

from __future__ import annotations

from typing import Annotated, Unpack

import typer

from bitloss.cli import options
from bitloss.cli.console import make_progress, print_status
from bitloss.cli.show import show_comparison, show_plan
from bitloss.spec.choices import CompareOptions
from bitloss.spec.options import PERPLEXITY

__all__ = ["perplexity"]


@options.takes_run_options(PERPLEXITY)
def perplexity(
    context: typer.Context,
    model: options.ModelName,
    quant: Annotated[
        str | None,
        typer.Option("--quant", help="Quantized copy to score instead, with MODEL's tokenizer."),
    ] = None,
    out: options.Out = None,
    as_json: options.AsJson = False,
    force: options.Force = False,
    plan_only: options.PlanOnly = False,
    quiet: options.Quiet = False,
    **choices: Unpack[CompareOptions],
) -> None:
    """Compute one model's perplexity under a named protocol, with its interval."""
    from bitloss import api

    spec = api.make_spec(quant or model, tokenizer=model if quant else None, **choices)
    out = out or api.default_run_dir(spec)
    progress = make_progress(quiet=quiet)
    if plan_only:
        summary = api.plan(spec, out, force=force, progress=progress)
        show_plan(summary, as_json=as_json)
        return
    result = api.run(spec, out, command=context.obj, force=force, progress=progress)
    show_comparison(result, as_json=as_json)
    print_status(f"written to {out}")
