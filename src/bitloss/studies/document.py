"""What the documents of all studies have in common: how they are written, read and shown."""

from __future__ import annotations

import os
from pathlib import Path
from typing import ClassVar, Self

from bitloss import registry
from bitloss.errors import DataError
from bitloss.files import write_text
from bitloss.results.document import DocumentKind, parse
from bitloss.results.values import Frozen

__all__ = ["StudyDocument"]


class StudyDocument(Frozen):
    """A study's result as a file; satisfied by subclasses that say what kind they are.

    Attributes:
        kind: what the document is called, its version, and the command that writes it.
        short: the file's name without its ending, which is that of its view in the registry, too.
    """

    kind: ClassVar[DocumentKind]
    short: ClassVar[str]

    def to_json(self) -> str:
        """The document, keys in declared order, null for non-finite numbers, a final newline."""
        return self.model_dump_json(indent=1) + "\n"

    def write(self, path: Path) -> None:
        """Write the document.

        Raises:
            StorageError: the system refuses.
        """
        write_text(path, self.to_json())

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Read the document back.

        Raises:
            DataError: it cannot be read, is damaged, or is of another version.
        """
        try:
            text = Path(path).read_bytes()
        except OSError as error:
            raise DataError(
                f"cannot read {path}: {error.strerror or error}",
                hint=f"give the {cls.short}.json that `{cls.kind.command}` wrote",
            ) from error
        return parse(cls, text, cls.kind, file=str(path), remedy=cls.kind.rewrite)

    def __str__(self) -> str:
        return str(registry.load("view", registry.VIEWS, self.short)(self))
