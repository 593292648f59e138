"""An object of the solution's as the tests have it: the solution's process answers for it.

What the tests compare it with never goes over. An object that could see the expected value could
equal it, or be in it, or differ from it by nothing: beside the tests' own values it is never equal,
and has no arithmetic. Two objects of the solution's are compared, ordered and added over there: to
their tests that is one more thing that the solution computes.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any

__all__ = ["Ask", "Remote", "remote_object"]

Ask = Callable[[str, int, tuple[Any, ...], dict[str, Any]], Any]
"""Asks for an operation on an object by its number; `StopIteration` at an iterator's end."""


class Remote:
    """Has the abilities that were passed to `remote_object`."""

    __slots__ = ("_bitloss_ask", "_bitloss_compared", "_bitloss_number")

    def __init__(self, ask: Ask, number: int, compared: Callable[[str], None]) -> None:
        for name, value in (("ask", ask), ("number", number), ("compared", compared)):
            object.__setattr__(self, f"_bitloss_{name}", value)

    def __getattr__(self, name: str) -> Any:
        return _ask(self, "getattr", name)

    def __setattr__(self, name: str, value: Any) -> None:
        _ask(self, "setattr", name, value)

    def __delattr__(self, name: str) -> None:
        _ask(self, "delattr", name)

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        if isinstance(other, Remote):
            return bool(_ask(self, "eq", other))
        self._bitloss_compared(type(self).__name__)
        return NotImplemented

    def __hash__(self) -> int:
        return int(_ask(self, "hash"))

    def __str__(self) -> str:
        return str(_ask(self, "str"))

    def __repr__(self) -> str:
        return str(_ask(self, "repr"))

    def __int__(self) -> int:
        return int(_ask(self, "int"))

    def __float__(self) -> float:
        return float(_ask(self, "float"))

    def __abs__(self) -> Any:
        return _ask(self, "abs")

    def __neg__(self) -> Any:
        return _ask(self, "neg")


def _ask(remote: Remote, operation: str, *arguments: Any) -> Any:
    return remote._bitloss_ask(operation, remote._bitloss_number, arguments, {})


def _between(operation: str) -> Callable[[Remote, Any], Any]:
    def operate(self: Remote, other: Any) -> Any:
        if isinstance(other, Remote):
            return _ask(self, operation, other)
        self._bitloss_compared(type(self).__name__)
        return NotImplemented

    return operate


for _name in (
    "lt", "le", "gt", "ge", "add", "sub", "mul", "truediv", "floordiv", "mod", "matmul", "and",
    "or", "xor",
):  # fmt: skip
    setattr(Remote, f"__{_name}__", _between(_name))


def _call(self: Remote, /, *arguments: Any, **keywords: Any) -> Any:
    return self._bitloss_ask("call", self._bitloss_number, arguments, keywords)


# By the letter with which `serving` says that an object can do it.
_ABILITIES: dict[str, dict[str, Any]] = {
    "c": {"__call__": _call},
    "n": {"__next__": lambda self: _ask(self, "next"), "__iter__": lambda self: self},
    "i": {"__iter__": lambda self: _ask(self, "iter")},
    "l": {"__len__": lambda self: _ask(self, "len")},
    "g": {
        "__getitem__": lambda self, key: _ask(self, "getitem", key),
        "__setitem__": lambda self, key, item: _ask(self, "setitem", key, item),
        "__delitem__": lambda self, key: _ask(self, "delitem", key),
    },
    "b": {"__bool__": lambda self: bool(_ask(self, "bool"))},
    "u": {"__hash__": None},
}


def remote_object(
    ask: Ask, number: int, flags: str, name: str, compared: Callable[[str], None]
) -> Any:
    """What the tests get in place of an object of the solution's.

    Args:
        ask: see there.
        number: of the object.
        flags: letters of what it can do.
        name: of its type.
        compared: told the type's name when the object meets a value of the tests' own.

    Returns:
        A generator or coroutine where it is one, else a `Remote`.
    """
    if "G" in flags:
        return _generated(ask, number)
    if "a" in flags:
        return _awaited(ask, number)
    methods: dict[str, Any] = {"__slots__": ()}
    for letter in flags:
        for method, function in _ABILITIES.get(letter, {}).items():
            methods.setdefault(method, function)
    return type(name, (Remote,), methods)(ask, number, compared)


def _generated(ask: Ask, number: int) -> Generator[Any, Any, Any]:
    item: Any = None
    while True:
        try:
            item = yield ask("send", number, (item,), {})
        except StopIteration as end:
            return end.value


async def _awaited(ask: Ask, number: int) -> Any:
    return ask("await", number, (), {})
