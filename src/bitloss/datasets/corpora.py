"""`load_corpus`: what a user may write where a text is expected."""

from __future__ import annotations

from pathlib import Path

from bitloss import registry
from bitloss.datasets.base import CorpusLoader
from bitloss.datasets.columns import SEPARATOR
from bitloss.datasets.files import read_corpus_file
from bitloss.errors import CorpusError, UnknownName, not_there
from bitloss.types import Corpus

__all__ = ["corpus_path", "is_corpus_path", "license_of", "load_corpus"]


def load_corpus(name_or_path: str, *, data: Path | None) -> Corpus:
    """Load a text by its registered name, or from a file.

    A registered name wins over a file of the same name in the working directory (write
    ``./wikitext-2`` for the file).

    Args:
        name_or_path: ``"wikitext-2"`` or another name in `bitloss.registry.CORPORA`, or the path
            of a text file, table or folder (`bitloss.datasets.files.read_corpus_file` lists the
            kinds); ``FILE::COLUMN`` names the column of a table that holds the text.
        data: directory with local data; None asks ``BITLOSS_DATA``, then a hub.

    Raises:
        UnknownName: neither a registered name nor anything on disk.
        CorpusError: no such file, or a file that is no text.
        HubError: a registered text that is not on disk, and no hub can give it.
        MissingDependency: the hub is needed and the package `datasets` is not installed.
    """
    if name_or_path in registry.CORPORA:
        loader: CorpusLoader = registry.load("corpus", registry.CORPORA, name_or_path)
        return loader(data)
    path, column = _split(name_or_path)
    if path.exists():
        return read_corpus_file(path, column)
    if len(path.parts) > 1 or path.suffix:
        raise not_there(
            CorpusError(
                f"no text at `{name_or_path}`: no such file",
                hint=f"check the path, or name one of: {', '.join(sorted(registry.CORPORA))}",
            )
        )
    raise UnknownName("corpus", name_or_path, registry.CORPORA)


def license_of(name_or_path: str) -> str:
    """The license of a registered text; empty for any other, which is the user's own."""
    if name_or_path not in registry.CORPORA:
        return ""
    return str(
        getattr(registry.load("corpus", registry.CORPORA, name_or_path), "license", "Apache-2.0")
    )


def is_corpus_path(text: str) -> bool:
    """Whether a file or folder is there, less the name of a column after it."""
    return corpus_path(text).exists()


def corpus_path(text: str) -> Path:
    """The file or folder that a text is read from, less the name of a column after it."""
    return _split(text)[0]


def _split(text: str) -> tuple[Path, str | None]:
    """The path and the column that a user's text names; a file of just that name wins."""
    path = Path(text).expanduser()
    file, separator, column = text.rpartition(SEPARATOR)
    if path.exists() or not separator or not column:
        return path, None
    named = Path(file).expanduser()
    return (named, column) if named.exists() else (path, None)
