"""The next token of each sequence, from its last hidden state."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from bitloss.engines.dense.scoring.head import Head
from bitloss.engines.devices import is_cuda
from bitloss.engines.generation.sampling import sample
from bitloss.errors import NumericalError
from bitloss.requests import Decoding

__all__ = ["most_likely", "next_tokens"]

# Logits are made this many columns at a time, and kept whole for this many rows at a time.
_COLUMNS = 4096
_ROWS = 16


def next_tokens(
    head: Head,
    states: torch.Tensor,
    decodings: Sequence[Decoding],
    draws: Sequence[np.random.Generator],
    model: str,
    *,
    block: int = 0,
) -> list[int]:
    """Choose a token for each row.

    Args:
        head: the model's.
        states: post-norm hidden states, shape ``[rows, d_model]``.
        decodings: of each row; temperature 0 takes the most likely token.
        draws: each row's random numbers; a sampled row takes one of them.
        model: its name, for errors.
        block: rows of every product, the last ones padding (`row_blocks`); 0 is any number.

    Raises:
        NumericalError: NaN or infinite logits.
    """
    sampled = [row for row, decoding in enumerate(decodings) if decoding.temperature > 0]
    greedy = [row for row, decoding in enumerate(decodings) if decoding.temperature <= 0]
    tokens = [0] * len(decodings)
    if greedy:
        rows = states if not sampled else states[torch.tensor(greedy, device=states.device)]
        blocks = torch.split(_padded(rows, block), block or len(rows))
        found = [token for one in blocks for token in most_likely(head, one, model)]
        for row, token in zip(greedy, found, strict=False):
            tokens[row] = token
    size = block or _ROWS
    for at in range(0, len(sampled), size):
        chunk = sampled[at : at + size]
        rows = _padded(states[torch.tensor(chunk, device=states.device)], block)
        logits = _logits(head, rows, model)
        for row, values in zip(chunk, logits, strict=False):
            decoding = decodings[row]
            tokens[row] = sample(values, decoding.temperature, decoding.top_p, draws[row].random())
    return tokens


def most_likely(head: Head, states: torch.Tensor, model: str) -> list[int]:
    """The token with the largest logit of each row, the lowest id where several have it.

    Logits are seen a block of the vocabulary at a time and not kept.

    Raises:
        NumericalError: NaN or infinite logits.
    """
    if is_cuda(states.device):  # blocks are for a CPU's cache; a card waits for their launches
        logits = head.logits(states, 0, head.vocabulary)
        _require_finite(logits, model)
        return list(logits.argmax(dim=1).tolist())
    best = torch.full((len(states),), -torch.inf, device=states.device)
    token = torch.zeros(len(states), dtype=torch.long, device=states.device)
    for start in range(0, head.vocabulary, _COLUMNS):
        block = head.logits(states, start, min(start + _COLUMNS, head.vocabulary))
        top = block.amax(dim=1)
        # amax takes a twentieth of argmax's time, and after the first blocks few rows improve.
        rows = (top > best).nonzero().squeeze(1)
        if len(rows):
            token[rows] = block[rows].argmax(dim=1) + start
        best = torch.maximum(best, top)  # keeps NaN
    _require_finite(best, model)
    found: list[int] = token.tolist()
    return found


def _padded(rows: torch.Tensor, block: int) -> torch.Tensor:
    missing = -len(rows) % block if block else 0
    return torch.nn.functional.pad(rows, (0, 0, 0, missing)) if missing else rows


def _logits(head: Head, states: torch.Tensor, model: str) -> torch.Tensor:
    if is_cuda(states.device):
        # To the CPU at once: a draw takes a dozen steps that would each wait for the card.
        logits = head.logits(states, 0, head.vocabulary).cpu()
        _require_finite(logits, model)
        return logits
    logits = torch.empty(len(states), head.vocabulary, device=states.device)
    for start in range(0, head.vocabulary, _COLUMNS):
        stop = min(start + _COLUMNS, head.vocabulary)
        logits[:, start:stop] = head.logits(states, start, stop)
    _require_finite(logits, model)
    return logits


def _require_finite(values: torch.Tensor, model: str) -> None:
    if not torch.isfinite(values).all():
        raise NumericalError(
            f"{model}: NaN or infinite logits",
            hint="try --dtype fp32, in case of an overflow, or download or make the file again",
        )
