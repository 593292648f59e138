"""What can be said of two distributions of which one is known at its most likely tokens only.

A server gives the log-probability of the text's token and of the k most likely ones. With the rest
of the vocabulary as one more bin, P and Q are distributions over k + 1 (or k + 2) bins, and

    sum_bins p log(p / q)  <=  KL(reference || variant)

by the data processing inequality (Cover and Thomas, Elements of Information Theory, 2nd ed., 2006,
section 2.7: the log sum inequality over each bin). It is exact if the rest is one token, or if P
and Q are proportional to each other over the rest.

From above there is no bound: Q may be as small as it likes at one token of the rest and keep its
sum, and the divergence grows without limit as the token's q goes to 0 where p is not. Only the
lower bound is a number, so results have it under a name of its own, `kl_divergence_topk`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from bitloss.errors import Incomparable
from bitloss.types import IntArray, Window

__all__ = [
    "ROUNDING", "TOP_K_COLUMNS", "TopK", "TopKModel", "TopKScores", "as_top_k", "compare_top_k",
    "in_order", "require_text",
]  # fmt: skip

TOP_K_COLUMNS = (
    "window", "token", "reference_nll", "reference_entropy", "nll", "kl_divergence_topk",
    "same_top1", "delta_p",
)  # fmt: skip
"""Columns of the records of a candidate of which only likely tokens are known; ``greedy`` besides
if prefixes are shared."""

# Probability of the rest below which it is rounding of what the server wrote.
_ROUNDING = 1e-6

ROUNDING = 1e-3
"""What written probabilities may add up to beyond 1, and log-probabilities be beyond 0."""

# Tokens of a window that are tried in order and in disorder, at most.
_TRIED = 256
# The reference knows a text if it is better than guessing by this much, nats.
_KNOWN = 1.0

_Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class TopK:
    """A model's log-probabilities at some positions.

    Attributes:
        nll: of the text's tokens, nats, shape ``[n]``.
        ids: of likely tokens, shape ``[n, k]``; -1 is a place without one. None is named twice at a
            position; the text's own token may be among them.
        logprobs: theirs, shape ``[n, k]``; at -1 they mean nothing.
        most_likely: id of the most likely token, -1 where it is not certain, shape ``[n]``.
        highest: its log-probability, which is known where its id may not be; NaN where not even
            that is, shape ``[n]``.
    """

    nll: _Floats
    ids: IntArray
    logprobs: _Floats
    most_likely: IntArray
    highest: _Floats

    @property
    def greedy(self) -> NDArray[np.bool_]:
        """Whether the text's token is the most likely one. Of equally likely tokens, whichever the
        model named first is.

        Raises:
            Incomparable: at a position it is not known.
        """
        own = np.exp(-self.nll)
        if np.isnan(self.highest[own <= 0.5]).any():  # beyond a half there is no other
            raise Incomparable(
                "the log-probabilities do not tell which token is the most likely one",
                hint="use a server that gives those of likely tokens, too",
            )
        return np.where(own > 0.5, True, -self.nll >= self.highest)


class TopKModel(Protocol):
    """A loaded model that gives log-probabilities of likely tokens only."""

    def top_k(self, windows: Sequence[Window]) -> Iterator[TopK]:
        """What it says of each window's scored tokens, window by window."""

    def require_right(self, window: Window, reference_nll: NDArray[np.float32]) -> None:
        """Refuse log-probabilities that are not those of this window.

        Args:
            window: of the text.
            reference_nll: the reference's losses of its scored tokens, nats, shape ``[n_scored]``.

        Raises:
            Incomparable: they say less of the window than of the same tokens in disorder.
        """


@dataclass(frozen=True, slots=True)
class TopKScores:
    """A variant's scores beside the reference's; arrays of shape ``[n]``, nats.

    Attributes:
        reference_nll: of the reference.
        reference_entropy: of the reference.
        nll: of the variant.
        kl_divergence_topk: no larger than the divergence.
        same_top1: whether the most likely token is the same, 1 or 0; NaN where it is not certain.
        delta_p: probability of the text's token, variant minus reference.
    """

    reference_nll: NDArray[np.float32]
    reference_entropy: NDArray[np.float32]
    nll: NDArray[np.float32]
    kl_divergence_topk: NDArray[np.float32]
    same_top1: NDArray[np.float32]
    delta_p: NDArray[np.float32]


def compare_top_k(targets: IntArray, logits: torch.Tensor, found: TopK) -> TopKScores:
    """Hold what is known of a variant against the reference's logits.

    Args:
        targets: the text's tokens, shape ``[n]``.
        logits: the reference's, shape ``[n, vocabulary]``.
        found: the variant's.
    """
    logs = torch.log_softmax(logits.double(), dim=1).cpu()
    ids, q = _with_targets(targets, found)
    known = ids >= 0
    rows = torch.from_numpy(np.where(known, ids, 0).astype(np.int64))
    log_p = logs.gather(1, rows).numpy()
    p = np.where(known, np.exp(log_p), 0.0)
    inside = np.where(known, p * (log_p - q), 0.0).sum(1)
    p_rest = np.clip(1 - p.sum(1), 0, None)
    # A larger q of the rest makes the sum smaller: what is rounded away keeps it a lower bound.
    q_rest = np.clip(1 - np.where(known, np.exp(q), 0.0).sum(1), _ROUNDING, None)
    with np.errstate(divide="ignore", invalid="ignore"):
        outside = np.where(p_rest > 0, p_rest * (np.log(p_rest) - np.log(q_rest)), 0.0)
    nll = -logs.gather(1, torch.from_numpy(targets.astype(np.int64))[:, None])[:, 0].numpy()
    entropy = -(logs.exp() * logs.clamp(min=-1e9)).sum(1).numpy()
    same = np.where(found.most_likely < 0, np.nan, found.most_likely == logs.argmax(1).numpy())
    return TopKScores(
        reference_nll=nll.astype(np.float32),
        reference_entropy=entropy.astype(np.float32),
        nll=found.nll.astype(np.float32),
        kl_divergence_topk=np.clip(inside + outside, 0, None).astype(np.float32),
        same_top1=same.astype(np.float32),
        delta_p=(np.exp(-found.nll) - np.exp(-nll)).astype(np.float32),
    )


def _with_targets(targets: IntArray, found: TopK) -> tuple[IntArray, _Floats]:
    """Likely tokens, and the text's own where it is not one of them."""
    absent = ~(found.ids == targets[:, None]).any(1)
    ids = np.column_stack([found.ids, np.where(absent, targets, -1)])
    return ids, np.column_stack([found.logprobs, -found.nll])


def in_order(found: list[tuple[int, float]], name: str) -> list[tuple[int, float]]:
    """Likely tokens of a position, the most likely first; -1 is one that is not certain.

    Args:
        found: tokens with their log-probabilities.
        name: of the model, for the error.

    Raises:
        Incomparable: they are not of one distribution.
    """
    found.sort(key=lambda pair: -pair[1])
    if sum(math.exp(q) for _, q in found) > 1 + ROUNDING:
        raise Incomparable(
            f"{name}: expected probabilities that add up to at most 1, got more",
            hint="switch off what changes log-probabilities on the server (temperature, bias)",
        )
    return found


def as_top_k(nll: _Floats, rows: Sequence[Sequence[tuple[int, float]]]) -> TopK:
    """Losses, and likely tokens by position, from `in_order`; a position may have none."""
    most = max((len(row) for row in rows), default=0)
    ids = np.full((len(rows), most), -1, dtype=np.int32)
    logprobs = np.zeros((len(rows), most))
    likeliest = np.full(len(rows), -1, dtype=np.int32)
    highest = np.full(len(rows), np.nan)
    for at, row in enumerate(rows):
        for place, (token, q) in enumerate(row):
            ids[at, place], logprobs[at, place] = token, q
        if row:
            likeliest[at], highest[at] = row[0]
    return TopK(nll, ids, logprobs, likeliest, highest)


def require_text(
    ask: Callable[[Sequence[Window]], Iterator[TopK]],
    window: Window,
    reference_nll: NDArray[np.float32],
    *,
    name: str,
    vocabulary: int,
    reread: Callable[[IntArray], IntArray] | None = None,
) -> None:
    """Refuse log-probabilities that are not those of a text: a model must do better on it than on
    its tokens in disorder, as any model does that the reference's losses say knows the text.

    Runtimes are known that score each token with the logits behind it, or not at all (every answer
    then scores the same, and tasks come out at chance).

    Args:
        ask: gives what is known of windows.
        window: of the text.
        reference_nll: the reference's losses of its scored tokens, nats, shape ``[n_scored]``.
        name: of the model, for the error.
        vocabulary: number of tokens.
        reread: the ids that are read of others, where ids are not read as they are.

    Raises:
        Incomparable: they say less of the window than of the same tokens in disorder.
    """
    if float(reference_nll.mean()) > math.log(vocabulary) - _KNOWN:
        return  # the reference guesses: disorder would be as likely
    ids = window.ids[: max(window.first + 2, _TRIED)]
    text = Window(ids, max(min(window.first, len(ids) // 2), 1))
    mixed = ids.copy()
    np.random.default_rng(0).shuffle(mixed[1:])
    if reread is not None:
        mixed = reread(mixed)
    ordered = next(ask([text])).nll  # of more tokens than the window scores
    disordered = next(ask([Window(mixed, min(text.first, len(mixed) - 1))])).nll
    ours = reference_nll[: len(ids) - window.first].astype(np.float64)
    theirs = ordered[-len(ours) :]
    flat = ordered.std() == 0 and len(ordered) > 1
    alike = 1.0 if len(ours) < 16 or theirs.std() == 0 else np.corrcoef(ours, theirs)[0, 1]
    if disordered.mean() - ordered.mean() < 0.5 or flat or alike < 0.2:
        raise Incomparable(
            f"{name}: expected log-probabilities of the text, got some that are not: "
            f"{ordered.mean():.2f} nats per token in order, {disordered.mean():.2f} in disorder, "
            f"correlation with the reference's losses {alike:.2f}",
            hint="use a server whose prompt log-probabilities are right (vLLM), or --engine "
            "llama.cpp for GGUF files",
        )
