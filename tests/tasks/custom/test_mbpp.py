"""A user's file of MBPP's layout. Oracles: the layout (one JSON object a line, with ``task_id``,
``text``, ``code``, ``test_list``, ``test_setup_code``, ``challenge_test_list``), and items whose
right answers are seen; the data itself is not here.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from bitloss.errors import BitlossError
from bitloss.runner.tasks.plan import PlannedTask, Question
from bitloss.runner.tasks.trying import with_tried_tests
from bitloss.sandbox import Bubblewrap
from bitloss.spec.suite import TaskChoice
from bitloss.tasks.base import Answer, Task
from bitloss.tasks.custom.files import load_task_file
from bitloss.types import SilentProgress
from peers.exec_sandbox import ExecSandbox

TASK = """\
name: mbpp
capability: code
data: mbpp.jsonl
id: task_id
prompt: |
  You are an expert Python programmer, and here is your task: {text} Your code should pass these \
tests:

  {test_list}
  [BEGIN]
answer: "{code}"
python_tests: {tests: "{test_list}", support: "{test_setup_code}"}
generation: {max_new_tokens: 512, stop: ["[DONE]"]}
license: CC BY 4.0
"""


def row(number: int, text: str, code: str, tests: list[str], setup: str = "") -> dict[str, Any]:
    return {
        "text": text, "code": code, "task_id": number, "test_setup_code": setup,
        "test_list": tests, "challenge_test_list": [],
    }  # fmt: skip


ROWS = [
    # MBPP's code has line ends of Windows, tabs, and blanks behind brackets.
    row(11, "Write a python function to remove first and last occurrence of a given character.",
        "def remove_Occ(s,ch): \r\n    for i in range(len(s)): \r\n        if (s[i] == ch): \r\n"
        "            s = s[0 : i] + s[i + 1:] \r\n            break\r\n    return s[::-1].replace("
        "ch, '', 1)[::-1]  ",
        ['assert remove_Occ("hello","l") == "heo"', 'assert remove_Occ("abcda","a") == "bcd"',
         'assert remove_Occ("PHP","P") == "H"']),
    row(14, "Write a python function to find the volume of a triangular prism.",
        "def find_Volume(l,b,h) : \r\n    return ((l * b * h) / 2) ",
        ["assert find_Volume(10,8,6) == 240", "assert find_Volume(3,2,2) == 6"]),
    # A helper and an import of the solution's, and setup code that the tests need.
    row(20, "Write a function to find the area of a circle.",
        "import math\ndef square(x):\n\treturn x * x\ndef area(r):\n\treturn math.pi * square(r)",
        ["assert math.isclose(area(2), 4 * math.pi)", "assert area(0) == 0"],
        setup="import math"),
    row(31, "Write a function to sort a list of pairs by their second element.",
        "def by_second(pairs):\n  pairs.sort(key=lambda x: x[1])\n  return pairs",
        ["assert by_second([('a', 2), ('b', 1)]) == [('b', 1), ('a', 2)]"]),
]  # fmt: skip
PAIR = row(
    601, "Write a function to find the longest chain of pairs.",
    "class Pair(object):\n    def __init__(self, a, b):\n        self.a, self.b = a, b\n"
    "def longest(pairs):\n    return len(pairs)",
    ["assert longest([Pair(1, 2)]) == 1"],
)  # fmt: skip


def load(folder: Path, rows: list[dict[str, Any]], text: str = TASK) -> Task:
    (folder / "mbpp.jsonl").write_text("".join(json.dumps(one) + "\n" for one in rows))
    (folder / "mbpp.yaml").write_text(text)
    return load_task_file(folder / "mbpp.yaml")


def score(task: Task, item: Any, text: str, sandbox: Any) -> float:
    return task.grade(item, Answer(texts=(text,)), sandbox).scores["pass@1"]


def test_prompts_tests_and_entry_points(tmp_path: Path) -> None:
    task = load(tmp_path, ROWS)
    items = task.load(None).items
    assert [item.id for item in items] == ["11", "14", "20", "31"]
    assert items[1].prompt.text == (
        "You are an expert Python programmer, and here is your task: Write a python function to "
        "find the volume of a triangular prism. Your code should pass these tests:\n\n"
        "assert find_Volume(10,8,6) == 240\nassert find_Volume(3,2,2) == 6\n[BEGIN]\n"
    )
    names = [item.data["entry_point"] for item in items]
    assert names == ["remove_Occ", "find_Volume", "area", "by_second"]
    assert [item.data["support"] for item in items] == ["", "", "import math", ""]


def test_right_answers_pass_and_empty_forms_fail(tmp_path: Path, sandbox: Bubblewrap) -> None:
    task = load(tmp_path, ROWS)
    for item in task.load(None).items:
        name = item.data["entry_point"]
        assert score(task, item, item.gold_answer or "", sandbox) == 1
        assert score(task, item, f"```python\n{item.gold_answer}\n```\nIt works.", sandbox) == 1
        assert score(task, item, f"def {name}(*arguments):\n    pass\n", sandbox) == 0
        assert score(task, item, "", sandbox) == 0


def test_the_tests_are_tried_before_a_run(tmp_path: Path, sandbox: Bubblewrap) -> None:
    """Oracle: a right answer that was broken on purpose is counted, and nothing else is said."""
    broken = [*ROWS, {**ROWS[1], "task_id": 15, "code": "def find_Volume(l,b,h):\n    return 0"}]
    task = load(tmp_path, broken)
    content = task.load(None)
    questions = tuple(Question(item, (), [0], 0, False) for item in content.items)  # type: ignore[arg-type]
    places = dict(zip([item.id for item in content.items], content.places, strict=True))
    planned = PlannedTask(
        task, TaskChoice(name="mbpp"), questions, 5, "digest", "", (), 0, places=places
    )
    (note,) = with_tried_tests(planned, sandbox, SilentProgress()).notes
    assert note.startswith("the task's own right answer fails the tests of 1 of 5 items")


def test_rows_whose_tests_take_several_names_are_left_out_and_counted(tmp_path: Path) -> None:
    content = load(tmp_path, [*ROWS[:2], PAIR]).load(None)
    assert len(content.items) == 2
    (note,) = (one for one in content.notes if "left out" in one)
    assert note.startswith("1 of 3 rows are left out")
    assert "mbpp.jsonl:3: longest, Pair" in note


def test_a_field_or_a_template_comes_before_what_is_found(tmp_path: Path) -> None:
    named = [{**ROWS[2], "entry_point": "square", "test_list": ["assert square(2) == 4"]}]
    task = load(tmp_path, named)
    (item,) = task.load(None).items
    assert item.data["entry_point"] == "square"
    assert score(task, item, "def square(x): return x * x", ExecSandbox()) == 1


@pytest.mark.parametrize(
    ("text", "rows", "words"),
    [
        (TASK.replace('answer: "{code}"\n', ""), ROWS, "expected `entry_point`"),
        (TASK, [{**ROWS[1], "test_list": ["assert 1 == 1"]}], "row 1: the tests call nothing that"),
        (TASK, [{**ROWS[1], "code": "def find_Volume(:"}], "row 1: the tests call nothing that"),
    ],
)
def test_what_cannot_be_found_is_said(
    tmp_path: Path, text: str, rows: list[dict[str, Any]], words: str
) -> None:
    with pytest.raises(BitlossError) as caught:
        load(tmp_path, rows, text)
    assert words in caught.value.message
