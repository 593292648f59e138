"""What models write: generated, and kept by what was asked and of which model.

Tasks that ask the same of a model share its texts: a text's name covers tokens, decoding and seed,
not the task.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from bitloss.engines.base import TextModel
from bitloss.requests import Generated, GenerateRequest
from bitloss.runner.store import RunStore
from bitloss.runner.tasks.plan import PlannedTask
from bitloss.spec.fingerprint import fingerprint
from bitloss.types import Progress

__all__ = ["TEXT_COLUMNS", "TextShards", "shards_in", "text_columns", "write_texts"]

# Requests kept together: minutes of work at most are lost when a run is killed.
SHARD_REQUESTS = 256

TEXT_COLUMNS = ("text", "n_tokens", "reason", "thinking", "n_thinking", "answered")
"""Of the records of texts: see `bitloss.requests.Generated`."""

_Request = tuple[int, GenerateRequest]


@dataclass(frozen=True, slots=True)
class TextShards:
    """Where a model's texts for a task are.

    Attributes:
        planned: the task.
        requests: indices of questions, one per sample, and the requests, in pieces.
        keys: fingerprints of the pieces.
    """

    planned: PlannedTask
    requests: tuple[Sequence[_Request], ...]
    keys: tuple[str, ...]

    @classmethod
    def of(cls, planned: PlannedTask, model: str) -> TextShards:
        """Cut a task's requests.

        Args:
            planned: the task.
            model: fingerprint of everything else that decides the texts.
        """
        requests = planned.requests()
        samples = planned.task.facts.samples
        size = _shard_size(samples)
        pieces = tuple(requests[start : start + size] for start in range(0, len(requests), size))
        keys = tuple(_key(model, [request for _, request in piece]) for piece in pieces)
        return cls(planned, pieces, keys)

    @property
    def key(self) -> str:
        """Fingerprint of all texts."""
        return fingerprint(list(self.keys))

    def missing(self, store: RunStore) -> list[tuple[str, Sequence[_Request]]]:
        """The pieces that are not there yet, by their fingerprints."""
        pieces = zip(self.keys, self.requests, strict=True)
        return [(key, piece) for key, piece in pieces if not store.has_records(key)]

    def read(self, store: RunStore) -> tuple[tuple[str, ...], ...]:
        """By question, its texts, one per sample; empty for one that was not evaluated.

        Raises:
            StorageError: a file is missing or damaged.
        """
        return tuple(tuple(one.text for one in own) for own in self.read_generated(store))

    def read_generated(self, store: RunStore) -> tuple[tuple[Generated, ...], ...]:
        """By question, all that is known of its texts; raises as `read` does."""
        samples = self.planned.task.facts.samples
        found: list[tuple[Generated, ...]] = [()] * len(self.planned.questions)
        for key, piece in zip(self.keys, self.requests, strict=True):
            kept = store.read_records([key], TEXT_COLUMNS)
            rows = [
                Generated(str(text), int(n), reason, str(thinking), int(thought), bool(answered))
                for text, n, reason, thinking, thought, answered in zip(
                    *(kept[name] for name in TEXT_COLUMNS), strict=True
                )
            ]
            for start in range(0, len(piece), samples):
                found[piece[start][0]] = tuple(rows[start : start + samples])
        return tuple(found)


def write_texts(
    store: RunStore,
    shards: TextShards,
    *,
    label: str,
    model: Callable[[], TextModel],
    progress: Progress,
    written: Callable[[int, tuple[str, ...]], object] = lambda index, texts: None,
) -> None:
    """Let a model write what is not there yet.

    Args:
        store: the run directory.
        shards: what is asked.
        label: for people.
        model: loads the model; called only if something is missing.
        progress: where to report.
        written: called with a question and its texts as soon as the last of them is written.

    Raises:
        NumericalError: the model gives NaN or infinite values.
        StorageError: the run directory cannot be written.
    """
    samples = shards.planned.task.facts.samples
    missing = shards.missing(store)
    total = sum(map(len, shards.requests))
    with progress.task(label, total, "texts") as advance:
        advance(total - sum(len(piece) for _, piece in missing))
        for key, piece in missing:
            rows: list[dict[str, Any] | None] = [None] * len(piece)
            for at, generated in model().generate([request for _, request in piece]):
                rows[at] = asdict(generated)
                advance(1)
                first = at // samples * samples
                own = [row["text"] for row in rows[first : first + samples] if row is not None]
                if len(own) == samples:
                    written(piece[first][0], tuple(own))
            store.write_records(key, _columns(rows))


def text_columns(model: TextModel, requests: Sequence[GenerateRequest]) -> dict[str, list[Any]]:
    """The columns of the record of a piece, as `write_texts` keeps it.

    Args:
        model: writes.
        requests: of the piece, in order.

    Raises:
        NumericalError: the model gives NaN or infinite values.
    """
    rows: list[dict[str, Any] | None] = [None] * len(requests)
    for at, generated in model.generate(requests):
        rows[at] = asdict(generated)
    return _columns(rows)


def _columns(rows: Sequence[dict[str, Any] | None]) -> dict[str, list[Any]]:
    return {name: [row[name] for row in rows if row is not None] for name in TEXT_COLUMNS}


def shards_in(requests: int, samples: int) -> int:
    """Pieces of so many requests."""
    return -(-requests // _shard_size(samples))


def _shard_size(samples: int) -> int:
    return max(samples, SHARD_REQUESTS // samples * samples)


def _key(model: str, requests: Sequence[GenerateRequest]) -> str:
    asked = hashlib.sha256()
    for request in requests:
        asked.update(request.prompt.astype("<i4").tobytes())
        asked.update(fingerprint([asdict(request.decoding), request.seed]).encode())
    return fingerprint({"kind": "texts", "model": model, "asked": asked.hexdigest()})
