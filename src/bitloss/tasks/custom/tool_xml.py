"""Calls as Qwen3-Coder writes them: a function and its arguments in tags.

    <tool_call>
    <function=weather>
    <parameter=city>
    Oslo
    </parameter>
    </function>
    </tool_call>

Arguments are texts. As servers do (vLLM's ``qwen3_coder`` parser), a text is read as what the
tool's schema says the argument is, and left a text where it cannot be.
"""

from __future__ import annotations

import ast
import contextlib
import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

__all__ = ["find_functions"]

_FUNCTION = re.compile(r"<function=([^>\n]+)>(.*?)(?:</function>|(?=<function=)|\Z)", re.DOTALL)
_PARAMETER = re.compile(r"<parameter=([^>\n]+)>(.*?)(?:</parameter>|(?=<parameter=)|\Z)", re.DOTALL)
_Schema = Mapping[str, Any]


def find_functions(
    text: str, tools: Sequence[Mapping[str, Any]]
) -> list[tuple[str, dict[str, Any]]]:
    """Names and arguments of the functions in a text, in order.

    Args:
        text: an answer.
        tools: that the model was given, as chat templates take them.
    """
    return [
        (name.strip(), _arguments(body, _properties(name.strip(), tools)))
        for name, body in _FUNCTION.findall(text)
    ]


def _arguments(body: str, properties: Mapping[str, _Schema]) -> dict[str, Any]:
    return {
        name.strip(): _value(_unwrapped(value), properties.get(name.strip(), {}))
        for name, value in _PARAMETER.findall(body)
    }


def _unwrapped(value: str) -> str:
    """Without the line ends that the tags stand on: more of them are the argument's own."""
    return value.removeprefix("\n").removesuffix("\n")


def _properties(name: str, tools: Sequence[Mapping[str, Any]]) -> Mapping[str, _Schema]:
    for tool in tools:
        function = tool.get("function", tool)
        if function.get("name") == name:
            properties = (function.get("parameters") or {}).get("properties")
            if isinstance(properties, dict):
                return {key: one for key, one in properties.items() if isinstance(one, dict)}
    return {}


def _kinds(schema: _Schema) -> list[str]:
    """Types that a schema allows, in its order; nothing where it says none."""
    own = schema.get("type")
    if isinstance(own, str):
        return [own]
    if isinstance(own, list):
        return [one for one in own if isinstance(one, str)]
    options: Iterable[Any] = schema.get("anyOf") or schema.get("oneOf") or ()
    return [kind for one in options if isinstance(one, dict) for kind in _kinds(one)]


def _value(text: str, schema: _Schema) -> Any:
    if text.strip().lower() == "null":
        return None
    for kind in _kinds(schema):
        with contextlib.suppress(ValueError, TypeError, SyntaxError, RecursionError, MemoryError):
            if kind in _READERS:
                return _READERS[kind](text.strip())
    return text


def _boolean(text: str) -> bool:
    if text.lower() not in ("true", "false"):
        raise ValueError(text)
    return text.lower() == "true"


def _structure(text: str) -> Any:
    try:
        value = json.loads(text)
    except ValueError:
        value = ast.literal_eval(text)  # of a model that thinks in Python
        json.dumps(value)
    if not isinstance(value, dict | list):
        raise ValueError(text)
    return value


_READERS: Mapping[str, Callable[[str], Any]] = MappingProxyType(
    {
        "integer": int,
        "number": float,
        "boolean": _boolean,
        "object": _structure,
        "array": _structure,
    }
)
