"""Oracles: orders worked out by hand, and Graham's bounds on any schedule's length."""

from __future__ import annotations

import random

import pytest

from bitloss.runner.executors.schedule import MOST_LOSSES, LostTooOften, Schedule, Task
from bitloss.runner.executors.simulate import simulate, work_bound


def ready(*tasks: Task, workers: str = "a") -> Schedule:
    schedule = Schedule()
    schedule.add(tasks)
    for worker in workers:
        schedule.join(worker)
    return schedule


def keys(schedule: Schedule, worker: str) -> list[str]:
    """What one worker alone does, in order."""
    order = []
    while (task := schedule.take(worker)) is not None:
        order.append(task.key)
        schedule.done(worker)
    return order


def test_a_worker_stays_with_the_model_that_it_has_loaded() -> None:
    tasks = [Task(f"{n}{model}", model, rank=n) for n in range(2) for model in "xy"]
    assert keys(ready(*tasks), "a") == ["0x", "1x", "0y", "1y"]


def test_free_workers_take_the_model_with_the_most_work_for_each() -> None:
    # By hand: x has 3 waiting, so a takes x; then 2 for two workers against y's 1.5 for one.
    schedule = ready(*[Task(f"x{n}", "x") for n in range(3)], Task("y", "y", 1.5), workers="abc")
    taken = [schedule.take(worker) for worker in "abc"]
    assert [task.key for task in taken if task] == ["x0", "y", "x1"]


def test_what_a_part_needs_comes_first() -> None:
    schedule = ready(
        Task("states-ref", "ref"), Task("states-q", "q"),
        Task("pair", "heads", needs=("states-ref", "states-q")), workers="ab",
    )  # fmt: skip
    assert {schedule.take("a").key, schedule.take("b").key} == {"states-ref", "states-q"}  # type: ignore[union-attr]
    schedule.done("a")
    assert schedule.take("a") is None
    schedule.done("b")
    assert schedule.take("a").key == "pair"  # type: ignore[union-attr]


def test_unknown_needs_are_refused() -> None:
    with pytest.raises(ValueError, match="needs `b`"):
        ready(Task("a", needs=("b",)))


def test_a_lost_workers_part_is_taken_by_another() -> None:
    schedule = ready(Task("one"), workers="ab")
    assert schedule.take("a") == Task("one")
    assert schedule.take("b") is None
    assert schedule.leave("a") == Task("one")
    assert schedule.take("b") == Task("one")


def test_a_part_that_loses_worker_after_worker_is_given_up() -> None:
    schedule = ready(Task("one"), workers="")
    for number in range(MOST_LOSSES + 1):
        schedule.join(str(number))
        assert schedule.take(str(number)) is not None
        if number < MOST_LOSSES:
            schedule.leave(str(number))
    with pytest.raises(LostTooOften):
        schedule.leave(str(MOST_LOSSES))


def test_machines_that_are_lost_are_not_the_parts_fault() -> None:
    schedule = ready(Task("one"), workers="")
    for number in range(2 * MOST_LOSSES):
        schedule.join(str(number))
        assert schedule.take(str(number)) is not None
        assert schedule.leave(str(number), with_machine=True) == Task("one")


def test_outputs_that_were_lost_are_made_again_before_what_takes_them() -> None:
    schedule = ready(
        Task("states"), Task("pair", needs=("states",)), Task("other", needs=("states",))
    )
    assert schedule.take("a") == Task("states")
    schedule.done("a")
    assert schedule.take("a").key == "pair"  # type: ignore[union-attr]
    schedule.lose("a", ["states"])
    assert keys(schedule, "a") == ["states", "pair", "other"]


def test_what_was_ready_waits_for_an_output_that_was_lost() -> None:
    first, second = Task("states", "x"), Task("pair", "y", needs=("states",))
    schedule = ready(first, second, Task("other", "y", needs=("states",), rank=-1), workers="ab")
    schedule.take("a")
    schedule.done("a")
    assert schedule.take("a").key == "other"  # type: ignore[union-attr]
    schedule.lose("a", ["states"])
    assert schedule.take("a") == first  # though `pair` had been ready for the model it has loaded
    assert schedule.take("b") is None


def test_parts_that_nobody_wants_are_not_given_out() -> None:
    schedule = ready(Task("one"), Task("two"))
    schedule.forget(["one"])
    assert keys(schedule, "a") == ["two"]
    assert schedule.unfinished == 0


def campaign(seed: int) -> list[Task]:
    """1,000 jobs as runs have them: 20 models read 40 shards each, and 200 shards are compared."""
    dice = random.Random(seed)
    tasks = []
    for shard in range(40):
        for model in range(20):
            seconds = dice.uniform(20, 60) * (1 + model % 3)
            tasks.append(Task(f"s{shard}-{model}", f"m{model}", seconds, rank=shard))
    for number in range(200):
        shard, part = number % 40, number // 40
        needs = tuple(f"s{shard}-{model}" for model in (0, *range(1 + 3 * part, 4 + 3 * part)))
        tasks.append(Task(f"p{number}", f"heads{part}", dice.uniform(5, 25), needs, rank=shard))
    return tasks


@pytest.mark.parametrize("seed", range(5))
def test_a_thousand_jobs_over_64_workers_that_fail(seed: int) -> None:
    """Bound: Graham's; the work that was lost has to be done again by anyone."""
    dice = random.Random(seed)
    tasks = campaign(seed)
    assert len(tasks) == 1000
    clean = simulate(tasks, 64, load=5.0)
    bound = work_bound(tasks, 64)
    failures = [(dice.uniform(0, bound), dice.randrange(64)) for _ in range(40)]
    failing = simulate(tasks, 64, start=10.0, load=5.0, failures=failures)
    assert failing.losses >= 30
    assert failing.lost > 0
    assert bound <= clean.seconds <= 1.25 * bound
    assert failing.seconds <= 1.25 * bound


def test_the_clock_by_hand() -> None:
    tasks = [Task("a", "x", 4.0), Task("b", "x", 4.0), Task("c", "y", 6.0, ("a",))]
    # One worker: starts at 1, loads x (2), does a and b, loads y (2), does c.
    assert simulate(tasks, 1, start=1.0, load=2.0).seconds == 1 + 2 + 4 + 4 + 2 + 6
    # Two: a and b side by side until 7, c until 15. Lost at 9, it begins again at 10: 10 + 2 + 6.
    assert simulate(tasks, 2, start=1.0, load=2.0).seconds == 15
    lost = simulate(tasks[::2], 1, start=1.0, load=2.0, failures=[(9.0, 0)])
    assert (lost.seconds, lost.lost, lost.losses) == (18, 2, 1)
    assert work_bound(tasks, 2) == 10
