"""Changes of small valid files that make them wrong: of JSON, of YAML, of bytes, of GGUF."""

from __future__ import annotations

import json
import random
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

__all__ = [
    "JSON_VALUES", "YAML_VALUES", "broken_bytes", "gguf_bytes", "json_places", "replaced_json",
    "typed_pairs",
]  # fmt: skip

LONG = "n" * 5000
_DEEP = 100_000
JSON_VALUES = (
    "null", "true", '"x"', '"4"', '""', "-1", "0", "1", "3", "-4", "65", "1000000000",
    "9223372036854775807", "18446744073709551616", "-9223372036854775809", "1e30", "1e999",
    "1.5", "64.0", "NaN", "-Infinity", "[]", "[4]", "{}", '{"a": 1}', '[[["a"]]]',
    f'"{LONG}"', r'"\ud800"', r'"\u0000"', "[" * 900 + "]" * 900, "9" * 5000, '"../../etc"',
)  # fmt: skip
"""JSON texts that stand in for a value."""
YAML_VALUES = (
    "", "null", "~", "true", "-1", "0", "1e999", ".nan", ".inf", "-.inf", "0x7fffffffffffffffff",
    "1_000", "2001-01-01", "[]", "[1]", "{}", "{a: 1}", "[[[a]]]", '"\\ud800"', '"\\0"',
    "!!python/object:os.system x",
    "!!binary aGVsbG8=", "!!int x", "!unknown x", "*nowhere", "&a [*a]", "<<", "{<<: {a: 1}}",
    "? [a]",
    "'" + LONG + "'", "[" * 3000 + "]" * 3000, "{a: " * 3000 + "1" + "}" * 3000, "9" * 5000,
    "|\n    text\n  less", "%", "@x", "`x`", "'unclosed", '"unclosed', "{unclosed", "a: b: c",
    "\t- x", "{question}{", "{nobody}", "(", "1e-400", "yes", "\u2028", "\x07",
)  # fmt: skip
"""YAML texts that stand in for a value."""


def json_places(value: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every place in a JSON value but its top."""
    inner = value.items() if isinstance(value, dict) else (
        enumerate(value) if isinstance(value, list) else ()
    )  # fmt: skip
    for key, child in inner:
        yield (*at, key)
        yield from json_places(child, (*at, key))


def replaced_json(value: Any, at: tuple[Any, ...], raw: str | None) -> str:
    """The value as JSON with another text at a place; None removes what is there."""
    mark = "@@here@@"
    copy = json.loads(json.dumps(value))
    around = copy
    for step in at[:-1]:
        around = around[step]
    if raw is None:
        around.pop(at[-1], None) if isinstance(around, dict) else around.pop(at[-1])
    else:
        around[at[-1]] = mark
    return json.dumps(copy).replace(f'"{mark}"', raw or "")


def broken_bytes(data: bytes, dice: random.Random) -> tuple[str, bytes]:
    """What was done to some bytes, and the bytes."""
    changed = bytearray(data)
    kind = dice.choice(("flip", "cut", "zero", "insert", "repeat", "swap", "empty", "ones"))
    at = dice.randrange(max(len(data), 1))
    # Headers are at the ends of files: half of the changes are there.
    if dice.random() < 0.5:
        at = min(at, dice.randrange(1, 200)) if dice.random() < 0.5 else max(len(data) - 100, 0)
    count = dice.randrange(1, 17)
    if kind == "flip":
        for place in range(at, min(at + count, len(changed))):
            changed[place] ^= 1 << dice.randrange(8)
    elif kind == "cut":
        del changed[at:]
    elif kind == "zero":
        changed[at : at + count] = bytes(count)
    elif kind == "ones":
        changed[at : at + count] = b"\xff" * count
    elif kind == "insert":
        changed[at:at] = dice.randbytes(count)
    elif kind == "repeat":
        changed[at:at] = changed[at : at + 64 * count]
    elif kind == "swap":
        changed = bytearray(changed[at:] + changed[:at])
    else:
        changed = bytearray()
    return f"{kind} at {at}", bytes(changed)


# GGUF -------------------------------------------------------------------------------------

_CODES = {"u8": (0, "B"), "i8": (1, "b"), "u16": (2, "H"), "u32": (4, "I"), "i32": (5, "i"),
          "f32": (6, "f"), "bool": (7, "?"), "u64": (10, "Q"), "i64": (11, "q"),
          "f64": (12, "d")}  # fmt: skip


def typed_pairs(metadata: dict[str, Any]) -> dict[str, tuple[str, Any]]:
    """Metadata as kinds and values; ``array`` of strings or numbers."""
    found: dict[str, tuple[str, Any]] = {}
    for key, value in metadata.items():
        kind = {bool: "bool", int: "u32", float: "f32", str: "str", list: "array"}[type(value)]
        found[key] = (kind, value)
    return found


def _packed(kind: str, value: Any) -> bytes:
    """Type and value."""
    if kind == "raw":
        return bytes(value)
    if kind == "str":
        text = value if isinstance(value, bytes) else str(value).encode()
        return struct.pack("<IQ", 8, len(text)) + text
    if kind == "array":
        inner = "i32"
        if value and isinstance(value[0], str):
            inner = "str"
        elif value and isinstance(value[0], float):
            inner = "f32"
        number = 8 if inner == "str" else _CODES[inner][0]
        head = struct.pack("<IIQ", 9, number, len(value))
        return head + b"".join(_packed(inner, item)[4:] for item in value)
    number, code = _CODES[kind]
    return struct.pack(f"<I{code}", number, value)


def gguf_bytes(
    pairs: dict[str, tuple[str, Any]], infos: list[tuple[bytes, list[int], int, int]],
    data: bytes, *, version: int = 3, counts: tuple[int, int] | None = None,
) -> bytes:  # fmt: skip
    """A GGUF file of metadata, tensor infos (name, dimensions, type, offset) and data."""
    n_tensors, n_pairs = counts or (len(infos), len(pairs))
    head = b"GGUF" + struct.pack("<IQQ", version, n_tensors, n_pairs)
    for key, (kind, value) in pairs.items():
        head += struct.pack("<Q", len(key.encode())) + key.encode() + _packed(kind, value)
    for name, dims, kind, offset in infos:
        head += struct.pack("<Q", len(name)) + name + struct.pack("<I", len(dims))
        head += struct.pack(f"<{len(dims)}Q", *dims) + struct.pack("<IQ", kind, offset)
    return head + bytes(-len(head) % 32) + data


def write_json(path: Path, value: Any, at: tuple[Any, ...], raw: str | None) -> None:
    """Write a JSON file with another text at a place."""
    path.write_bytes(replaced_json(value, at, raw).encode("utf-8", "surrogatepass"))
