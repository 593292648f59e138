"""Values to bytes; `codec` says which bytes."""

from __future__ import annotations

import struct
from array import array

from . import kinds
from .sizes import MAX_BYTES, MAX_DEPTH, Unsupported

# Importing `typing` would take longer than all else that a short solution does.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

__all__ = ["Writer", "encode"]

_LENGTH = struct.Struct("<I")
_INT = struct.Struct("<q")
_FLOAT = struct.Struct("<d")
_COMPLEX = struct.Struct("<dd")
_SMALL = 1 << 63


class Writer(bytearray):
    """Bytes so far, and what is to become of what is no plain data.

    Attributes:
        hand: bytes that stand for an object; may raise `Unsupported`. None: only plain data.
        numbers: of the lists, sets ... that are known to both sides, by `id`. None: none are, and
            an object that is reached twice is written twice.
        objects: those that are met are appended here and given the next numbers, each before its
            contents. None: they get none.
    """

    hand: Callable[[Any], bytes] | None = None
    numbers: dict[int, int] | None = None
    objects: list[Any] | None = None


def encode(value: Any, out: Writer | None = None) -> bytes:
    """Bytes of a value of plain data.

    Args:
        value: see above.
        out: what the bytes are appended to, and what else may be written; None is nothing.

    Raises:
        Unsupported: it holds something else, is nested deeper than `MAX_DEPTH` (a list that
            holds itself), or takes more than `MAX_BYTES`.
    """
    out = Writer() if out is None else out
    _write(out, value, 0)
    if len(out) > MAX_BYTES:
        raise Unsupported(f"a value of more than {MAX_BYTES} bytes")
    return bytes(out)


def _write(out: Writer, value: Any, depth: int) -> None:
    kind = type(value)
    writer = _WRITERS.get(kind)
    if out.numbers is not None and (writer is None or kind in _CHANGEABLE):  # noqa: SIM102
        if _is_known(out, kind, value):
            return
    if writer is not None:
        writer(out, value, depth)
        return
    parts = kinds.take_apart(value)
    if parts is not None:
        out += b"x"
        _write(out, parts[0], depth)
        _write_items(out, b"t", parts[1], depth)
        return
    for base, convert in _BASES:
        if isinstance(value, base):
            _write(out, convert(value), depth)
            return
    if out.hand is not None:
        out += out.hand(value)
    elif hasattr(kind, "__next__"):
        _write_items(out, b"g", _bounded(value), depth)
    else:
        raise Unsupported(f"a value of type {kind.__name__}")


def _is_known(out: Writer, kind: type, value: Any) -> bool:
    """Write a reference to what has a number; else give it one, if it can be changed."""
    assert out.numbers is not None
    if kind not in _CHANGEABLE and not kinds.changes(kind):
        return False
    number = out.numbers.get(id(value))
    if number is not None:
        out += b"r" + _LENGTH.pack(number)
        return True
    if out.objects is not None:
        out.numbers[id(value)] = len(out.objects)
        out.objects.append(value)
    return False


def _bounded(iterator: Iterator[Any]) -> list[Any]:
    items = []
    for item in iterator:
        items.append(item)
        if len(items) > MAX_BYTES:
            raise Unsupported(f"an iterator of more than {MAX_BYTES} items")
    return items


def _write_int(out: Writer, value: int, depth: int) -> None:
    if -_SMALL <= value < _SMALL:
        out += b"q" + _INT.pack(value)
    else:
        _write_raw(out, b"i", value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True))


def _write_raw(out: Writer, tag: bytes, raw: bytes) -> None:
    if len(out) + len(raw) > MAX_BYTES:
        raise Unsupported(f"a value of more than {MAX_BYTES} bytes")
    out += tag + _LENGTH.pack(len(raw)) + raw


def _write_list(out: Writer, value: list[Any], depth: int) -> None:
    types = set(map(type, value))
    if types == {int}:
        try:
            numbers = array("q", value)
        except OverflowError:
            pass
        else:
            out += b"Q" + _LENGTH.pack(len(value)) + numbers.tobytes()
            return
    elif types == {float}:
        out += b"D" + _LENGTH.pack(len(value)) + array("d", value).tobytes()
        return
    elif types == {str}:
        out += b"U" + _LENGTH.pack(len(value)) + array("I", map(len, value)).tobytes()
        _write_raw(out, b"", "".join(value).encode("utf-8", "surrogatepass"))
        return
    _write_items(out, b"l", value, depth)


def _write_items(out: Writer, tag: bytes, items: Any, depth: int) -> None:
    if depth >= MAX_DEPTH:
        raise Unsupported(f"a value nested deeper than {MAX_DEPTH}")
    out += tag + _LENGTH.pack(len(items))
    for item in items:
        _write(out, item, depth + 1)
        if len(out) > MAX_BYTES:
            raise Unsupported(f"a value of more than {MAX_BYTES} bytes")


def _write_dict(out: Writer, value: dict[Any, Any], depth: int) -> None:
    flat = [part for pair in value.items() for part in pair]
    _write_items(out, b"d", flat, depth)


_WRITERS: dict[type, Callable[[Writer, Any, int], None]] = {
    type(None): lambda out, value, depth: out.extend(b"N"),
    bool: lambda out, value, depth: out.extend(b"T" if value else b"F"),
    int: _write_int,
    float: lambda out, value, depth: out.extend(b"f" + _FLOAT.pack(value)),
    complex: lambda out, value, depth: out.extend(b"c" + _COMPLEX.pack(value.real, value.imag)),
    str: lambda out, value, depth: _write_raw(out, b"s", value.encode("utf-8", "surrogatepass")),
    bytes: lambda out, value, depth: _write_raw(out, b"b", value),
    list: _write_list,
    tuple: lambda out, value, depth: _write_items(out, b"t", value, depth),
    set: lambda out, value, depth: _write_items(out, b"S", value, depth),
    frozenset: lambda out, value, depth: _write_items(out, b"Z", value, depth),
    dict: _write_dict,
    bytearray: lambda out, value, depth: _write_raw(out, b"y", value),
}
_CHANGEABLE = frozenset({list, set, dict, bytearray})

# What an instance of a subclass is made of, whatever its own methods say.
_BASES: tuple[tuple[type, Callable[[Any], Any]], ...] = (
    (int, lambda value: int.__add__(value, 0)),
    (float, lambda value: float.__add__(value, -0.0)),
    (complex, lambda value: complex(value.real, value.imag)),
    (str, lambda value: "".join(str.__iter__(value))),
    (bytes, lambda value: bytes(bytes.__iter__(value))),
    (bytearray, lambda value: bytearray(bytes(value))),
    (list, lambda value: list(list.__iter__(value))),
    (tuple, lambda value: tuple(tuple.__iter__(value))),
    (set, lambda value: set(set.__iter__(value))),
    (frozenset, lambda value: frozenset(frozenset.__iter__(value))),
    (dict, lambda value: dict(dict.items(value))),
)
