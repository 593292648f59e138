"""The manifest of a run, ``RUN/manifest.json``: which records belong to which row of the result.

The runner writes it; the analysis, the reports and the gate read it. It holds no number that the
records do not have, except the noise floors.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final, Literal, Self

from pydantic import Field, model_validator

from bitloss.errors import StorageError
from bitloss.results.document import DocumentKind, parse, read_plainly, require_version
from bitloss.results.environment import Environment, PackUsed
from bitloss.results.served import Way
from bitloss.results.values import ChatSettings, Failure, Frozen, NoiseFloor, Stopped
from bitloss.types import ModelInfo, ScoredCorpus

__all__ = [
    "MANIFEST",
    "MANIFEST_FILE",
    "MANIFEST_VERSION",
    "UNFINISHED_FILE",
    "CorpusEntry",
    "ExactRecords",
    "Manifest",
    "MeasuredFloor",
    "ModelEntry",
    "RandomOrder",
    "ReferenceEntry",
    "ScoredVariant",
    "TaskEntry",
    "can_be_reported",
    "refuse_other_layout",
]

MANIFEST_VERSION: Final = 6
MANIFEST: Final = DocumentKind("manifest", "manifest_version", MANIFEST_VERSION, StorageError)
MANIFEST_FILE, UNFINISHED_FILE = "manifest.json", "unfinished.json"


class ReferenceEntry(Frozen):
    """The reference.

    Attributes:
        name: as the user wrote it.
        info: facts about its files.
        pack: the pack that it was read from; null if its weights were.
    """

    name: str
    info: ModelInfo
    pack: PackUsed | None = None


class ModelEntry(Frozen):
    """A variant of the run.

    Attributes:
        name: as the user wrote it.
        info: facts about its files; null if it could not be made or opened.
        recipe: how bitloss made it; null for files that were there.
        error: why it has no results, or not all of them.
        seeded: whether another seed would make another model of the recipe.
        replicate_of: if it is the second or a further replicate of a recipe, the first one's name;
            null for what the user named.
        run_of: if it is a variant run in a further way, its name in the first; null for others.
        way: that way; null for others.
        unsupported: whether the error is that the way's engine cannot run such a model.
    """

    name: str
    info: ModelInfo | None
    recipe: dict[str, Any] | None
    error: Failure | None
    seeded: bool = False
    replicate_of: str | None = None
    run_of: str | None = None
    way: Way | None = None
    unsupported: bool = False


class MeasuredFloor(Frozen):
    """The divergence that the measurement itself makes when nothing was quantized.

    Attributes:
        dtype: the arithmetic it belongs to.
        kl_divergence: mean, nats per token.
        n_scored: tokens it was measured on.
        records: fingerprints of the records it was computed from.
        answer_change: mean over gold answers (`bitloss.results.tasks.VariantTask`); None for a
            corpus.
    """

    dtype: str
    kl_divergence: float
    n_scored: int
    records: tuple[str, ...] = ()
    answer_change: float | None = None

    @property
    def as_result(self) -> NoiseFloor:
        """The floor as a result has it."""
        return NoiseFloor(
            kl_divergence=self.kl_divergence,
            dtype=self.dtype,
            n_scored=self.n_scored,
            answer_change=self.answer_change,
        )


class RandomOrder(Frozen):
    """A corpus that was scored in random order.

    Attributes:
        blocks: place in the text of the first window of each block that could be drawn.
    """

    blocks: tuple[int, ...]


class ExactRecords(Frozen):
    """Records of a variant near the noise floor that was scored again in a more exact arithmetic.

    Attributes:
        dtype: that arithmetic.
        n_windows: windows scored again.
        records: fingerprints, one per piece.
        drawn: whether these windows were drawn at random from all of the text's; otherwise they
            are its first ones, or those of looks in random order.
    """

    dtype: str
    n_windows: int
    records: tuple[str, ...] = Field(min_length=1)
    drawn: bool = False


class ScoredVariant(Frozen):
    """A variant's records on one corpus.

    Attributes:
        records: fingerprints, one per piece, in the order of the text.
        stopped: why no more was scored; null if all of the corpus was requested.
        exact: see `ExactRecords`; null if it was scored once.
        notes: what a reader of its results should know.
        top_k: whether only likely tokens are known (`bitloss.engines.top_k.TOP_K_COLUMNS`).
    """

    records: tuple[str, ...] = Field(min_length=1)
    stopped: Stopped | None
    exact: ExactRecords | None
    notes: tuple[str, ...]
    top_k: bool = False

    @property
    def most_exact(self) -> tuple[str, ...]:
        """The records that differences between the two models come from."""
        return self.records if self.exact is None else self.exact.records


class CorpusEntry(Frozen):
    """One corpus of the run.

    Attributes:
        facts: text, protocol and windows.
        dtype: arithmetic of the scoring.
        noise_floor: of the first way; null without variants.
        floors: by label, of further ways; and by name, of variants in them.
        reference: fingerprints of the reference's own records, one per piece.
        random_order: null if the corpus was scored from beginning to end.
        variants: by name.
    """

    facts: ScoredCorpus
    dtype: str
    noise_floor: MeasuredFloor | None
    reference: tuple[str, ...] = Field(min_length=1)
    random_order: RandomOrder | None
    variants: dict[str, ScoredVariant]
    floors: dict[str, MeasuredFloor] = Field(default_factory=dict)

    def drawn_from(self, exact: ExactRecords | None = None) -> int | None:
        """How many windows those of the records, or of exact ones, were drawn from at random; None
        if they are neighbors.
        """
        if exact is not None and exact.drawn:
            return self.facts.n_windows_total
        return self.facts.drawn_from


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
        split: of the data; empty if it is not on the hub.
        groups: by subject, the group it belongs to.
        gold: what the gold answers are: the correct ``option``, the data's own ``answer``, or what
            the ``reference`` wrote.
        chat: how the chat template was applied; null if it was not.
        n_items: items that the limit left.
        n_total: items of the data.
        notes: what a reader should know.
        dtype: arithmetic of the scoring.
        noise_floor: on the first gold answers; null without variants or gold answers.
        questions: fingerprint of the record of questions.
        items: by model, the fingerprint of its item records.
        totals: by model, metrics that are no mean over items, made of all of them together.
        absent: by variant that has none although it did not fail, why: its engine cannot score
            options.
        stopped: by variant, why no more items were evaluated; null if all were. Else item records
            say in ``drawn`` which items of a model were.
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
    split: str = ""
    groups: dict[str, str]
    gold: Literal["option", "answer", "reference"]
    chat: ChatSettings | None = None
    n_items: int
    n_total: int
    notes: tuple[str, ...]
    dtype: str
    noise_floor: MeasuredFloor | None
    questions: str
    items: dict[str, str]
    totals: dict[str, dict[str, float]] = Field(default_factory=dict)
    absent: dict[str, str] = Field(default_factory=dict)
    stopped: dict[str, Stopped] | None = None


class Manifest(Frozen):
    """All of a run's records, and what they depend on.

    Attributes:
        manifest_version: of this document; no other is read.
        reference: the reference.
        variants: in the order in which they were named.
        corpora: by name, in the order in which they were named.
        tasks: by name, likewise.
        speeds: by variant, the fingerprint of the record of its speed, if that was measured.
        environment: what the results depend on besides models, texts and tasks.
        missing: what an unfinished run does not have yet, in sentences; null for a finished one.
        digests: sha256 (hex) of each record's file, by fingerprint; empty while unfinished.
    """

    manifest_version: Literal[6] = MANIFEST_VERSION
    reference: ReferenceEntry
    variants: tuple[ModelEntry, ...]
    corpora: dict[str, CorpusEntry]
    tasks: dict[str, TaskEntry]
    speeds: dict[str, str] = Field(default_factory=dict)
    environment: Environment
    missing: tuple[str, ...] | None = None
    digests: dict[str, str] = Field(default_factory=dict)

    @property
    def replicates(self) -> dict[str, tuple[str, ...]]:
        """By the variants that the user named, the names of their replicates, the first of which
        is the variant itself; one that was not replicated is its only one.
        """
        named: dict[str, tuple[str, ...]] = {}
        for variant in self.variants:
            if variant.run_of is not None:
                continue
            first = variant.replicate_of or variant.name
            named[first] = (*named.get(first, ()), variant.name)
        return named

    @model_validator(mode="after")
    def _replicates_have_a_first(self) -> Self:
        for first, (name, *_) in self.replicates.items():
            if first != name:
                raise ValueError(f"`{name}` is a replicate of `{first}`, which is not before it")
        return self

    @model_validator(mode="after")
    def _every_record_has_an_owner(self) -> Self:
        variants = {variant.name for variant in self.variants}
        for name, corpus in self.corpora.items():
            _require_known(f"corpora.{name}.variants", corpus.variants, variants)
        for name, task in self.tasks.items():
            _require_known(f"tasks.{name}.items", task.items, {*variants, self.reference.name})
            if self.reference.name not in task.items:
                raise ValueError(f"tasks.{name}.items lacks the reference `{self.reference.name}`")
        return self

    @property
    def records(self) -> tuple[str, ...]:
        """The fingerprints of all records that results are made of, each once."""
        found: list[str] = []
        for corpus in self.corpora.values():
            found += corpus.reference
            for variant in corpus.variants.values():
                found += (*variant.records, *variant.most_exact)
        for task in self.tasks.values():
            found += (task.questions, *task.items.values())
        found += self.speeds.values()
        return tuple(dict.fromkeys(found))

    def to_json(self) -> str:
        """The document: fields in declared order, a final newline.

        Raises:
            ValueError: a number is infinite or NaN.
        """
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
        return parse(cls, text, MANIFEST, file=name)


def refuse_other_layout(run: Path) -> None:
    """Refuse a run directory that another version of bitloss laid out, before scoring into it.

    Its records have other names or meanings, and its manifest would be overwritten. A damaged
    manifest may be: the same command writes it again.

    Args:
        run: the directory; may be absent or empty.

    Raises:
        StorageError: names the file, its version, and the command to score again elsewhere.
    """
    for file in (run / MANIFEST_FILE, run / UNFINISHED_FILE):
        values = read_plainly(file)
        if MANIFEST.version_of(values) is not None:
            require_version(values, MANIFEST, file=str(file))


def can_be_reported(run: Path) -> bool:
    """Whether a run directory has a manifest of this version, from which results can be made."""
    return any(
        MANIFEST.version_of(read_plainly(run / name)) == MANIFEST_VERSION
        for name in (MANIFEST_FILE, UNFINISHED_FILE)
    )


def _require_known(field: str, names: Iterable[str], known: Iterable[str]) -> None:
    if unknown := set(names).difference(known):
        raise ValueError(f"{field} names `{min(unknown)}`, which is not a model of the run")
