"""Calls side by side; oracle: the same calls one by one, and what is said of interruptions."""

from __future__ import annotations

import threading
import time

import pytest

from bitloss.runner.concurrent import side_by_side


def never() -> None:
    raise AssertionError("nothing was interrupted")


def test_results_are_in_the_order_of_the_items() -> None:
    def call(item: int) -> int:
        time.sleep(0.01 * (3 - item))
        return item * item

    assert side_by_side(call, range(4), threads=2, end=never) == [0, 1, 4, 9]
    assert side_by_side(call, [], threads=2, end=never) == []


def test_both_run_at_a_time_and_no_third() -> None:
    together = threading.Barrier(2)
    running: list[int] = []
    most: list[int] = []

    def call(item: int) -> None:
        running.append(item)
        together.wait(timeout=60)  # broken, hence an error, where one waits for the other's end
        most.append(len(running))
        together.wait(timeout=60)
        running.remove(item)

    side_by_side(call, range(6), threads=2, end=never)
    assert max(most) == 2


@pytest.mark.parametrize("fault", [KeyboardInterrupt, ValueError])
def test_a_fault_ends_what_runs_and_begins_nothing(fault: type[BaseException]) -> None:
    begun: list[int] = []
    ended = threading.Event()
    first = threading.Event()

    def call(item: int) -> None:
        begun.append(item)
        if item == 1:
            assert first.wait(60)
            raise fault
        first.set()
        assert ended.wait(60)

    with pytest.raises(fault):
        side_by_side(call, range(50), threads=2, end=ended.set)
    assert ended.is_set()
    # One waits beside the fault, and another may begin before the fault is known.
    assert begun in ([0, 1], [1, 0], [0, 1, 2], [1, 0, 2])


def test_interrupted_while_calls_are_handed_over() -> None:
    """The caller is not waiting yet; what has begun must not be left to run to its end."""
    begun, ended = threading.Event(), threading.Event()

    class Interrupted(list[str]):
        def __iter__(self):  # type: ignore[no-untyped-def]
            yield "first"
            assert begun.wait(60)
            raise KeyboardInterrupt

    def call(item: str) -> None:
        begun.set()
        assert ended.wait(60)

    with pytest.raises(KeyboardInterrupt):
        side_by_side(call, Interrupted(), threads=2, end=ended.set)
    assert ended.is_set()
