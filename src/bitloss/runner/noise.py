"""How small a loss a run can see, and which results are too near to it.

Rounding in the measurement looks like loss. Its size, the *noise floor*, is measured in every run
by the engine (`bitloss.engines.base.PairScorer.noise_floor`), and for every way in which a run runs
its variants: with a cache or activations of few bits a deep model differs from itself by much more
than its arithmetic rounds (`PairScorer.rounding_noise`). With ``auto`` a text is first scored
in the fastest arithmetic; a result within `NEAR_FLOOR` floors is mostly the floor and is scored
again in the engine's exact arithmetic, on as many windows as its interval needs. That is looked at
again and again, so it is a confidence sequence that has to be narrow enough: a plain interval, of
the windows at which it happened to be narrow, holds the truth less often than it says.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

import numpy as np

from bitloss.engines.base import PairScorer, Piece
from bitloss.engines.values import Candidate, Work
from bitloss.errors import UnsupportedModel
from bitloss.expectations import AxisName
from bitloss.metrics.divergence import NEAR_FLOOR, mean_divergence
from bitloss.metrics.sequential import sequential
from bitloss.results.manifest import MeasuredFloor
from bitloss.runner.store import RunStore
from bitloss.spec.serving import AS_COMPUTED, Serving
from bitloss.types import Window

if TYPE_CHECKING:
    from bitloss.runner.executors.elsewhere import Elsewhere
    from bitloss.spec.ways import Way

__all__ = [
    "FIRST_WINDOWS",
    "begin_floors",
    "floor_effects",
    "floor_windows",
    "floor_work",
    "growing_looks",
    "is_near_floor",
    "measure_floor",
    "measure_served_floor",
    "settled_divergence",
]

FLOOR_TOKENS = 1024
FIRST_WINDOWS = 16
HALF_WIDTH = 0.1


def measure_floor(
    scorer: PairScorer, store: RunStore, windows: Sequence[Window], *, nudges: bool = False
) -> MeasuredFloor:
    """The noise floor of an engine on the first windows of a corpus.

    Args:
        scorer: of the corpus.
        store: the run directory, which the scorer writes to.
        windows: in the order of the text.
        nudges: whether its engine can move layers' outputs by their last bit. An arithmetic that
            is not the most exact one is then held against itself, too: the larger one is the floor.
    """
    first = floor_windows(windows)
    floor = _floor(scorer, store, scorer.noise_floor(first))
    if not nudges or scorer.exact() is None:
        return floor
    with suppress(UnsupportedModel):  # a model read a layer at a time, or in no list of layers
        floor = _larger(floor, _floor(scorer, store, scorer.rounding_noise(first, AS_COMPUTED)))
    return floor


def measure_served_floor(
    scorer: PairScorer,
    store: RunStore,
    windows: Sequence[Window],
    serving: Serving,
    plain: MeasuredFloor | None,
    candidate: Candidate | None = None,
) -> MeasuredFloor:
    """The noise floor of a way with types of caches or activations, as `measure_floor`: how far the
    reference in this way is from itself.

    Args:
        scorer: of the way's engine.
        store: the run directory.
        windows: in the order of the text.
        serving: the types.
        plain: the engine's floor without them, which this one is not below; None if not known.
        candidate: a variant that is held against itself in the reference's place.

    Raises:
        UnsupportedModel: what moves layers' outputs moved no number.
        BitlossError: see `PairScorer.rounding_noise`.
    """
    first = floor_windows(windows)
    floor = _floor(scorer, store, scorer.rounding_noise(first, serving, candidate))
    if floor.kl_divergence == 0:
        raise UnsupportedModel(
            "moving the outputs of this model's layers by their last bit changed no number",
            hint="choose another --engine to learn how far a model is from itself",
        )
    return floor if plain is None else _larger(floor, plain)


def _floor(scorer: PairScorer, store: RunStore, records: Sequence[str]) -> MeasuredFloor:
    divergence = store.read_records(records, ("kl_divergence",))["kl_divergence"]
    return MeasuredFloor(
        dtype=scorer.reference.arithmetic,
        kl_divergence=float(abs(divergence.mean(dtype=np.float64))),
        n_scored=len(divergence),
        records=tuple(records),
    )


def _larger(one: MeasuredFloor, other: MeasuredFloor) -> MeasuredFloor:
    return other if other.kl_divergence > one.kl_divergence else one


def is_near_floor(store: RunStore, records: Sequence[str], floor: MeasuredFloor | None) -> bool:
    """Whether a divergence is too near the noise floor to be believed; of one that was not measured
    whatever is not known to be far.
    """
    if floor is None:
        return True
    divergence = store.read_records(records, ("kl_divergence",))["kl_divergence"]
    return bool(divergence.mean(dtype=np.float64) < NEAR_FLOOR * floor.kl_divergence)


def floor_effects(store: RunStore, floor: MeasuredFloor) -> dict[AxisName, float]:
    """By axis, how far what makes the floor may move a result, in either direction.

    Of divergence, agreement and overlap that is their own loss where nothing was quantized. The
    loss of the true token moves both ways, so that its mean is nearly nothing: what chance may
    make of it (two standard errors) is added.
    """
    names = ("reference_nll", "nll", "same_top1", "overlap")
    columns = store.read_records(floor.records, names)
    moved = columns["nll"].astype(np.float64) - columns["reference_nll"]
    chance = 2 * moved.std() / np.sqrt(len(moved))
    return {
        "relative_perplexity": float(np.expm1(abs(moved.mean()) + chance)),
        "top1_agreement": float(1 - columns["same_top1"].mean()),
        "overlap": float(1 - columns["overlap"].mean(dtype=np.float64)),
        "kl_divergence": floor.kl_divergence,
    }


def growing_looks(scorer: PairScorer, windows: Sequence[Window]) -> list[Sequence[Piece]]:
    """Looks at the first of these windows, twice as many each time."""
    counts = [FIRST_WINDOWS]
    while counts[-1] < len(windows):
        counts.append(2 * counts[-1])
    return [scorer.pieces(windows[:count]) for count in counts]


def settled_divergence(store: RunStore, records: Sequence[str], n_windows: int) -> bool:
    """Whether the confidence sequence of a mean divergence is within `HALF_WIDTH` of it.

    Args:
        store: the run directory.
        records: of windows that were drawn at random.
        n_windows: windows of the text.
    """
    columns = store.read_records(records, ("window", "kl_divergence"))
    series = {"": mean_divergence(columns["kl_divergence"], columns["window"])}
    found = sequential(series, np.unique(columns["window"]), range(n_windows))[""]
    if np.isnan(found.low):
        return False
    half = max(found.value - found.low, found.high - found.value)
    return bool(half <= HALF_WIDTH * abs(found.value))


def floor_work(tokens: int) -> Work:
    """What measuring a floor takes: a beginning of so many tokens, read twice."""
    first = min(tokens, 2 * FLOOR_TOKENS)
    return Work(read=2 * first, compared=first, variants=1)


def begin_floors(
    elsewhere: Elsewhere,
    scorers: Iterable[tuple[Way, bool, PairScorer]],
    windows: Sequence[Window],
) -> None:
    """Hand out what the noise floors of ways are measured from.

    Args:
        elsewhere: who measures.
        scorers: of each way's engine, with whether it can move layers' outputs.
        windows: in the order of the text.
    """
    first = floor_windows(windows)
    for way, nudges, scorer in scorers:
        elsewhere.begin_floor(scorer, first, way.serving or None)
        if not way.serving and nudges and scorer.exact() is not None:
            elsewhere.begin_floor(scorer, first, AS_COMPUTED)


def floor_windows(windows: Sequence[Window]) -> Sequence[Window]:
    """The first windows of a text, on which its noise floors are measured."""
    scored = np.cumsum([window.n_scored for window in windows])
    return windows[: int(np.searchsorted(scored, FLOOR_TOKENS)) + 1]
