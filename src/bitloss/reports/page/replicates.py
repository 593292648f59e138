"""What a recipe comes to when it is made again: every replicate's results."""

from __future__ import annotations

from bitloss import wording as fmt
from bitloss.reports.page.cells import Table, figure, join, row, table
from bitloss.results import Comparison
from bitloss.tables.replicates import shown_spreads

__all__ = ["replicates"]

_NOTE = "SD: standard deviation from replicate to replicate, shares in points"


def replicates(comparison: Comparison) -> Table | None:
    """One row per recipe and metric, one column per seed; None if no recipe was made again."""
    names = comparison.short_names
    made = [v.replicates.seeds for v in comparison.variants if v.replicates is not None]
    if not made:
        return None
    seeds = max(made, key=len)
    columns = {"variant": False, "on": False, "metric": False}
    columns |= {f"seed {seed}": True for seed in seeds}
    columns["SD"] = True
    rows = []
    for index, variant in enumerate(comparison.variants):
        for shown in shown_spreads(variant):
            at = join("variants", index, "replicates", *shown.path)
            metric, values = shown.metric, shown.spread.values
            rows.append(
                row(
                    names[variant.name],
                    shown.name,
                    metric.title,
                    *(
                        figure(metric.text(value), join(at, "values", place), metric.unit)
                        for place, value in enumerate(values)
                    ),
                    *(fmt.MISSING for _ in range(len(seeds) - len(values))),
                    figure(
                        metric.deviation(shown.spread.deviation),
                        join(at, "deviation"),
                        "points" if metric.unit == "share" else metric.unit,
                    ),
                )
            )
    return table("Replicates", columns, rows, notes=[_NOTE]) if rows else None
