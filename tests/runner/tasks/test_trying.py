"""Tests that can tell nothing, refused before a model is run. Oracle: by hand, which of a function
that returns nothing, one that returns a text, and the right answer pass them."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bitloss.errors import TaskDataError
from bitloss.runner.tasks.plan import PlannedTask, Question
from bitloss.runner.tasks.trying import with_tried_tests
from bitloss.sandbox import Bubblewrap
from bitloss.spec.suite import TaskChoice
from bitloss.tasks.base import Task
from bitloss.tasks.custom import load_task_file
from bitloss.tasks.humaneval import HUMANEVAL
from bitloss.types import SilentProgress

TASK = """\
name: own
capability: code
{rows}
prompt: "{{q}}"
answer: "{{a}}"
python_tests:
  entry_point: f
  tests: {tests}
"""
SQUARE = "def f(x): return x * x"
GOOD = "assert f(2) == 4"


def planned(task: Task, data: Path | None = None) -> PlannedTask:
    loaded = task.load(data)
    questions = tuple(
        Question(item, (), prompt=item.id, shots_left_out=0, spans_boundary=False)  # type: ignore[arg-type]
        for item in loaded.items
    )
    places = dict(zip((item.id for item in loaded.items), loaded.places, strict=False))
    return PlannedTask(
        task, TaskChoice(name=task.facts.name), questions, len(questions), loaded.digest,
        loaded.source, loaded.notes, 0, places=places,
    )  # fmt: skip


Try = Callable[..., PlannedTask]


@pytest.fixture
def tried(tmp_path: Path, sandbox: Bubblewrap) -> Try:
    def run(*tests: str, answers: tuple[str, ...] = ()) -> PlannedTask:
        answers = answers or (SQUARE,) * len(tests)
        rows = [{"q": "?", "a": a, "t": t} for a, t in zip(answers, tests, strict=True)]
        (tmp_path / "rows.jsonl").write_text("\n\n".join(map(json.dumps, rows)))
        path = tmp_path / "own.yaml"
        path.write_text(TASK.format(rows="data: rows.jsonl", tests='"{t}"'))
        return with_tried_tests(planned(load_task_file(path)), sandbox, SilentProgress())

    return run


def test_tests_that_can_fail_are_taken_as_they_are(tried: Try) -> None:
    assert tried(GOOD, "assert sum(map(f, [1, 2])) == 5").notes == ()


@pytest.mark.parametrize(
    ("tests", "said"),
    [
        ("def check(candidate):\n  assert candidate(2) == 4", "without a call of `f`"),
        ("f(2)", "expected tests that fail a function that returns nothing"),
        ("try:\n  assert f(2) == 4\nexcept Exception: pass", "returns nothing, got tests that it"),
        ("assert f(2)", "fail a function that returns the same text for every argument"),
        ("assert (", "SyntaxError: '(' was never closed"),
        ("raise ValueError('broken')", "ValueError: broken"),
        ("import no_such_module", "No module named 'no_such_module'"),
        ("f(2)\nassrt_equal(1)", "the tests themselves: NameError: name 'assrt_equal'"),
        ("assert f(object()) == 1", "the tests pass on a value of type object"),
        ("import os\nos._exit(0)", "without a verdict"),
        ("import os\nf(2)\nos._exit(0)", "the tests' process ended"),
    ],
)  # fmt: skip
def test_what_can_tell_nothing_is_refused_with_its_line(tried: Try, tests: str, said: str) -> None:
    with pytest.raises(TaskDataError) as caught:
        tried(GOOD, tests)
    assert "rows.jsonl:3: " in caught.value.message  # behind a line that is empty
    assert said in caught.value.message
    assert caught.value.hint.startswith("correct these tests")
    assert caught.value.exit_code == 1


def test_all_are_told_at_once(tried: Try) -> None:
    with pytest.raises(TaskDataError, match="2 faulty tests") as caught:
        tried("1", GOOD, "pass")
    assert "rows.jsonl:1: " in caught.value.message
    assert "rows.jsonl:5: " in caught.value.message


def test_right_answers_that_fail_are_noted_and_refused_where_all_do(tried: Try) -> None:
    (note,) = tried(GOOD, "assert f(2) == 5").notes
    assert "own right answer fails the tests of 1 of 2 items" in note
    assert "rows.jsonl:3" in note
    with pytest.raises(TaskDataError, match="own right answer fails"):
        tried(GOOD, answers=("def f(x): return 5",))


def test_tests_in_the_task_file_have_its_lines(tmp_path: Path, sandbox: Bubblewrap) -> None:
    path = tmp_path / "own.yaml"
    rows = "items:\n  - {q: one, a: 'def f(x): pass', t: pass}"
    path.write_text(TASK.format(rows=rows, tests="'{t}'"))
    with pytest.raises(TaskDataError, match=r"own\.yaml:4: "):
        with_tried_tests(planned(load_task_file(path)), sandbox, SilentProgress())
    path.write_text(TASK.format(rows=rows, tests="pass"))
    with pytest.raises(TaskDataError, match=r"own\.yaml:9: "):
        with_tried_tests(planned(load_task_file(path)), sandbox, SilentProgress())


def test_a_file_like_humaneval_is_tried(tmp_path: Path, sandbox: Bubblewrap) -> None:
    row: dict[str, Any] = {
        "task_id": "HumanEval/0", "prompt": "def f(x):\n    'Itself.'\n", "entry_point": "f",
        "canonical_solution": "    return x\n", "test": "def check(candidate):\n  pass\n",
    }  # fmt: skip
    (tmp_path / "humaneval").mkdir()
    file = tmp_path / "humaneval" / "HumanEval.jsonl.gz"
    with gzip.open(file, "wt") as out:
        out.write(json.dumps(row))
    with pytest.raises(TaskDataError, match=r"HumanEval\.jsonl\.gz:1: .*without a call of `f`"):
        with_tried_tests(planned(HUMANEVAL, tmp_path), sandbox, SilentProgress())
