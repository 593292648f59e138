"""Embeddings of which only the rows are in memory that a text asks for."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from bitloss.engines.dense.graph_weights import GraphWeights
from bitloss.errors import CheckpointError
from bitloss.formats.base import Rows

__all__ = ["TokenRows", "embeddings"]

# Rows that lie so close together in the file are read at once.
_APART = 8


def embeddings(body: Any, path: str) -> dict[str, nn.Embedding]:
    """The embeddings of tokens that a body looks up outside of its layers, by path.

    Args:
        body: transformers' module from token ids to hidden states.
        path: of its list of layers.
    """
    own = body.get_input_embeddings()
    return {
        name: module
        for name, module in body.named_modules()
        if isinstance(module, nn.Embedding)
        and not name.startswith(f"{path}.")
        and (module is own or name.rpartition(".")[2].startswith("embed_tokens"))
    }


class TokenRows:
    """Lets an embedding find its rows in the checkpoint, and keeps those that were looked up.

    The module's own forward runs on a table of these rows, with ids that count in it, so what it
    does to them besides (Gemma multiplies them) is done as ever.

    Args:
        name: of the weight in `GraphWeights.state`.
        module: the embedding, whose weight has no memory.
        weights: of the model; `GraphWeights.rows` gives the weight's rows.
    """

    def __init__(self, name: str, module: nn.Embedding, weights: GraphWeights, rows: Rows) -> None:
        self._name = name
        self._module = module
        self._rows = rows
        held = weights.state[name]
        size, width = weights.shapes[name]
        self._place = torch.full((size,), -1, dtype=torch.long, device=held.device)
        self._table = torch.empty((0, width), dtype=held.dtype, device=held.device)

    @contextmanager
    def looked_up(self) -> Iterator[None]:
        """Let the module look its rows up, for the block; its weight has no memory after it."""
        padding = self._module.padding_idx
        self._module.padding_idx = None  # of gradients, and a number of the full table
        handle = self._module.register_forward_pre_hook(self._before, with_kwargs=True)
        try:
            yield
        finally:
            handle.remove()
            self._module.padding_idx = padding
            self._set(self._table[:0].clone())

    def _before(
        self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        ids = args[0] if args else kwargs["input"]
        unique = torch.unique(ids)
        missing = unique[self._place[unique] < 0]
        if len(missing):
            found = self._read(missing.cpu()).to(self._table)
            self._place[missing] = torch.arange(len(missing), device=ids.device) + len(self._table)
            self._table = torch.cat([self._table, found])
        self._set(self._table)
        known = self._place[ids]
        return ((known, *args[1:]), kwargs) if args else (args, kwargs | {"input": known})

    def _read(self, ids: torch.Tensor) -> torch.Tensor:
        """Rows of ascending ids."""
        cuts = (ids.diff() > _APART).nonzero().flatten() + 1
        parts = []
        for run in torch.tensor_split(ids, cuts):
            first, last = int(run[0]), int(run[-1])
            parts.append(self._rows(first, last + 1)[run - first])
        found = torch.cat(parts)
        if len(found) != len(ids):
            raise CheckpointError(
                f"`{self._name}`: expected {len(ids)} rows, got {len(found)}",
                hint="download the checkpoint again",
            )
        return found

    def _set(self, table: torch.Tensor) -> None:
        self._module.weight.data = table
