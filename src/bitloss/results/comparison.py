"""The result of a run: ``RUN/comparison.json``, and what Python code gets.

The models in this package are the format; ``comparison.schema.json`` beside this file is made from
them (``python -m bitloss.results.schema``). Nothing in a result depends on when, where or how fast
it was measured: the same run gives the same bytes. Losses, entropies and divergences are in nats
per token. A number that does not exist (the bound of an interval from too few windows, an infinite
perplexity) is null.
"""

from __future__ import annotations

import os
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, Self

from pydantic import model_validator

from bitloss import registry
from bitloss.errors import DataError, UnknownName, not_there
from bitloss.files import write_text
from bitloss.results.document import DocumentKind, dumps, parse
from bitloss.results.environment import Environment
from bitloss.results.manifest import can_be_reported
from bitloss.results.models import ReferenceResult, VariantResult
from bitloss.results.values import OMIT_NULL, Frozen
from bitloss.results.verdicts import Answer
from bitloss.wording import short_names

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["COMPARISON", "SCHEMA_VERSION", "Comparison", "FrameRows"]

FrameRows = Literal["corpora", "tasks", "capabilities"]

SCHEMA_VERSION: Final = 3
COMPARISON: Final = DocumentKind("comparison", "schema_version", SCHEMA_VERSION, DataError)


class Comparison(Frozen):
    """What a run found: the reference, every variant beside it, and what it comes to.

    ``print(comparison)`` gives plain tables, a notebook draws them, `to_dataframe` has every
    number.

    Attributes:
        schema_version: of this document; no other is read.
        reference: its own results.
        variants: in the order in which they were named.
        answer: what the verdicts come to; null without variants.
        environment: what the results depend on besides models, text and tasks.
        missing: what an unfinished run was to do and did not, in sentences; null for a finished
            one.
    """

    schema_version: Literal[3] = SCHEMA_VERSION
    reference: ReferenceResult
    variants: tuple[VariantResult, ...] = ()
    answer: Annotated[Answer | None, OMIT_NULL] = None
    environment: Environment
    missing: Annotated[tuple[str, ...] | None, OMIT_NULL] = None

    @model_validator(mode="after")
    def _one_protocol_per_corpus(self) -> Self:
        for variant in self.variants:
            for name, corpus in variant.corpora.items():
                beside = self.reference.corpora.get(name)
                if beside is None or beside.protocol != corpus.protocol:
                    raise ValueError(
                        f"variant `{variant.name}` and the reference were not scored under one "
                        f"protocol on `{name}`"
                    )
        return self

    def to_json(self) -> str:
        """The document: fields in declared order, numbers as Python writes them, one final newline.

        Infinite and NaN numbers become null, with a note beside them.
        """
        return dumps(self)

    @classmethod
    def from_json(cls, text: str | bytes, *, name: str = "comparison.json") -> Comparison:
        """Read the document back.

        Args:
            text: JSON.
            name: of the file, for errors; what stands beside it decides what the error's hint is.

        Raises:
            DataError: damaged, not a comparison, or of another version.
        """
        run = Path(name).parent
        remedy = ""
        if can_be_reported(run):
            command = ["bitloss", "report", str(run), "--format", "json", "--out", name]
            remedy = f"write it again from the run's records: {shlex.join(command)}"
        return parse(cls, text, COMPARISON, file=name, remedy=remedy)

    def write(self, path: str | os.PathLike[str]) -> None:
        """Write the document, completely or not at all.

        Raises:
            StorageError: the file cannot be written.
        """
        write_text(Path(path), self.to_json())

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Comparison:
        """Read a result: the file, or the run directory it is in.

        Raises:
            DataError: there is none, or see `from_json`.
        """
        source = Path(path)
        if source.is_dir():
            source = source / "comparison.json"
        try:
            text = source.read_bytes()
        except OSError as error:
            if (source.parent / "records").is_dir() and not source.exists():
                raise DataError(
                    f"{source.parent}: not a finished run (no {source.name})",
                    hint="rerun the same `bitloss compare` to resume; `bitloss report` shows what "
                    "is complete",
                ) from error
            wrong = DataError(
                f"cannot read {source}: {error.strerror or error}",
                hint="give a finished run's directory or its comparison.json",
            )
            raise (not_there(wrong) if isinstance(error, FileNotFoundError) else wrong) from error
        return cls.from_json(text, name=str(source))

    def __getitem__(self, name: str) -> VariantResult:
        """A variant by its name, or by its short name in tables (``q4.gguf``).

        Raises:
            UnknownName: there is none; the hint lists the variants.
        """
        for variant in self.variants:
            if variant.name == name:
                return variant
        for variant in self.variants:
            if self.short_names[variant.name] == name:
                return variant
        raise UnknownName("variant", name, (variant.name for variant in self.variants))

    @property
    def short_names(self) -> dict[str, str]:
        """By full name, a short name: see `bitloss.wording.short_names`."""
        return short_names([variant.name for variant in self.variants])

    def to_dataframe(self, rows: FrameRows = "corpora") -> pd.DataFrame:
        """One row per model and corpus, task or capability, one column per number, the reference
        first.

        Args:
            rows: ``corpora``, ``tasks`` or ``capabilities``.

        Raises:
            UnknownName: other rows.
            MissingDependency: pandas is not installed.
        """
        frame: pd.DataFrame = registry.load("view", registry.VIEWS, "dataframe")(self, rows)
        return frame

    def __repr__(self) -> str:
        names = ", ".join(variant.name for variant in self.variants)
        return f"<Comparison of {self.reference.name} with: {names or 'nothing'}>"

    def __str__(self) -> str:
        return str(_view("text", self))

    def _repr_html_(self) -> str:
        return str(_view("html", self))


def _view(name: str, comparison: Comparison) -> Any:
    """Draw it with a view from the registry: a document does not know who draws it."""
    return registry.load("view", registry.VIEWS, name)(comparison)
