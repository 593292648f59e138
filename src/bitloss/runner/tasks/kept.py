"""What the store holds of the reference once its tasks are scored."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bitloss.engines.base import PairScorer, Piece
from bitloss.runner.tasks.layout import TaskWindows

__all__ = ["KeptOfReference"]


@dataclass(frozen=True, slots=True)
class KeptOfReference:
    """What the store has of the reference, by names.

    Attributes:
        scorer: whose store has the hidden states.
        pieces: of the windows of all tasks.
        layout: these windows.
        records: token records, one per piece.
        texts: by task, what it wrote.
        grades: of these texts.
    """

    scorer: PairScorer
    pieces: Sequence[Piece]
    layout: TaskWindows
    records: tuple[str, ...]
    texts: dict[str, tuple[str, ...]]
    grades: tuple[str, ...]
