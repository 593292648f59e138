"""What an engine does by default: its arithmetic, costs, and what it keeps and writes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from bitloss.engines.values import Candidate, Cost, Model, Work
from bitloss.formats.base import ModelIdentity
from bitloss.types import ExactTokenizer

__all__ = [
    "ChooseArithmetic",
    "EstimateCost",
    "anything",
    "as_asked",
    "installed",
    "none",
    "nothing",
    "unknown",
]


class ChooseArithmetic(Protocol):
    """See `Engine.arithmetic`."""

    def __call__(self, asked: str, *, device: str, parameters: int, tokens: int) -> str:
        """Choose it."""


class EstimateCost(Protocol):
    """See `Engine.cost`."""

    def __call__(
        self, work: Work, model: ModelIdentity, *, arithmetic: str, device: str, measure: bool
    ) -> Cost:
        """Estimate it."""


def as_asked(asked: str, *, device: str, parameters: int, tokens: int) -> str:
    """An engine with one arithmetic takes whatever is asked for as its own."""
    del device, parameters, tokens
    return "native" if asked == "auto" else asked


def unknown(
    work: Work, model: ModelIdentity, *, arithmetic: str, device: str, measure: bool
) -> Cost:
    """Nothing is known to estimate from."""
    del work, model, arithmetic, device, measure
    return Cost()


def none(model: Model) -> Cost | None:
    """Models are run as they are."""
    del model
    return None


def installed() -> None:
    """It needs nothing that is not always there."""


def nothing() -> None:
    """Nothing is kept."""


def anything(
    candidate: Candidate, tokenizer: ExactTokenizer, passages: Sequence[str]
) -> tuple[str, ...]:
    """Nothing is known that could be refused."""
    del candidate, tokenizer, passages
    return ()
