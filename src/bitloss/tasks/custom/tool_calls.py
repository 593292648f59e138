"""Calls of tools in what a model wrote, as servers read them from the formats of chat templates.

- ``<tool_call>{"name": ..., "arguments": {...}}</tool_call>``: Hermes, Qwen; lists too (SmolLM2)
- ``<function=NAME><parameter=KEY>VALUE</parameter></function>``, between ``<tool_call>`` tags or
  alone: Qwen3-Coder (`bitloss.tasks.custom.tool_xml`)
- ``{"name": ..., "parameters": {...}}``, alone or behind ``<|python_tag|>``: Llama 3
- ``[TOOL_CALLS] [{"name": ..., "arguments": {...}}]`` or ``[TOOL_CALLS]name[ARGS]{...}``: Mistral
- ``[name(key=value)]``, alone or between ``<|tool_call_start|>`` and its end: Llama 4, LFM2

JSON in the middle of prose or in a Markdown fence is no call: no server takes it for one.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bitloss.tasks.custom.tool_xml import find_functions

__all__ = ["MARKS", "Call", "Found", "find_calls", "same_json"]

MARKS = (
    "<tool_call>", "</tool_call>", "[TOOL_CALLS]", "[ARGS]", "<|python_tag|>",
    "<|tool_call_start|>", "<|tool_call_end|>",
)  # fmt: skip
"""Special tokens of some tokenizers, by which calls are separated from answers."""

_TAGGED = re.compile(r"<tool_call>(.*?)(?:</tool_call>|\Z)", re.DOTALL)
_STARTED = re.compile(r"<\|tool_call_start\|>(.*?)(?:<\|tool_call_end\|>|\Z)", re.DOTALL)
_MISTRAL = re.compile(r"\s*([\w.-]+)\s*(?:\[ARGS\])\s*")
_DECODER = json.JSONDecoder()
# An answer of a model is shorter; a longer one is not parsed as Python.
_LONGEST = 20_000


@dataclass(frozen=True, slots=True)
class Call:
    """One call.

    Attributes:
        name: of the tool.
        arguments: by name, as JSON has them.
    """

    name: str
    arguments: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Found:
    """What was found in an answer.

    Attributes:
        calls: those that can be read.
        unreadable: whether something is marked as a call and cannot be read as one.
    """

    calls: tuple[Call, ...] = ()
    unreadable: bool = False


class _Unreadable(Exception):  # noqa: N818 - never leaves this module
    pass


def find_calls(text: str, tools: Sequence[Mapping[str, Any]] = ()) -> Found:
    """The calls in an answer.

    Args:
        text: without thinking.
        tools: that the model was given, as chat templates take them; their schemas say what
            arguments are that are written as texts.
    """
    text = text.strip()
    try:
        for pattern in (_TAGGED, _STARTED):
            if parts := [match[1].strip() for match in pattern.finditer(text)]:
                return Found(tuple(call for part in parts for call in _either(part, tools)))
        if functions := find_functions(text, tools):
            return Found(tuple(Call(*one) for one in functions))
        if "[TOOL_CALLS]" in text:
            return Found(tuple(_mistral(text.partition("[TOOL_CALLS]")[2])))
        if "<|python_tag|>" in text:
            return Found(tuple(_either(text.partition("<|python_tag|>")[2].strip())))
    except _Unreadable:
        return Found(unreadable=True)
    if text[:1] not in ("{", "["):
        return Found()
    try:
        return Found(tuple(_either(text)))
    except _Unreadable:
        # An answer may be JSON, or begin with a bracket, and be no call at all.
        return Found(unreadable=bool(re.match(r'[\[{\s]*"name"\s*:', text)))


def same_json(one: Any, other: Any) -> bool:
    """Whether two values are the same JSON: the order of keys does not count, ``1`` is ``1.0``,
    and neither is ``true``.
    """
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same_json(one[k], other[k]) for k in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same_json, one, other))
    return bool(one == other)


def _either(text: str, tools: Sequence[Mapping[str, Any]] = ()) -> list[Call]:
    """Calls in JSON, in tags or in Python's form."""
    if text.startswith("<function="):
        if functions := find_functions(text, tools):
            return [Call(*one) for one in functions]
        raise _Unreadable
    if text[:1] == "{" or re.match(r"\[\s*\{", text):
        return _json_calls(text)
    return _python_calls(text)


def _json_calls(text: str) -> list[Call]:
    """One object, a list of them, or several separated by white space or semicolons."""
    calls: list[Call] = []
    while text := text.strip().removeprefix(";").strip():
        value, text = _first_json(text)
        calls += [_call(one) for one in (value if isinstance(value, list) else [value])]
    if not calls:
        raise _Unreadable
    return calls


def _first_json(text: str) -> tuple[Any, str]:
    try:
        value, end = _DECODER.raw_decode(text)
    except (ValueError, RecursionError):
        raise _Unreadable from None
    return value, text[end:]


def _call(value: Any) -> Call:
    if isinstance(value, dict) and isinstance(value.get("function"), dict):
        value = value["function"]
    if not isinstance(value, dict) or not isinstance(value.get("name"), str):
        raise _Unreadable
    if not {"arguments", "parameters"} & value.keys():
        raise _Unreadable
    return Call(value["name"], _arguments(value.get("arguments", value.get("parameters"))))


def _arguments(value: Any) -> dict[str, Any]:
    if isinstance(value, str):  # as OpenAI's interface has them
        value, rest = _first_json(value.strip())
        if rest.strip():
            raise _Unreadable
    if not isinstance(value, dict):
        raise _Unreadable
    return value


def _mistral(text: str) -> list[Call]:
    text = text.strip()
    if text[:1] in ("[", "{"):
        return _json_calls(text)
    calls = []
    while match := _MISTRAL.match(text):
        value, text = _first_json(text[match.end() :])
        calls.append(Call(match[1], _arguments(value)))
        text = text.strip().removeprefix("[TOOL_CALLS]")
    if not calls or text.strip():
        raise _Unreadable
    return calls


def _python_calls(text: str) -> list[Call]:
    if len(text) > _LONGEST:
        raise _Unreadable
    try:
        tree = ast.parse(text, mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise _Unreadable from None
    nodes = tree.elts if isinstance(tree, ast.List | ast.Tuple) else [tree]
    if not nodes:
        raise _Unreadable
    return [_python_call(node) for node in nodes]


def _python_call(node: ast.expr) -> Call:
    if not isinstance(node, ast.Call) or node.args:
        raise _Unreadable
    try:
        arguments = {str(k.arg): ast.literal_eval(k.value) for k in node.keywords if k.arg}
        json.dumps(arguments)
        return Call(ast.unparse(node.func), arguments)
    except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError):
        raise _Unreadable from None
