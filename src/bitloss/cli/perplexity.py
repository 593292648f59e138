"""`bitloss perplexity`: one model on one text."""

from __future__ import annotations

from typing import Annotated

import typer

from bitloss.cli import options
from bitloss.cli.console import make_progress, note
from bitloss.cli.show import show_comparison, show_plan

__all__ = ["perplexity"]


def perplexity(
    context: typer.Context,
    model: Annotated[str, typer.Argument(help="A path, or org/name[@revision] on a hub.")],
    quant: Annotated[
        str | None,
        typer.Option("--quant", help="Score this quantized copy, with MODEL's tokenizer."),
    ] = None,
    corpora: options.Corpora = None,
    data: options.Data = None,
    out: options.Out = None,
    engine: options.Engine = "dense",
    protocol: options.ProtocolName = "strided",
    max_length: options.MaxLength = None,
    stride: options.Stride = None,
    limit: options.Limit = None,
    dtype: options.Dtype = options.DtypeChoice.AUTO,
    device: options.Device = "cpu",
    batch_tokens: options.Batch = 2048,
    seed: options.Seed = 0,
    trust_remote_code: options.TrustRemoteCode = False,
    as_json: options.AsJson = False,
    plan_only: options.PlanOnly = False,
    quiet: options.Quiet = False,
) -> None:
    """Say one model's perplexity under a named protocol, with its interval."""
    from bitloss import api

    spec = api.make_spec(
        quant or model,
        tokenizer=model if quant else None,
        corpora=corpora or ("wikitext-2",),
        data=data,
        engine=engine,
        protocol=protocol,
        max_length=max_length,
        stride=stride,
        limit=limit,
        dtype=dtype.value,
        device=device,
        batch_tokens=batch_tokens,
        seed=seed,
        trust_remote_code=trust_remote_code,
    )
    out = out or api.default_run_dir(spec)
    progress = make_progress(quiet=quiet)
    if plan_only:
        summary = api.plan(spec, out, progress=progress)
        show_plan(summary, as_json=as_json)
        return
    result = api.run(spec, out, command=context.obj, progress=progress)
    show_comparison(result, as_json=as_json)
    note(f"written to {out}")
