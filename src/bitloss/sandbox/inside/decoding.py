"""Bytes to values; `codec` says which bytes."""

from __future__ import annotations

import struct
from array import array

from . import kinds
from .sizes import MAX_BYTES, MAX_DEPTH, Malformed

# Importing `typing` would take longer than all else that a short solution does.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

__all__ = ["Reader", "decode"]

_LENGTH = struct.Struct("<I")
_INT = struct.Struct("<q")
_FLOAT = struct.Struct("<d")
_COMPLEX = struct.Struct("<dd")


# What the constructors of `kinds` and a damaged message bring about.
_FAULTS = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError, struct.error)


class Reader(bytes):
    """Bytes to be read, and what is to become of what is no plain data.

    Attributes:
        own: the receiver's own object by its number. None: there are none.
        other: something that stands for the sender's object, by number, flags and name.
        builtin: what a name of `builtins` means.
        objects: the lists, sets ... by the number that the writer gave them. None: it gave none.
        counting: those that are read are appended to them.
    """

    own: Callable[[int], Any] | None = None
    other: Callable[[int, str, str], Any] | None = None
    builtin: Callable[[str], Any] | None = None
    objects: list[Any] | None = None
    counting = False


class _NeedsReader(Exception):  # noqa: N818
    """What was met is no plain data."""


def decode(data: bytes, start: int = 0, reader: type[Reader] | None = None) -> Any:
    """The value that `encode` was given.

    Args:
        data: the bytes; a `Reader` where more than plain data may be read.
        start: bytes before the value.
        reader: made of the bytes if they turn out to hold more than plain data.

    Raises:
        Malformed: the bytes are cut short, have a tail, are nested too deep, hold an unknown tag
            or put something unhashable into a set or dictionary.
    """
    if len(data) - start > MAX_BYTES:
        raise Malformed(f"more than {MAX_BYTES} bytes")
    try:
        value, end = _read(data, start, 0)
    except Malformed:
        raise
    except _NeedsReader:
        if reader is None:
            raise Malformed("an object, expected plain data") from None
        return decode(reader(data), start)
    except _FAULTS as error:
        raise Malformed(f"{type(error).__name__}: {error}") from None
    if end != len(data):
        raise Malformed(f"{len(data) - end} bytes after the value")
    return value


def _read(data: bytes, at: int, depth: int) -> tuple[Any, int]:
    return _READERS[data[at : at + 1]](data, at + 1, depth)


def _read_raw(data: bytes, at: int) -> tuple[bytes, int]:
    (length,) = _LENGTH.unpack_from(data, at)
    end = at + 4 + length
    if end > len(data):
        raise Malformed("cut short")
    return data[at + 4 : end], end


def _read_int(data: bytes, at: int, depth: int) -> tuple[int, int]:
    raw, end = _read_raw(data, at)
    return int.from_bytes(raw, "little", signed=True), end


def _read_str(data: bytes, at: int, depth: int = 0) -> tuple[str, int]:
    raw, end = _read_raw(data, at)
    return raw.decode("utf-8", "surrogatepass"), end


def _read_complex(data: bytes, at: int, depth: int) -> tuple[complex, int]:
    return complex(*_COMPLEX.unpack_from(data, at)), at + 16


def _count(data: bytes, value: Any) -> None:
    """Give what was begun the next number, if the writer did."""
    if isinstance(data, Reader) and data.counting and data.objects is not None:
        data.objects.append(value)


def _read_texts(data: bytes, at: int, depth: int) -> tuple[list[str], int]:
    lengths, at = _READERS[b"I"](data, at, depth)
    text, end = _read_str(data, at)
    items = []
    start = 0
    for length in lengths:
        items.append(text[start : start + length])
        start += length
    if start != len(text):
        raise Malformed(f"{len(text)} characters instead of {start}")
    if type(data) is not bytes:
        _count(data, items)
    return items, end


def _numbers(kind: str) -> Callable[[bytes, int, int], tuple[Any, int]]:
    def read(data: bytes, at: int, depth: int) -> tuple[Any, int]:
        (count,) = _LENGTH.unpack_from(data, at)
        numbers = array(kind)
        end = at + 4 + numbers.itemsize * count
        if end > len(data):
            raise Malformed("cut short")
        numbers.frombytes(data[at + 4 : end])
        items = numbers.tolist()
        if type(data) is not bytes and kind != "I":
            _count(data, items)
        return items, end

    return read


def _fill(data: bytes, at: int, depth: int, items: list[Any]) -> int:
    """Read a count and as many items into a list."""
    (count,) = _LENGTH.unpack_from(data, at)
    at += 4
    if depth >= MAX_DEPTH:
        raise Malformed(f"nested deeper than {MAX_DEPTH}")
    if count > len(data) - at:  # an item takes a byte at least
        raise Malformed("cut short")
    for _ in range(count):
        item, at = _read(data, at, depth + 1)
        items.append(item)
    return at


def _read_list(data: bytes, at: int, depth: int) -> tuple[list[Any], int]:
    items: list[Any] = []
    if type(data) is not bytes:
        _count(data, items)  # before its items, which may hold it
    return items, _fill(data, at, depth, items)


def _collection(make: Callable[[Iterable[Any]], Any]) -> Callable[..., tuple[Any, int]]:
    def read(data: bytes, at: int, depth: int) -> tuple[Any, int]:
        items: list[Any] = []
        end = _fill(data, at, depth, items)
        return make(items), end

    return read


def _read_set(data: bytes, at: int, depth: int) -> tuple[set[Any], int]:
    found: set[Any] = set()
    _count(data, found)
    items: list[Any] = []
    end = _fill(data, at, depth, items)
    found.update(items)
    return found, end


def _read_dict(data: bytes, at: int, depth: int) -> tuple[dict[Any, Any], int]:
    found: dict[Any, Any] = {}
    _count(data, found)
    items: list[Any] = []
    end = _fill(data, at, depth, items)
    turns = iter(items)
    found.update(zip(turns, turns, strict=True))
    return found, end


def _read_bytearray(data: bytes, at: int, depth: int) -> tuple[bytearray, int]:
    raw, end = _read_raw(data, at)
    found = bytearray(raw)
    _count(data, found)
    return found, end


def _read_kind(data: bytes, at: int, depth: int) -> tuple[Any, int]:
    name, at = _read(data, at, depth)
    objects = data.objects if isinstance(data, Reader) and data.counting else None
    slot = None
    if objects is not None and kinds.is_changeable(name):
        slot = len(objects)
        objects.append(None)  # its number comes before those of its parts
    parts, end = _read(data, at, depth)
    value = kinds.put_together(name, parts)
    if slot is not None and objects is not None:
        objects[slot] = value
    return value, end


def _hooks(data: bytes) -> Reader:
    if not isinstance(data, Reader):
        raise _NeedsReader
    return data


def _read_builtin(data: bytes, at: int, depth: int) -> tuple[Any, int]:
    name, end = _read_str(data, at)
    found = _hooks(data).builtin
    if found is None:
        raise Malformed("a builtin, expected plain data")
    return found(name), end


def _read_own(data: bytes, at: int, depth: int) -> tuple[Any, int]:
    (number,) = _LENGTH.unpack_from(data, at)
    own = _hooks(data).own
    if own is None:
        raise Malformed("an object, expected plain data")
    return own(number), at + 4


def _read_other(data: bytes, at: int, depth: int) -> tuple[Any, int]:
    (number,) = _LENGTH.unpack_from(data, at)
    flags, at = _read_str(data, at + 4)
    name, end = _read_str(data, at)
    other = _hooks(data).other
    if other is None:
        raise Malformed("an object, expected plain data")
    return other(number, flags, name), end


def _read_known(data: bytes, at: int, depth: int) -> tuple[Any, int]:
    (number,) = _LENGTH.unpack_from(data, at)
    objects = _hooks(data).objects
    if objects is None:
        raise Malformed("a reference, expected plain data")
    return objects[number], at + 4


_READERS: dict[bytes, Callable[[bytes, int, int], tuple[Any, int]]] = {
    b"N": lambda data, at, depth: (None, at),
    b"T": lambda data, at, depth: (True, at),
    b"F": lambda data, at, depth: (False, at),
    b"q": lambda data, at, depth: (_INT.unpack_from(data, at)[0], at + 8),
    b"i": _read_int,
    b"f": lambda data, at, depth: (_FLOAT.unpack_from(data, at)[0], at + 8),
    b"c": _read_complex,
    b"s": _read_str,
    b"b": lambda data, at, depth: _read_raw(data, at),
    b"y": _read_bytearray,
    b"l": _read_list,
    b"t": _collection(tuple),
    b"S": _read_set,
    b"Z": _collection(frozenset),
    b"g": _collection(iter),
    b"d": _read_dict,
    b"Q": _numbers("q"),
    b"D": _numbers("d"),
    b"I": _numbers("I"),  # never alone
    b"U": _read_texts,
    b"x": _read_kind,
    b"B": _read_builtin,
    b"h": _read_own,
    b"H": _read_other,
    b"r": _read_known,
}
