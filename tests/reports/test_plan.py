"""The plan's table; the sums are done by hand."""

from __future__ import annotations

import io

from rich.console import Console

from bitloss.reports.plan import render_plan
from bitloss.results.plan import PlannedModel, PlanSummary

MODELS = (
    PlannedModel("./llama", 10, 300_000, 4_000_000_000, 600_000_000, seconds=50.2),
    PlannedModel("gptq-4 [x]", 10, 300_000, 5_000_000_000, 900_000_000, seconds=4000,
                 note="made first"),
    PlannedModel("slow", 10, 300_000, 5, 5, seconds=9000),
    PlannedModel("unknown", 10, 300_000, 5, 5),
)  # fmt: skip


def render(available: int | None) -> list[str]:
    summary = PlanSummary(
        MODELS, ("wikitext-2", "web"), "strided", "bf16", "cpu",
        memory_available=available, disk_available=available, notes=("measured now",),
    )  # fmt: skip
    stream = io.StringIO()
    Console(file=stream, width=120).print(render_plan(summary))
    return [" ".join(line.split()) for line in stream.getvalue().splitlines()]


def test_a_row_for_each_model() -> None:
    lines = render(8_000_000_000)
    assert lines[1] == "./llama 10 300,000 4.0 GB 600 MB 50 s"
    assert lines[2] == "gptq-4 [x] 10 300,000 5.0 GB 900 MB 67 min made first"
    assert lines[3].endswith("2 h 30 min")
    assert lines[4].endswith("-")


def test_totals_beside_what_there_is() -> None:
    # Models are held one after the other, so memory is the largest; files add up.
    lines = render(4_500_000_000)
    assert "strided on wikitext-2, web, bf16 on cpu" in lines
    assert "memory: 5.0 GB, 4.5 GB free: NOT ENOUGH" in lines
    assert "disk: 1.5 GB, 4.5 GB free" in lines
    assert lines[-1] == "measured now"


def test_totals_where_nothing_is_known() -> None:
    assert "memory: 5.0 GB" in render(None)
