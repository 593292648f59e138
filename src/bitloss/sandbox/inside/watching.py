"""Containers that a call may change in place, before and after it."""

from __future__ import annotations

TYPE_CHECKING = False  # as in `codec`
if TYPE_CHECKING:
    from typing import Any

__all__ = ["change", "contents", "differs"]


def contents(value: Any) -> Any:
    """What a list, set, deque, bytearray or kind of dict holds, as a value that stays as it is."""
    if isinstance(value, dict):
        return tuple(value.items())
    return bytes(value) if isinstance(value, bytearray) else tuple(value)


def differs(old: Any, new: Any) -> bool:
    """Whether two of `contents` are of other objects, however equal."""
    if len(old) != len(new):
        return True
    if isinstance(old, bytes):
        return bool(old != new)
    return any(map(_is_other, old, new))


def _is_other(one: Any, two: Any) -> bool:
    if one is two:
        return False
    # Pairs of a dict are made anew each time.
    return not (type(one) is type(two) is tuple and len(one) == len(two) == 2
                and one[0] is two[0] and one[1] is two[1])  # fmt: skip


def change(value: Any, new: Any) -> None:
    """Give a container the contents that another process says it has.

    Raises:
        TypeError, ValueError: they are no contents of such a container.
    """
    if isinstance(value, list | bytearray):
        value[:] = new
    elif isinstance(value, dict):
        pairs = dict(new)
        value.clear()
        for key, item in pairs.items():  # `update` of a Counter adds
            value[key] = item
    elif isinstance(value, set):
        value.clear()
        value.update(new)
    else:
        value.clear()
        value.extend(new)
