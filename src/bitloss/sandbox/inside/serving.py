"""The solution's side of the conversation: calls that the tests ask for, and what they need.

A value that is no plain data stays here and goes over as a number; the tests' process then asks for
it to be called, read, iterated or compared. Functions and iterators of the tests are stood in for
by functions and generators that ask back.
"""

from __future__ import annotations

import types
from _thread import RLock

from . import codec
from .failures import MESSAGE, rebuild, summarize
from .watching import contents, differs

TYPE_CHECKING = False  # as in `codec`
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    from .pipes import Pipes

__all__ = ["SHARED_TYPES", "Server"]

SHARED_TYPES = (
    int, float, complex, bool, str, bytes, bytearray, list, tuple, dict, set, frozenset, range,
    object, type(None),
)  # fmt: skip
"""Builtin types that cross by name: to make one of them is the same on either side."""
_SHARED = {id(kind): kind.__name__ for kind in SHARED_TYPES}

_ABILITIES = (
    ("c", "__call__"), ("n", "__next__"), ("i", "__iter__"), ("l", "__len__"),
    ("g", "__getitem__"), ("b", "__bool__"),
)  # fmt: skip


class Server:
    """Answers until the tests' process hangs up.

    Args:
        pipes: to it.
        function: what the tests call, number 0.
    """

    def __init__(self, pipes: Pipes, function: Callable[..., Any]) -> None:
        self._pipes = pipes
        # Threads of the solution may ask as well.
        self._lock = RLock()
        self._objects: list[Any] = []
        self._numbers: dict[int, int] = {}
        self._stand_ins: dict[int, Any] = {}
        self._stood_for: dict[int, int] = {}
        # Classes, so that a message costs no attributes to be set.
        hooks: dict[str, Callable[..., Any]] = {
            "own": self._own,
            "other": self._other,
            "builtin": _builtin,
        }
        self._reader = type("Reader", (codec.Reader,), _static(hooks))
        self._writer = type("Writer", (codec.Writer,), _static({"hand": self._hand}))
        self._number(function)

    def run(self) -> None:
        """Serve.

        Raises:
            Closed: they hung up.
        """
        pipes, lock = self._pipes, self._lock
        function, out = self._objects[0], self._writer()
        while True:
            with lock:
                message = pipes.receive()
            if message[:1] == b"C":
                arguments, keywords = codec.decode(message, 1, self._reader)
                out[:] = b"R"
                reply = self._reply(function, arguments, keywords, out)
            else:
                reply = self._answer(message)
            with lock:
                pipes.send(reply)

    def _answer(self, message: bytes) -> bytes:
        letter = message[:1]
        if letter == b"C":
            arguments, keywords = codec.decode(message, 1, self._reader)
            return self._reply(self._objects[0], arguments, keywords, self._writer(b"R"))
        data = self._reader(message)
        if letter != b"O":
            data.objects, data.counting = [], True
        if letter == b"W":
            arguments, keywords = codec.decode(data, 1)
            return self._watched(self._objects[0], arguments, keywords, data.objects)
        operation, number, arguments, keywords = codec.decode(data, 1)
        arguments = (self._objects[number], *arguments)
        if operation in ("next", "send"):
            return self._item(_OPERATIONS[operation], arguments)
        if data.objects is not None:
            return self._watched(_OPERATIONS[operation], arguments, keywords, data.objects)
        return self._reply(_OPERATIONS[operation], arguments, keywords, self._writer(b"R"))

    def _reply(
        self, function: Callable[..., Any], arguments: Any, keywords: Any, out: codec.Writer
    ) -> bytes:
        try:
            return codec.encode(function(*arguments, **keywords), out)
        except codec.Unsupported as error:
            return codec.encode(str(error)[:MESSAGE], codec.Writer(b"U"))
        except BaseException as error:
            return codec.encode(summarize(error), codec.Writer(b"X"))

    def _item(self, function: Callable[..., Any], arguments: Any) -> bytes:
        """The next of an iterator: that it has ended is no exception of the solution's."""
        letter = b"R"
        try:
            item = function(*arguments)
        except StopIteration as end:
            letter, item = b"E", end.value
        except BaseException as error:
            return codec.encode(summarize(error), codec.Writer(b"X"))
        return self._reply(lambda: item, (), {}, self._writer(letter))

    def _watched(
        self, function: Callable[..., Any], arguments: Any, keywords: Any, objects: list[Any]
    ) -> bytes:
        """The reply; with the contents of the arguments that the call changed, if there are any."""
        before = list(map(contents, objects))
        failed = False
        try:
            result = function(*arguments, **keywords)
        except BaseException as error:
            failed, result = True, summarize(error)
        changes = []
        for number, old in enumerate(before):
            new = contents(objects[number])
            if differs(old, new):
                changes.append((number, new))
        if changes:
            result = result, tuple(changes)
        out = self._writer((b"x" if failed else b"r") if changes else (b"X" if failed else b"R"))
        out.numbers = {id(value): number for number, value in enumerate(objects)}
        return self._reply(lambda: result, (), {}, out)

    def _own(self, number: int) -> Any:
        return self._objects[number]

    def _hand(self, value: Any) -> bytes:
        """What goes over in place of an object that stays here."""
        if id(value) in self._stood_for:
            return b"h" + self._stood_for[id(value)].to_bytes(4, "little")
        if id(value) in _SHARED:
            return b"B" + codec.encode(_SHARED[id(value)])[1:]
        kind = type(value)
        flags = "".join(letter for letter, name in _ABILITIES if hasattr(kind, name))
        if kind is types.GeneratorType:
            flags += "G"
        elif kind is types.CoroutineType:
            flags += "a"
        if kind.__hash__ is None:
            flags += "u"
        return (
            b"H"
            + self._number(value).to_bytes(4, "little")
            + codec.encode(flags)[1:]
            + codec.encode(kind.__name__)[1:]
        )

    def _number(self, value: Any) -> int:
        number = self._numbers.get(id(value))
        if number is None:
            number = self._numbers[id(value)] = len(self._objects)
            self._objects.append(value)  # and kept: its `id` must stay its own
        return number

    def _other(self, number: int, flags: str, name: str) -> Any:
        """What the solution gets in place of a function or an iterator of the tests."""
        if number not in self._stand_ins:
            made = self._drawn(number) if flags == "n" else self._asking(number, flags, name)
            self._stand_ins[number] = made
            self._stood_for[id(made)] = number
        return self._stand_ins[number]

    def _asking(self, number: int, flags: str, name: str) -> Any:
        def ask(*arguments: Any, **keywords: Any) -> Any:
            return self._ask("call", number, arguments, keywords)[0]

        _, has_signature, parameters = flags.partition(":")
        if has_signature:  # solutions that curry count them
            scope: dict[str, Any] = {"ask": ask}
            exec(f"def made({parameters}): return ask({parameters})", scope)
            ask = scope["made"]
        ask.__name__ = ask.__qualname__ = name
        return ask

    def _drawn(self, number: int) -> Iterator[Any]:
        while found := self._ask("next", number, (), {}):
            yield found[0]

    def _ask(self, operation: str, number: int, arguments: Any, keywords: Any) -> tuple[Any, ...]:
        """What the tests' object answers; nothing at an iterator's end."""
        request = (operation, number, arguments, keywords)
        with self._lock:
            self._pipes.send(codec.encode(request, self._writer(b"B")))
            while True:
                message = self._pipes.receive()
                if message[:1] in (b"R", b"X", b"E"):
                    break
                self._pipes.send(self._answer(message))
        if message[:1] == b"E":
            return ()
        value = codec.decode(message, 1, self._reader)
        if message[:1] == b"X":
            raise rebuild(value)[0]
        return (value,)


def _static(functions: dict[str, Callable[..., Any]]) -> dict[str, Any]:
    return {name: staticmethod(function) for name, function in functions.items()}


def _builtin(name: str) -> Any:
    import builtins

    return type(None) if name == "NoneType" else getattr(builtins, name)


def _run(coroutine: Any) -> Any:
    import asyncio

    return asyncio.run(coroutine)


_OPERATIONS: dict[str, Callable[..., Any]] = {
    "call": lambda value, *arguments, **keywords: value(*arguments, **keywords),
    "getattr": getattr,
    "setattr": setattr,
    "delattr": delattr,
    "getitem": lambda value, key: value[key],
    "setitem": lambda value, key, item: value.__setitem__(key, item),
    "delitem": lambda value, key: value.__delitem__(key),
    "iter": iter,
    "next": next,
    "send": lambda value, item: value.send(item),
    "len": len,
    "bool": bool,
    "hash": hash,
    "str": str,
    "repr": repr,
    "int": int,
    "float": float,
    "abs": abs,
    "neg": lambda value: -value,
    "await": _run,
    "eq": lambda one, two: bool(one == two),
    "lt": lambda one, two: one < two,
    "le": lambda one, two: one <= two,
    "gt": lambda one, two: one > two,
    "ge": lambda one, two: one >= two,
    "add": lambda one, two: one + two,
    "sub": lambda one, two: one - two,
    "mul": lambda one, two: one * two,
    "truediv": lambda one, two: one / two,
    "floordiv": lambda one, two: one // two,
    "mod": lambda one, two: one % two,
    "matmul": lambda one, two: one @ two,
    "and": lambda one, two: one & two,
    "or": lambda one, two: one | two,
    "xor": lambda one, two: one ^ two,
}
