"""`bitloss pack`: a reference measured once, to be compared with variants anywhere."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Unpack

import typer
from rich.console import Console

from bitloss.cli import options
from bitloss.cli.console import make_progress, print_json, print_status
from bitloss.cli.options import split_names
from bitloss.cli.show import show_plan
from bitloss.spec.choices import PackOptions
from bitloss.spec.options import PACK

if TYPE_CHECKING:
    from bitloss.results.pack import PackDocument

__all__ = ["pack"]


@options.takes_run_options(PACK)
def pack(
    context: typer.Context,
    reference: options.ModelName,
    out: Annotated[Path, typer.Option("--out", help="New directory of the pack (ref.pack).")],
    engine: Annotated[
        list[str] | None,
        typer.Option(
            "--engine",
            help="Engines that variants will be run with, separated by commas: the noise floor of "
            "each is measured.",
            show_default="those that are installed",
        ),
    ] = None,
    states: Annotated[
        str,
        typer.Option(
            "--states",
            help="How hidden states are stored: fp32, bf16 or int8. What rounding adds is measured "
            "and is part of the noise floor.",
        ),
    ] = "fp32",
    max_size: Annotated[
        str | None,
        typer.Option("--max-size", help="Refuse a pack that will be larger (500MB, 2GB)."),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace another pack in --out.")] = False,
    as_json: options.AsJson = False,
    plan_only: options.PlanOnly = False,
    quiet: options.Quiet = False,
    **choices: Unpack[PackOptions],
) -> None:
    """Measure a reference once; `bitloss compare PACK VARIANT` then needs neither weights nor data.

    Safe to interrupt: rerun the same command to resume.
    """
    from bitloss import packing

    del context  # a parameter, so that defaults differ from what was typed
    engines = None if engine is None else split_names(engine)
    progress = make_progress(quiet=quiet)
    if plan_only:
        planned = packing.plan_pack(
            reference, out, engines=engines, states=states, max_size=max_size,  # type: ignore[arg-type]
            progress=progress, **choices,
        )  # fmt: skip
        show_plan(planned.summary, as_json=as_json)
        return
    made = packing.pack(
        reference, out, engines=engines, states=states, max_size=max_size, force=force,  # type: ignore[arg-type]
        progress=progress, **choices,
    )  # fmt: skip
    _show(made, out, as_json=as_json)


def _show(made: PackDocument, out: Path, *, as_json: bool) -> None:
    from bitloss.reports.pack import describe_pack, render_pack

    if as_json:
        print_json(describe_pack(made))
    else:
        Console(highlight=False, soft_wrap=True).print(render_pack(made))
    print_status(f"written to {out}")
