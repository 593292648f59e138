"""The tests' side of the conversation: what they call, and what the solution asks of them."""

from __future__ import annotations

import builtins
import types
from collections.abc import Callable
from sys import getrefcount
from typing import Any, NoReturn, Protocol

from . import codec
from .failures import rebuild, summarize
from .pipes import Closed, Pipes
from .remote import Remote, remote_object
from .serving import SHARED_TYPES
from .swallowing import was_swallowed
from .watching import change

__all__ = ["Conversation", "Listener"]

_SHARED = {kind.__name__: kind for kind in SHARED_TYPES}
_MAX_OBJECTS = 1 << 20


class Listener(Protocol):
    """Told of what decides the verdict; what does not return ends this process."""

    def answered(self) -> None:
        """The solution has answered for the first time."""

    def end(self, outcome: str, detail: str) -> NoReturn:
        """The verdict is known."""

    def failed(self, error: BaseException) -> NoReturn:
        """An assertion of the tests failed, or they ended themselves, while the solution ran."""


class Conversation:
    """Calls of a solution's objects.

    Args:
        pipes: to its process.
        listener: see there.
    """

    def __init__(self, pipes: Pipes, listener: Listener) -> None:
        self._pipes = pipes
        self._listener = listener
        self.called = False
        self.compared = ""
        self._raised: Exception | None = None
        self._remote: dict[int, Any] = {}
        self._own: list[Any] = []
        self._numbers: dict[int, int] = {}
        hooks: dict[str, Callable[..., Any]] = {
            "own": self._own_object,
            "other": self._other,
            "builtin": _SHARED.__getitem__,
        }
        self._reader = type("Reader", (codec.Reader,), _static(hooks))
        self._writer = type("Writer", (codec.Writer,), _static({"hand": self._hand}))

    def load(self, name: str, source: str) -> Any:
        """Have the solution defined; what stands for its function.

        A solution that cannot be is the end.
        """
        try:
            request = codec.encode((name, source))
        except codec.Unsupported as error:
            self._listener.end("error", f"the solution is {error}")
        reply = self._exchange(request)
        if reply == b"T":
            return self._other(0, "c", name)
        if reply != b"K":
            self._not_defined(reply)
        return self._function(name)

    def _not_defined(self, reply: bytes) -> NoReturn:
        if reply[:1] == b"Y":
            self._listener.end("syntax", str(self._decode(reply)))
        if reply[:1] != b"X":
            self._no_reply(f"{reply[:1]!r} instead of K, T, X or Y")
        error, own = self._rebuild(self._decode(reply))
        outcome = "memory" if isinstance(error, MemoryError) else "error"
        self._listener.end(outcome, f"{own}: {error}" if str(error) else own)

    def _function(self, name: str) -> Callable[..., Any]:
        out = self._writer()

        def call(*arguments: Any, **keywords: Any) -> Any:
            if keywords or self._raised is not None or _can_be_seen(arguments):
                return self._ask("call", 0, arguments, keywords)
            out[:] = b"C"
            reply = self._exchange(self._encode((arguments, keywords), out))
            if reply[:1] == b"R" and self.called:
                return self._decode(reply)
            return self._understand(reply, "call", None)

        call.__name__ = call.__qualname__ = name
        return call

    def check_raised(self) -> None:
        """Fail a solution whose last exception no statement of the tests has handled."""
        if self._raised is not None and was_swallowed(self._raised, __name__):
            own = getattr(self._raised, "from_solution", "")
            self._listener.end("error", f"{own}: raised where the tests take it for an end")
        self._raised = None

    def _ask(
        self, operation: str, number: int, arguments: tuple[Any, ...], keywords: dict[str, Any]
    ) -> Any:
        self.check_raised()
        watched = _can_be_seen(arguments) or _can_be_seen(tuple(keywords.values()))
        whole: tuple[Any, ...] = (operation, number, arguments, keywords)
        if not watched:
            message = self._encode(whole, self._writer(b"O"))
            return self._understand(self._exchange(message), operation, None)
        out = self._writer(b"V")
        objects: list[Any] = []
        if operation == "call" and number == 0:
            out, whole = self._writer(b"W"), (arguments, keywords)
        out.numbers, out.objects = {}, objects
        return self._understand(self._exchange(self._encode(whole, out)), operation, objects)

    def _encode(self, request: tuple[Any, ...], out: codec.Writer) -> bytes:
        try:
            return codec.encode(request, out)
        except codec.Unsupported as error:
            if not self.called:
                self._listener.end("broken", f"the tests pass on {error}")
            raise  # they may have made it of something the solution returned

    def _understand(self, reply: bytes, operation: str, objects: list[Any] | None) -> Any:
        self._first_answer()
        while reply[:1] == b"B":
            reply = self._exchange(self._called_back(reply))
        return self._returned(reply, operation, objects)

    def _first_answer(self) -> None:
        if not self.called:
            self.called = True
            self._listener.answered()

    def _returned(self, reply: bytes, operation: str, objects: list[Any] | None) -> Any:
        letter = reply[:1]
        if letter in (b"r", b"x") and objects is not None:
            value, changes = self._decode(reply, objects), ()
            try:
                value, changes = value
                for number, new in changes:
                    change(objects[number], new)
            except (TypeError, ValueError, LookupError) as error:
                self._no_reply(f"changes of arguments: {error}")
            letter = letter.upper()
        elif letter in (b"R", b"X", b"U"):
            value = self._decode(reply, objects)
        elif letter == b"E" and operation in ("next", "send"):
            raise StopIteration(self._decode(reply))
        else:
            self._no_reply(f"{letter!r} instead of R, U or X")
        if letter == b"R":
            return value
        if letter == b"U":
            raised: Exception = TypeError(f"the solution returned {value}")
            own = "TypeError"
        else:
            raised, own = self._rebuild(value)
        raised.from_solution = own  # type: ignore[attr-defined]
        if operation == "call":  # `hasattr` may well ask an object of the solution's
            self._raised = raised
        try:
            raise raised
        except Exception:  # see `was_swallowed`
            raise

    def _called_back(self, request: bytes) -> bytes:
        """Call a function that the tests have passed on, or take the next of an iterator."""
        operation, number, arguments, keywords = self._decode(request)
        target = self._own_object(number)
        try:
            if operation == "next":
                try:
                    return codec.encode(next(target), self._writer(b"R"))
                except StopIteration:
                    return b"E"
            return codec.encode(target(*arguments, **keywords), self._writer(b"R"))
        except Exception as error:
            if isinstance(error, AssertionError) and not hasattr(error, "from_solution"):
                self._listener.failed(error)
            self._raised = None  # the solution may handle it
            return codec.encode(summarize(error), codec.Writer(b"X"))
        except BaseException as error:
            self._listener.failed(error)

    def _exchange(self, request: bytes) -> bytes:
        """Send a request and wait for the reply.

        What is no reply at all ends this process here and now: tests that catch every exception
        must not go on, and pass, on the strength of one that no solution raised.
        """
        try:
            self._pipes.send(request)
            return self._pipes.receive()
        except Closed:
            self._listener.end("gone", "the solution's process ended")
        except codec.Malformed as error:
            self._no_reply(str(error))

    def _decode(self, reply: bytes, objects: list[Any] | None = None) -> Any:
        data = reply
        if objects is not None:
            data = self._reader(reply)
            data.objects = objects
        try:
            return codec.decode(data, 1, self._reader)
        except codec.Malformed as error:
            self._no_reply(str(error))
        except MemoryError:
            self._listener.end("memory", "what the solution returned does not fit the memory")

    def _rebuild(self, summary: Any) -> tuple[Exception, str]:
        try:
            return rebuild(summary)
        except (TypeError, ValueError) as error:
            self._no_reply(f"an exception: {error}")

    def _no_reply(self, why: str) -> NoReturn:
        self._listener.end("error", f"the solution's process wrote what is no reply: {why}")

    def _own_object(self, number: int) -> Any:
        try:
            return self._own[number]
        except IndexError:
            self._no_reply(f"object {number} of {len(self._own)}")

    def _other(self, number: int, flags: str, name: str) -> Any:
        if number not in self._remote:
            if len(self._remote) >= _MAX_OBJECTS:
                self._no_reply(f"more than {_MAX_OBJECTS} objects")
            self._remote[number] = remote_object(self._ask, number, flags, name, self._was_compared)
        return self._remote[number]

    def _was_compared(self, name: str) -> None:
        self.compared = name

    def _hand(self, value: Any) -> bytes:
        """What goes over in place of an object that stays here."""
        if isinstance(value, Remote):
            number: int = value._bitloss_number
            return b"h" + number.to_bytes(4, "little")
        kind, name = type(value), getattr(value, "__name__", "")
        if isinstance(value, type | types.BuiltinFunctionType) and value in (
            getattr(builtins, name, None), _SHARED.get(name),
        ):  # fmt: skip
            return b"B" + codec.encode(name)[1:]
        if isinstance(value, type) or not (callable(value) or hasattr(kind, "__next__")):
            raise codec.Unsupported(f"a value of type {kind.__name__}")
        flags = "c" if callable(value) else "n"
        if kind is types.FunctionType:
            flags += _parameters(value)
        number = self._numbers.setdefault(id(value), len(self._own))
        if number == len(self._own):
            self._own.append(value)
        shown = codec.encode(str(name) or kind.__name__)[1:]
        return b"H" + number.to_bytes(4, "little") + codec.encode(flags)[1:] + shown


def _static(functions: dict[str, Callable[..., Any]]) -> dict[str, Any]:
    return {name: staticmethod(function) for name, function in functions.items()}


def _parameters(function: types.FunctionType) -> str:
    """``":a, b"``, where that is all that a function takes."""
    code = function.__code__
    if function.__defaults__ or code.co_kwonlyargcount or code.co_flags & 0x0C or (
        code.co_posonlyargcount
    ):  # fmt: skip
        return ""
    return ":" + ", ".join(code.co_varnames[: code.co_argcount])


_ATOMS = frozenset({int, float, complex, bool, str, bytes, type(None)})


def _references(*arguments: Any) -> int:
    for value in arguments:
        return getrefcount(value)
    return 0


# Of an argument that nobody else can look at after the call.
_ALONE = _references([])


def _can_be_seen(arguments: tuple[Any, ...]) -> bool:
    """Whether the tests could see a call change one of its arguments.

    They cannot if nothing in it can be changed, or if it is theirs no more: most arguments are
    written out in the call.
    """
    for value in arguments:
        kind = type(value)
        if kind in _ATOMS:
            continue
        if kind is tuple or kind is frozenset:
            if not set(map(type, value)) <= _ATOMS:
                return True
        elif kind is list or kind is set:
            if getrefcount(value) > _ALONE or not set(map(type, value)) <= _ATOMS:
                return True
        elif isinstance(value, list | set | dict | bytearray | tuple) or (kind.__name__ == "deque"):
            return True
    return False
