"""`bitloss compare`: a reference and its variants on the same tokens."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from bitloss.cli import options
from bitloss.cli.console import complain, make_progress, note
from bitloss.cli.options import split_names
from bitloss.cli.report import draw_beside
from bitloss.cli.show import show_comparison, show_plan

if TYPE_CHECKING:
    from bitloss.results import Comparison

__all__ = ["compare", "tell_failures"]


def compare(
    context: typer.Context,
    reference: Annotated[str, typer.Argument(help="A path, or org/name[@revision] on a hub.")],
    variants: Annotated[
        list[str],
        typer.Argument(help="Paths, hub names (org/name-GGUF:Q4_K_M) or recipes (gptq-4)."),
    ],
    suite: options.SuiteName = None,
    corpora: options.Corpora = None,
    tasks: options.Tasks = None,
    data: options.Data = None,
    out: options.Out = None,
    engine: options.Engine = "dense",
    protocol: options.ProtocolName = "strided",
    max_length: options.MaxLength = None,
    stride: options.Stride = None,
    limit: options.Limit = None,
    until: options.Until = options.UntilChoice.ALL,
    precision: options.Precision = None,
    chat: options.Chat = False,
    samples: options.Samples = None,
    unsafe_exec: options.UnsafeExec = False,
    dtype: options.Dtype = options.DtypeChoice.AUTO,
    device: options.Device = "cpu",
    batch_tokens: options.Batch = 2048,
    calibration: options.Calibration = "web",
    calibration_samples: options.CalibrationSamples = 128,
    calibration_length: options.CalibrationLength = 512,
    seed: options.Seed = 0,
    expectations: options.ExpectationsFile = None,
    trust_remote_code: options.TrustRemoteCode = False,
    with_report: Annotated[
        bool, typer.Option("--report/--no-report", help="Write report.html beside the result.")
    ] = True,
    as_json: options.AsJson = False,
    plan_only: options.PlanOnly = False,
    quiet: options.Quiet = False,
) -> None:
    """Say what quantization cost, and where: perplexity, KL divergence, tasks, with intervals.

    The run can be killed at any moment: the same command goes on where it stopped. A variant
    that fails does not stop the others; the exit code is then 1.
    """
    from bitloss import api

    spec = api.make_spec(
        reference,
        variants,
        suite=suite,
        corpora=corpora,
        tasks=None if tasks is None else split_names(tasks),
        chat=chat,
        samples=samples,
        unsafe_exec=unsafe_exec,
        data=data,
        engine=engine,
        protocol=protocol,
        max_length=max_length,
        stride=stride,
        limit=limit,
        until=until.value,
        precision=precision,
        dtype=dtype.value,
        device=device,
        batch_tokens=batch_tokens,
        calibration=calibration,
        calibration_samples=calibration_samples,
        calibration_length=calibration_length,
        seed=seed,
        trust_remote_code=trust_remote_code,
    )
    out = out or api.default_run_dir(spec)
    progress = make_progress(quiet=quiet)
    if plan_only:
        summary = api.plan(spec, out, progress=progress)
        show_plan(summary, as_json=as_json)
        return
    comparison = api.run(
        spec, out, expectations=expectations, command=context.obj, progress=progress
    )
    show_comparison(comparison, as_json=as_json)
    if with_report:
        draw_beside(comparison, out)
    note(f"written to {out}")
    tell_failures(comparison, as_json=as_json)


def tell_failures(comparison: Comparison, *, as_json: bool) -> None:
    """End with exit code 1 if a variant failed, after saying why."""
    failures = [(v.name, v.error) for v in comparison.variants if v.error is not None]
    if as_json or not sys.stdout.isatty():  # else the tables have just said it
        for name, error in failures:
            message = error.message
            complain(
                message if name.removeprefix("./") in message else f"{name}: {message}", error.hint
            )
    if failures:
        raise typer.Exit(1)
