"""Grades by hand; lm-eval's own exact_match and greedy match are described in the sources."""

from __future__ import annotations

from typing import Any

import pytest

from bitloss.errors import NumericalError, SandboxError
from bitloss.sandbox.base import Program, Verdict
from bitloss.tasks.base import Answer, Item, Prompt
from bitloss.tasks.custom import grading
from bitloss.tasks.custom.schema import (
    Choice,
    Contains,
    ExactMatch,
    GoldLikelihood,
    PythonTests,
    RegexMatch,
)
from peers.exec_sandbox import ExecSandbox

BOX = ExecSandbox()


def asked(*golds: str) -> Item:
    return Item("own/1", Prompt("?"), data={"golds": list(golds)})


@pytest.mark.parametrize(
    ("rule", "text", "right"),
    [
        ({}, " Oslo\n", True),
        ({"strip": False}, " Oslo", False),
        ({}, "oslo", False),
        ({"ignore_case": True}, "OSLO", True),
        ({}, "Oslo.", False),
        ({"regexes_to_ignore": r"\.$"}, "Oslo .", True),
        ({}, "Christiania", True),
        ({}, "", False),
    ],
)
def test_exact_match(rule: dict[str, Any], text: str, right: bool) -> None:
    made = ExactMatch.model_validate({"gold": "a", **rule})
    grade = grading.grade_exact_match(
        made, asked("Oslo", "Christiania"), Answer(texts=(text,)), BOX
    )
    assert grade.scores == {"exact_match": float(right)}


@pytest.mark.parametrize(
    ("rule", "text", "right"),
    [
        ({}, "So the answer is 12, not 7.", True),
        ({"take": "last"}, "So the answer is 12, not 7.", False),
        ({}, "none", False),
        ({"pattern": r"(\w+) is (\d+)", "group": 2}, "answer is 12", True),
        ({"pattern": r"(\w+) is (\d+)", "group": 0}, "answer is 12", False),
        ({"pattern": r"(?:is )?(\d\d)?"}, "is 12", True),
        ({"pattern": r"(\d\d)?$"}, "none", False),  # the group takes no part in the match
    ],
)
def test_regex(rule: dict[str, Any], text: str, right: bool) -> None:
    made = RegexMatch.model_validate({"gold": "a", "pattern": r"\d+", **rule})
    grade = grading.grade_regex(made, asked("12"), Answer(texts=(text,)), BOX)
    assert grade.scores == {"exact_match": float(right)}


@pytest.mark.parametrize(
    ("rule", "text", "right"),
    [
        ({}, "rain on Monday", True),
        ({}, "Rain", False),
        ({"ignore_case": True}, "Rain", True),
        ({"all": True}, "rain on Monday", False),
        ({"all": True}, "rain and umbrella", True),
    ],
)
def test_contains(rule: dict[str, Any], text: str, right: bool) -> None:
    made = Contains.model_validate({"gold": "a", **rule})
    answer = Answer(texts=(text,))
    grade = grading.grade_contains(made, asked("rain", "umbrella"), answer, BOX)
    assert grade.scores == {"contains": float(right)}


def test_several_texts_are_averaged() -> None:
    made = ExactMatch(gold="a")
    answer = Answer(texts=("x", "y", "x", "z"))
    assert grading.grade_exact_match(made, asked("x"), answer, BOX).scores == {"exact_match": 0.5}


def test_choice_and_its_length_norm() -> None:
    item = Item("own/1", Prompt("?"), options=("ab", "abcdef"), gold=1)
    rule = Choice.model_validate({"options": "{o}", "gold": "a"})
    grade = grading.grade_choice(rule, item, Answer((-2.0, -3.0), (True, False)), BOX)
    assert grade.scores == {"acc": 0.0, "acc_norm": 1.0}  # -2 > -3; -2/2 < -3/6
    assert grade.detail == "acc: ab; acc_norm: abcdef"
    with pytest.raises(NumericalError):
        grading.grade_choice(rule, item, Answer((float("nan"), -3.0), (True, False)), BOX)


@pytest.mark.parametrize("greedy", [True, False])
def test_gold_likelihood(greedy: bool) -> None:
    item = Item("own/1", Prompt("?"), options=("word",), gold=0)
    rule = GoldLikelihood(gold="a")
    grade = grading.grade_gold_likelihood(rule, item, Answer((-2.0,), (greedy,)), BOX)
    assert grade.scores == {"acc": float(greedy)}


BODY = "    return 2 * x\n"
SIGNATURE = 'def double(x):\n    """Twice x."""\n'


def code_item() -> Item:
    data = {"tests": "assert double(3) == 6", "entry_point": "double", "completes": SIGNATURE,
            "support": "import math"}  # fmt: skip
    return Item("own/1", Prompt(SIGNATURE), delimiter="", data=data)


RULE = PythonTests.model_validate({"tests": "{t}", "entry_point": "{f}"})


def test_programs_are_run() -> None:
    box = ExecSandbox()
    grade = grading.grade_python_tests(RULE, code_item(), Answer(texts=(BODY,)), box)
    assert grade.scores == {"pass@1": 1.0}
    assert grade.detail == "passed"
    assert box.programs == [
        Program(SIGNATURE + BODY, "double", "assert double(3) == 6", "import math")
    ]
    wrong = grading.grade_python_tests(RULE, code_item(), Answer(texts=("    return x",)), box)
    assert wrong.scores == {"pass@1": 0.0}
    assert wrong.detail == "wrong"


def test_samples_give_pass_at_k() -> None:
    """4 of 10 right: pass@1 is 0.4, pass@10 is 1 (Chen et al. 2021)."""
    texts = (BODY,) * 4 + ("    return x\n",) * 6
    grade = grading.grade_python_tests(RULE, code_item(), Answer(texts=texts), BOX)
    assert grade.scores == pytest.approx({"pass@1": 0.4, "pass@10": 1.0})
    assert tuple(grade.scores) == grading.metrics_of(RULE, 10)


def test_sandbox_that_fails_is_no_wrong_answer() -> None:
    class Broken:
        def run(self, program: Program) -> Verdict:
            raise SandboxError("no bubblewrap")

    with pytest.raises(SandboxError):
        grading.grade_python_tests(RULE, code_item(), Answer(texts=(BODY,)), Broken())


def test_text_that_was_not_generated_is_no_wrong_answer() -> None:
    for grade, rule in (
        (grading.grade_exact_match, ExactMatch(gold="a")),
        (grading.grade_python_tests, RULE),
    ):
        with pytest.raises(ValueError, match="no text was generated"):
            grade(rule, asked("x"), Answer(), BOX)  # type: ignore[operator]
