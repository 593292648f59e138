"""`bitloss compare`: a reference and its variants on the same tokens."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Unpack

import typer

from bitloss.cli import options
from bitloss.cli.console import make_progress, print_error, print_status, shown_together
from bitloss.cli.report import write_report_page
from bitloss.cli.show import show_comparison, show_plan
from bitloss.spec.choices import CompareOptions
from bitloss.spec.options import COMPARE

if TYPE_CHECKING:
    from bitloss.results import Comparison, Failure

__all__ = ["compare", "exit_on_failures"]


@options.takes_run_options(COMPARE)
def compare(
    context: typer.Context,
    reference: options.ModelName,
    variants: Annotated[
        list[str],
        typer.Argument(help="Paths, hub names (org/name-GGUF:Q4_K_M) or recipes (gptq-4)."),
    ],
    out: options.Out = None,
    expectations: options.ExpectationsFile = None,
    with_report: Annotated[
        bool, typer.Option("--report/--no-report", help="Write report.html beside the result.")
    ] = True,
    force: options.Force = False,
    as_json: options.AsJson = False,
    plan_only: options.PlanOnly = False,
    quiet: options.Quiet = False,
    **choices: Unpack[CompareOptions],
) -> None:
    """Measure what quantization cost, and where: perplexity, KL divergence, tasks, with intervals.

    Safe to interrupt: rerun the same command to resume. A variant that fails does not stop the
    others; the exit code is then 1.
    """
    from bitloss import api

    spec = api.make_spec(reference, variants, **choices)
    out = out or api.default_run_dir(spec)
    progress = make_progress(quiet=quiet)
    if plan_only:
        summary = api.plan(spec, out, expectations=expectations, force=force, progress=progress)
        show_plan(summary, as_json=as_json)
        return
    comparison = api.run(
        spec, out, expectations=expectations, command=context.obj, force=force, progress=progress
    )
    show_comparison(comparison, as_json=as_json)
    if with_report:
        write_report_page(comparison, out)
    print_status(f"written to {out}")
    exit_on_failures(comparison, as_json=as_json)


def failed_ways(comparison: Comparison) -> list[tuple[str, Failure]]:
    """By variant, errors of the ways to run it: those that no variant at all could be run in, and
    others than that the way's engine runs no such model.
    """
    found = [
        (variant.name, served, served.error)
        for variant in comparison.variants
        for served in variant.served or ()
        if served.error is not None
    ]
    worked = {
        served.way.label
        for variant in comparison.variants
        for served in variant.served or ()
        if served.status == "ok"
    }
    return [
        (name, error)
        for name, served, error in found
        if served.status == "failed" or served.way.label not in worked
    ]


def exit_on_failures(comparison: Comparison, *, as_json: bool) -> None:
    """End with exit code 1 if a variant failed, after saying why."""
    failures = [(v.name, v.error) for v in comparison.variants if v.error is not None]
    failures += failed_ways(comparison)
    if as_json or not shown_together():  # else the tables have just said it
        for name, error in failures:
            message = error.message
            print_error(
                message if name.removeprefix("./") in message else f"{name}: {message}", error.hint
            )
    if failures:
        raise typer.Exit(1)
