"""What is left of a run. Oracle: a clock that the jobs turn, and sums by hand."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from bitloss.runner.jobs import Job, JobKind, Resources
from bitloss.runner.remaining import Steps, counted
from bitloss.types import SilentProgress


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now

    def turn(self, seconds: float) -> Callable[[], None]:
        def run() -> None:
            self.now += seconds

        return run


class Told(SilentProgress):
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.steps_of: list[tuple[int, float | None]] = []
        self.total = 0

    @contextmanager
    def steps(
        self, total: int, *, at_most: bool = False
    ) -> Iterator[Callable[[int, float | None], None]]:
        self.total = total
        yield lambda done, left: self.steps_of.append((done, left))


def job(
    key: str, kind: JobKind, run: Callable[[], None], *needs: str, tokens: int = 0,
    seconds: float = 0.0, share: float = 1.0, background: bool = False,
) -> Job:  # fmt: skip
    resources = Resources(seconds=seconds, tokens=tokens, share=share, background=background)
    return Job(key, kind, run, needs=needs, resources=resources)


def told(jobs: list[Job], clock: Clock) -> list[tuple[int, float | None]]:
    progress = Told()
    with counted(jobs, progress, clock) as wrapped:
        assert [one.key for one in wrapped] == [one.key for one in jobs]
        for one in wrapped:
            one.run()
    assert progress.total == len(jobs)
    return progress.steps_of


def test_time_left_is_learned_by_kind() -> None:
    """By hand: 10 s for 100 tokens read are 0.1 s a token, so the other 300 tokens and the pair's
    400 take 30 s and 40 s; the pair then takes its own 4 s for the 400.
    """
    clock = Clock()
    jobs = [
        job("a", "states", clock.turn(10), tokens=100),
        job("b", "states", clock.turn(30), tokens=300),
        job("ab", "pair", clock.turn(4), "a", "b"),
        job("c", "states", clock.turn(1), tokens=10),
        job("cc", "pair", clock.turn(0.1), "c"),
        job("end", "collect", clock.turn(0)),
    ]
    assert told(jobs, clock) == [
        (1, pytest.approx(30 + 40 + 1 + 1)),
        (2, pytest.approx(40 + 1 + 1)),
        (3, pytest.approx(1 + 0.1)),
        (4, pytest.approx(0.1)),
        (5, 0),
        (6, 0),
    ]


def test_what_the_store_has_teaches_nothing() -> None:
    clock = Clock()
    jobs = [job(str(n), "states", clock.turn(0.01 if n < 3 else 5), tokens=10) for n in range(5)]
    assert told(jobs, clock)[:4] == [(1, None), (2, None), (3, None), (4, pytest.approx(5))]


def test_quantizing_is_estimated_and_shares_the_machine() -> None:
    """By hand: 40 s are estimated for each of four, two at a time; the first takes 20 s beside
    another, 10 s of the machine where 20 were estimated, so the other three take half of 60 s.
    """
    clock = Clock()
    jobs = [job(str(n), "make-variant", clock.turn(20), seconds=40, share=0.5) for n in range(4)]
    assert told(jobs, clock)[0] == (1, pytest.approx(30))


def test_what_runs_beside_others_adds_no_time() -> None:
    clock = Clock()
    jobs = [
        job("a", "states", clock.turn(1), tokens=10),
        job("g", "grade", clock.turn(50), background=True),
        job("b", "states", clock.turn(1), tokens=10),
    ]
    assert told(jobs, clock)[:2] == [(1, pytest.approx(1)), (2, pytest.approx(1))]


def test_a_progress_without_steps_gets_the_jobs_as_they_are() -> None:
    jobs = [job("a", "states", lambda: None)]
    assert not isinstance(SilentProgress(), Steps)
    with counted(jobs, SilentProgress()) as same:
        assert same == jobs
