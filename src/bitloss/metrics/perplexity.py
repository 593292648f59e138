"""Perplexity from per-token losses: the averagings that the protocols name.

Every averaging here is one form: perplexity = exp(sum_w a_w m_w / sum_w a_w), where m_w is the mean
loss of window w and a_w its weight. The three differ in the weight only:

    tokens                        a_w = scored tokens of the window: the mean over tokens
    windows                       a_w = 1: the mean of the windows' means
    windows-by-valid-minus-one    a_w = valid_w - 1, as in the transformers perplexity guide

so a bootstrap over windows needs `window_losses` and nothing else. Losses are in nats. A mean loss
above 709 nats makes the perplexity `inf`: that is what a double holds, and it is not hidden.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from bitloss.errors import NumericalError
from bitloss.types import Averaging, FloatArray, IntArray

__all__ = [
    "bits_per_byte",
    "byte_perplexity",
    "llama_cpp_error",
    "perplexity",
    "window_losses",
    "word_perplexity",
]

Losses = NDArray[np.floating]


def perplexity(
    nll: Losses, window: IntArray, averaging: Averaging, valid: Sequence[int] = ()
) -> float:
    """Perplexity under a protocol's averaging; the best value is 1.0.

    Args:
        nll: negative log-likelihoods in nats, shape ``[n_scored]``.
        window: index of each token's window, shape ``[n_scored]``.
        averaging: see the module.
        valid: for ``windows-by-valid-minus-one``, the count of each window, shape ``[n_windows]``.

    Raises:
        NumericalError: no losses, or NaN among them.
    """
    means, weights = window_losses(nll, window, averaging, valid)
    return _exp(float(np.dot(means, weights) / weights.sum()))


def window_losses(
    values: Losses, window: IntArray, averaging: Averaging, valid: Sequence[int] = ()
) -> tuple[FloatArray, FloatArray]:
    """Mean loss and weight of each window.

    Args:
        values: a per-token quantity to be averaged (a loss, a divergence), shape ``[n_scored]``.
        window: index of each token's window, shape ``[n_scored]``.
        averaging: which weights.
        valid: for ``windows-by-valid-minus-one``, the count of each window, shape ``[n_windows]``.

    Returns:
        Means and weights, both float64 of shape ``[n]`` where n counts the windows that have
        tokens, in the order of their indices. The average is ``(means * weights).sum() /
        weights.sum()``.

    Raises:
        NumericalError: no values, NaN among them, or weights that sum to zero.
        ValueError: shapes that do not belong together.
    """
    if values.shape != window.shape or values.ndim != 1:
        raise ValueError(
            f"expected values and window of one shape [n_scored], got {values.shape} "
            f"and {window.shape}"
        )
    if len(values) == 0:
        raise NumericalError("no scored tokens: their mean is not defined")
    if np.isnan(values).any():
        raise NumericalError(
            f"{int(np.isnan(values).sum())} of {len(values)} per-token values are NaN",
            hint="check the model's weights, or score with --dtype fp32",
        )
    present, index, counts = np.unique(window, return_inverse=True, return_counts=True)
    sums = np.bincount(index, weights=values.astype(np.float64))
    means = sums / counts
    if averaging == "tokens":
        return means, counts.astype(np.float64)
    if averaging == "windows":
        return means, np.ones(len(means))
    if present[-1] >= len(valid):
        raise ValueError(f"window {present[-1]} has no entry in `valid`, which has {len(valid)}")
    weights = np.asarray(valid, dtype=np.float64)[present] - 1.0
    if not weights.sum() > 0:
        raise NumericalError("the windows' weights (valid - 1) sum to zero")
    return means, weights


def bits_per_byte(nll_mean: float, n_tokens: int, n_bytes: int) -> float:
    """Mean loss in bits for each UTF-8 byte of text: compares across tokenizers, best is 0.0.

    Args:
        nll_mean: mean loss of a token in nats.
        n_tokens: tokens of the whole text.
        n_bytes: UTF-8 bytes that they stand for.
    """
    return nll_mean / float(np.log(2.0)) * n_tokens / n_bytes


def word_perplexity(nll_mean: float, n_tokens: int, n_words: int) -> float:
    """exp(total loss / words), lm-eval's ``word_perplexity`` (lm_eval/api/metrics.py).

    The total is the mean loss times the tokens of the whole text, so a limited run estimates it.

    Args:
        nll_mean: mean loss of a token in nats.
        n_tokens: tokens of the whole text.
        n_words: words of the whole text, as the protocol counts them.
    """
    return _exp(nll_mean * n_tokens / n_words)


def byte_perplexity(nll_mean: float, n_tokens: int, n_bytes: int) -> float:
    """exp(total loss / UTF-8 bytes), lm-eval's ``byte_perplexity``: 2 to the bits per byte.

    Arguments as in `word_perplexity`.
    """
    return _exp(nll_mean * n_tokens / n_bytes)


def llama_cpp_error(nll: Losses) -> float:
    """The ± of llama.cpp's final estimate: PPL · sqrt(var / (n - 1)), with the variance over n.

    It takes tokens for independent, which they are not; the bootstrap over windows does not.
    Source: llama.cpp, tools/perplexity/perplexity.cpp, `perplexity`.

    Raises:
        NumericalError: fewer than two losses.
    """
    if len(nll) < 2:
        raise NumericalError(f"expected at least 2 losses for a standard error, got {len(nll)}")
    losses = nll.astype(np.float64)
    return _exp(float(losses.mean())) * float(np.sqrt(losses.var() / (len(losses) - 1)))


def _exp(value: float) -> float:
    with np.errstate(over="ignore"):
        return float(np.exp(value))
