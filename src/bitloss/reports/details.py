"""What the records of a run show beyond its result: token by token, and item by item.

These are the values that the numbers of the result are means of.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from bitloss.reports.flips import FlipList, read_flips
from bitloss.results.manifest import Manifest
from bitloss.runner import RunStore
from bitloss.types import TokenRecords

__all__ = [
    "Details",
    "DivergenceQuantiles",
    "LossTrace",
    "divergence_quantiles",
    "read_details",
    "trace_loss",
]

# From the median to one token in ten thousand, evenly on the axis -log10(1 - share).
_LEAST, _MOST, _STEPS = 0.301, 4.0, 48
# Bins along the text: fine enough for a passage, coarse enough for a line without hair.
_BINS = 40


@dataclass(frozen=True, slots=True)
class DivergenceQuantiles:
    """Quantiles of a variant's divergence over a corpus's tokens.

    Attributes:
        share: of the tokens that have at most this divergence, 0 to 1.
        nats: the divergence.
    """

    share: tuple[float, ...]
    nats: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class LossTrace:
    """What a variant lost along a text: mean over neighbouring windows.

    Attributes:
        token: scored tokens up to the middle of each stretch.
        nats: mean loss there, variant minus reference, nats per token: the log of the relative
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
        quantiles: by corpus and variant.
        loss_traces: by corpus and variant.
        flips: by task and variant.
    """

    quantiles: Mapping[str, Mapping[str, DivergenceQuantiles]] = field(default_factory=dict)
    loss_traces: Mapping[str, Mapping[str, LossTrace]] = field(default_factory=dict)
    flips: Mapping[str, Mapping[str, FlipList]] = field(default_factory=dict)


def read_details(store: RunStore, manifest: Manifest) -> Details:
    """Read the records that the manifest names.

    Args:
        store: the run directory.
        manifest: of the run.

    Raises:
        StorageError: a record is missing or damaged.
    """
    quantiles: dict[str, dict[str, DivergenceQuantiles]] = {}
    loss_traces: dict[str, dict[str, LossTrace]] = {}
    for corpus, entry in manifest.corpora.items():
        for variant, replicates in manifest.replicates.items():
            scored = [entry.variants[name] for name in replicates if name in entry.variants]
            records = [store.read_token_records(one.most_exact) for one in scored]
            if not records or not all(len(r.nll) and np.isfinite(r.nll).all() for r in records):
                continue  # the result lists this variant as failed
            quantiles.setdefault(corpus, {})[variant] = divergence_quantiles(
                np.concatenate([one.kl_divergence for one in records])
            )
            loss_traces.setdefault(corpus, {})[variant] = _mean_trace(records)
    return Details(quantiles, loss_traces, read_flips(store, manifest))


def divergence_quantiles(divergence: NDArray[np.float32]) -> DivergenceQuantiles:
    """Quantiles from the median on, as far as the number of tokens carries.

    Args:
        divergence: nats, one per token.
    """
    most = min(_MOST, float(np.log10(max(len(divergence), 3))))
    shares = 1 - 10.0 ** -np.linspace(_LEAST, most, _STEPS)
    nats = np.quantile(divergence.astype(np.float64), shares)
    return DivergenceQuantiles(tuple(shares.tolist()), tuple(nats.tolist()))


def _mean_trace(records: Sequence[TokenRecords]) -> LossTrace:
    """Over the replicates of a recipe; of the first alone if they have other windows."""
    traces = [trace_loss(one) for one in records]
    first = traces[0]
    if any(one.token != first.token for one in traces):
        return first
    nats = np.mean([one.nats for one in traces], axis=0)
    return LossTrace(first.token, tuple(nats.tolist()), first.windows)


def trace_loss(records: TokenRecords) -> LossTrace:
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
    return LossTrace(tuple(middle.tolist()), tuple(means.tolist()), size)
