"""Scoring in looks: after each, variants of which enough is known are scored no further.

A look is a list of shards that holds those of the look before. What is decided after it depends
on the records alone, so a run that was killed decides the same again.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from bitloss.errors import BitlossError
from bitloss.expectations import Expectations
from bitloss.metrics.intervals import Interval
from bitloss.runner.candidates import Candidate
from bitloss.runner.scoring import Scorer
from bitloss.runner.shards import Shard

__all__ = ["Looked", "Reason", "Stopped", "Stopping", "score_in_looks"]

Reason = Literal["decided", "precision", "end"]


@dataclass(frozen=True, slots=True)
class Stopping:
    """When enough of a variant is known.

    Attributes:
        expectations: with which levels are decided; None decides nothing.
        precision: half-width of the relative perplexity's interval that is enough; None is none.
    """

    expectations: Expectations | None
    precision: float | None

    def reason(self, relative: Interval) -> Reason | None:
        """Why a relative perplexity is known well enough; None if it is not."""
        if math.isnan(relative.low):
            return None
        if self.expectations is not None:
            level = self.expectations.level
            if level(relative.low) == level(relative.high):
                return "decided"
        if self.precision is not None and relative.high - relative.low <= 2 * self.precision:
            return "precision"
        return None


@dataclass(frozen=True, slots=True)
class Stopped:
    """What was scored of a candidate.

    Attributes:
        records: fingerprints, a shard each, in the order of the text.
        n_windows: windows of them.
        reason: why no more was.
    """

    records: list[str]
    n_windows: int
    reason: Reason


@dataclass(slots=True)
class Looked:
    """What came of all looks.

    Attributes:
        reference: fingerprints of the reference's records: all that any candidate has.
        variants: by the candidate's label.
        failed: by the candidate's label, why it could not be scored.
    """

    reference: list[str] = field(default_factory=list)
    variants: dict[str, Stopped] = field(default_factory=dict)
    failed: dict[str, BitlossError] = field(default_factory=dict)


def score_in_looks(
    scorer: Scorer,
    looks: Sequence[Sequence[Shard]],
    candidates: Sequence[Candidate],
    enough: Callable[[list[str]], Reason | None],
) -> Looked:
    """Score candidates look by look, each until there is enough of it; the last look is the end.

    Args:
        scorer: of the run's arithmetic, or of a more exact one.
        looks: shards of each look, in the order of the text.
        candidates: to be scored beside the scorer's reference.
        enough: why a candidate's records are enough; None if they are not.

    Raises:
        CheckpointError: the reference's weights are incomplete or damaged.
        NumericalError: the reference itself gives NaN or infinite values.
        StorageError: the run directory cannot be written or holds a damaged file.
    """
    found = Looked()
    active = list(candidates)
    for look in looks:
        scores = scorer.score_shards(look, active)
        found.reference = scores.reference
        for candidate in scores.whole(active):
            records = scores.variants[candidate.label]
            with scores.blame(candidate):
                reason = enough(records) or ("end" if look is looks[-1] else None)
                if reason is not None:
                    n_windows = sum(len(piece.windows) for piece in look)
                    found.variants[candidate.label] = Stopped(records, n_windows, reason)
        found.failed.update(scores.failed)
        active = [c for c in scores.whole(active) if c.label not in found.variants]
        if not active:
            break
    return found
