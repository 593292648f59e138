"""The manifest of a run, ``RUN/manifest.json``: which records belong to which row of the result.

It is written by the runner and read by the analysis; nobody else needs it. It holds no figure that
the records do not have, except the noise floors.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final, Literal

from pydantic import Field, ValidationError

from bitloss.errors import StorageError
from bitloss.results.comparison import Environment, Failure
from bitloss.results.values import Frozen, Stopped
from bitloss.types import ModelInfo, ScoredCorpus

__all__ = [
    "MANIFEST_VERSION",
    "CorpusEntry",
    "ExactRecords",
    "Manifest",
    "MeasuredFloor",
    "ModelEntry",
    "RandomOrder",
    "ScoredVariant",
    "TaskEntry",
]

MANIFEST_VERSION: Final = 5


class ModelEntry(Frozen):
    """A model of the run.

    Attributes:
        name: as the user wrote it.
        info: facts about its files; null if it could not be made or opened.
        recipe: how bitloss made it; null for files that were there.
        error: why it has no results, or not all of them.
    """

    name: str
    info: ModelInfo | None
    recipe: dict[str, Any] | None
    error: Failure | None


class MeasuredFloor(Frozen):
    """The divergence that the measurement itself makes when nothing was quantized.

    Attributes:
        dtype: the arithmetic it belongs to.
        kl_divergence: mean, nats per token.
        n_scored: tokens it was measured on.
        records: fingerprints of the records it was computed from.
    """

    dtype: str
    kl_divergence: float
    n_scored: int
    records: tuple[str, ...] = ()


class RandomOrder(Frozen):
    """A corpus that was scored in random order.

    Attributes:
        blocks: index of the first window of each block that could be drawn.
    """

    blocks: tuple[int, ...]


class ExactRecords(Frozen):
    """Records of a variant near the noise floor that was scored again in a more exact arithmetic.

    Attributes:
        dtype: that arithmetic.
        n_windows: windows scored again.
        records: fingerprints, one per shard.
    """

    dtype: str
    n_windows: int
    records: tuple[str, ...]


class ScoredVariant(Frozen):
    """A variant's records on one corpus.

    Attributes:
        records: fingerprints, one per shard, in the order of the text.
        stopped: why no more was scored; null if all of the corpus was asked for.
        exact: see `ExactRecords`; null if it was scored once.
        notes: what a reader of its results should know.
    """

    records: tuple[str, ...]
    stopped: Stopped | None
    exact: ExactRecords | None
    notes: tuple[str, ...]


class CorpusEntry(Frozen):
    """One corpus of the run.

    Attributes:
        facts: text, protocol and windows.
        dtype: arithmetic of the scoring.
        noise_floor: null without variants.
        reference: fingerprints of the reference's own records, one per shard.
        random_order: null if the corpus was scored from beginning to end.
        variants: by name.
    """

    facts: ScoredCorpus
    dtype: str
    noise_floor: MeasuredFloor | None
    reference: tuple[str, ...]
    random_order: RandomOrder | None
    variants: dict[str, ScoredVariant]


class TaskEntry(Frozen):
    """One task of the run.

    Attributes:
        capability: the one it measures.
        metrics: names of its metrics, the task's own score first.
        license: of the data.
        source: where the data was read from.
        digest: sha256 (hex) of the data.
        identity: fingerprint of everything that decides how an answer is graded.
        version: of the task.
        chance: the score of a guess; null if it has none.
        samples: texts per item.
        shots: solved examples before a question.
        groups: by subject, the group it belongs to.
        gold: what the gold answers are: the correct ``option``, the data's own ``answer``, or what
            the ``reference`` wrote.
        n_items: items that the limit left.
        n_total: items of the data.
        notes: what a reader should know.
        dtype: arithmetic of the scoring.
        noise_floor: on the first gold answers; null without variants or gold answers.
        questions: fingerprint of the record of questions.
        items: by model, the fingerprint of its item records.
    """

    capability: str
    metrics: tuple[str, ...] = Field(min_length=1)
    license: str
    source: str
    digest: str
    identity: str
    version: int
    chance: float | None
    samples: int
    shots: int
    groups: dict[str, str]
    gold: Literal["option", "answer", "reference"]
    n_items: int
    n_total: int
    notes: tuple[str, ...]
    dtype: str
    noise_floor: MeasuredFloor | None
    questions: str
    items: dict[str, str]


class Manifest(Frozen):
    """All of a run's records, and what they depend on.

    Attributes:
        manifest_version: of this document; no other is read.
        reference: the reference.
        variants: in the order in which they were named.
        corpora: by name, in the order in which they were named.
        tasks: by name, likewise.
        environment: what the results depend on besides models, texts and tasks.
        missing: what an unfinished run does not have yet, in sentences; null for a finished one.
    """

    manifest_version: Literal[5] = MANIFEST_VERSION
    reference: ModelEntry
    variants: tuple[ModelEntry, ...]
    corpora: dict[str, CorpusEntry]
    tasks: dict[str, TaskEntry]
    environment: Environment
    missing: tuple[str, ...] | None = None

    def to_json(self) -> str:
        """The document, keys in declared order, with a final newline."""
        return json.dumps(self.model_dump(mode="json"), indent=1, allow_nan=False) + "\n"

    @classmethod
    def from_json(cls, text: str | bytes, *, name: str) -> Manifest:
        """Read the document back.

        Args:
            text: JSON.
            name: of the file, for errors.

        Raises:
            StorageError: damaged, edited by hand, or of another version.
        """
        try:
            values = json.loads(text)
        except ValueError as error:
            raise StorageError(
                f"{name}: damaged, not JSON ({error})",
                hint="delete the file and rerun the same command to write it again",
            ) from error
        _require_version(values, name)
        try:
            return cls.model_validate_json(text)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            place = ".".join(str(part) for part in first["loc"]) or "the document"
            raise StorageError(
                f"{name}: not as bitloss wrote it: `{place}`: {first['msg']}",
                hint=_rerun(values, "delete the file and rerun"),
            ) from error


def _require_version(values: Any, name: str) -> None:
    """Refuse a manifest of another layout, which has other fields or other meanings."""
    found = values.get("manifest_version") if isinstance(values, dict) else None
    if found == MANIFEST_VERSION:
        return
    if not isinstance(found, int) or isinstance(found, bool):
        raise StorageError(
            f"{name}: expected a manifest of version {MANIFEST_VERSION}, got none with a version",
            hint="use the --out directory of a `bitloss compare`",
        )
    newer = found > MANIFEST_VERSION
    raise StorageError(
        f"{name}: expected a manifest of version {MANIFEST_VERSION}, got version {found} of "
        f"{'a newer' if newer else 'an earlier'} bitloss",
        hint="pip install --upgrade bitloss"
        if newer
        else _rerun(values, "score again in a new directory (--out)"),
    )


def _rerun(values: Mapping[str, Any], action: str) -> str:
    """The action and, if the document still has it, the command that scored the run."""
    environment = values.get("environment")
    command = environment.get("command") if isinstance(environment, dict) else None
    return f"{action}: {command}" if isinstance(command, str) and command else action
