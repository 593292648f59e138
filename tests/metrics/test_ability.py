"""Oracle: scipy's binomial test and the normal distribution; counting by hand."""

from __future__ import annotations

import math
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitloss.metrics.ability import TaskScores, guessing_p_value
from bitloss.metrics.clusters import Clusters


def task(right: int, items: int, chance: float = 0.25) -> TaskScores:
    scores = np.array([1.0] * right + [0.0] * (items - right))
    return TaskScores(scores, np.ones(items), chance)


@given(items=st.integers(1, 40), share=st.floats(0, 1), options=st.sampled_from([2, 3, 4, 10]))
def test_one_task_is_the_exact_binomial_tail(items: int, share: float, options: int) -> None:
    right = round(share * items)
    p = Fraction(1, options)
    tail = sum(math.comb(items, k) * p**k * (1 - p) ** (items - k) for k in range(right, items + 1))
    found = guessing_p_value([task(right, items, 1 / options)])
    assert found == pytest.approx(float(tail), rel=1e-9)


def test_thousands_of_items_do_not_overflow() -> None:
    # 3,700 of 14,042 at a quarter: z = (3700 - 3510.5) / 51.3 = 3.69, upper tail 1.1e-4.
    assert guessing_p_value([task(3700, 14042)]) == pytest.approx(1.1e-4, rel=0.15)


def test_where_a_guess_gets_nothing_one_right_answer_is_an_ability() -> None:
    assert guessing_p_value([task(0, 200, 0.0)]) == 1.0
    assert guessing_p_value([task(1, 200, 0.0)]) == 0.0
    assert guessing_p_value([task(0, 50, 0.0), task(1, 200, 0.0)]) == 0.0


def test_several_tasks_count_the_same() -> None:
    # Twice 60 of 200 at a quarter: each is 1.63 standard errors above, together 2.3.
    both = guessing_p_value([task(60, 200), task(60, 200)])
    assert guessing_p_value([task(60, 200)]) == pytest.approx(0.062, abs=0.01)
    assert both == pytest.approx(0.0143, abs=0.001)
    # One that guesses and one that cannot do worse: half of the first's excess.
    assert guessing_p_value([task(70, 200), task(20, 200)]) > 0.5


def test_scores_between_right_and_wrong() -> None:
    rng = np.random.default_rng(0)
    scores = TaskScores(rng.uniform(0.2, 0.6, 100), np.ones(100), 0.25)
    assert guessing_p_value([scores]) < 0.01
    assert guessing_p_value([TaskScores(scores.scores - 0.2, np.ones(100), 0.25)]) > 0.5


@pytest.mark.parametrize("tasks", [1, 3])
def test_who_guesses_is_called_able_in_at_most_one_run_in_twenty(tasks: int) -> None:
    rng = np.random.default_rng(1)
    called = 0
    for _ in range(2000):
        ones = [
            TaskScores((rng.random(50) < 0.25).astype(float), np.ones(50), 0.25)
            for _ in range(tasks)
        ]
        called += guessing_p_value(ones) < 0.05
    assert called / 2000 < 0.065  # 0.05 and three standard errors of 2,000 runs


def test_items_of_two_tasks_that_belong_together_count_once() -> None:
    # The same 200 problems twice, equally right: the mean of both has the error of one of them.
    alone = task(60, 200)
    names = np.arange(200).astype(str).astype(object)
    twice = replace(alone, clusters=Clusters.of(names))
    one = guessing_p_value([replace(alone, clusters=Clusters.of(names))])
    assert guessing_p_value([twice, twice]) == pytest.approx(one, rel=1e-9)
    # Other problems: the error of two.
    other = replace(alone, clusters=Clusters.of(np.arange(200, 400).astype(str).astype(object)))
    assert guessing_p_value([twice, other]) == pytest.approx(guessing_p_value([alone] * 2))
