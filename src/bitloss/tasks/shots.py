"""How many solved examples a prompt has, and what to say where it cannot have that many."""

from __future__ import annotations

from bitloss.errors import UsageError

__all__ = ["require_shots", "resolve_shots"]


def resolve_shots(task: str, shots: int | None, default: int = 0) -> int:
    """The number asked for, or the task's own.

    Raises:
        UsageError: it is negative.
    """
    count = default if shots is None else shots
    if count < 0:
        raise UsageError(f"task `{task}`: expected 0 shots or more, got {count}")
    return count


def require_shots(task: str, shots: int, available: int) -> None:
    """Check a number of shots against the examples that there are.

    Raises:
        UsageError: there are fewer, named as the maximum.
    """
    if shots > available:
        raise UsageError(
            f"task `{task}`: expected at most {available} shots, got {shots}",
            hint="omit the shot count: the task is zero-shot"
            if available == 0
            else f"give a number up to {available}, the examples of the development split",
        )
