"""Of which variants no more has to be known."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, field

from bitloss.results.manifest import Manifest
from bitloss.results.values import Stopped
from bitloss.runner.store import RunStore

__all__ = ["Enough", "Settle"]


@dataclass(frozen=True, slots=True)
class Enough:
    """Variants that need no more looks, with the reasons.

    Attributes:
        texts: by name, those of which no more text is read, beside what a text's own rule stops.
        tasks: by name, those that are evaluated on no more items.
    """

    texts: dict[str, Stopped] = field(default_factory=dict)
    tasks: dict[str, Stopped] = field(default_factory=dict)


Settle = Callable[[RunStore, Manifest, Collection[str]], Enough]
"""Says of which variants enough is known, given what a run has come to so far, and the names of the
variants whose texts are read on."""
