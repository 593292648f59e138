"""Names of the dense engine's hidden states and records: everything that decides their bytes."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from bitloss._version import __version__
from bitloss.engines.base import Candidate
from bitloss.engines.dense.scoring.shards import Shard
from bitloss.spec.fingerprint import fingerprint, sha256_files

__all__ = ["ENGINE_VERSION", "Keys", "identity", "state_width"]

ENGINE_VERSION = "dense-2"
"""Raised by hand whenever a change of the engine may change a number."""


def identity(candidate: Candidate, *, batch_tokens: int) -> dict[str, Any]:
    """See `bitloss.engines.base.Engine.identity`."""
    code = candidate.model.code
    return {
        "engine": ENGINE_VERSION,
        "bitloss": __version__,
        "torch": version("torch"),
        "transformers": version("transformers"),
        "device": candidate.device.partition(":")[0],
        "code": None if code is None else _code_digest(code),
        "digest": candidate.model.identity.info.digest,
        "config": dict(candidate.model.identity.config),
        "precision": candidate.arithmetic,
        "batch_tokens": 1 if candidate.alone else batch_tokens,
    }


class Keys:
    """Fingerprints of hidden states and records.

    Args:
        reference: the reference and how it is run.
        batch_tokens: tokens in one forward.
    """

    def __init__(self, reference: Candidate, *, batch_tokens: int) -> None:
        self._reference = reference
        self._batch_tokens = batch_tokens
        # The reference's own Python code is what variants run through, too.
        self._code = identity(reference, batch_tokens=batch_tokens)["code"]
        self._models: dict[str, str] = {}

    def states(self, shard: Shard, candidate: Candidate) -> str:
        """Of a candidate's hidden states on a shard."""
        key: dict[str, Any] = {
            "kind": "states",
            "model": self._model(candidate),
            "windows": shard.digest,
            "first": shard.first,
        }
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
        return fingerprint({"kind": "pair", "reference": reference, "variant": variant})

    def _model(self, candidate: Candidate) -> str:
        if candidate.label not in self._models:
            values: Mapping[str, Any] = {
                **identity(candidate, batch_tokens=self._batch_tokens),
                "code": self._code,
            }
            self._models[candidate.label] = fingerprint(values)
        return self._models[candidate.label]


def state_width(config: Mapping[str, Any]) -> int:
    """Numbers kept for a scored position: the model's hidden size."""
    return int(config.get("hidden_size") or config["n_embd"])


def _code_digest(code: Path) -> str:
    return sha256_files(sorted(code.rglob("*.py")))
