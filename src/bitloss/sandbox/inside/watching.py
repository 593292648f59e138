"""Containers that a call may change in place, before and after it."""

from __future__ import annotations

from _operator import is_  # of which `operator` takes time to be imported

TYPE_CHECKING = False  # as in `codec`
if TYPE_CHECKING:
    from typing import Any

__all__ = ["change", "contents", "differs"]


def contents(value: Any) -> Any:
    """What a container holds, as a value that stays as it is.

    Args:
        value: a list, set, deque, bytearray or any kind of dict, whose keys stand before its
            values.
    """
    if isinstance(value, dict):
        return *value, *value.values()
    return bytes(value) if isinstance(value, bytearray) else tuple(value)


def differs(old: Any, new: Any) -> bool:
    """Whether two of `contents` are of other objects, however equal."""
    if type(old) is bytes:
        return bool(old != new)
    return len(old) != len(new) or not all(map(is_, old, new))


def change(value: Any, new: Any) -> None:
    """Give a container the contents that another process says it has.

    Raises:
        TypeError, ValueError: they are no contents of such a container.
    """
    if isinstance(value, list | bytearray):
        value[:] = new
    elif isinstance(value, dict):
        half = len(new) // 2
        pairs = dict(zip(new[:half], new[half:], strict=True))
        value.clear()
        for key, item in pairs.items():  # `update` of a Counter adds
            value[key] = item
    elif isinstance(value, set):
        value.clear()
        value.update(new)
    else:
        value.clear()
        value.extend(new)
