"""Types of the standard library that cross the pipes by name and parts.

Parts are plain data, or types of this list again. A type's module is imported only once something
of it is there: a solution that uses no dates waits for none.
"""

from __future__ import annotations

import sys

TYPE_CHECKING = False  # as in `codec`
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

__all__ = ["changes", "is_changeable", "put_together", "take_apart"]


def take_apart(value: Any) -> tuple[str, tuple[Any, ...]] | None:
    """The name of a value's type here, and its parts; None where it has no such type."""
    kind = type(value)
    name = _BUILT_IN.get(kind)
    if name is None:
        name = f"{kind.__module__}.{kind.__qualname__}"
        # What only calls itself so is no instance of the type.
        if name not in _TAKE or _find(name) is not kind:
            name = _view(kind) or _named_tuple(kind)
    return None if name is None else (name, _TAKE[name](value))


def put_together(name: str, parts: tuple[Any, ...]) -> Any:
    """The value that was taken apart.

    Raises:
        KeyError: no such name.
        Exception: parts that do not make one; whatever the type raises.
    """
    return _MAKE[name](*parts)


def changes(kind: type) -> bool:
    """Whether instances of a type are containers that can be changed in place."""
    return f"{kind.__module__}.{kind.__qualname__}" in _CHANGEABLE


def is_changeable(name: str) -> bool:
    """`changes`, by the name under which a type crosses."""
    return name in _CHANGEABLE


_CHANGEABLE = frozenset(
    {"collections.deque", "collections.Counter", "collections.OrderedDict",
     "collections.defaultdict"}
)  # fmt: skip
_VIEWS = {type({}.keys()): "keys", type({}.values()): "values", type({}.items()): "items"}
_BUILT_IN: dict[type, str] = {range: "range", slice: "slice", type(...): "ellipsis", **_VIEWS}


def _find(name: str) -> Any:
    module, _, attribute = name.rpartition(".")
    return getattr(sys.modules.get(module), attribute, None)


def _import(name: str) -> Any:
    module, _, attribute = name.rpartition(".")
    return getattr(__import__(module, fromlist=[attribute]), attribute)


def _view(kind: type) -> str | None:
    """Views of an OrderedDict are of subclasses."""
    return next((name for view, name in _VIEWS.items() if issubclass(kind, view)), None)


def _named_tuple(kind: type) -> str | None:
    for base in kind.__mro__:
        if base.__bases__ == (tuple,) and "_make" in base.__dict__:
            return "namedtuple" if type(base.__dict__.get("_fields")) is tuple else None
    return None


def _make_named_tuple(name: str, fields: tuple[str, ...], values: tuple[Any, ...]) -> Any:
    if len(fields) > 64:
        raise ValueError(f"{len(fields)} fields")
    key = name, fields
    if key not in _named:
        _named[key] = _import("collections.namedtuple")(name, fields)
    return _named[key](*values)


# So that two results are of one type, as they were.
_named: dict[tuple[str, tuple[str, ...]], Any] = {}


def _flat(value: dict[Any, Any]) -> tuple[Any, ...]:
    return tuple(value.items())


def _factory(value: Any) -> str | None:
    """Of a defaultdict, where it is a type that every process has."""
    made = value.default_factory
    return made.__name__ if isinstance(made, type) and made in _FACTORIES.values() else None


_FACTORIES = {kind.__name__: kind for kind in (int, float, str, list, dict, set, tuple, bool)}


_TAKE: dict[str, Callable[[Any], tuple[Any, ...]]] = {
    "range": lambda value: (value.start, value.stop, value.step),
    "slice": lambda value: (value.start, value.stop, value.step),
    "ellipsis": lambda value: (),
    "keys": lambda value: (tuple(value),),
    "values": lambda value: (tuple(value),),
    "items": lambda value: (tuple(value),),
    "namedtuple": lambda value: (type(value).__name__, type(value)._fields,
                                 tuple(tuple.__iter__(value))),
    "collections.deque": lambda value: (tuple(value), value.maxlen),
    "collections.Counter": lambda value: (_flat(value),),
    "collections.OrderedDict": lambda value: (_flat(value),),
    "collections.defaultdict": lambda value: (_factory(value), _flat(value)),
    "array.array": lambda value: (value.typecode, tuple(value)),
    "decimal.Decimal": lambda value: (str(value),),
    "fractions.Fraction": lambda value: (value.numerator, value.denominator),
    "datetime.date": lambda value: (value.year, value.month, value.day),
    "datetime.time": lambda value: (value.hour, value.minute, value.second, value.microsecond,
                                    value.tzinfo, value.fold),
    "datetime.datetime": lambda value: (
        value.year, value.month, value.day, value.hour, value.minute, value.second,
        value.microsecond, value.tzinfo, value.fold,
    ),
    "datetime.timedelta": lambda value: (value.days, value.seconds, value.microseconds),
    "datetime.timezone": lambda value: value.__getinitargs__(),
    "uuid.UUID": lambda value: (value.hex,),
    "pathlib.PosixPath": lambda value: (str(value),),
    "pathlib.PurePosixPath": lambda value: (str(value),),
}  # fmt: skip

_MAKE: dict[str, Callable[..., Any]] = {
    name: (lambda *parts, name=name: _import(name)(*parts)) for name in _TAKE if "." in name
} | {
    "range": range,
    "slice": slice,
    "ellipsis": lambda: ...,
    "keys": lambda items: dict.fromkeys(items).keys(),
    "values": lambda items: dict(enumerate(items)).values(),
    "items": lambda items: dict(items).items(),
    "namedtuple": _make_named_tuple,
    "datetime.time": lambda *parts: _import("datetime.time")(*parts[:5], fold=parts[5]),
    "datetime.datetime": lambda *parts: _import("datetime.datetime")(*parts[:8], fold=parts[8]),
    "collections.defaultdict": lambda factory, items: _import("collections.defaultdict")(
        factory and _FACTORIES[factory], items
    ),
    "collections.Counter": lambda items: _import("collections.Counter")(dict(items)),
}
