"""Which arithmetic a run is measured in, and how small a loss it can see.

Rounding in the measurement looks like loss. Its size, the *noise floor*, is measured in every run:
the divergence between the reference in the run's arithmetic and the reference in float32 (in
batches of another shape, where the run itself is in float32), when nothing was quantized. With
``auto`` the text is first scored in the fastest arithmetic; what comes out within `NEAR_FLOOR`
floors is mostly the floor and is scored again in float32, on as many windows as its interval needs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from bitloss.engines.dense import Precision, has_fast_bf16
from bitloss.runner.candidates import Candidate
from bitloss.runner.corpora import PlannedCorpus
from bitloss.runner.models import Model
from bitloss.runner.scoring import Scorer
from bitloss.runner.shards import Shard
from bitloss.runner.store import RunStore
from bitloss.spec.run import RunSpec
from bitloss.types import Progress, Window

__all__ = [
    "exact_scorer",
    "first_precision",
    "looks_from_the_start",
    "mean_divergences",
    "measure_floor",
    "needs_float32",
    "settled_divergence",
]

# At ten floors the floor itself adds about a tenth to what is measured.
NEAR_FLOOR = 10.0
# Below this many multiply-adds for the whole run, float32 takes minutes: nothing to be saved.
SMALL_RUN = 5e13
FLOOR_TOKENS = 1024
FIRST_WINDOWS = 16
HALF_WIDTH = 0.1


def first_precision(spec: RunSpec, parameters: int, tokens: int) -> Precision:
    """The arithmetic everything is scored in first.

    Args:
        spec: the run; its ``dtype`` decides unless it is ``auto``.
        parameters: of the reference.
        tokens: that all models together will read.
    """
    if spec.dtype != "auto":
        return spec.dtype
    if not has_fast_bf16(spec.device) or parameters * tokens < SMALL_RUN:
        return "fp32"
    return "bf16"


def measure_floor(
    spec: RunSpec,
    store: RunStore,
    reference: Model,
    planned: PlannedCorpus,
    precision: Precision,
    progress: Progress,
) -> dict[str, Any]:
    """The noise floor on the first windows of the corpus.

    Returns:
        ``dtype``, ``kl_divergence`` (mean, nats a token), ``n_scored`` and ``records``.
    """
    windows = _first_tokens(planned.windows, FLOOR_TOKENS)
    rounded = Candidate(reference, precision, alone=precision == "fp32")
    scorer = exact_scorer(spec, store, reference, progress)
    records = scorer.score(windows, [rounded]).records_of(rounded)
    divergence = store.read_records(records, ("kl_divergence",))["kl_divergence"]
    return {
        "dtype": precision,
        "kl_divergence": float(abs(divergence.mean(dtype=np.float64))),
        "n_scored": len(divergence),
        "records": records,
    }


def mean_divergences(
    store: RunStore, records: list[str], spans: Mapping[str, tuple[int, int]]
) -> dict[str, tuple[float, int]]:
    """Mean divergence (nats a token) and number of tokens of some ranges of windows, by name."""
    columns = store.read_records(records, ("window", "kl_divergence"))
    found = {}
    for name, (start, stop) in spans.items():
        inside = (columns["window"] >= start) & (columns["window"] < stop)
        own = columns["kl_divergence"][inside]
        found[name] = float(own.mean(dtype=np.float64)), len(own)
    return found


def needs_float32(store: RunStore, records: list[str], floor: float) -> bool:
    """Whether a divergence is too near the noise floor to be believed."""
    divergence = store.read_records(records, ("kl_divergence",))["kl_divergence"]
    return bool(divergence.mean(dtype=np.float64) < NEAR_FLOOR * floor)


def looks_from_the_start(scorer: Scorer, planned: PlannedCorpus) -> list[list[Shard]]:
    """Looks at the first windows of a corpus, twice as many each time."""
    counts = [FIRST_WINDOWS]
    while counts[-1] < len(planned.windows):
        counts.append(2 * counts[-1])
    return [scorer.shards(planned.windows[:count]) for count in counts]


def settled_divergence(store: RunStore, records: list[str]) -> bool:
    """Whether the 95 % half-width of a mean divergence is within `HALF_WIDTH` of it."""
    columns = store.read_records(records, ("window", "kl_divergence"))
    sums = np.bincount(columns["window"], weights=columns["kl_divergence"])
    means = sums / np.maximum(np.bincount(columns["window"]), 1)
    half = 1.96 * means.std(ddof=1) / np.sqrt(len(means)) if len(means) > 1 else np.inf
    return bool(half <= HALF_WIDTH * abs(means.mean()))


def _first_tokens(windows: Sequence[Window], tokens: int) -> Sequence[Window]:
    scored = np.cumsum([window.n_scored for window in windows])
    return windows[: int(np.searchsorted(scored, tokens)) + 1]


def exact_scorer(spec: RunSpec, store: RunStore, reference: Model, progress: Progress) -> Scorer:
    """What scores in float32."""
    return Scorer(
        store,
        Candidate(reference, "fp32"),
        batch_tokens=spec.batch_tokens,
        device=spec.device,
        progress=progress,
    )
