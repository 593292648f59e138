"""Calls in the formats of chat templates. Oracle: the formats as their templates write them."""

from __future__ import annotations

from typing import Any

import pytest

from bitloss.tasks.base import Answer, Item, Prompt
from bitloss.tasks.custom.grading import grade_tool_call
from bitloss.tasks.custom.schema import ToolCall
from bitloss.tasks.custom.tool_calls import Call, Found, find_calls, same_json
from peers.exec_sandbox import ExecSandbox

OSLO = Call("weather", {"city": "Oslo"})
TIMER = Call("timer", {"minutes": 5})
JSON = '{"name": "weather", "arguments": {"city": "Oslo"}}'


@pytest.mark.parametrize(
    ("text", "calls"),
    [
        # Hermes, Qwen 2.5 and 3; cut off before the end; two of them
        (f"<tool_call>\n{JSON}\n</tool_call>", [OSLO]),
        (f"I look it up.\n<tool_call>\n{JSON}", [OSLO]),
        (
            f"<tool_call>{JSON}</tool_call>\n<tool_call>"
            '{"name": "timer", "arguments": {"minutes": 5}}</tool_call>',
            [OSLO, TIMER],
        ),
        (f"<tool_call>[{JSON}]</tool_call>", [OSLO]),  # SmolLM2
        # Llama 3
        ('{"name": "weather", "parameters": {"city": "Oslo"}}', [OSLO]),
        ('<|python_tag|>{"name": "weather", "parameters": {"city": "Oslo"}}', [OSLO]),
        (f"{JSON}; {JSON}", [OSLO, OSLO]),
        ('{"type": "function", "name": "timer", "parameters": {"minutes": 5}}', [TIMER]),
        # Mistral, before and since its version 11
        (f"[TOOL_CALLS] [{JSON}]", [OSLO]),
        ('[TOOL_CALLS]weather[ARGS]{"city": "Oslo"}', [OSLO]),
        (
            '[TOOL_CALLS]weather[ARGS]{"city": "Oslo"}[TOOL_CALLS]timer[ARGS]{"minutes": 5}',
            [OSLO, TIMER],
        ),
        # Llama 4, LFM2
        ("[weather(city='Oslo'), timer(minutes=5)]", [OSLO, TIMER]),
        ("<|tool_call_start|>[weather(city='Oslo')]<|tool_call_end|>", [OSLO]),
        # Qwen3-Coder, as its template writes them; without the tags, cut off, two of them
        (
            "<tool_call>\n<function=weather>\n<parameter=city>\nOslo\n</parameter>\n"
            "</function>\n</tool_call>",
            [OSLO],
        ),
        ("I look.\n<function=weather><parameter=city>Oslo</parameter></function>", [OSLO]),
        ("<tool_call>\n<function=weather>\n<parameter=city>\nOslo\n", [OSLO]),
        (
            "<tool_call><function=weather>\n<parameter=city>\nOslo\n</parameter>\n</function>"
            "<function=now></function></tool_call>",
            [OSLO, Call("now", {})],
        ),
        # Arguments as a text, as in OpenAI's interface
        ('<tool_call>{"name": "timer", "arguments": "{\\"minutes\\": 5}"}</tool_call>', [TIMER]),
        ('[{"type": "function", "function": ' + JSON + "}]", [OSLO]),
        # No calls
        ("The weather in Oslo is fine.", []),
        ("", []),
        (f"You could call {JSON}.", []),
        (f"```json\n{JSON}\n```", []),
        ('{"city": "Oslo"}', []),
        ("[1, 2]", []),
        ("[see below] The weather", []),
    ],
)
def test_calls(text: str, calls: list[Call]) -> None:
    assert find_calls(text) == Found(tuple(calls))


@pytest.mark.parametrize(
    "text",
    [
        '<tool_call>{"name": "weather", "arguments": {"city"</tool_call>',
        "<tool_call></tool_call>",
        "<tool_call><function=weather</tool_call>",
        '<tool_call>{"arguments": {}}</tool_call>',
        '<tool_call>{"name": "weather"}</tool_call>',
        '{"name": "weather", "parameters": {"city": "Os',
        "[TOOL_CALLS] weather",
        "<|python_tag|>import os",
        "<|tool_call_start|>[weather('Oslo')]<|tool_call_end|>",  # of which argument?
        "<tool_call>" + "[" * 100_000 + "</tool_call>",
        "<|tool_call_start|>" + "-" * 15_000 + "1<|tool_call_end|>",
        "<|tool_call_start|>f(x=" + "(" * 10_000 + "<|tool_call_end|>",
        "<tool_call>f(**{'a': 1})</tool_call>" + "<tool_call>f(x=y)</tool_call>",
    ],
)
def test_calls_that_cannot_be_read(text: str) -> None:
    assert find_calls(text) == Found(unreadable=True)


def typed(kind: Any) -> list[dict[str, Any]]:
    """Tools as a chat template takes them: one with an argument of this type."""
    parameters = {"type": "object", "properties": {"x": kind}}
    return [{"type": "function", "function": {"name": "f", "parameters": parameters}}]


@pytest.mark.parametrize(
    ("text", "schema", "value"),
    [
        # As vLLM's qwen3_coder parser reads them, by the tool's schema.
        ("5", {"type": "integer"}, 5),
        ("5", {"type": "string"}, "5"),
        ("2.5", {"type": "number"}, 2.5),
        ("True", {"type": "boolean"}, True),
        ("null", {"type": "integer"}, None),
        ('{"a": [1]}', {"type": "object"}, {"a": [1]}),
        ("['a', 'b']", {"type": "array"}, ["a", "b"]),
        ("5", {"type": ["null", "integer"]}, 5),
        ("5", {"anyOf": [{"type": "integer"}, {"type": "null"}]}, 5),
        # What is not of the type stays a text, and so does what no schema knows.
        ("five", {"type": "integer"}, "five"),
        ("yes", {"type": "boolean"}, "yes"),
        ("[1", {"type": "array"}, "[1"),
        ("5", {}, "5"),
        # One line end on each side is the tags'.
        ("\n\n  a\nb\n\n", {"type": "string"}, "\n  a\nb\n"),
    ],
)
def test_arguments_in_tags_are_what_the_schema_says(text: str, schema: Any, value: Any) -> None:
    answer = f"<tool_call><function=f><parameter=x>{text}</parameter></function></tool_call>"
    (call,) = find_calls(answer, typed(schema)).calls
    assert same_json(call.arguments, {"x": value}), call


def test_tags_are_graded_by_the_schema() -> None:
    text = "<function=f>\n<parameter=x>\n5\n</parameter>\n</function>"
    data = {"tool": "f", "arguments": {"x": 5}}
    item = Item("a/1", Prompt("?", tools=tuple(typed({"type": "integer"}))), data=data)
    grade = grade_tool_call(RULE, item, Answer(texts=(text,)), ExecSandbox())
    assert set(grade.scores.values()) == {1.0}


def test_json_is_compared_as_json() -> None:
    assert same_json({"a": 1, "b": [1.0, None]}, {"b": [1, None], "a": 1.0})
    for one, other in ((1, True), (0, False), (1, "1"), ([1], [1, 2]), ({"a": 1}, {}), (None, 0)):
        assert not same_json(one, other)


RULE = ToolCall(tools="tools", tool="tool", arguments="arguments")


@pytest.mark.parametrize(
    ("expected", "text", "scores"),
    [
        (("weather", {"city": "Oslo"}), JSON, (1, 1, 1)),
        (("weather", {"city": "Bergen"}), JSON, (0, 1, 1)),
        (("weather", None), JSON, (1, 1, 1)),
        (("timer", {"minutes": 5}), JSON, (0, 0, 1)),
        (("weather", {"city": "Oslo"}), f"{JSON};{JSON}", (0, 0, 1)),  # once, not twice
        (("weather", {"city": "Oslo"}), "It is fine.", (0, 0, 0)),
        (("weather", {"city": "Oslo"}), "<tool_call>{</tool_call>", (0, 0, 0)),
        ((None, None), "Shakespeare.", (1, 1, 1)),
        ((None, None), JSON, (0, 0, 0)),
        ((None, None), "<tool_call>{</tool_call>", (0, 0, 0)),
    ],
)
def test_grades(expected: tuple[Any, Any], text: str, scores: tuple[int, int, int]) -> None:
    item = Item("a/1", Prompt("?"), data={"tool": expected[0], "arguments": expected[1]})
    grade = grade_tool_call(RULE, item, Answer(texts=(text,)), ExecSandbox())
    assert dict(grade.scores) == dict(
        zip(("right_arguments", "right_tool", "called"), scores, strict=True)
    )
    assert grade.detail
