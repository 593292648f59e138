"""The smallest format, protocol, corpus and task: each is what one file of a new plug holds.

As a module it is a format: safetensors whose tensors are stored negated, as their config says.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import ClassVar

import torch

from bitloss.datasets.base import published
from bitloss.datasets.files import corpus_from_text
from bitloss.datasets.tables import HubTable
from bitloss.formats.storage.checkpoint import DecodedCheckpoint, Facts, Parameter, dense_parameters
from bitloss.formats.storage.directory import open_directory, quant_method
from bitloss.protocols.windows import encode, finish_plan, full_windows
from bitloss.tasks.base import HarnessTask, Item, Prompt, Task, TaskFacts, TaskItems, unfiltered
from bitloss.tasks.choices import grade_acc
from bitloss.types import Averaging, Corpus, TextTokenizer, WindowPlan

__all__ = ["TASK", "WordWindows", "corpus", "matches", "open_checkpoint"]

METHOD = "negated"


def matches(path: Path) -> bool:
    """Whether the config says that the tensors are negated."""
    return quant_method(path) == METHOD


def open_checkpoint(path: Path, name: str | None = None) -> DecodedCheckpoint:
    """Open a model whose tensors are stored negated."""
    directory = open_directory(path, name)
    stored, unused = dense_parameters(directory, list(directory.shards.tensors))
    parameters = {
        name: Parameter(parameter.shape, partial(_negated, parameter))
        for name, parameter in stored.items()
    }
    return DecodedCheckpoint(directory, Facts(METHOD, 16), parameters, unused)


def _negated(parameter: Parameter, dtype: torch.dtype) -> torch.Tensor:
    return -parameter.read(dtype)


@dataclass(frozen=True, slots=True)
class WordWindows:
    """Windows of a few tokens side by side; its parameter has a name that no other has.

    Attributes:
        width: tokens of a window.
    """

    width: int = 24

    name: ClassVar[str] = "dummy"
    averaging: ClassVar[Averaging] = "tokens"

    def plan(self, corpus: Corpus, tokenizer: TextTokenizer) -> WindowPlan:
        """See `PerplexityProtocol.plan`."""
        ids, counts = encode(self, corpus, corpus.raw, tokenizer, at_least=self.width)
        windows = full_windows(ids, self.width, len(ids) // self.width)
        return finish_plan(self, windows, counts)


@published("Dummy text", HubTable("org/dummy", None, "test"), license="MIT")
def corpus(data: Path | None) -> Corpus:
    """A sentence, again and again."""
    del data
    text = "The red fox lives in the old mill by the river. " * 40
    return corpus_from_text("dummy", text, source="made up", wikitext=False)


def _load(data: Path | None, *, shots: int | None = None) -> TaskItems:
    del data, shots
    items = tuple(
        Item(f"dummy/{number}", Prompt(f"{number} +"), options=("one", "two"), gold=number % 2)
        for number in range(8)
    )
    return TaskItems(items, "digest", "made up")


TASK = Task(
    TaskFacts(
        name="dummy",
        capability="math",
        metrics=("acc",),
        source="made up",
        license="CC0",
        n_items=8,
        chance=0.5,
        title="Dummy questions",
        hub=HubTable("org/dummy-questions", None, "test"),
        harness=HarnessTask("dummy_in_the_harness", 7.0, unfiltered("acc")),
    ),
    _load,
    grade_acc,
)
