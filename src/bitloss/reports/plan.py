"""What a run will take, as a table."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from bitloss.results.plan import PlannedCluster, PlannedModel, PlanSummary

__all__ = ["render_plan"]


def render_plan(summary: PlanSummary) -> RenderableType:
    """A row for each model; below it the totals against what the machine has."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("model", overflow="fold")
    for title in ("jobs", "tokens", "memory", "disk", "time"):
        table.add_column(title, justify="right")
    table.add_column("")
    for model in summary.models:
        table.add_row(*map(Text, _cells(model)))
    if summary.compared_seconds != 0.0:
        table.add_row("comparing", "", "", _bytes(summary.compared_bytes), "",
                      _seconds(summary.compared_seconds))  # fmt: skip
    table.add_row("total", "", f"{sum(model.tokens for model in summary.models):,}",
                  _bytes(summary.memory_bytes), _bytes(summary.disk_bytes),
                  _seconds(summary.seconds), style="bold")  # fmt: skip
    lines = [
        f"{_what(summary)}, {summary.dtype} on {summary.device}",
        _total("memory", summary.memory_bytes, summary.memory_available),
        _total("disk", summary.disk_bytes, summary.disk_available),
        *([] if summary.cluster is None else [_cluster(summary.cluster)]),
        *summary.notes,
    ]
    return Group(table, Text(), *map(Text, lines))


def _what(summary: PlanSummary) -> str:
    parts = []
    if summary.corpora:
        parts.append(f"{summary.protocol} on {', '.join(summary.corpora)}")
    if summary.tasks:
        parts.append(f"tasks {', '.join(summary.tasks)}")
    return "; ".join(parts)


def _cluster(cluster: PlannedCluster) -> str:
    each = f"{cluster.cpus} CPU{'s' * (cluster.cpus != 1)}"
    each += f", {cluster.gpus} GPU{'s' * (cluster.gpus != 1)}" * bool(cluster.gpus)
    each += f", {_bytes(cluster.memory_bytes)}" * bool(cluster.memory_bytes)
    text = f"cluster: {cluster.workers} worker{'s' * (cluster.workers != 1)} of {each}"
    if cluster.seconds is None or cluster.worker_hours is None:
        return f"{text}; time unknown"
    text += f": {_time(cluster.seconds)}, {cluster.start_seconds:.0f} s of it to start"
    text += f", busy {cluster.busy:.0%}; {cluster.worker_hours:.3g} worker hours"
    if cluster.cost is not None:
        text += f" at {cluster.price:g} per hour: {cluster.cost:.3g}"
    return text


def _cells(model: PlannedModel) -> tuple[str, ...]:
    return (
        model.name,
        str(model.jobs),
        f"{model.tokens:,}",
        _bytes(model.memory_bytes),
        _bytes(model.disk_bytes),
        _seconds(model.seconds),
        model.note,
    )


def _seconds(seconds: float | None) -> str:
    return "-" if seconds is None else _time(seconds)


def _total(name: str, needed: int, available: int | None) -> str:
    if available is None:
        return f"{name}: {_bytes(needed)}"
    verdict = "" if needed <= available else ": NOT ENOUGH"
    return f"{name}: {_bytes(needed)}, {_bytes(available)} free{verdict}"


def _bytes(number: int) -> str:
    return f"{number / 1e9:.1f} GB" if number >= 1e9 else f"{number / 1e6:.0f} MB"


def _time(seconds: float) -> str:
    if seconds < 90:
        return f"{max(round(seconds), 1)} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60} min"
