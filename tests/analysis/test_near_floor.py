"""One rule says which divergences are near the noise floor, and every table marks them.

Oracle: numbers by hand around ten floors.
"""

from __future__ import annotations

from typing import Any

import pytest

from bitloss.analysis.near_floor import (
    answers_near_floor,
    capability_near_floor,
    is_near_floor,
    near_floor,
)
from bitloss.analysis.reasons import reason
from bitloss.checks.judge import judge
from bitloss.checks.measures import MEASURES
from bitloss.checks.rules import Rule
from bitloss.checks.summary import table as check_table
from bitloss.reports.details import Details
from bitloss.reports.page import page
from bitloss.results import Comparison, NoiseFloor, Rescored, VariantResult
from bitloss.results.tasks import CapabilityResult, VariantTask
from bitloss.results.verdicts import AxisVerdict, Verdict
from bitloss.tables.comparison import corpus_table
from bitloss.tables.tasks import task_tables
from example_run import make_comparison
from verdict_parts import corpus, estimate, variant

FLOOR = 1e-4


@pytest.mark.parametrize(
    ("mean", "near", "marked"),
    [(0.0, True, False), (1e-9, True, True), (9.99e-4, True, True), (1e-3, False, False)],
)
def test_within_ten_floors(mean: float, near: bool, marked: bool) -> None:
    found = corpus(1.0, 0.99, 1.01, kl=(mean, mean, mean), floor=FLOOR)
    assert near_floor(found) == (FLOOR if near else None)
    assert is_near_floor(found) is marked


def test_the_floor_is_that_of_the_arithmetic() -> None:
    found = corpus(1.0, 0.99, 1.01, kl=(5e-4, 4e-4, 6e-4), floor=FLOOR)
    exact = Rescored(dtype="fp32", n_scored=10, n_windows=1)
    assert not is_near_floor(found.model_copy(update={"rescored": exact}))
    own = NoiseFloor(kl_divergence=FLOOR, dtype="fp32", n_scored=10)
    assert is_near_floor(found.model_copy(update={"rescored": exact, "noise_floor": own}))
    assert not is_near_floor(found.model_copy(update={"noise_floor": None}))


def task(kl: float, floor: float | None, changed: float = 0.02) -> VariantTask:
    made = NoiseFloor(kl_divergence=floor, dtype="bf16", n_scored=9, answer_change=floor)
    return VariantTask(
        capability="math", metric="acc", score=estimate(0.5, 0.4, 0.6), scores={}, n_scored=9,
        n_items=9, n_total=9, gold="answer", dtype="bf16", digest="d", identity="i", license="MIT",
        source="s", reference_score=0.5, difference=estimate(0.0, -0.1, 0.1), differences={},
        kl_divergence=estimate(kl, kl, kl), answer_change=estimate(changed, changed, changed),
        noise_floor=None if floor is None else made,
    )  # fmt: skip


def of_tasks(*tasks: VariantTask, kl: float, changed: float) -> VariantResult:
    result = CapabilityResult(
        tasks=tuple(f"t{n}" for n in range(len(tasks))), score=0.5, reference_score=0.5,
        difference=estimate(0.0, -0.1, 0.1), kl_divergence=estimate(kl, kl, kl),
        answer_change=estimate(changed, changed, changed),
    )  # fmt: skip
    return variant(corpora={}).model_copy(
        update={
            "tasks": {f"t{n}": one for n, one in enumerate(tasks)},
            "capabilities": {"math": result},
        }
    )


def test_tasks_and_capabilities() -> None:
    """The mean of the floors 0.001 and none (0) is 0.0005."""
    assert is_near_floor(task(0.009, 0.001))
    assert not is_near_floor(task(0.011, 0.001))
    assert not is_near_floor(task(0.009, None))
    both = task(0.004, 0.001), task(0.004, None)
    near = of_tasks(*both, kl=0.0049, changed=0.0049)
    assert capability_near_floor(near, "math")
    far = of_tasks(*both, kl=0.0051, changed=0.0051)
    assert not capability_near_floor(far, "math")
    assert not capability_near_floor(near, "logic")
    assert answers_near_floor(task(0.009, 0.001, changed=0.009))
    assert not answers_near_floor(task(0.009, 0.001, changed=0.011))
    assert not answers_near_floor(task(0.009, None, changed=0.009))


def marked_run(floor: float) -> Comparison:
    """One variant that diverges by 0.0005 on a corpus, and by 0.02 on a task's answers."""
    run = make_comparison()
    one = of_tasks(task(0.004, 10 * floor), kl=0.004, changed=0.004)
    found = corpus(1.0, 0.99, 1.01, kl=(5e-4, 4e-4, 6e-4), floor=floor)
    one = one.model_copy(update={"corpora": {"wikitext-2": found}, "verdict": None})
    reference = run.reference.model_copy(update={"tasks": {"t0": one.tasks["t0"]}})  # type: ignore[index]
    return run.model_copy(update={"variants": (one,), "reference": reference, "answer": None})


@pytest.mark.parametrize(("floor", "mark"), [(FLOOR, "~"), (1e-5, "")])
def test_every_table_marks_them(floor: float, mark: str) -> None:
    run = marked_run(floor)
    (one,) = run.variants
    shown = corpus_table(run, "wikitext-2")
    assert str(shown.rows[1]["divergence"]).startswith(f"{mark}5.0e-04 [")
    assert str(shown.rows[1]["p99"]).startswith("~") is bool(mark)
    assert any(note.startswith("~: within ten noise floors") for note in shown.notes) is bool(mark)
    _, tasks = task_tables(run)
    assert str(tasks.rows[-1]["divergence"]).startswith("~") is bool(mark)
    assert any(note.startswith("~: ") for note in tasks.notes) is bool(mark)
    rule = Rule(MEASURES["max_kld"], "wikitext-2", 0.01, "here")
    gate = check_table(judge(run, [rule]))
    assert str(gate.rows[0]["measured"]).startswith(f"{mark}5.0e-04")
    text = page(run, Details({}, {}, {}))
    assert ('<span class="near"' in text) is bool(mark)
    assert one.corpora["wikitext-2"].dtype == "bf16"


def test_a_reason_has_the_mark_too() -> None:
    axis = AxisVerdict(
        estimate=estimate(5e-4, 4e-4, 6e-4), level="yes", settled=True, corpus="c", near_floor=True
    )

    def said(**changes: Any) -> str:
        axes = {"kl_divergence": axis.model_copy(update=changes)}
        verdict = Verdict.model_construct(axes=axes, decided_by="kl_divergence")
        return reason(verdict)

    assert "by ~5.0e-04 nats per token [" in said()
    assert "by 5.0e-04 nats per token [" in said(near_floor=None)
