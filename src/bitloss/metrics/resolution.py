"""The smallest loss that a number of items can show, before anything is measured.

The half width of a 95 % interval of a mean difference, ``1.96 s / sqrt(n)``, with the spread ``s``
of an item's difference as it is at 4 bits: there a right answer is lost or won on 2 to 9 % of the
items, and its probability moves by 0.06 to 0.11 (`benchmarks/expected_scores.py` on the pocket
model, `benchmarks/LOG.md`, 2026-11-28).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

__all__ = ["EXPECTED_SPREAD", "SCORE_SPREAD", "smallest_loss"]

SCORE_SPREAD = 0.25
"""Of an item's score, right or wrong."""

EXPECTED_SPREAD = 0.10
"""Of the probability of its right answer."""

_Z = 1.959964


def smallest_loss(tasks: Sequence[tuple[int, float]]) -> float:
    """The half width of the interval of a capability's loss, a share of the score.

    Args:
        tasks: items of each and the spread of an item; tasks count the same.
    """
    variance = math.fsum(spread**2 / items for items, spread in tasks)
    return _Z * math.sqrt(variance) / len(tasks)
