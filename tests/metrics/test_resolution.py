"""Oracle: the half width of a mean's interval, by hand."""

from __future__ import annotations

import pytest

from bitloss.metrics.resolution import smallest_loss


def test_one_task() -> None:
    assert smallest_loss([(100, 0.25)]) == pytest.approx(1.959964 * 0.25 / 10)


def test_two_tasks_that_count_the_same() -> None:
    # sqrt(0.3^2 / 9 + 0.4^2 / 16) / 2 = sqrt(0.01 + 0.01) / 2
    assert smallest_loss([(9, 0.3), (16, 0.4)]) == pytest.approx(1.959964 * 0.02**0.5 / 2)
