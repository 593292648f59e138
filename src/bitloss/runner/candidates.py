"""What is scored, under which names its results are stored, and where they are."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from bitloss._version import __version__
from bitloss.engines.dense import Precision
from bitloss.errors import BitlossError, StorageError
from bitloss.runner.models import Model
from bitloss.runner.shards import Shard
from bitloss.spec.fingerprint import fingerprint, sha256_files

__all__ = ["ENGINE_VERSION", "Candidate", "Keys", "Scores", "state_width"]

ENGINE_VERSION = "dense-2"
"""Raised by hand whenever a change of the engine may change a number."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A model in an arithmetic, to be scored beside the reference.

    Attributes:
        model: the model.
        precision: the arithmetic.
        alone: read a window at a time: other shapes, hence other rounding, for the noise floor.
    """

    model: Model
    precision: Precision
    alone: bool = False

    @property
    def label(self) -> str:
        """For progress and keys."""
        return f"{self.model.name} ({self.precision}{', alone' * self.alone})"


@dataclass(slots=True)
class Scores:
    """Where the records of one scoring are.

    Attributes:
        reference: fingerprints of the reference's own records, a shard each.
        variants: by the candidate's label, fingerprints of its records, a shard each.
        failed: by the candidate's label, why it could not be scored.
    """

    reference: list[str]
    variants: dict[str, list[str]]
    failed: dict[str, BitlossError]

    def records_of(self, candidate: Candidate) -> list[str]:
        """Fingerprints of a candidate's records, a shard each.

        Raises:
            BitlossError: it could not be scored.
        """
        if candidate.label in self.failed:
            raise self.failed[candidate.label]
        return self.variants[candidate.label]

    def whole(self, group: Sequence[Candidate]) -> list[Candidate]:
        """Those of the group that have not failed."""
        return [candidate for candidate in group if candidate.label not in self.failed]

    @contextmanager
    def blame(self, candidate: Candidate) -> Iterator[None]:
        """Note a fault of this candidate's instead of raising it; the disk's ends the run."""
        try:
            yield
        except StorageError:
            raise
        except BitlossError as error:
            self.failed[candidate.label] = error


class Keys:
    """Fingerprints of hidden states and records: everything that decides their bytes.

    Args:
        reference: the reference and its arithmetic.
        batch_tokens: tokens in one forward.
        device: a torch device.
    """

    def __init__(self, reference: Candidate, *, batch_tokens: int, device: str) -> None:
        self._reference = reference
        self._batch_tokens = batch_tokens
        self._engine: dict[str, Any] = {
            "engine": ENGINE_VERSION,
            "bitloss": __version__,
            "torch": version("torch"),
            "transformers": version("transformers"),
            "device": device.partition(":")[0],
            "code": _code_digest(reference.model.code),
        }
        self._models: dict[str, str] = {}

    def states(self, shard: Shard, candidate: Candidate) -> str:
        """Of a candidate's hidden states on a shard."""
        key = {
            "kind": "states",
            "model": self.model(candidate),
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

    def model(self, candidate: Candidate) -> str:
        """Of a candidate and everything of the engine that decides its numbers."""
        if candidate.label not in self._models:
            checkpoint = candidate.model.checkpoint
            self._models[candidate.label] = fingerprint(
                {
                    **self._engine,
                    "digest": checkpoint.info.digest,
                    "config": checkpoint.config,
                    "precision": candidate.precision,
                    "batch_tokens": 1 if candidate.alone else self._batch_tokens,
                }
            )
        return self._models[candidate.label]


def state_width(model: Model) -> int:
    """Numbers kept for a scored position: the model's hidden size."""
    config = model.checkpoint.config
    return int(config.get("hidden_size") or config["n_embd"])


def _code_digest(code: Path | None) -> str | None:
    return None if code is None else sha256_files(sorted(code.rglob("*.py")))
