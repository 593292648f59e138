"""Text files, whatever their kind, as a `Corpus`."""

from __future__ import annotations

from pathlib import Path

from bitloss.datasets.local import decode_utf8, json_objects
from bitloss.datasets.pages import split_pages, split_rows
from bitloss.errors import CorpusError
from bitloss.spec.fingerprint import sha256_text
from bitloss.types import Corpus

__all__ = ["corpus_from_rows", "corpus_from_text", "read_corpus_file", "read_parquet", "read_text"]


def read_corpus_file(path: Path) -> Corpus:
    r"""Read a text file of the user's; the corpus is named after the file.

    - ``*.jsonl``: one object a line with a string under ``text``; each is a row and a document,
      and the raw text is the rows joined by a blank line.
    - ``*.parquet``: a string column ``text``, likewise.
    - ``wiki.*.raw`` and ``wiki.*.tokens``: WikiText, split into rows and pages.
    - anything else: UTF-8 text, one row and one document.

    Raises:
        CorpusError: no file, not UTF-8 (with the byte's offset), empty, or without ``text``.
    """
    if not path.is_file():
        raise CorpusError(f"expected a text file, got `{path}`", hint="give a file, not a folder")
    suffix = path.suffix.lower()
    if suffix == ".jsonl":
        return corpus_from_rows(path.name, _read_jsonl(path), source=str(path))
    if suffix == ".parquet":
        return corpus_from_rows(path.name, read_parquet(path), source=str(path))
    text = read_text(path)
    wikitext = path.name.startswith("wiki.") and suffix in (".raw", ".tokens")
    return corpus_from_text(path.name, text, source=str(path), wikitext=wikitext)


def corpus_from_text(name: str, text: str, *, source: str, wikitext: bool) -> Corpus:
    """A corpus of one text, with WikiText's rows and pages where it is WikiText.

    Raises:
        CorpusError: nothing but white space.
    """
    _require_text(text, source)
    return Corpus(
        name=name,
        digest=sha256_text(text),
        raw=text,
        rows=split_rows(text) if wikitext else (text,),
        documents=split_pages(text) if wikitext else (text,),
        source=source,
    )


def corpus_from_rows(name: str, rows: list[str], *, source: str) -> Corpus:
    """A corpus of independent rows; the raw text is the rows joined by a blank line.

    Raises:
        CorpusError: nothing but white space.
    """
    raw = "\n\n".join(rows)
    _require_text(raw, source)
    return Corpus(name, sha256_text(raw), raw, tuple(rows), tuple(rows), source)


def read_text(path: Path) -> str:
    """The file's text, byte for byte: no newline is translated and no mark removed.

    Raises:
        CorpusError: it cannot be read or is not UTF-8.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise CorpusError(f"cannot read `{path}`: {error.strerror}") from error
    return decode_utf8(data, path, CorpusError)


def read_parquet(path: Path) -> list[str]:
    """The strings of the column ``text``.

    Raises:
        CorpusError: not a parquet file, or without such a column.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        schema = pq.read_schema(path)
        if "text" not in schema.names:
            raise CorpusError(
                f"expected a column `text` in `{path}`, got {', '.join(schema.names) or 'none'}",
                hint="rename the column that holds the text",
            )
        values: list[str] = pq.read_table(path, columns=["text"])["text"].to_pylist()
    except (pa.ArrowException, OSError) as error:
        raise CorpusError(f"`{path}` is not a readable parquet file: {error}") from error
    for row, value in enumerate(values):
        if not isinstance(value, str):
            raise CorpusError(
                f"expected a string in column `text`, got {type(value).__name__} "
                f"in row {row} of `{path}`"
            )
    return values


def _read_jsonl(path: Path) -> list[str]:
    def damaged(number: int, expected: str, got: str) -> CorpusError:
        return CorpusError(
            f"line {number} of `{path}`: expected {expected}, got {got}",
            hint='write one object per line: {"text": "..."}',
        )

    rows = []
    for number, value in json_objects(read_text(path), damaged):
        text = value.get("text")
        if not isinstance(text, str):
            got = (
                type(text).__name__ if "text" in value else ", ".join(sorted(value)) or "no fields"
            )
            raise damaged(number, "a string under `text`", got)
        rows.append(text)
    return rows


def _require_text(text: str, source: str) -> None:
    if not text.strip():
        raise CorpusError(
            f"expected text in `{source}`, got {len(text)} characters of white space",
            hint="give a file with text in it",
        )
