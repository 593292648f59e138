"""Grades of texts, and what a second run grades again. Oracle: a rule that counts."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import CancelledError
from dataclasses import asdict, dataclass, field
from pathlib import Path

import pytest

from bitloss.errors import SandboxError
from bitloss.requests import Generated
from bitloss.runner.store import RunStore
from bitloss.runner.tasks.grading import Grader, NoSandbox, grade_texts
from bitloss.runner.tasks.plan import PlannedTask
from bitloss.runner.tasks.texts import TEXT_COLUMNS, TextShards
from bitloss.sandbox.base import Program, Sandbox
from bitloss.tasks.base import Answer, Grade, Item
from peers.text_tasks import even_is_right, planned_task


@dataclass
class Rule:
    """`even_is_right`; counts how often it is asked."""

    seen: list[tuple[str, tuple[str, ...]]] = field(default_factory=list)
    broken: bool = False

    def __call__(self, item: Item, answer: Answer, sandbox: Sandbox) -> Grade:
        if self.broken:
            raise SandboxError("no sandbox")
        self.seen.append((item.id, answer.texts))
        return even_is_right(item, answer, sandbox)


@pytest.fixture
def grader() -> Iterator[Grader]:
    with Grader(NoSandbox()) as grader:
        yield grader


@pytest.fixture
def store(tmp_path: Path) -> RunStore:
    return RunStore(tmp_path)


def written(store: RunStore, task: PlannedTask, model: str = "m") -> TextShards:
    """A task's texts: the question's index and the sample's, as if `model` had written them."""
    shards = TextShards.of(task, model)
    samples = task.task.facts.samples
    for key, piece in zip(shards.keys, shards.requests, strict=True):
        texts = [f"{index}/{at % samples}" for at, (index, _) in enumerate(piece)]
        rows = [asdict(Generated(text, 1, "stop")) for text in texts]
        store.write_records(key, {name: [row[name] for row in rows] for name in TEXT_COLUMNS})
    return shards


def right(grades: Sequence[Grade | None]) -> list[float | None]:
    return [grade and grade.scores["acc"] for grade in grades]


def test_grades_go_to_their_questions(store: RunStore, grader: Grader) -> None:
    grades = grade_texts(store, written(store, planned_task()), grader)
    assert right(grades) == [1.0, 0.0, 1.0, None, 1.0]
    assert [grade.detail for grade in grades if grade] == ["0/1", "1/1", "2/1", "4/1"]
    assert all(grade.weights == {"acc": 2.0} for grade in grades if grade)


def test_a_second_run_grades_nothing(store: RunStore, grader: Grader) -> None:
    first = grade_texts(store, written(store, planned_task(rule := Rule())), grader)
    assert len(rule.seen) == 4
    with Grader(NoSandbox()) as another:
        again = grade_texts(store, TextShards.of(planned_task(rule := Rule()), "m"), another)
    assert rule.seen == []
    assert again == first


def test_texts_are_graded_again_where_grading_failed(store: RunStore, grader: Grader) -> None:
    shards = written(store, planned_task(Rule(broken=True)))
    before = set(store.root.rglob("*.parquet"))
    with pytest.raises(SandboxError):
        grade_texts(store, shards, grader)
    assert set(store.root.rglob("*.parquet")) == before
    with Grader(NoSandbox()) as another:
        grades = grade_texts(store, TextShards.of(planned_task(rule := Rule()), "m"), another)
    assert len(rule.seen) == 4
    assert [grade is None for grade in grades] == [False, False, False, True, False]


def test_what_two_models_write_alike_is_graded_once(store: RunStore, grader: Grader) -> None:
    task = planned_task(rule := Rule())
    grades = [grade_texts(store, written(store, task, name), grader) for name in ("a", "b")]
    assert len(rule.seen) == 4
    assert grades[0] == grades[1]


def test_what_was_graded_while_a_model_wrote_is_not_graded_again(
    store: RunStore, grader: Grader
) -> None:
    shards = written(store, planned_task(rule := Rule()))
    for index, texts in enumerate(shards.read(store)):
        if texts:
            grader.submit(shards.planned, index, texts).result()
    grade_texts(store, shards, grader)
    assert len(rule.seen) == 4


def test_another_grading_of_the_same_texts_is_not_taken_for_this_one(
    store: RunStore, grader: Grader
) -> None:
    grade_texts(store, written(store, planned_task(Rule(), samples=1)), grader)
    other = planned_task(rule := Rule(), samples=1, name="another")
    assert TextShards.of(other, "m").key == TextShards.of(planned_task(samples=1), "m").key
    grade_texts(store, TextShards.of(other, "m"), grader)
    assert len(rule.seen) == 4


def test_an_answer_is_graded_once_from_whichever_threads(grader: Grader) -> None:
    """One thread lets a model write while another takes up the texts of the one before."""
    task = planned_task(rule := Rule(), n=200, left_out=999)
    together = threading.Barrier(4)

    def submit() -> None:
        together.wait(60)
        for index in range(200):
            grader.submit(task, index, (f"{index}/0", f"{index}/1"))

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        threads = [threading.Thread(target=submit) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)
    grader.__exit__(None)
    assert sorted(rule.seen) == sorted(
        (f"t/{index}", (f"{index}/0", f"{index}/1")) for index in range(200)
    )


def test_after_an_error_nobody_waits_for_the_queue() -> None:
    release, begun = threading.Event(), threading.Event()

    def slow(item: Item, answer: Answer, sandbox: Sandbox) -> Grade:
        begun.set()
        assert release.wait(60)
        return Grade({"acc": 1.0})

    task = planned_task(slow, n=500, left_out=999)
    grader = Grader(NoSandbox())
    futures = [grader.submit(task, index, ("0",)) for index in range(500)]
    assert begun.wait(60)
    grader.__exit__(ValueError)  # at once: what has begun ends later
    assert not release.is_set()
    release.set()
    assert sum(future.cancelled() for future in futures) > 400
    with pytest.raises(CancelledError):
        futures[-1].result()


def test_a_task_that_runs_programs_has_to_say_so() -> None:
    with pytest.raises(SandboxError, match="the grading of `f` runs a program") as caught:
        NoSandbox().run(Program(solution="", entry_point="f", tests=""))
    assert "needs_sandbox" in caught.value.hint
