"""Variants with figures made by hand, for verdicts."""

from __future__ import annotations

from typing import Any

import numpy as np

from bitloss.analysis.loss_ranking import ItemLosses
from bitloss.analysis.score_losses import TaskChanges
from bitloss.metrics.intervals import Series
from bitloss.results import CorpusComparison, Estimate, Failure, NoiseFloor, VariantResult
from bitloss.results.tasks import CapabilityResult, Flips
from example_run import make_comparison

_CORPUS = make_comparison().variants[0].corpora["wikitext-2"]

Limits = tuple[float | None, float | None, float | None]


def estimate(value: float | None, low: float | None, high: float | None) -> Estimate:
    return Estimate(value=value, low=low, high=high)


def corpus(
    *relative: float | None,
    kl: Limits = (0.001, 0.0009, 0.0011),
    top1: Limits = (0.99, 0.985, 0.995),
    overlap: Limits = (0.99, 0.985, 0.995),
    floor: float = 9.4e-5,
) -> CorpusComparison:
    """So much relative perplexity; by default, next to nothing on the other axes."""
    mean, low, high = kl
    moved = {"mean": mean, "low": low, "high": high}
    return _CORPUS.model_copy(
        update={
            "relative_perplexity": estimate(*relative),  # type: ignore[arg-type]
            "kl_divergence": _CORPUS.kl_divergence.model_copy(update=moved),
            "top1_agreement": estimate(*top1),
            "overlap": estimate(*overlap),
            "noise_floor": NoiseFloor(kl_divergence=floor, dtype=_CORPUS.dtype, n_scored=4096),
        }
    )


def capability(
    change: Limits = (0.0, -0.01, 0.01),
    *,
    expected: Limits | None = None,
    p_value: float | None = 1.0,
    n_scored: int = 0,
) -> CapabilityResult:
    """A capability whose score changed by so much; tested by its interval, and by default, not
    flipping an item, not at all.
    """
    tested_by_flips = p_value is None or p_value == 1.0
    return CapabilityResult(
        tasks=("t",),
        n_scored=n_scored,
        score=0.5,
        reference_score=0.5,
        difference=estimate(*change),
        flips=Flips(right_to_wrong=0, wrong_to_right=0, p_value=1.0) if tested_by_flips else None,
        p_value=p_value,
        expected_difference=None if expected is None else estimate(*expected),
    )


def variant(
    name: str = "gptq-4",
    *,
    format: str = "gptq",  # noqa: A002
    bits: float = 4.0,
    corpora: dict[str, CorpusComparison] | None = None,
    capabilities: dict[str, CapabilityResult] | None = None,
    failed: bool = False,
    **facts: Any,
) -> VariantResult:
    return VariantResult(
        name=name,
        format=format,
        bits=bits,
        corpora=corpora or {},
        capabilities=capabilities,
        status="failed" if failed else "ok",
        error=Failure(message="no") if failed else None,
        **{"file_bytes": 1000, **facts},
    )


def losses(means: dict[str, dict[str, float]], *, n: int = 60, expected: bool = True) -> ItemLosses:
    """By capability and variant what every item loses, one task each."""
    ones = np.ones(n)
    return ItemLosses(
        {
            name: [TaskChanges({v: Series(-mean * ones, ones) for v, mean in of.items()}, expected)]
            for name, of in means.items()
        },
        seed=0,
    )
