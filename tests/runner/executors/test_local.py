"""Oracle: the order of the list, and events that jobs exchange while they run."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable

import pytest

from bitloss.runner.executors.local import peak_memory, run_locally
from bitloss.runner.jobs import Job, Resources

HALF = Resources(share=0.5)
BACKGROUND = Resources(background=True)
PATIENCE = 60.0


def never() -> None:
    raise AssertionError("nothing was interrupted")


def nothing() -> None:
    pass


def job(
    key: str,
    run: Callable[[], object] = nothing,
    *needs: str,
    resources: Resources = Resources(),  # noqa: B008 - a frozen value
) -> Job:
    def call() -> None:
        run()

    return Job(key, "collect", call, needs=needs, resources=resources)


def wait_for(event: threading.Event) -> Callable[[], None]:
    def run() -> None:
        assert event.wait(PATIENCE)

    return run


def test_jobs_run_in_the_order_of_the_list() -> None:
    ran: list[str] = []
    jobs = [job(key, lambda key=key: ran.append(key)) for key in "cab"]  # type: ignore[misc]
    run_locally(jobs, end=never)
    assert ran == ["c", "a", "b"]
    run_locally([], end=never)


def test_a_list_out_of_order_runs_nothing() -> None:
    with pytest.raises(ValueError, match="needs `b`"):
        run_locally([job("a", never), job("c", never, "b"), job("b", never)], end=never)


def test_a_job_alone_runs_in_the_callers_thread() -> None:
    """What holds a model or draws a bar has to be where Ctrl-C arrives."""
    threads: list[threading.Thread] = []
    run_locally([job("a", lambda: threads.append(threading.current_thread()))], end=never)
    assert threads == [threading.current_thread()]


# Side by side ------------------------------------------------------------------------------


def test_neighbours_that_leave_room_run_side_by_side_and_no_third() -> None:
    together = threading.Barrier(2)
    running: list[int] = []
    most: list[int] = []

    def half() -> None:
        running.append(0)
        together.wait(PATIENCE)  # broken, hence an error, if one waits for the other's end
        most.append(len(running))
        together.wait(PATIENCE)
        running.pop()

    jobs = [job(f"half-{n}", half, resources=HALF) for n in range(4)]
    run_locally([job("before"), *jobs, job("after")], end=never)
    assert max(most) == 2


def test_memory_of_what_runs_side_by_side_is_taken_together() -> None:
    """By hand: two of three neighbours run at a time, the two largest at worst."""

    def takes(key: str, memory: int, share: float) -> Job:
        return job(key, resources=Resources(memory_bytes=memory, share=share))

    halves = [takes("a", 3, 0.5), takes("b", 5, 0.5), takes("c", 4, 0.5)]
    assert peak_memory(halves) == 9
    assert peak_memory([*halves, takes("d", 8, 1.0)]) == 9
    assert peak_memory([takes("a", 3, 1.0), takes("b", 5, 1.0)]) == 5
    assert peak_memory([]) == 0


def test_neighbours_need_not_take_the_same_otherwise() -> None:
    """Recipes of 4 and 8 bits write files of other sizes."""
    together = threading.Barrier(2)
    jobs = [
        job(f"make-{size}", lambda: together.wait(PATIENCE),
            resources=Resources(seconds=None, disk_bytes=size, share=0.5))
        for size in (4, 8)
    ]  # fmt: skip
    run_locally(jobs, end=never)


def test_other_jobs_wait_for_neighbours_and_these_for_them() -> None:
    ran: list[str] = []

    def slow(key: str) -> Callable[[], None]:
        def run() -> None:
            time.sleep(0.05)
            ran.append(key)

        return run

    run_locally(
        [
            job("first", lambda: ran.append("first")),
            job("a", slow("a"), resources=HALF),
            job("b", slow("b"), resources=HALF),
            job("last", lambda: ran.append("last")),
        ],
        end=never,
    )
    assert (ran[0], ran[-1], sorted(ran)) == ("first", "last", ["a", "b", "first", "last"])


def test_a_neighbour_that_is_needed_ends_first() -> None:
    ended = threading.Event()

    def second() -> None:
        assert ended.is_set()

    def first() -> None:
        time.sleep(0.05)
        ended.set()

    jobs = [job("a", first, resources=HALF), job("b", second, "a", resources=HALF)]
    run_locally(jobs, end=never)


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_an_error_ends_the_neighbours_through_end(error: type[BaseException]) -> None:
    started, ended = threading.Event(), threading.Event()

    def fail() -> None:
        assert started.wait(PATIENCE)
        raise error

    def long() -> None:
        started.set()
        assert ended.wait(PATIENCE)

    jobs = [job("long", long, resources=HALF), job("fail", fail, resources=HALF)]
    with pytest.raises(error):
        run_locally([*jobs, job("after", never)], end=ended.set)
    assert ended.is_set()


def test_ctrl_c_ends_the_neighbours_through_end() -> None:
    """The signal itself, which arrives in the caller's thread."""
    both, ended = threading.Barrier(2), threading.Event()

    def long(interrupt: bool) -> Callable[[], None]:
        def run() -> None:
            both.wait(PATIENCE)
            if interrupt:
                os.kill(os.getpid(), signal.SIGINT)
            assert ended.wait(PATIENCE)

        return run

    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        jobs = [job("a", long(True), resources=HALF), job("b", long(False), resources=HALF)]
        with pytest.raises(KeyboardInterrupt):
            run_locally([*jobs, job("after", never)], end=ended.set)
    finally:
        signal.signal(signal.SIGINT, before)
    assert ended.is_set()


# In the background -------------------------------------------------------------------------


def test_a_background_job_runs_beside_others_and_is_awaited_where_it_is_needed() -> None:
    go_on, graded = threading.Event(), threading.Event()

    def grade() -> None:
        assert go_on.wait(PATIENCE)  # set by a job that comes after it
        time.sleep(0.05)
        graded.set()

    def collect() -> None:
        assert graded.is_set()

    run_locally(
        [
            job("grade", grade, resources=BACKGROUND),
            job("write", go_on.set),
            job("collect", collect, "write", "grade"),
        ],
        end=never,
    )


def test_background_jobs_run_one_at_a_time_in_their_order() -> None:
    ran: list[int] = []
    running: list[int] = []

    def run(n: int) -> Callable[[], None]:
        def call() -> None:
            running.append(n)
            time.sleep(0.01)
            assert running == [n]
            running.remove(n)
            ran.append(n)

        return call

    jobs = [job(f"b{n}", run(n), resources=BACKGROUND) for n in range(5)]
    run_locally(jobs, end=never)
    assert ran == list(range(5))


@pytest.mark.parametrize("first", [True, False])
def test_a_background_job_is_no_neighbour(first: bool) -> None:
    """Whatever it takes of the machine: each runs, and the caller waits for one of them only."""
    go_on = threading.Event()
    ran: list[str] = []

    def behind() -> None:
        assert go_on.wait(PATIENCE)
        ran.append("behind")

    halves = [
        job("behind", behind, resources=Resources(share=0.5, background=True)),
        job("half", lambda: ran.append("half"), resources=HALF),
    ]
    run_locally([*(halves if first else halves[::-1]), job("last", go_on.set)], end=never)
    assert ran == ["half", "behind"]


def test_a_background_job_is_awaited_at_the_end() -> None:
    ended = threading.Event()

    def slow() -> None:
        time.sleep(0.05)
        ended.set()

    run_locally([job("slow", slow, resources=BACKGROUND), job("last")], end=never)
    assert ended.is_set()


def test_a_background_job_waits_for_what_it_needs_itself() -> None:
    ran: list[str] = []
    run_locally(
        [
            job("one", lambda: ran.append("one"), resources=BACKGROUND),
            job("two", lambda: ran.append("two"), "one", resources=BACKGROUND),
            job("three", lambda: ran.append("three"), "two"),
        ],
        end=never,
    )
    assert ran == ["one", "two", "three"]


# Errors ------------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_the_first_error_ends_everything(error: type[BaseException]) -> None:
    def fail() -> None:
        raise error

    with pytest.raises(error):
        run_locally([job("a"), job("fail", fail), job("after", never)], end=nothing)


def test_an_error_in_the_background_ends_what_needs_it() -> None:
    def fail() -> None:
        raise ValueError

    jobs = [job("grade", fail, resources=BACKGROUND), job("collect", never, "grade")]
    with pytest.raises(ValueError):  # noqa: PT011 - has no message
        run_locally(jobs, end=nothing)
    with pytest.raises(ValueError):  # noqa: PT011
        run_locally(jobs[:1], end=nothing)


def test_background_jobs_that_have_not_begun_never_do() -> None:
    begun, release = threading.Event(), threading.Event()

    def first() -> None:
        begun.set()
        assert release.wait(PATIENCE)

    def fail() -> None:
        assert begun.wait(PATIENCE)
        raise ValueError

    second: list[bool] = []
    try:
        with pytest.raises(ValueError):  # noqa: PT011
            run_locally(
                [
                    job("first", first, resources=BACKGROUND),
                    job("second", lambda: second.append(True), resources=BACKGROUND),
                    job("fail", fail),
                ],
                end=release.set,  # what `first` waits for, as grades of a text do
            )
    finally:
        release.set()
    assert second == []
