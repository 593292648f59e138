"""From per-token records to the results of a corpus."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bitloss.analysis.window_intervals import count_blocks, window_intervals
from bitloss.metrics.agreement import mean_delta_p, mean_overlap, rms_delta_p, top1_agreement
from bitloss.metrics.divergence import (
    mean_divergence,
    mean_entropy,
    mean_perplexity,
    percentiles,
    relative_perplexity,
)
from bitloss.metrics.intervals import Interval, Series
from bitloss.metrics.perplexity import (
    bits_per_byte,
    byte_perplexity,
    llama_cpp_error,
    perplexity,
    window_losses,
    word_perplexity,
)
from bitloss.metrics.sequential import sequential
from bitloss.results.corpora import CorpusComparison, ReferenceCorpus
from bitloss.results.values import (
    DeltaP,
    Estimate,
    KLDivergence,
    Limits,
    NoiseFloor,
    ProtocolUsed,
    Rescored,
    Stopped,
    existing,
)
from bitloss.types import IntArray, ScoredCorpus, TokenRecords

__all__ = [
    "added_series",
    "analyse_corpus",
    "analyse_reference",
    "delta_p",
    "paired_intervals",
    "paired_series",
]

_Floats = NDArray[np.floating]

_ONE_WINDOW = "one window was scored: no confidence interval can be given"
_FEW_DOCUMENTS = (
    "the windows that were scored are of only {} documents: too few for a confidence interval"
)
_FEW_WINDOWS = "only {} windows were scored: too few for a confidence interval"
_OUT_OF_DOMAIN = (
    "out of domain: the reference does worse than guessing all {:,} tokens alike, so no verdict is "
    "drawn from it"
)
_SEQUENTIAL = (
    "read in random order, with repeated looks: the intervals hold at every look, so they are "
    "wider than usual"
)


def analyse_reference(
    nll: _Floats,
    window: IntArray,
    corpus: ScoredCorpus,
    *,
    dtype: str,
    seed: int,
    entropy: _Floats | None = None,
    noise_floor: NoiseFloor | None = None,
    blocks: Sequence[int] | None = None,
) -> ReferenceCorpus:
    """A model's own results on one corpus.

    Args:
        nll: losses of the true tokens in nats, shape ``[n_scored]``.
        window: index of each token's window, shape ``[n_scored]``.
        corpus: what was scored.
        dtype: arithmetic of the scoring.
        seed: of the bootstrap.
        entropy: of the next-token distributions in nats, shape ``[n_scored]``, if measured.
        noise_floor: as measured in the same run.
        blocks: if the text was scored in looks in random order, the first window of each block
            that could be drawn; the intervals are then confidence sequences.

    Raises:
        NumericalError: no losses, or NaN or infinite ones among them.
    """
    series = {"perplexity": mean_perplexity(nll, window, corpus.averaging, corpus.valid)}
    if entropy is not None:
        series["entropy"] = mean_entropy(entropy, window)
    series = _within_range(series, corpus)
    intervals = paired_intervals(series, window, corpus, corpus.drawn_from, blocks, seed)
    strange = (
        [_OUT_OF_DOMAIN.format(corpus.vocabulary)] if _worse_than_guessing(nll, corpus) else []
    )
    return ReferenceCorpus(
        **_common(nll, window, corpus, intervals),
        dtype=dtype,
        entropy=None if entropy is None else Estimate.of(intervals["entropy"]),
        noise_floor=noise_floor,
        notes=(*_notes(corpus, intervals["perplexity"], window, blocks), *strange),
        out_of_domain=bool(strange) or None,
    )


def analyse_corpus(
    records: TokenRecords,
    corpus: ScoredCorpus,
    *,
    dtype: str,
    seed: int,
    noise_floor: NoiseFloor | None = None,
    exact: TokenRecords | None = None,
    exact_dtype: str = "",
    exact_drawn_from: int | None = None,
    exact_blocks: Sequence[int] | None = None,
    blocks: Sequence[int] | None = None,
    stopped: Stopped | None = None,
) -> CorpusComparison:
    """A variant's results on one corpus, beside the reference's.

    With `exact`, perplexities come from all of `records`, and everything that is a difference
    between the two models from `exact`, whose arithmetic can see smaller ones; the result says so
    in `rescored`.

    Args:
        records: per-token results in the run's arithmetic.
        corpus: what was scored.
        dtype: arithmetic of `records`.
        seed: of the bootstrap.
        noise_floor: as measured in the same run.
        exact: the same in a more exact arithmetic, on some windows of the corpus.
        exact_dtype: arithmetic of `exact`, to be given with it.
        exact_drawn_from: windows that those of `exact` were drawn from at random; None if they are
            neighbors.
        exact_blocks: like `blocks`, of `exact`.
        blocks: see `analyse_reference`.
        stopped: why no more was scored, if there were looks.

    Raises:
        NumericalError: no records, or NaN or infinite values among them.
    """
    paired = records if exact is None else exact
    averaging, valid = corpus.averaging, corpus.valid
    perplexities = {"perplexity": mean_perplexity(records.nll, records.window, averaging, valid)}
    differences = _within_range(paired_series(paired, corpus), corpus)
    drawn_from = corpus.drawn_from
    paired_from = drawn_from if exact is None else exact_drawn_from
    intervals = paired_intervals(
        _within_range(perplexities, corpus), records.window, corpus, drawn_from, blocks, seed
    ) | paired_intervals(
        differences,
        paired.window,
        corpus,
        paired_from,
        blocks if exact is None else exact_blocks,
        seed,
    )
    n_windows = len(differences["divergence"].means)
    n_blocks = None
    if (blocks if exact is None else exact_blocks) is None:
        n_blocks = count_blocks(paired.window, documents=corpus.documents, drawn_from=paired_from)
    rescored = None
    if exact is not None:
        rescored = Rescored(dtype=exact_dtype, n_scored=len(exact.nll), n_windows=n_windows)
    return CorpusComparison(
        **_common(records.nll, records.window, corpus, intervals),
        dtype=dtype,
        noise_floor=noise_floor,
        notes=_notes(
            corpus,
            intervals["divergence"],
            paired.window,
            blocks if exact is None else exact_blocks,
        ),
        reference_perplexity=perplexity(records.reference_nll, records.window, averaging, valid),
        relative_perplexity=Estimate.of(intervals["relative"]),
        kl_divergence=_divergence(intervals["divergence"], paired.kl_divergence),
        top1_agreement=Estimate.of(intervals["top1"]),
        overlap=Estimate.of(intervals["overlap"]),
        delta_p=delta_p(intervals["delta_p"], intervals["delta_p_rms"]),
        entropy=Estimate.of(intervals["entropy"]),
        reference_entropy=Estimate.of(intervals["reference_entropy"]),
        rescored=rescored,
        n_blocks=n_blocks,
        stopped=stopped,
        out_of_domain=_worse_than_guessing(records.reference_nll, corpus) or None,
    )


def paired_series(paired: TokenRecords, corpus: ScoredCorpus) -> dict[str, Series]:
    """What is between the two models, window by window."""
    return {
        "relative": relative_perplexity(
            paired.reference_nll, paired.nll, paired.window, corpus.averaging, corpus.valid
        ),
        "divergence": mean_divergence(paired.kl_divergence, paired.window),
        "top1": top1_agreement(paired.same_top1, paired.window),
        "overlap": mean_overlap(paired.overlap, paired.window),
        "delta_p": mean_delta_p(paired.delta_p, paired.window),
        "delta_p_rms": rms_delta_p(paired.delta_p, paired.window),
        "entropy": mean_entropy(paired.entropy, paired.window),
        "reference_entropy": mean_entropy(paired.reference_entropy, paired.window),
    }


def added_series(
    after: TokenRecords, before: TokenRecords, corpus: ScoredCorpus
) -> dict[str, Series]:
    """What is between two ways to run one model, window by window.

    Args:
        after: the model's records beside the reference in one way.
        before: in the other way, of the same tokens.
        corpus: what was scored.
    """
    divergence, own = (mean_divergence(one.kl_divergence, one.window) for one in (before, after))
    agreed, agrees = (top1_agreement(one.same_top1, one.window) for one in (before, after))
    known, share = (
        float(np.average(one.means, weights=one.weights)) for one in (divergence, agreed)
    )
    return {
        "kl_divergence": Series(
            own.means - divergence.means, own.weights, bounds=(min(-known, 0.0), math.inf)
        ),
        "relative_perplexity": relative_perplexity(
            before.nll, after.nll, after.window, corpus.averaging, corpus.valid
        ),
        "top1_agreement": Series(
            agrees.means - agreed.means, agrees.weights, bounds=(-share, 1.0 - share)
        ),
    }


def _within_range(series: Mapping[str, Series], corpus: ScoredCorpus) -> dict[str, Series]:
    """No limit is beyond what can be: no perplexity is below 1, no entropy above that of a uniform
    guess.
    """
    ranges = {"perplexity": (1.0, math.inf)}
    if corpus.vocabulary is not None:
        entropies = ("entropy", "reference_entropy")
        ranges |= dict.fromkeys(entropies, (0.0, math.log(corpus.vocabulary)))
    return {
        name: replace(one, bounds=ranges[name]) if name in ranges else one
        for name, one in series.items()
    }


def paired_intervals(
    series: Mapping[str, Series],
    window: IntArray,
    corpus: ScoredCorpus,
    drawn_from: int | None,
    blocks: Sequence[int] | None,
    seed: int,
) -> dict[str, Interval]:
    """Of statistics of the same windows: by the bootstrap, or if scored in looks, sequences."""
    if blocks is None:
        return window_intervals(
            series, window, documents=corpus.documents, drawn_from=drawn_from, seed=seed
        )
    return sequential(series, np.unique(window), blocks)


def _common(
    nll: _Floats, window: IntArray, corpus: ScoredCorpus, intervals: dict[str, Interval]
) -> dict[str, Any]:
    """The results that a model has without another one beside it."""
    means, weights = window_losses(nll, window, corpus.averaging, corpus.valid)
    loss = float(np.dot(means, weights) / weights.sum())
    common: dict[str, Any] = {
        "protocol": ProtocolUsed(name=corpus.protocol, parameters=dict(corpus.parameters)),
        "digest": corpus.digest,
        "source": corpus.source,
        "n_scored": len(nll),
        "n_total": corpus.n_total,
        "n_windows": len(means),
        "perplexity": intervals["perplexity"].value,
        "perplexity_interval": Limits(
            low=existing(intervals["perplexity"].low), high=existing(intervals["perplexity"].high)
        ),
        "bits_per_byte": bits_per_byte(loss, corpus.n_tokens, corpus.n_bytes),
    }
    if corpus.n_words is not None:
        common["word_perplexity"] = word_perplexity(loss, corpus.n_tokens, corpus.n_words)
        common["byte_perplexity"] = byte_perplexity(loss, corpus.n_tokens, corpus.n_bytes)
    if corpus.protocol == "llama.cpp" and len(nll) > 1:
        common["standard_error"] = llama_cpp_error(nll)
    return common


def _worse_than_guessing(nll: _Floats, corpus: ScoredCorpus) -> bool:
    """Whether the mean loss is above that of a uniform guess among all tokens."""
    known = corpus.vocabulary
    return known is not None and float(np.mean(nll, dtype=np.float64)) > math.log(known)


def _notes(
    corpus: ScoredCorpus, interval: Interval, window: IntArray, blocks: Sequence[int] | None
) -> tuple[str, ...]:
    notes = corpus.notes if blocks is None else (*corpus.notes, _SEQUENTIAL)
    if not math.isnan(interval.low):
        return notes
    places = np.unique(window)
    if len(places) == 1:
        return (*notes, _ONE_WINDOW)
    if len(set(corpus.documents)) > 1:
        documents = np.unique(np.asarray(corpus.documents)[places])
        return (*notes, _FEW_DOCUMENTS.format(len(documents)))
    return (*notes, _FEW_WINDOWS.format(len(places)))


def _divergence(interval: Interval, values: NDArray[np.float32]) -> KLDivergence:
    tail = percentiles(values)
    return KLDivergence(
        mean=interval.value,
        low=existing(interval.low),
        high=existing(interval.high),
        p50=tail.p50,
        p90=tail.p90,
        p99=tail.p99,
        p999=tail.p999,
        max=tail.max,
    )


def delta_p(mean: Interval, rms: Interval) -> DeltaP:
    """A change of the true token's probability, as it stands in a result."""
    return DeltaP(
        mean=mean.value,
        low=existing(mean.low),
        high=existing(mean.high),
        rms=rms.value,
        rms_low=existing(rms.low),
        rms_high=existing(rms.high),
    )
