"""Keys and values of the tokens that each decoding sequence has for itself."""

from __future__ import annotations

import torch

from bitloss.engines.dense.generation.prefixes import Prefix

__all__ = ["ROW_STEP", "SequenceKVCache", "stepped"]

# Rows grow by at least so many tokens, or by a quarter.
_GROWTH = 64
ROW_STEP = 64
"""Rows are as long as multiples of it: what is hidden at their end then changes no sum's order."""


def stepped(length: int) -> int:
    """The multiple of `ROW_STEP` that has room for so many tokens."""
    return -(-length // ROW_STEP) * ROW_STEP


class SequenceKVCache:
    """Keys and values of what each sequence has for itself, a row a sequence.

    A layer's tensors have the shape ``[slots, key heads, length, dim]``; they are made at its first
    use and grow in steps, a layer at a time.

    Args:
        slots: rows.
        longest: most tokens a row will have; growth ends there.
    """

    def __init__(self, slots: int, longest: int) -> None:
        self._slots = slots
        self._longest = longest
        self._length = 0
        self._layers: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}

    def reserve(self, length: int) -> None:
        """Make room for rows of this length; tensors grow when they are written to next."""
        if length > self._length:
            grown = max(length, self._length + max(_GROWTH, self._length // 4))
            self._length = stepped(max(length, min(grown, self._longest)))

    def append(
        self,
        layer: int,
        key: torch.Tensor,
        value: torch.Tensor,
        rows: torch.Tensor,
        places: torch.Tensor,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Write tokens to the first rows, over what may stand there.

        Args:
            layer: its index.
            key: shape ``[key heads, tokens, dim]``.
            value: as `key`.
            rows: of each token, shape ``[tokens]``.
            places: where it goes in its row, shape ``[tokens]``; below what is reserved.

        Returns:
            The layer's keys and values.
        """
        kept = self._layer(layer, key, value)
        for part, new in zip(kept, (key, value), strict=True):
            part[rows, :, places] = new.transpose(0, 1)
        return kept

    def insert(self, row: int, prefix: Prefix) -> None:
        """Copy what was read of a prompt to the beginning of a row."""
        for layer, (key, value) in prefix.layers.items():
            for part, new in zip(self._layer(layer, key, value), (key, value), strict=True):
                part[row, :, : new.shape[1]] = new

    def move(self, source: int, target: int, length: int) -> None:
        """Copy the first `length` tokens of one row to another."""
        for pair in self._layers.values():
            for part in pair:
                part[target, :, :length] = part[source, :, :length]

    def _layer(
        self, layer: int, key: torch.Tensor, value: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        old = self._layers.get(layer)
        if old is None or old[0].shape[2] < self._length:
            grown = []
            for position, new in enumerate((key, value)):
                # Zeros, as what is hidden is multiplied by a weight of 0 and must be finite.
                part = new.new_zeros(self._slots, new.shape[0], self._length, new.shape[2])
                if old is not None:
                    part[:, :, : old[position].shape[2]] = old[position]
                grown.append(part)
            self._layers[layer] = (grown[0], grown[1])
        return self._layers[layer]
