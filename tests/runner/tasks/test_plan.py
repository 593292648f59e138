"""Items chosen and encoded. Oracles: hand-made items; lm-eval's limit takes the first items."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitloss.runner.tasks.plan import sampled, take_evenly
from bitloss.spec.run import RunSpec
from bitloss.spec.suite import TaskChoice
from bitloss.tasks.base import Item, Prompt
from bitloss.tasks.find import resolve_task


def items(subjects: str) -> list[Item]:
    return [Item(f"{s}{i}", Prompt("?"), subject=s.strip()) for i, s in enumerate(subjects)]


def ids(found: list[Item]) -> list[str]:
    return [item.id for item in found]


def test_without_subjects_the_first_items() -> None:
    assert ids(take_evenly(items("    "), 2)) == [" 0", " 1"]


def test_evenly_over_subjects_in_their_order() -> None:
    # Ranks: a0 b4 c6 first, then a1 b5.
    assert ids(take_evenly(items("aaaabbc"), 5)) == ["a0", "a1", "b4", "b5", "c6"]


def test_no_limit_or_a_high_one_is_all() -> None:
    everything = items("aabb")
    assert (
        take_evenly(everything, None)
        == take_evenly(everything, 4)
        == take_evenly(everything, 9)
        == everything
    )


@given(st.text(alphabet="abcd", min_size=1, max_size=30), st.integers(1, 40))
def test_counts_of_subjects_differ_by_one_unless_they_run_out(subjects: str, limit: int) -> None:
    found = take_evenly(items(subjects), limit)
    assert len(found) == min(limit, len(subjects))
    counts = {s: sum(item.subject == s for item in found) for s in set(subjects)}
    unfinished = [n for s, n in counts.items() if n < subjects.count(s)]
    assert all(max(counts.values()) - n <= 1 for n in unfinished)


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
