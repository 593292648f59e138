"""Student's t. Oracle: its printed table, and closed forms for one and two degrees of freedom."""

from __future__ import annotations

import math

import pytest

from bitloss.metrics.student import student_quantile, student_tail


@pytest.mark.parametrize(
    ("freedom", "t"), [(1, 12.7062), (2, 4.3027), (5, 2.5706), (30, 2.0423), (math.inf, 1.96)]
)
def test_quantiles_are_those_of_a_printed_table(freedom: float, t: float) -> None:
    assert student_quantile(0.95, freedom) == pytest.approx(t, abs=2e-4)
    assert student_tail(t, freedom) == pytest.approx(0.05, abs=1e-5)


def test_a_quantile_between_two_of_the_table_lies_between() -> None:
    assert student_quantile(0.95, 3) < student_quantile(0.95, 2.5) < student_quantile(0.95, 2)
    assert student_quantile(0.95, 0.3) == student_quantile(0.95, 1)


@pytest.mark.parametrize(
    ("t", "freedom", "p_value"),
    [  # the usual table of Student's t; below, 1 - 2 atan(t) / pi and 1 - t / sqrt(2 + t^2)
        (12.7062, 1, 0.05),
        (4.30265, 2, 0.05),
        (3.18245, 3, 0.05),
        (4.60409, 4, 0.01),
        (4.03214, 5, 0.01),
        (2.22814, 10, 0.05),
        (3.64596, 30, 0.001),
        (1.95996, math.inf, 0.05),
        (3.29053, 1000, 0.001),
        (2.0, 1, 1 - 2 * math.atan(2) / math.pi),
        (2.0, 2, 1 - 2 / math.sqrt(6)),
        (0.0, 7, 1.0),
    ],
)  # fmt: skip
def test_tails_of_students_t(t: float, freedom: float, p_value: float) -> None:
    assert student_tail(t, freedom) == pytest.approx(p_value, rel=1e-4)
