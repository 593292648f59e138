"""How often and how strongly a variant's predictions of single tokens change.

As in `bitloss.metrics.divergence`, a `Series` leaves average and interval to
`bitloss.metrics.intervals`. Top-1 agreement and Δp are those of llama.cpp's ``--kl-divergence``
output ("Same top p", "Mean Δp", "RMS Δp"; tools/perplexity/perplexity.cpp).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bitloss.metrics.intervals import Series
from bitloss.metrics.perplexity import window_losses
from bitloss.types import IntArray

__all__ = ["mean_delta_p", "mean_overlap", "rms_delta_p", "top1_agreement"]

_Floats = NDArray[np.floating]


def top1_agreement(same_top1: NDArray[np.bool_], window: IntArray) -> Series:
    """Share of positions where both models' most likely token is the same; best value is 1.0.

    Args:
        same_top1: shape ``[n_scored]``.
        window: index of each token's window, same shape.

    Raises:
        NumericalError: no values.
    """
    means, weights = window_losses(same_top1.astype(np.float64), window, "tokens")
    return Series(means, weights, bounds=(0.0, 1.0))


def mean_overlap(overlap: _Floats, window: IntArray) -> Series:
    """Mean overlap of the two next-token distributions; best value is 1.0, exactly so for a copy.

    The overlap of a token, sum min(p, q), is 1 minus the total variation distance. It is the
    largest probability with which two draws, one from each distribution, can be made to agree (the
    maximal coupling; Levin, Peres and Wilmer, Markov Chains and Mixing Times, proposition 4.7). So
    the mean is the share of tokens that can come out alike when both models sample.

    Args:
        overlap: shape ``[n_scored]``, each within 0 and 1.
        window: index of each token's window, same shape.

    Raises:
        NumericalError: no values, or NaN among them.
    """
    return Series(*window_losses(overlap, window, "tokens"), bounds=(0.0, 1.0))


def mean_delta_p(delta_p: _Floats, window: IntArray) -> Series:
    """Mean change of the true token's probability, variant minus reference; 0.0 is no change.

    Args:
        delta_p: shape ``[n_scored]``, each within -1 and 1.
        window: index of each token's window, same shape.

    Raises:
        NumericalError: no values, or NaN among them.
    """
    return Series(*window_losses(delta_p, window, "tokens"), bounds=(-1.0, 1.0))


def rms_delta_p(delta_p: _Floats, window: IntArray) -> Series:
    """Root of the mean squared change of the true token's probability; best value is 0.0.

    Arguments and errors as in `mean_delta_p`.
    """
    squares = delta_p.astype(np.float64) ** 2
    return Series(*window_losses(squares, window, "tokens"), scale="sqrt", bounds=(0.0, 1.0))
