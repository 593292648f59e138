"""Results on stdout, as tables or as JSON."""

from __future__ import annotations

import sys
from dataclasses import asdict
from typing import TYPE_CHECKING

from rich.console import Console

from bitloss.cli.console import print_json

if TYPE_CHECKING:
    from bitloss.results import Comparison
    from bitloss.results.plan import PlanSummary

__all__ = ["show_comparison", "show_overview", "show_plan"]


def show_comparison(comparison: Comparison, *, as_json: bool) -> None:
    """The result of a run."""
    from bitloss.reports.terminal import render_comparison, render_perplexity

    if as_json:
        sys.stdout.write(comparison.to_json())
    elif comparison.variants:
        render_comparison(comparison, Console(highlight=False))
    else:
        render_perplexity(comparison.reference, Console(highlight=False))


def show_overview(comparison: Comparison, *, as_json: bool) -> None:
    """The result of a run in short: capabilities, verdicts, the answer."""
    from bitloss.reports.terminal import render_overview

    if as_json:
        sys.stdout.write(comparison.to_json())
    else:
        render_overview(comparison, Console(highlight=False))


def show_plan(summary: PlanSummary, *, as_json: bool) -> None:
    """What a run will take."""
    from bitloss.reports.plan import render_plan

    if as_json:
        total = {
            "seconds": summary.seconds,
            "memory_bytes": summary.memory_bytes,
            "disk_bytes": summary.disk_bytes,
        }
        if summary.cluster is not None:
            total["worker_hours"] = summary.cluster.worker_hours
            total["cost"] = summary.cluster.cost
        print_json({**asdict(summary), "total": total})
    else:
        Console(highlight=False).print(render_plan(summary))
