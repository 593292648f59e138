"""What every report says of a run that was stopped."""

from __future__ import annotations

from bitloss.results import Comparison

__all__ = ["unfinished"]


def unfinished(comparison: Comparison) -> tuple[str, ...]:
    """What a run that was stopped does not have, and how to go on; nothing of a finished one."""
    if comparison.missing is None:
        return ()
    again = "run the same command again, it goes on where it stopped"
    command = comparison.environment.command
    told = f"the run is not finished: {again}{f': {command}' if command else ''}"
    return (*comparison.missing, told)
