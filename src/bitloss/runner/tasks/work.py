"""How much a model reads and writes of a task."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from bitloss.engines.base import Piece
from bitloss.engines.values import Work
from bitloss.runner.tasks.plan import PlannedTask
from bitloss.types import Window

__all__ = ["scored_work", "text_work"]


def text_work(planned: PlannedTask) -> Work:
    """What a model reads and may write, where it writes."""
    requests = [request for _, request in planned.requests()]
    return Work(
        read=sum(len(request.prompt) for request in requests),
        written=sum(request.decoding.most_tokens for request in requests),
        texts=len(requests),
        longest=max((len(r.prompt) + r.decoding.most_tokens for r in requests), default=0),
    )


def scored_work(
    planned: PlannedTask, pieces: Callable[[Sequence[Window]], Sequence[Piece]]
) -> Work:
    """What a model reads of a task, and the positions of its gold answers.

    Args:
        planned: the task.
        pieces: puts windows in pieces, with shared beginnings once.
    """
    if planned.gold == "reference":  # what the reference writes is read by everybody
        requests = [request for _, request in planned.requests()][:: planned.task.facts.samples]
        written = sum(request.decoding.most_tokens for request in requests)
        return Work(written + sum(len(request.prompt) for request in requests), written)
    windows = [window for question in planned.questions for window in question.windows]
    return Work(
        read=sum(piece.tokens for piece in pieces(windows)) if windows else 0,
        scored=sum(window.n_scored for window in windows),
    )
