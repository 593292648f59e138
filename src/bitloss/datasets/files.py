"""Text files, tables and folders of a user's, whatever their kind, as a `Corpus`."""

from __future__ import annotations

import hashlib
import shlex
from collections.abc import Iterable
from pathlib import Path

from bitloss.contents.encodings import decode_utf8
from bitloss.contents.kinds import folder_kind
from bitloss.datasets.folders import folder_parts
from bitloss.datasets.opening import kind_suffix, read_bytes
from bitloss.datasets.pages import split_pages, split_rows
from bitloss.datasets.row_texts import TABLE_SUFFIXES, read_texts
from bitloss.errors import CorpusError
from bitloss.spec.json_text import parse_json
from bitloss.types import Corpus

__all__ = ["corpus_from_rows", "corpus_from_text", "read_corpus_file", "read_rows", "read_text"]

_SNIFFED = 1 << 24
"""Characters up to which a text is parsed to find out that it is JSON."""


def read_corpus_file(path: Path, column: str | None = None) -> Corpus:
    r"""Read a file or folder of the user's; the corpus is named after it.

    - Tables (`TABLE_SUFFIXES`): JSON and JSON lines, values separated by commas or tabs under a
      line of names, Parquet and Arrow. The text is the column that the user names, else ``text``,
      else the only one of strings. Each row is a row and a document; nulls are left out.
    - Folders: a data set as the library `datasets` saves it, tables of one split, or text files,
      each of which is a row and a document.
    - ``wiki.*.raw`` and ``wiki.*.tokens``: WikiText, split into rows and pages.
    - Anything else: UTF-8 text, one row and one document.

    Each but folders may be gzipped (``.gz``). The raw text of several rows is the rows joined by a
    blank line. Counts of nulls and empty rows are in `Corpus.notes`.

    Args:
        path: of the file or folder.
        column: of a table, None to choose it.

    Raises:
        CorpusError: no text, not UTF-8 (what it is, with the byte's offset), no column that is
            surely the text, or rows that are damaged (with their line).
    """
    name = path.name or path.resolve().name
    if column is not None:
        name = f"{name}::{column}"
    if path.is_dir():
        rows, notes = _folder_rows(path, column)
        return corpus_from_rows(name, rows, source=str(path), notes=notes)
    if kind_suffix(path) in TABLE_SUFFIXES:
        rows, notes = read_rows([path], column)
        return corpus_from_rows(name, rows, source=str(path), notes=notes)
    _refuse_column(path, column)
    text, notes = _read_marked(path)
    _refuse_json(path, text)
    wikitext = path.name.startswith("wiki.") and path.suffix.lower() in (".raw", ".tokens")
    return corpus_from_text(name, text, source=str(path), wikitext=wikitext, notes=notes)


def _folder_rows(folder: Path, column: str | None) -> tuple[list[str], tuple[str, ...]]:
    """The texts of a folder, and notes; one that is known to be no text is refused by its name."""
    try:
        parts = folder_parts(folder)
        if kind_suffix(parts.files[0]) in TABLE_SUFFIXES:
            rows, notes = read_rows(parts.files, column)
        else:
            _refuse_column(folder, column)
            rows, notes = _counted([read_text(file) for file in parts.files], folder, "files")
    except CorpusError as error:
        kind = folder_kind(folder)
        if kind is None or kind.name.startswith("a data set"):
            raise
        hint = kind.hint if "dataset" in kind.name else "give a folder of texts, or of one table"
        raise CorpusError(f"expected a text, got {kind.name} in `{folder}`", hint=hint) from error
    return rows, (*parts.notes, *notes)


def corpus_from_text(
    name: str, text: str, *, source: str, wikitext: bool, notes: Iterable[str] = ()
) -> Corpus:
    """A corpus of one text, with WikiText's rows and pages where it is WikiText.

    Raises:
        CorpusError: nothing but white space.
    """
    _require_text(text, source)
    return Corpus(
        name=name,
        digest=_digest(text),
        raw=text,
        rows=split_rows(text) if wikitext else (text,),
        documents=split_pages(text) if wikitext else (text,),
        source=source,
        notes=tuple(notes),
    )


def corpus_from_rows(
    name: str, rows: list[str], *, source: str, notes: Iterable[str] = ()
) -> Corpus:
    """A corpus of independent rows; the raw text is the rows joined by a blank line.

    Raises:
        CorpusError: nothing but white space.
    """
    raw = "\n\n".join(rows)
    _require_text(raw, source)
    kept = tuple(rows)
    return Corpus(name, _digest(raw), raw, kept, kept, source, tuple(notes))


def read_text(path: Path) -> str:
    """The file's text: no newline is translated; a byte order mark is left out.

    Raises:
        CorpusError: it cannot be read or is not UTF-8.
    """
    return decode_utf8(read_bytes(path, CorpusError), path, CorpusError)


def read_rows(paths: Iterable[Path], column: str | None) -> tuple[list[str], tuple[str, ...]]:
    """The texts of one or several tables of one kind, in order, and notes on what they lack.

    Args:
        paths: of the tables, at least one.
        column: that holds the text, None to choose it.

    Raises:
        CorpusError: see `read_texts`; or two tables have their text in different columns.
    """
    rows: list[str | None] = []
    chosen = ""
    first: Path | None = None
    for path in paths:
        read = read_texts(path, column)
        if first is not None and read.column != chosen:
            raise CorpusError(
                f"expected the text in column `{chosen}` of `{path}`, as in `{first}`, got "
                f"`{read.column}`",
                hint="give one of the files, or files with the same columns",
            )
        first, chosen = first or path, read.column
        rows += read.texts
    assert first is not None
    texts, notes = _counted(rows, first, "rows")
    if column is None and chosen not in ("", "text"):
        notes = (f"the text is the column `{chosen}`", *notes)
    return texts, notes


def _counted(
    rows: list[str] | list[str | None], path: Path, unit: str
) -> tuple[list[str], tuple[str, ...]]:
    """The rows that there are; how many are null (left out) or empty (kept)."""
    texts = [row for row in rows if row is not None]
    nulls, empty = len(rows) - len(texts), sum(not text.strip() for text in texts)
    notes = []
    if nulls:
        notes.append(f"{nulls:,} of {len(rows):,} {unit} are null: left out")
    if empty:
        notes.append(f"{empty:,} of {len(rows):,} {unit} are empty")
    if not texts:
        raise CorpusError(
            f"expected text in `{path}`, got {len(rows):,} {unit}, all of them null"
            if rows
            else f"expected text in `{path}`, got no {unit} and 0 characters of white space",
            hint="give a file with text in it",
        )
    return texts, tuple(notes)


def _read_marked(path: Path) -> tuple[str, tuple[str, ...]]:
    """The text, and a note if a byte order mark stood before it."""
    data = read_bytes(path, CorpusError)
    marked = data.startswith(b"\xef\xbb\xbf")
    text = decode_utf8(data, path, CorpusError)
    return text, ("the byte order mark at the beginning is left out",) * marked


def _refuse_column(path: Path, column: str | None) -> None:
    if column is not None:
        raise CorpusError(
            f"expected a table for column `{column}`, got the text `{path}`",
            hint=f"remove `::{column}`, or give a file that ends in {', '.join(TABLE_SUFFIXES)}",
        )


def _refuse_json(path: Path, text: str) -> None:
    """Raise CorpusError for JSON under another name, whose braces are no text."""
    begin = text[:_SNIFFED].lstrip()
    if begin[:1] not in ("{", "["):
        return
    line, _, rest = begin.partition("\n")
    for candidate, suffix in ((line, ".jsonl" if rest.strip() else ".json"), (begin, ".json")):
        try:
            value = parse_json(candidate, allow_halves=True)
        except ValueError:
            continue
        # A first line `[1]` may be a footnote's.
        if value and isinstance(value, dict if candidate is line else dict | list):
            renamed = path.with_suffix(suffix)
            raise CorpusError(
                f"expected text in `{path}`, got JSON",
                hint="rename it, so that its strings are read and not its braces: "
                f"mv {shlex.quote(str(path))} {shlex.quote(str(renamed))}",
            )


def _digest(text: str) -> str:
    """sha256 (hex) of a text in UTF-8, without a second copy of it."""
    digest = hashlib.sha256()
    step = 1 << 20
    for at in range(0, len(text), step):
        digest.update(text[at : at + step].encode())
    return digest.hexdigest()


def _require_text(text: str, source: str) -> None:
    if text.isspace() or not text:
        raise CorpusError(
            f"expected text in `{source}`, got {len(text)} characters of white space",
            hint="give a file with text in it",
        )
