"""Names of the dense engine's hidden states and records: everything that decides their bytes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from bitloss.engines.base import PAIR_COLUMNS
from bitloss.engines.dense.scoring.shards import Shard
from bitloss.engines.values import Candidate
from bitloss.formats.base import text_config
from bitloss.spec.fingerprint import fingerprint

__all__ = ["Identity", "Keys", "state_width"]

Identity = Callable[[Candidate], Mapping[str, Any]]
"""`bitloss.engines.base.Engine.identity` of the dense engine, with its batch size."""


class Keys:
    """Fingerprints of hidden states and records.

    Args:
        reference: the reference and how it is run.
        identity: everything that decides a candidate's numbers.
    """

    def __init__(self, reference: Candidate, *, identity: Identity) -> None:
        self._reference = reference
        self._identity = identity
        self._models: dict[str, str] = {}
        self._graphs: dict[str, str] = {}

    def states(self, shard: Shard, candidate: Candidate) -> str:
        """Of a candidate's hidden states on a shard."""
        key: dict[str, Any] = {
            "kind": "states",
            "model": self._model(candidate),
            "windows": shard.digest,
            "first": shard.first,
        }
        if graph := self._graph(candidate):
            key["graph"] = graph
        if shard.share_prefixes:
            key["prefixes"] = "shared"
        if shard.drawn:
            key["drawn"] = True
        return fingerprint(key)

    def reference(self, shard: Shard) -> str:
        """Of the reference's own records on a shard."""
        states = self.states(shard, self._reference)
        return fingerprint({"kind": "reference", "states": states})

    def pair(self, shard: Shard, candidate: Candidate) -> str:
        """Of a candidate's records beside the reference's on a shard."""
        reference = self.states(shard, self._reference)
        variant = self.states(shard, candidate)
        facts = {"kind": "pair", "columns": list(PAIR_COLUMNS)}
        return fingerprint({**facts, "reference": reference, "variant": variant})

    def _graph(self, candidate: Candidate) -> str:
        """Of the reference's config, in whose graph a variant's weights run; "" where both have
        the same.
        """
        if candidate.label not in self._graphs:
            ours, own = (dict(c.model.identity.config) for c in (self._reference, candidate))
            self._graphs[candidate.label] = "" if own == ours else fingerprint(ours)
        return self._graphs[candidate.label]

    def _model(self, candidate: Candidate) -> str:
        if candidate.label not in self._models:
            self._models[candidate.label] = fingerprint(dict(self._identity(candidate)))
        return self._models[candidate.label]


def state_width(config: Mapping[str, Any]) -> int:
    """Numbers kept for a scored position: the model's hidden size, 0 if the config does not say."""
    values = text_config(config)
    # OPT projects its states to another width before the head.
    keys = ("word_embed_proj_dim", "hidden_size", "n_embd", "d_model")
    return next((int(values[key]) for key in keys if values.get(key)), 0)
