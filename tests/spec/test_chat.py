"""Options of the chat template. Oracle: by hand."""

from __future__ import annotations

import math
from typing import Any

import pytest

from bitloss.api import make_spec
from bitloss.errors import UsageError
from bitloss.spec.chat import parse_markers, parse_template_args


def test_arguments_are_json() -> None:
    given = ["enable_thinking=false", 'effort="low"', "n = 3"]
    wanted = {"enable_thinking": False, "effort": "low", "n": 3}
    assert parse_template_args(given) == wanted
    assert parse_template_args(wanted) == wanted
    assert make_spec("m", tasks=["mmlu"], chat=True, template_args=given).template_args == wanted


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["enable_thinking=False"], "expected JSON, got `False`"),  # a text would be true
        (["effort=low"], "expected JSON, got `low`"),
        (["x=NaN"], "expected JSON, got `NaN`"),
        (["enable_thinking"], "expected KEY=JSON"),
        (["=1"], "expected KEY=JSON"),
        (["a=1", "a=2"], "`a` is given twice"),
        ({"x": math.nan}, "expected JSON, got `nan`"),
        ({"x": object}, "expected JSON"),
    ],
)
def test_what_is_no_argument(given: Any, said: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_template_args(given)
    assert said in caught.value.message
    assert caught.value.hint


def test_markers() -> None:
    assert parse_markers("[THINK], [/THINK]") == ("[THINK]", "[/THINK]")
    for text in ("", "<think>", "<think>,", ",</think>", "a,a", "a,b,c"):
        with pytest.raises(UsageError, match="expected BEGIN,END"):
            parse_markers(text)


@pytest.mark.parametrize(
    "options",
    [
        {"template_args": {"a": 1}},
        {"thinking_budget": 5},
        {"thinking_markers": "[a],[b]"},
    ],
)
def test_they_are_refused_without_the_chat_template(options: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="is for the chat template") as caught:
        make_spec("m", tasks=["mmlu"], **options)
    assert caught.value.hint.startswith("add --chat")
    make_spec("m", tasks=["mmlu"], chat=True, **options)


def test_wrong_markers_are_told_before_a_model_is_opened() -> None:
    with pytest.raises(UsageError, match="expected BEGIN,END"):
        make_spec("m", tasks=["mmlu"], chat=True, thinking_markers="<think>")
