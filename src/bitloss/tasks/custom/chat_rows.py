"""Rows of tasks that are put to a model through its chat template: conversations and tools."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bitloss.contents.encodings import decode_utf8
from bitloss.contents.kinds import JSON
from bitloss.errors import TaskDataError
from bitloss.spec.fingerprint import sha256_files
from bitloss.tasks.custom.rows import is_json_file
from bitloss.tasks.custom.schema import Refusal, ToolCall

__all__ = ["RowFault", "Tools", "expected_of", "messages_of", "read_tools", "tools_of"]

_ROLES = ("system", "user", "assistant", "tool")
_TRUE, _FALSE = ("true", "yes", "1"), ("false", "no", "0")


class RowFault(Exception):  # noqa: N818 - never leaves `bitloss.tasks.custom`
    """A field does not hold what the rule needs; says what was expected."""


@dataclass(frozen=True, slots=True)
class Tools:
    """Tools of a file.

    Attributes:
        tools: as chat templates take them.
        digest: sha256 (hex) of the file.
    """

    tools: tuple[Mapping[str, Any], ...]
    digest: str


def read_tools(rule: ToolCall, folder: Path) -> Tools | None:
    """The tools of the file that the rule names; None if it names a field.

    Raises:
        TaskDataError: no such file, no JSON, or no tools in it.
    """
    if not is_json_file(rule.tools):
        return None
    path = Path(folder, Path(rule.tools.strip()).expanduser())
    try:
        text = decode_utf8(path.read_bytes(), path, TaskDataError, door=JSON)
        value = json.loads(text)
    except OSError as error:
        raise TaskDataError(
            f"cannot read `{path}`: {error.strerror}", hint="give a path relative to the task file"
        ) from error
    except (ValueError, RecursionError) as error:
        raise TaskDataError(
            f"`{path}`: not JSON: {error}", hint="write a JSON list of tools"
        ) from error
    try:
        return Tools(_checked_tools(value), sha256_files([path]))
    except RowFault as error:
        raise TaskDataError(f"`{path}`: {error}", hint="write a JSON list of tools") from error


def tools_of(name: str, values: Mapping[str, Any]) -> tuple[Mapping[str, Any], ...]:
    """The tools in a row's field.

    Raises:
        RowFault: no list of tools.
    """
    return _checked_tools(_parsed(values.get(name)), f"field `{name}`: ")


def _checked_tools(value: Any, where: str = "") -> tuple[Mapping[str, Any], ...]:
    if not isinstance(value, list) or not value:
        raise RowFault(f"{where}expected a list of tools, got {_shown(value)}")
    tools = []
    for tool in value:
        function = tool.get("function", tool) if isinstance(tool, dict) else None
        if not isinstance(function, dict) or not isinstance(function.get("name"), str):
            raise RowFault(
                f"{where}expected a tool with a `name` and its `parameters` as JSON schema, got "
                f"{_shown(tool)}"
            )
        if not isinstance(function.get("parameters", {}), dict):
            raise RowFault(f"{where}tool `{function['name']}`: expected `parameters` as an object")
        tools.append({"type": "function", "function": function})
    return tuple(tools)


def messages_of(name: str, values: Mapping[str, Any]) -> tuple[Mapping[str, Any], ...]:
    """The conversation in a row's field; its last message is to be answered.

    Raises:
        RowFault: no conversation.
    """
    value = _parsed(values.get(name))
    if not isinstance(value, list) or not value:
        raise RowFault(f"expected a list of messages in field `{name}`, got {_shown(value)}")
    for message in value:
        known = isinstance(message, dict) and message.get("role") in _ROLES
        if not known or not isinstance(message.get("content"), str):
            raise RowFault(
                f"expected messages with a `role` ({', '.join(_ROLES)}) and a `content` in field "
                f"`{name}`, got {_shown(message)}"
            )
    if value[-1]["role"] in ("system", "assistant"):
        raise RowFault(f"expected a message to answer at the end of field `{name}`, got one of "
                       f"the {value[-1]['role']}'s")  # fmt: skip
    return tuple(value)


def expected_of(
    rule: ToolCall | Refusal, values: Mapping[str, Any], tools: tuple[Mapping[str, Any], ...]
) -> dict[str, Any]:
    """What an item's answer is graded by.

    Raises:
        RowFault: a field does not hold what the rule needs, or names a tool that is not offered.
    """
    if isinstance(rule, Refusal):
        return {"refuse": _truth(rule.should_refuse, values.get(rule.should_refuse))}
    tool = values.get(rule.tool)
    if tool is not None and not isinstance(tool, str):
        raise RowFault(f"expected a tool's name, or null, in field `{rule.tool}`, got "
                       f"{_shown(tool)}")  # fmt: skip
    tool = (tool or "").strip() or None
    names = [one["function"]["name"] for one in tools]
    if tool is not None and tools and tool not in names:
        raise RowFault(f"field `{rule.tool}` names `{tool}`; the tools are {', '.join(names)}")
    arguments = None if rule.arguments is None else _parsed(values.get(rule.arguments))
    if arguments in (None, ""):
        return {"tool": tool, "arguments": None}
    if not isinstance(arguments, dict):
        raise RowFault(f"expected an object of arguments in field `{rule.arguments}`, got "
                       f"{_shown(arguments)}")  # fmt: skip
    if tool is None:
        raise RowFault(f"expected no arguments where no tool is to be called, got some in field "
                       f"`{rule.arguments}`")  # fmt: skip
    return {"tool": tool, "arguments": arguments}


def _truth(name: str, value: Any) -> bool:
    text = str(value).strip().lower()
    if text not in (*_TRUE, *_FALSE):
        raise RowFault(f"expected true or false in field `{name}`, got {_shown(value)}")
    return text in _TRUE


def _parsed(value: Any) -> Any:
    """JSON in a text, as CSV files have it; anything else as it is."""
    if not isinstance(value, str) or not value.strip():
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        return value


def _shown(value: Any) -> str:
    text = "nothing" if value is None else f"`{value}`"
    return text if len(text) <= 60 else f"{text[:56]}...`"
