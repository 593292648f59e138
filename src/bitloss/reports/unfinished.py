"""What every report says of a run that was stopped."""

from __future__ import annotations

from bitloss.results import Comparison

__all__ = ["unfinished"]


def unfinished(comparison: Comparison) -> tuple[str, ...]:
    """What an unfinished run does not have, and how to resume it; nothing for a finished one."""
    if comparison.missing is None:
        return ()
    command = comparison.environment.command
    how = f": {command}" if command else ""
    return (*comparison.missing, f"the run is not finished: rerun the same command to resume{how}")
