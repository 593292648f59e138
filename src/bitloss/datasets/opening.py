"""Files opened for reading, gzipped or not, and their text line by line."""

from __future__ import annotations

import csv
import gzip
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, cast

from bitloss.contents.encodings import decode_utf8, refuse_head, refuse_other
from bitloss.contents.kinds import GZIP, HEAD, TABLE
from bitloss.errors import DataError

__all__ = ["kind_suffix", "long_fields", "opened", "read_bytes", "text_lines"]

_LONGEST_FIELD = 2**31 - 1


def kind_suffix(path: Path) -> str:
    """The suffix that tells what a file holds, in lower case: that before ``.gz``, if there is."""
    name = path.name.lower().removesuffix(".gz")
    return Path(name).suffix


@contextmanager
def opened(path: Path, kind: type[DataError]) -> Iterator[IO[bytes]]:
    """Open a file for reading; one that ends in ``.gz`` is unpacked on the way.

    Args:
        path: of the file.
        kind: of the error that is raised.

    Raises:
        DataError: it cannot be read, or is no complete gzip file.
    """
    try:
        packed = path.suffix.lower() == ".gz"
        if packed:
            with path.open("rb") as stream:
                refuse_other(stream.read(HEAD), path, kind, door=GZIP)
        with cast(IO[bytes], gzip.open(path) if packed else path.open("rb")) as stream:
            yield stream
    except (OSError, EOFError, zlib.error) as error:
        raise kind(
            f"cannot read `{path}`: {getattr(error, 'strerror', None) or error}",
            hint="download or copy it again",
        ) from error


def read_bytes(path: Path, kind: type[DataError]) -> bytes:
    """All bytes of a file, unpacked; see `opened`."""
    with opened(path, kind) as stream:
        return stream.read()


def text_lines(path: Path, kind: type[DataError]) -> Iterator[tuple[int, str]]:
    r"""The lines of a UTF-8 file with their numbers from 1, read as they are asked for.

    Only ``"\n"`` ends a line, which keeps it. A byte order mark is left out.

    Raises:
        DataError: it cannot be read, or is not UTF-8 text; see `decode_utf8`.
    """
    with opened(path, kind) as stream:
        refuse_head(stream.read(HEAD), path, kind, door=TABLE)
    with opened(path, kind) as stream:
        offset = 0
        for number, line in enumerate(stream, start=1):
            try:
                text = line.decode("utf-8")
                damaged = "\0" in text
            except UnicodeDecodeError:
                damaged = True
            if damaged:
                text = decode_utf8(line, path, kind, door=TABLE, offset=offset)
            yield number, text.removeprefix("\ufeff") if number == 1 else text
            offset += len(line)


@contextmanager
def long_fields() -> Iterator[None]:
    """Let `csv.reader` read fields of more than 131,072 characters; whole documents are longer."""
    before = csv.field_size_limit(_LONGEST_FIELD)
    try:
        yield
    finally:
        csv.field_size_limit(before)
