"""Oracle: every combination, tried."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitloss.studies.recipe.knapsack import Choice, allocate, fewest_bytes, most_bytes

CHOICES = st.builds(
    Choice,
    st.integers(1, 30),
    st.one_of(st.integers(-2, 12).map(float), st.floats(-1e-6, 10, allow_nan=False)),
)
GROUPS = st.lists(st.lists(CHOICES, min_size=1, max_size=4), min_size=1, max_size=6)


def tried(groups: list[list[Choice]], budget: int) -> float:
    """The least loss of all combinations that fit."""
    return min(
        sum(one.loss for one in combination)
        for combination in itertools.product(*groups)
        if sum(one.nbytes for one in combination) <= budget
    )


@given(GROUPS, st.floats(0, 1))
def test_nothing_better_fits(groups: list[list[Choice]], room: float) -> None:
    least, most = fewest_bytes(groups), most_bytes(groups)
    budget = least + int(room * (most - least))
    chosen = allocate(groups, budget)
    picked = [group[index] for group, index in zip(groups, chosen, strict=True)]
    assert sum(one.nbytes for one in picked) <= budget
    assert sum(one.loss for one in picked) == pytest.approx(tried(groups, budget), abs=1e-9)


def test_what_does_not_fit_is_refused() -> None:
    groups = [[Choice(5, 1.0), Choice(9, 0.1)], [Choice(4, 1.0)]]
    assert allocate(groups, 9) == (0, 0)
    with pytest.raises(ValueError, match="at least 9 bytes"):
        allocate(groups, 8)


def test_many_groups_are_no_trouble() -> None:
    """60 groups of 6 options, as a large model has: the frontier stays small."""
    groups = [
        [
            Choice(1000 * (1 + at % 7) * bits, 2.0**-bits * (1 + at % 5))
            for bits in (8, 6, 5, 4, 3, 2)
        ]
        for at in range(60)
    ]  # fmt: skip
    budget = sum(group[3].nbytes for group in groups)
    chosen = allocate(groups, budget)
    loss = sum(group[index].loss for group, index in zip(groups, chosen, strict=True))
    assert loss < sum(group[3].loss for group in groups)
