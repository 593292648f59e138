"""Texts and grades, and what a second run asks again. Oracle: an engine and a grader that count."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from bitloss.errors import SandboxError
from bitloss.requests import Decoding, Generated, GenerateRequest
from bitloss.runner.store import RunStore
from bitloss.runner.tasks import texts as module
from bitloss.runner.tasks.plan import PlannedTask, Question
from bitloss.runner.tasks.texts import Texts, Written
from bitloss.sandbox.base import Program, Sandbox, Verdict
from bitloss.spec.suite import TaskChoice
from bitloss.tasks.base import Answer, Grade, Item, Prompt, Task, TaskFacts, TaskItems
from bitloss.types import SilentProgress


@dataclass
class Grader:
    """Right where the first text ends in an even number; counts how often it is asked."""

    seen: list[tuple[str, tuple[str, ...]]] = field(default_factory=list)
    broken: bool = False

    def __call__(self, item: Item, answer: Answer, sandbox: Sandbox) -> Grade:
        if self.broken:
            raise SandboxError("no sandbox")
        self.seen.append((item.id, answer.texts))
        right = int(answer.texts[0].split("/")[0]) % 2 == 0
        return Grade({"acc": float(right)}, {"acc": 2.0}, detail=answer.texts[-1])


@dataclass
class Engine:
    """Writes the prompt's first token and the seed, the last request first."""

    calls: int = 0

    def generate(self, requests: Sequence[GenerateRequest]) -> Iterator[tuple[int, Generated]]:
        self.calls += 1
        for index in reversed(range(len(requests))):
            request = requests[index]
            yield index, Generated(f"{request.prompt[0]}/{request.seed % 97}", 1, "stop")


class Nothing:
    """Never asked."""

    def run(self, program: Program) -> Verdict:
        raise AssertionError("nothing is run here")


def planned(grader: Grader, *, n: int = 5, samples: int = 2, left_out: int = 3) -> PlannedTask:
    decoding = Decoding(4, temperature=0.5 if samples > 1 else 0.0)
    facts = TaskFacts("t", "math", ("acc",), "", "", n, decoding=decoding, samples=samples)
    questions = tuple(
        Question(
            item=Item(f"t/{index}", Prompt("?")),
            windows=(),
            prompt=None if index == left_out else np.array([index], np.int64),
            shots_left_out=0,
            spans_boundary=False,
        )
        for index in range(n)
    )
    task = Task(facts, lambda data, *, shots=None: TaskItems((), "", ""), grader)
    return PlannedTask(task, TaskChoice(name="t"), questions, n, "digest", "", (), 0)


@pytest.fixture
def write(tmp_path: Path) -> Callable[[PlannedTask, Engine], Written]:
    store = RunStore(tmp_path)

    def run(task: PlannedTask, engine: Engine) -> Written:
        return Texts(store, Nothing(), SilentProgress()).write(task, "model", "m", lambda: engine)  # type: ignore[arg-type, return-value]

    return run


Write = Callable[[PlannedTask, Engine], Written]


def test_texts_go_to_their_questions_and_grades_to_theirs(write: Write) -> None:
    found = write(planned(Grader()), Engine())
    assert [[text.split("/")[0] for text in texts] for texts in found.texts] == [
        ["0", "0"], ["1", "1"], ["2", "2"], [], ["4", "4"],
    ]  # fmt: skip
    assert [grade and grade.scores["acc"] for grade in found.grades] == [1.0, 0.0, 1.0, None, 1.0]
    assert [grade.detail for grade in found.grades if grade] == [t[-1] for t in found.texts if t]


@pytest.mark.parametrize("requests_in_a_shard", [1, 4, 100])
def test_a_second_run_asks_and_grades_nothing(
    write: Write, monkeypatch: pytest.MonkeyPatch, requests_in_a_shard: int
) -> None:
    monkeypatch.setattr(module, "SHARD_REQUESTS", requests_in_a_shard)
    first = write(planned(grader := Grader()), Engine())
    assert len(grader.seen) == 4
    again = write(planned(grader := Grader()), engine := Engine())
    assert (engine.calls, grader.seen) == (0, [])
    assert again == first


def test_texts_are_kept_where_grading_fails(write: Write) -> None:
    with pytest.raises(SandboxError):
        write(planned(Grader(broken=True)), Engine())
    found = write(planned(grader := Grader()), engine := Engine())
    assert (engine.calls, len(grader.seen)) == (0, 4)
    assert [grade is None for grade in found.grades] == [False, False, False, True, False]


def test_what_two_models_write_alike_is_graded_once(tmp_path: Path) -> None:
    texts = Texts(RunStore(tmp_path), Nothing(), SilentProgress())
    task = planned(grader := Grader())
    found = [texts.write(task, name, name, lambda: Engine()) for name in ("a", "b")]
    assert len(grader.seen) == 4
    assert found[0].grades == found[1].grades


def test_another_grading_of_the_same_texts_is_not_taken_for_this_one(write: Write) -> None:
    write(planned(Grader(), samples=1), Engine())
    shorter = planned(grader := Grader(), samples=1, n=4)
    write(shorter, engine := Engine())
    assert engine.calls == 1  # fewer requests are another shard
    assert len(grader.seen) == 3
