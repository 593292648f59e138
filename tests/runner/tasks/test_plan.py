"""Tasks planned. Oracle: what was asked for, by hand."""

from __future__ import annotations

import pytest

from bitloss.runner.tasks.plan import sampled
from bitloss.spec.run import RunSpec
from bitloss.spec.suite import TaskChoice
from bitloss.tasks.find import resolve_task


@pytest.mark.parametrize(
    ("task", "own", "of_all", "expected"),
    [
        ("humaneval", None, None, 1),
        ("humaneval", 5, None, 5),
        ("humaneval", 5, 3, 3),
        ("humaneval", 5, 1, 1),
        ("gsm8k", None, 3, 1),  # not scored by pass@k: what is said for all is not for it
    ],
)
def test_samples(task: str, own: int | None, of_all: int | None, expected: int) -> None:
    spec = RunSpec(reference="m", samples=of_all)
    found = sampled(resolve_task(task), TaskChoice(name=task, samples=own), spec)
    assert found.facts.samples == expected
