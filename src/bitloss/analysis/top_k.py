"""A variant of which only likely tokens are known, from records to results."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bitloss.analysis.corpora import analyse_reference, delta_p, paired_intervals
from bitloss.metrics.agreement import mean_delta_p, rms_delta_p, top1_agreement
from bitloss.metrics.divergence import mean_divergence, relative_perplexity
from bitloss.metrics.perplexity import perplexity
from bitloss.results.corpora import TopKCorpus
from bitloss.results.values import Estimate
from bitloss.types import ScoredCorpus

__all__ = ["COLUMNS", "analyse_top_k"]

COLUMNS = (
    "window", "reference_nll", "nll", "kl_divergence_topk", "same_top1", "delta_p",
)  # fmt: skip
"""What is read of the records."""

_BOUND = (
    "kl_divergence_topk is a lower bound of the divergence: the server gives only the most likely "
    "tokens; there is no upper bound"
)


def analyse_top_k(
    columns: Mapping[str, NDArray[Any]],
    corpus: ScoredCorpus,
    *,
    dtype: str,
    seed: int,
    blocks: Sequence[int] | None = None,
) -> TopKCorpus:
    """A variant's results on one corpus, beside the reference's.

    Args:
        columns: `COLUMNS`, each of shape ``[n_scored]``.
        corpus: what was scored.
        dtype: arithmetic of the reference.
        seed: of the bootstrap.
        blocks: see `bitloss.analysis.corpora.analyse_reference`.

    Raises:
        NumericalError: no losses, or NaN or infinite ones among them.
    """
    window, nll, base = columns["window"], columns["nll"], columns["reference_nll"]
    own = analyse_reference(nll, window, corpus, dtype=dtype, seed=seed, blocks=blocks)
    series = {
        "relative": relative_perplexity(base, nll, window, corpus.averaging, corpus.valid),
        "topk": mean_divergence(columns["kl_divergence_topk"], window),
        "delta_p": mean_delta_p(columns["delta_p"], window),
        "delta_p_rms": rms_delta_p(columns["delta_p"], window),
    }
    notes = [_BOUND]
    uncertain = int(np.isnan(columns["same_top1"]).sum())
    if uncertain:
        notes.append(
            f"top-1 agreement is left out: at {uncertain} of {len(nll)} positions the server's "
            "most likely token is not certain"
        )
    else:
        series["top1"] = top1_agreement(columns["same_top1"].astype(np.bool_), window)
    found = paired_intervals(series, window, corpus, corpus.drawn_from, blocks, seed)
    # The reference decides what is out of domain, not the variant.
    known = replace(corpus, notes=())
    reference = analyse_reference(base, window, known, dtype=dtype, seed=seed, blocks=blocks)
    return TopKCorpus(
        **{
            **own.model_dump(),
            "notes": (*corpus.notes, *notes),
            "out_of_domain": reference.out_of_domain,
        },
        reference_perplexity=perplexity(base, window, corpus.averaging, corpus.valid),
        relative_perplexity=Estimate.of(found["relative"]),
        kl_divergence_topk=Estimate.of(found["topk"]),
        top1_agreement=Estimate.of(found["top1"]) if "top1" in found else None,
        delta_p=delta_p(found["delta_p"], found["delta_p_rms"]),
    )
