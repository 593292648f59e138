"""Replicates: what a recipe comes to when it is made again with other seeds."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from bitloss.results.values import Frozen

__all__ = ["OwnSpread", "Replicates", "Spread"]

OwnSpread = Literal["included", "left out", "none"]
"""The quantizer's own spread: ``included`` in the intervals, since the recipe was made several
times; ``left out``, since it was made once; ``none``, since nothing random decides its bytes."""


class Spread(Frozen):
    """One result of every replicate.

    Attributes:
        values: in the order of the seeds; null where a replicate has none.
        deviation: their standard deviation (with N - 1); null if a value is.
    """

    values: tuple[float | None, ...] = Field(min_length=2)
    deviation: float | None

    @property
    def range(self) -> tuple[float, float] | None:
        """The smallest and the largest value; None if there is none."""
        known = [value for value in self.values if value is not None]
        return (min(known), max(known)) if known else None


class Replicates(Frozen):
    """A recipe that was made several times; the row's results are means over these replicates.

    Attributes:
        seeds: one per replicate, the run's own first.
        digests: of their files. Equal ones are the same model: then the seed changed nothing.
        corpora: by corpus and metric (``relative_perplexity``, ``kl_divergence``,
            ``top1_agreement``, ``overlap``).
        tasks: by task and metric (``difference``, ``expected_difference``, ``answer_change``), as
            far as it was measured.
        capabilities: by capability and metric, likewise.
    """

    seeds: tuple[int, ...] = Field(min_length=2)
    digests: tuple[str, ...] = Field(min_length=2)
    corpora: dict[str, dict[str, Spread]] = Field(default_factory=dict)
    tasks: dict[str, dict[str, Spread]] = Field(default_factory=dict)
    capabilities: dict[str, dict[str, Spread]] = Field(default_factory=dict)
