"""What each type costs each group: the group alone in that type, in the reference."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from bitloss.engines.dense.swaps.hybrid import NamedWeights
from bitloss.engines.dense.swaps.parts import WHOLE, Part
from bitloss.engines.dense.swaps.scorer import Swap, SwapScorer
from bitloss.metrics.intervals import Series
from bitloss.results import Estimate
from bitloss.runner.store import RunStore
from bitloss.studies.recipe.groups import TensorGroup
from bitloss.studies.sensitivity.decide import Judge, sum_series
from bitloss.studies.sensitivity.measure import Measurement, Scored, measure
from bitloss.types import Progress, Window

__all__ = ["REFERENCE", "Sensitivities", "measure_groups"]

REFERENCE = "reference"


@dataclass(frozen=True, slots=True)
class Sensitivities:
    """Losses of groups by type.

    Attributes:
        groups: of the model.
        types: names of the uniform files.
        found: what was scored.
        judge: makes intervals.
    """

    groups: Sequence[TensorGroup]
    types: Sequence[str]
    found: Measurement
    judge: Judge

    def loss(self, group: TensorGroup, kind: str) -> Estimate:
        """Of one group in one of its types."""
        return self._mean(self._scored(group, kind))

    def mean(self, group: TensorGroup, kind: str) -> float:
        """The same without its interval."""
        one = self._scored(group, kind)
        return float(one.loss.sum() / one.tokens.sum())

    def uniform(self, kind: str) -> tuple[Estimate, Estimate]:
        """The loss of all groups together in a type, and the sum of the parts over it."""
        whole = self.found.scored[_uniform(self.groups, kind).key]
        parts = [self._scored(group, group.same[kind]) for group in self.groups]
        series, window = sum_series(parts, whole)
        return self._mean(whole), Estimate.of(self.judge.interval(series, window))

    def _scored(self, group: TensorGroup, kind: str) -> Scored:
        return self.found.scored[Swap(REFERENCE, kind, group.part).key]

    def _mean(self, one: Scored) -> Estimate:
        tokens = one.tokens.astype(np.float64)
        return Estimate.of(self.judge.interval(Series(one.loss / tokens, tokens), one.window))


def measure_groups(
    scorer: SwapScorer,
    store: RunStore,
    groups: Sequence[TensorGroup],
    weights: Mapping[str, NamedWeights],
    windows: Sequence[Window],
    judge: Judge,
    *,
    batch_tokens: int,
    progress: Progress,
) -> Sensitivities:
    """Score every group in every type that stores it differently, and all groups together.

    Args:
        scorer: with the reference loaded.
        store: keeps what was scored.
        groups: of the model.
        weights: of the uniform files, by type.
        windows: in random order.
        judge: makes intervals.
        batch_tokens: tokens in one forward.
        progress: where to report.

    Raises:
        BitlossError: see `bitloss.studies.sensitivity.measure.measure`.
    """
    for kind, own in weights.items():
        scorer.add_donor(kind, own)
    swaps = [
        Swap(REFERENCE, option.asked, group.part) for group in groups for option in group.options
    ]
    swaps += [_uniform(groups, kind) for kind in weights]
    swaps = list({swap.key: swap for swap in swaps}.values())
    # A GGUF file says all that decides its tensors.
    identities = {REFERENCE: scorer.identity(scorer.reference, batch_tokens)} | {
        kind: own.names.checkpoint.info.digest for kind, own in weights.items()
    }
    found = measure(
        scorer,
        store,
        windows,
        swaps,
        lambda measured: swaps,
        identities=identities,
        batch_tokens=batch_tokens,
        progress=progress,
    )
    return Sensitivities(groups, tuple(weights), found, judge)


def _uniform(groups: Sequence[TensorGroup], kind: str) -> Swap:
    pieces = frozenset(piece for group in groups for piece in group.part.pieces)
    part = Part(
        WHOLE, WHOLE, pieces, min(group.part.first_layer for group in groups),
        any(group.part.head for group in groups), sum(group.part.weights for group in groups),
    )  # fmt: skip
    return Swap(REFERENCE, kind, part)
