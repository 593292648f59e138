"""A pack's document, ``pack.json``: what a reference was measured on, and every file that holds it.

A pack is a directory with all that is needed to compare variants with a reference whose weights are
elsewhere. `docs/packs.md` describes its files. The document is the last one to be written. It names
the sha256 of every file and ends in a digest of itself, by which a pack is known.
"""

from __future__ import annotations

import json
from pathlib import PurePosixPath
from typing import Annotated, Any, Final, Literal, Self

from pydantic import Field, model_validator

from bitloss.contents.kinds import PACK_FILE
from bitloss.errors import StorageError
from bitloss.results.document import DocumentKind, parse
from bitloss.results.environment import PackUsed
from bitloss.results.manifest import MeasuredFloor
from bitloss.results.values import OMIT_NULL, ChatSettings, Frozen
from bitloss.spec.fingerprint import sha256_text
from bitloss.spec.suite import TaskChoice
from bitloss.types import ModelInfo, ScoredCorpus

__all__ = [
    "PACK",
    "PACK_VERSION",
    "Excerpt",
    "PackChoices",
    "PackDocument",
    "PackedCorpus",
    "PackedFile",
    "PackedHead",
    "PackedReference",
    "PackedTask",
    "PackedTasks",
    "StateType",
]

PACK_VERSION: Final = 1
PACK: Final = DocumentKind("pack", "pack_version", PACK_VERSION, StorageError, "bitloss pack")

StateType = Literal["fp32", "bf16", "int8"]
"""How hidden states are stored: as they were computed, or rounded."""

_AGAIN = "download the pack again, or make it again with `bitloss pack`"


class PackedFile(Frozen):
    """A file of the pack."""

    sha256: str
    bytes: int


class PackedHead(Frozen):
    """How hidden states become logits: ``finish(states @ weight.T + bias)``.

    Attributes:
        weight: name in ``head.safetensors``, shape ``[vocabulary, d_model]``.
        bias: name in it, shape ``[vocabulary]``; empty without one.
        scale: logits are multiplied by it.
        soft_cap: logits become ``soft_cap * tanh(logits / soft_cap)``; null is no cap.
    """

    weight: str
    bias: str
    scale: float
    soft_cap: float | None


class PackedReference(Frozen):
    """The reference.

    Attributes:
        name: as the maker wrote it, without the folders of that machine.
        info: facts about its files.
        implied: keys of a config that was made from something else than a config.json; null for
            one that was read.
        license: what the model's card or files say; empty if they say nothing.
        identity: what decided the hidden states (`bitloss.engines.base.Engine.identity`), as JSON:
            a config may hold numbers that this document may not.
        arithmetic: of the hidden states.
        states: how they are stored.
        tokenizer: digest of the tokenizer.
        eos_ids: tokens that end a text.
        head: see `PackedHead`.
    """

    name: str
    info: ModelInfo
    implied: tuple[str, ...] | None
    license: str
    identity: str
    arithmetic: str
    states: StateType
    tokenizer: str
    eos_ids: tuple[int, ...]
    head: PackedHead


class PackChoices(Frozen):
    """The options that decided what is measured; see `bitloss.spec.run.RunSpec`."""

    suite: str | None
    corpora: tuple[str, ...]
    corpus_limits: dict[str, int]
    tasks: tuple[TaskChoice, ...]
    protocol: str
    max_length: int | None
    stride: int | None
    limit: int | None
    chat: bool
    template_args: dict[str, Any]
    thinking_budget: int | None
    thinking_markers: str
    samples: int | None
    dtype: str
    batch_tokens: int
    seed: int


class PackedCorpus(Frozen):
    """A corpus.

    Attributes:
        facts: text, protocol and windows.
        windows: file of the token ids.
        states: names of the hidden states, one per piece.
        records: fingerprints of the reference's own records, one per piece.
        floors: by engine, its noise floor.
        no_floor: by engine, why it has none.
        rounding: divergence that rounded hidden states add, nats per token; part of each floor.
    """

    facts: ScoredCorpus
    windows: str
    states: tuple[str, ...]
    records: tuple[str, ...] = Field(min_length=1)
    floors: dict[str, MeasuredFloor]
    no_floor: dict[str, str]
    rounding: float = 0.0


class PackedTask(Frozen):
    """A task.

    Attributes:
        choice: as it was asked for, by the task's own name.
        definition: of a task file, its keys without rows; null for a task that bitloss has.
        questions: file of the items and their token ids.
        n_items: items of the complete task.
        chance: the score of a guess; null if it has none.
        license: of the data.
        n_total: items of the data.
        digest: sha256 (hex) of the data.
        source: where the data was read from.
        notes: what a reader of the result should know.
        seed: of sampling.
        chat: how the chat template was applied; null if it was not.
        identity: fingerprint of everything that decides how an answer is graded.
        texts: fingerprints of what the reference wrote; empty if options are scored.
    """

    choice: TaskChoice
    definition: dict[str, Any] | None
    questions: str
    n_items: int
    chance: float | None
    license: str
    n_total: int
    digest: str
    source: str
    notes: tuple[str, ...]
    seed: int
    chat: ChatSettings | None
    identity: str
    texts: tuple[str, ...]


class PackedTasks(Frozen):
    """All tasks: their windows stand in one row, so states and records are of all of them.

    Attributes:
        by_name: in the order of the row.
        states: names of the hidden states, one per piece.
        records: fingerprints of the reference's own records, one per piece.
        floors: by engine and task, the noise floors.
        no_floor: by engine, why it has none.
        rounding: by task, the divergence on gold answers that rounded hidden states add, nats per
            token; part of each floor.
    """

    by_name: dict[str, PackedTask]
    states: tuple[str, ...]
    records: tuple[str, ...]
    floors: dict[str, dict[str, MeasuredFloor]]
    no_floor: dict[str, str]
    rounding: dict[str, float] = Field(default_factory=dict)


class Excerpt(Frozen):
    """Text that the pack holds, as token ids or as it is.

    Attributes:
        data: the corpus or task.
        license: of the data; empty if it is not known.
        text: how much of it, in words.
    """

    data: str
    license: str
    text: str


class PackDocument(Frozen):
    """All of a pack.

    Attributes:
        pack_version: of this document; no other is read.
        bitloss: the version that made it.
        reference: the model.
        choices: what is measured.
        fitted: what was changed to fit the model's context, in sentences.
        corpora: by name.
        tasks: null without tasks.
        excerpts: what text is in it, and under which license.
        versions: of Python and the packages at work.
        cpu: the vector instructions that torch used.
        device: the kind of device.
        files: by path in the pack, all others.
        digest: sha256 (hex) of everything above as canonical JSON.
    """

    pack_version: Literal[1] = PACK_VERSION
    bitloss: str
    reference: PackedReference
    choices: PackChoices
    fitted: tuple[str, ...]
    corpora: dict[str, PackedCorpus]
    tasks: Annotated[PackedTasks | None, OMIT_NULL] = None
    excerpts: tuple[Excerpt, ...]
    versions: dict[str, str]
    cpu: str
    device: str
    files: dict[str, PackedFile]
    digest: str = ""

    @model_validator(mode="after")
    def _files_are_inside(self) -> Self:
        for name in self.files:
            path = PurePosixPath(name)
            if path.is_absolute() or ".." in path.parts or str(path) != name or name == PACK_FILE:
                raise ValueError(f"files: `{name}` is not a path inside the pack")
        return self

    @property
    def nbytes(self) -> int:
        """Bytes of all files but this one."""
        return sum(file.bytes for file in self.files.values())

    @property
    def used(self) -> PackUsed:
        """How a run's result names the pack."""
        return PackUsed(digest=self.digest, reference=self.reference.name, bitloss=self.bitloss)

    def signed(self) -> PackDocument:
        """The document with its digest."""
        return self.model_copy(update={"digest": _digest(self.model_dump(mode="json"))})

    def to_json(self) -> str:
        """The document: fields in declared order, a final newline."""
        return _text(self.model_dump(mode="json"))

    @classmethod
    def from_json(cls, text: bytes, *, name: str) -> PackDocument:
        """Read the document back.

        Args:
            text: JSON.
            name: of the file, for errors.

        Raises:
            StorageError: damaged, edited by hand, or of another version.
        """
        found = parse(cls, text, PACK, file=name, remedy="make the pack again with `bitloss pack`")
        # What is written, not what is read of it: a later field must not change an earlier digest.
        values = json.loads(text)
        if found.digest != _digest(values) or _text(values).encode() != text:
            raise StorageError(
                f"{name}: expected the document of digest {found.digest[:16]}..., got one that was "
                "changed",
                hint=_AGAIN,
            )
        return found


def _digest(values: dict[str, Any]) -> str:
    """Of a document's values, without the digest that they name."""
    bare = {key: value for key, value in values.items() if key != "digest"}
    return sha256_text(json.dumps(bare, sort_keys=True, separators=(",", ":")))


def _text(values: dict[str, Any]) -> str:
    return json.dumps(values, indent=1, ensure_ascii=False) + "\n"
