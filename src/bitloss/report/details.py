"""What the records of a run say beyond its result: token by token, and item by item.

Nothing here is computed anew: the values are those that the result's figures are means of.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bitloss.report.flips import FlipList, read_flips
from bitloss.runner import RunStore
from bitloss.types import TokenRecords

__all__ = ["Course", "Details", "Spread", "course", "read_details", "spread"]

# From the median to one token in ten thousand, evenly on the axis -log10(1 - share).
_LEAST, _MOST, _STEPS = 0.301, 4.0, 48
# Bins along the text: fine enough for a passage, coarse enough for a line without hair.
_BINS = 40


@dataclass(frozen=True, slots=True)
class Spread:
    """Quantiles of a variant's divergence over a corpus's tokens.

    Attributes:
        share: of the tokens that have at most this divergence, 0 to 1.
        nats: the divergence.
    """

    share: tuple[float, ...]
    nats: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Course:
    """What a variant lost along a text: mean over neighbouring windows.

    Attributes:
        token: scored tokens up to the middle of each stretch.
        nats: mean loss there, variant minus reference, nats a token: the log of the relative
            perplexity.
        windows: in a stretch, at most.
    """

    token: tuple[int, ...]
    nats: tuple[float, ...]
    windows: int


@dataclass(frozen=True, slots=True)
class Details:
    """All of it.

    Attributes:
        spreads: by corpus and variant.
        courses: by corpus and variant.
        flips: by task and variant.
        missing: what the run directory does not have, in sentences.
    """

    spreads: Mapping[str, Mapping[str, Spread]] = field(default_factory=dict)
    courses: Mapping[str, Mapping[str, Course]] = field(default_factory=dict)
    flips: Mapping[str, Mapping[str, FlipList]] = field(default_factory=dict)
    missing: tuple[str, ...] = ()


def read_details(store: RunStore, manifest: Mapping[str, Any]) -> Details:
    """Read the records that the manifest names.

    Args:
        store: the run directory.
        manifest: of the run.

    Raises:
        StorageError: a record is missing or damaged.
    """
    spreads: dict[str, dict[str, Spread]] = {}
    courses: dict[str, dict[str, Course]] = {}
    for corpus, entry in manifest["corpora"].items():
        for variant, scored in entry["variants"].items():
            # Where a variant was scored again in exact arithmetic the result's differences
            # come from there.
            own = scored["exact"]["records"] if scored["exact"] else scored["records"]
            records = store.read_token_records(own)
            if not len(records.nll) or not np.isfinite(records.nll).all():
                continue  # the result has this variant among the failed ones
            spreads.setdefault(corpus, {})[variant] = spread(records.kl_divergence)
            courses.setdefault(corpus, {})[variant] = course(records)
    flips, missing = read_flips(store, manifest)
    return Details(spreads, courses, flips, missing)


def spread(divergence: NDArray[np.float32]) -> Spread:
    """Quantiles from the median on, as far as the number of tokens carries.

    Args:
        divergence: nats, one a token.
    """
    most = min(_MOST, float(np.log10(max(len(divergence), 3))))
    shares = 1 - 10.0 ** -np.linspace(_LEAST, most, _STEPS)
    nats = np.quantile(divergence.astype(np.float64), shares)
    return Spread(tuple(shares.tolist()), tuple(nats.tolist()))


def course(records: TokenRecords) -> Course:
    """Mean differences of the losses in stretches of equally many windows.

    Args:
        records: of a variant on a corpus.
    """
    _, window = np.unique(records.window, return_inverse=True)
    n_windows = int(window.max()) + 1
    size = -(-n_windows // _BINS)
    stretch = window // size
    tokens = np.bincount(stretch)
    difference = records.nll.astype(np.float64) - records.reference_nll
    means = np.bincount(stretch, weights=difference) / tokens
    middle = np.cumsum(tokens) - tokens // 2
    return Course(tuple(middle.tolist()), tuple(means.tolist()), size)
