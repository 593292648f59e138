"""A recipe's replicates on one corpus, put together."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import reduce
from typing import NamedTuple

import numpy as np

from bitloss.analysis.corpora import analyse_corpus, paired_series
from bitloss.analysis.replicates import geometric_mean, mean, spread_of, together
from bitloss.analysis.window_intervals import drawn_together
from bitloss.metrics.divergence import mean_perplexity
from bitloss.metrics.intervals import Series
from bitloss.metrics.replicates import replicate_covariance
from bitloss.results.corpora import CorpusComparison
from bitloss.results.replicates import Spread
from bitloss.results.values import DeltaP, Estimate, KLDivergence, Limits, NoiseFloor
from bitloss.types import IntArray, ScoredCorpus, TokenRecords

__all__ = ["analyse_replicates", "on_common_windows"]

_OF: Mapping[str, Callable[[CorpusComparison], Estimate]] = {
    "relative": lambda one: one.relative_perplexity,
    "divergence": lambda one: one.kl_divergence.estimate,
    "top1": lambda one: one.top1_agreement,
    "overlap": lambda one: one.overlap,
    "delta_p": lambda one: _bounded(one.delta_p.mean, one.delta_p.low, one.delta_p.high),
    "delta_p_rms": lambda one: _bounded(one.delta_p.rms, one.delta_p.rms_low, one.delta_p.rms_high),
    "entropy": lambda one: one.entropy or _bounded(None, None, None),
}
_SPREADS = {
    "relative_perplexity": "relative",
    "kl_divergence": "divergence",
    "top1_agreement": "top1",
    "overlap": "overlap",
}


def analyse_replicates(
    records: Sequence[TokenRecords],
    corpus: ScoredCorpus,
    *,
    dtype: str,
    seed: int,
    noise_floor: NoiseFloor | None = None,
    exact: Sequence[TokenRecords] | None = None,
    exact_dtype: str = "",
    exact_drawn_from: int | None = None,
) -> tuple[CorpusComparison, dict[str, Spread]]:
    """Their mean results on a corpus, and what each of them has.

    Args:
        records: of two replicates or more, of the same tokens.
        corpus: what was scored.
        dtype: arithmetic of `records`.
        seed: of the bootstrap.
        noise_floor: as measured in the same run.
        exact: all of them in a more exact arithmetic; the windows that all have are used.
        exact_dtype: see `bitloss.analysis.corpora.analyse_corpus`.
        exact_drawn_from: likewise.

    Raises:
        NumericalError: no records, or NaN or infinite values among them.
    """
    if exact is not None:
        exact = on_common_windows(exact)
    results = [
        analyse_corpus(
            one,
            corpus,
            dtype=dtype,
            seed=seed,
            noise_floor=noise_floor,
            exact=None if exact is None else exact[index],
            exact_dtype=exact_dtype,
            exact_drawn_from=exact_drawn_from,
        )
        for index, one in enumerate(records)
    ]
    own = [mean_perplexity(one.nll, one.window, corpus.averaging, corpus.valid) for one in records]
    windows = _Windows(records[0].window, corpus.documents, corpus.drawn_from)
    perplexity = _put_together([one.perplexity_estimate for one in results], own, windows)
    series = [paired_series(one, corpus) for one in exact or records]
    if exact is not None:
        windows = _Windows(exact[0].window, corpus.documents, exact_drawn_from)
    estimates = {
        name: _put_together([of(one) for one in results], [s[name] for s in series], windows)
        for name, of in _OF.items()
    }
    spreads = {
        metric: spread_of([_OF[name](one) for one in results]) for metric, name in _SPREADS.items()
    }
    return _mean_result(results, perplexity, estimates), spreads


def on_common_windows(records: Sequence[TokenRecords]) -> list[TokenRecords]:
    """The windows that all have: each was scored on as many as its own interval needs."""
    common = reduce(np.intersect1d, [one.window for one in records])
    return [
        TokenRecords(
            **{
                name: getattr(one, name)[np.isin(one.window, common)]
                for name in TokenRecords.__slots__
            }
        )
        for one in records
    ]


class _Windows(NamedTuple):
    """What was scored, as `bitloss.analysis.window_intervals.window_intervals` takes it."""

    window: IntArray
    documents: Sequence[int]
    drawn_from: int | None


def _put_together(
    estimates: Sequence[Estimate], series: Sequence[Series], windows: _Windows
) -> Estimate:
    merged, block = drawn_together(
        series, windows.window, documents=windows.documents, drawn_from=windows.drawn_from
    )
    covariance = replicate_covariance([merged], block=block)
    return together(estimates, covariance, scale=series[0].scale, bounds=series[0].bounds)


def _mean_result(
    results: Sequence[CorpusComparison], perplexity: Estimate, found: Mapping[str, Estimate]
) -> CorpusComparison:
    first = results[0]
    return first.model_copy(
        update={
            "perplexity": perplexity.value,
            "perplexity_interval": Limits(low=perplexity.low, high=perplexity.high),
            "standard_error": mean([one.standard_error for one in results]),
            "bits_per_byte": mean([one.bits_per_byte for one in results]),
            "word_perplexity": geometric_mean([one.word_perplexity for one in results]),
            "byte_perplexity": geometric_mean([one.byte_perplexity for one in results]),
            "relative_perplexity": found["relative"],
            "kl_divergence": _divergence(results, found["divergence"]),
            "top1_agreement": found["top1"],
            "overlap": found["overlap"],
            "delta_p": DeltaP(
                mean=found["delta_p"].value,
                low=found["delta_p"].low,
                high=found["delta_p"].high,
                rms=found["delta_p_rms"].value,
                rms_low=found["delta_p_rms"].low,
                rms_high=found["delta_p_rms"].high,
            ),
            "entropy": found["entropy"],
            "out_of_domain": any(one.out_of_domain for one in results) or None,
        }
    )


def _divergence(results: Sequence[CorpusComparison], found: Estimate) -> KLDivergence:
    ones = [one.kl_divergence for one in results]
    largest = [one.max for one in ones]
    return KLDivergence(
        mean=found.value,
        low=found.low,
        high=found.high,
        p50=mean([one.p50 for one in ones]),
        p90=mean([one.p90 for one in ones]),
        p99=mean([one.p99 for one in ones]),
        p999=mean([one.p999 for one in ones]),
        max=max((x for x in largest if x is not None), default=None),
    )


def _bounded(value: float | None, low: float | None, high: float | None) -> Estimate:
    return Estimate(value=value, low=low, high=high)
