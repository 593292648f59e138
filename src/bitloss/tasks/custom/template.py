"""Text with ``{field}`` in it, filled from a row: names only, nothing is evaluated."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["FieldFault", "Template", "as_text", "parse_template"]

_PART = re.compile(r"\{\{|\}\}|\{[^{}]*\}|[{}]|[^{}]+")


class FieldFault(Exception):  # noqa: N818 - never leaves `bitloss.tasks.custom`
    """A row's field cannot be put into text."""

    def __init__(self, field: str, problem: str) -> None:
        super().__init__(f"field `{field}` {problem}")
        self.field = field
        self.problem = problem


@dataclass(frozen=True, slots=True)
class Template:
    """A parsed template.

    Attributes:
        parts: ``(text, is_field)`` in order.
    """

    parts: tuple[tuple[str, bool], ...]

    @property
    def fields(self) -> tuple[str, ...]:
        """Names of the fields in it."""
        return tuple(dict.fromkeys(text for text, is_field in self.parts if is_field))

    @property
    def only_field(self) -> str | None:
        """The field, where it is all there is."""
        match self.parts:
            case ((name, True),):
                return name
        return None

    @property
    def tail(self) -> str:
        """What stands behind the last field, or all of it."""
        text, is_field = self.parts[-1] if self.parts else ("", False)
        return "" if is_field else text

    def fill(self, row: Mapping[str, Any], *, joint: str | None = None) -> str:
        """The text for a row.

        Args:
            row: fields by name.
            joint: what stands between the elements of a field that holds a list; a field that
                holds null is nothing then. None takes neither: what is graded by has no gaps.

        Raises:
            FieldFault: the row lacks a field, or it does not hold text or a number.
        """
        return "".join(
            _joined_text(text, row.get(text, _MISSING), joint) if is_field else text
            for text, is_field in self.parts
        )


_MISSING = object()


def _joined_text(field: str, value: object, joint: str | None) -> str:
    if joint is None:
        return as_text(field, value)
    if isinstance(value, list):
        return joint.join(as_text(field, one) for one in value)
    return "" if value is None else as_text(field, value)


def as_text(field: str, value: object) -> str:
    """A field's value as it stands in a prompt.

    Raises:
        FieldFault: it is neither text nor a number.
    """
    if isinstance(value, str):
        return value
    if isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    if value is _MISSING:
        raise FieldFault(field, "is missing")
    names = {bool: f"{value} without quotes".lower(), list: "a list", dict: "an object"}
    raise FieldFault(field, f"holds {names.get(type(value), 'nothing')}, expected text or a number")


def parse_template(value: object) -> Template:
    """Parse a template; ``{{`` and ``}}`` stand for braces.

    Raises:
        ValueError: it is no text, or has a brace that is neither.
    """
    if not isinstance(value, str):
        if isinstance(value, dict):
            raise ValueError("expected text, got keys; quote a template that begins with a brace")
        raise ValueError(f"expected text, got {'nothing' if value is None else 'a list'}")
    parts: list[tuple[str, bool]] = []
    for match in _PART.finditer(value):
        part = match.group()
        name = part[1:-1].strip()
        if part in ("{", "}") or (part[0] == "{" and not name and part != "{{"):
            near = value[max(0, match.start() - 10) : match.end() + 10]
            raise ValueError(
                f"expected {{field}}, or {{{{ and }}}} for braces of the text, got `{part}` at "
                f"character {match.start() + 1} (near {near!r})"
            )
        if part in ("{{", "}}"):
            parts.append((part[0], False))
        elif part[0] == "{":
            parts.append((name, True))
        else:
            parts.append((part, False))
    return Template(_joined(parts))


def _joined(parts: list[tuple[str, bool]]) -> tuple[tuple[str, bool], ...]:
    """Neighbouring texts as one, so that equal templates are equal."""
    joined: list[tuple[str, bool]] = []
    for text, is_field in parts:
        if joined and not is_field and not joined[-1][1]:
            joined[-1] = (joined[-1][0] + text, False)
        else:
            joined.append((text, is_field))
    return tuple(joined)
