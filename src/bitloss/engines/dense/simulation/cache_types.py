"""What becomes of keys and values in a cache: stored when a token is read, and read back.

Rows are those of a head, after its rotary embedding. Types and their conventions:

- ``f16``, ``bf16``: rounded. ``f32``: left alone.
- ``fp8``: E4M3 with a scale of 1, numbers beyond 448 stored as 448: vLLM's and SGLang's default,
  where a checkpoint has no scales of its own (``k_scale``; they are not read here).
- ``fp8-head``: E4M3, with one float32 scale for each token and head, its largest size by 448.
- ``q8_0`` to ``iq4_nl``: llama.cpp's blocks of 32 (`bitloss.engines.dense.simulation.blocks`).
- ``int8-g64`` and the like: groups along the row, each with its smallest number and a step, both
  in float16: KIVI's way with values (Liu et al., 2024, arXiv:2402.02750). Its keys, grouped along
  tokens, are not built: a token's key would depend on later ones.

llama.cpp rotates what it stores in blocks where heads are multiples of 64 (since April 2026, pull
request 21038; the environment variable LLAMA_ATTN_ROT_DISABLE turns it off): queries and keys by
the largest Walsh-Hadamard matrix that divides a head, values 64 at a time. Turned back after
reading, that is what happens here; the products of rotated queries with rotated keys are the same.
Models whose rows its files hold in another order (Llama's) have their keys stored in that order.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import torch

from bitloss.engines.dense.precision import arithmetic
from bitloss.engines.dense.simulation.blocks import BLOCK, BLOCK_TYPES, store_blocks
from bitloss.engines.dense.simulation.floats import E4M3_MAX, round_to_e4m3
from bitloss.spec.serving import Serving, cache_groups

__all__ = ["CacheTypes", "row_multiple"]

_ROTATED = 64  # heads of a multiple of it are rotated, by matrices at least as large


@dataclass(frozen=True, slots=True)
class CacheTypes:
    """Types of keys and values, and how a model's rows lie in a runtime's cache.

    Attributes:
        keys: a type; "" is as computed.
        values: the same.
        in_pairs: whether llama.cpp's files hold what the rotary embedding turns together side by
            side, where transformers has the halves of a head.
    """

    keys: str
    values: str
    in_pairs: bool

    @classmethod
    def of(cls, serving: Serving, *, in_pairs: bool) -> CacheTypes:
        """Those of a serving."""
        return cls(serving.keys, serving.values, in_pairs)

    @property
    def name(self) -> str:
        """Of all that decides numbers."""
        return f"{self.keys or 'any'}_{self.values or 'any'}{'_pairs' * self.in_pairs}"

    def store(self, key: torch.Tensor, value: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """What attention reads of a token's keys and values.

        Args:
            key: shape ``[..., dim]``, after the rotary embedding.
            value: shape ``[..., dim]``.

        Returns:
            The same shapes and types.
        """
        return (
            _stored(self.keys, key, in_pairs=self.in_pairs, largest_rotation=1 << 30),
            _stored(self.values, value, in_pairs=False, largest_rotation=_ROTATED),
        )


def row_multiple(kind: str) -> int:
    """What the size of a head has to be a multiple of."""
    groups = cache_groups(kind)
    return groups[1] if groups else BLOCK if kind in BLOCK_TYPES else 1


def _stored(kind: str, x: torch.Tensor, *, in_pairs: bool, largest_rotation: int) -> torch.Tensor:
    if kind in ("", "f32"):
        return x
    if kind in ("f16", "bf16"):
        return x.to(torch.float16 if kind == "f16" else torch.bfloat16).to(x.dtype)
    row = x.float()
    if kind == "fp8":
        return round_to_e4m3(row).to(x.dtype)
    if kind == "fp8-head":
        scale = row.abs().amax(-1, keepdim=True) / E4M3_MAX
        return round_to_e4m3(row / torch.where(scale == 0, 1.0, scale)).mul_(scale).to(x.dtype)
    if groups := cache_groups(kind):
        return _by_group(row, *groups).to(x.dtype)
    turn = _turn(x.shape[-1], in_pairs, largest_rotation, x.device)
    if turn is None:
        return store_blocks(kind, row).to(x.dtype)
    with arithmetic("fp32"):
        return (store_blocks(kind, row @ turn) @ turn.T).to(x.dtype)


def _by_group(x: torch.Tensor, bits: int, size: int) -> torch.Tensor:
    x = x.reshape(*x.shape[:-1], -1, size)
    top = 2**bits - 1
    low = x.amin(-1, keepdim=True)
    step = ((x.amax(-1, keepdim=True) - low) / top).half().float()
    low = low.half().float()
    codes = (x - low).div_(torch.where(step == 0, 1.0, step)).round_().clamp_(0, top)
    return codes.mul_(step).add_(low).flatten(-2)


@lru_cache(maxsize=32)
def _turn(
    size: int, in_pairs: bool, largest_rotation: int, device: torch.device
) -> torch.Tensor | None:
    """The orthogonal matrix from a row as transformers has it to one as llama.cpp stores it.

    Shape ``[size, size]``; None where both are the same, or differ within a block only.
    """
    matrix = torch.eye(size)
    if in_pairs and size > BLOCK:
        matrix = matrix[torch.arange(size).view(2, -1).T.flatten()].T
    if size % _ROTATED == 0:
        each = _ROTATED
        while each < largest_rotation and size % (2 * each) == 0:
            each *= 2
        rotation = torch.ones(1, 1)
        while len(rotation) < each:
            rotation = torch.kron(torch.tensor([[1.0, 1.0], [1.0, -1.0]]), rotation)
        rotation /= each**0.5
        matrix = matrix @ torch.kron(torch.eye(size // each), rotation)
    elif not in_pairs or size <= BLOCK:
        return None
    return matrix.contiguous().to(device)
