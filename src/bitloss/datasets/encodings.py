"""Bytes that are not UTF-8 text, by their right names and with the command that converts them.

Guesses are made for an error's message only: no file is ever read in a guessed encoding.
"""

from __future__ import annotations

import codecs
import re
import shlex
from dataclasses import dataclass
from pathlib import Path

from bitloss.errors import DataError

__all__ = ["HEAD", "decode_utf8", "refuse_head"]

HEAD = 1 << 16
"""Bytes of a file's beginning that are looked at to name what it is."""


@dataclass(frozen=True, slots=True)
class _Kind:
    """What bytes are: for people, for iconv (``""`` if it cannot help), and what else to do."""

    name: str
    iconv: str = ""
    hint: str = ""


_NOT_ASCII = re.compile(rb"[\x80-\xff]")
_BINARY = _Kind("binary data", hint="give a text file")
_LATIN = _Kind("Latin-1", "ISO-8859-1")
_UNPACK = "unpack it, and give the text file in it"
_MAGIC: tuple[tuple[bytes, _Kind], ...] = (
    (b"version https://git-lfs.github.com/spec/",
     _Kind("a Git LFS pointer", hint="fetch the file itself: git lfs pull")),
    (b"\x1f\x8b", _Kind("gzip-compressed data", hint="rename it to end in .gz")),
    (b"PAR1", _Kind("a Parquet file", hint="rename it to end in .parquet")),
    (b"ARROW1", _Kind("an Arrow file", hint="rename it to end in .arrow")),
    (b"\xff\xff\xff\xff", _Kind("an Arrow stream", hint="rename it to end in .arrow")),
    (b"PK\x03\x04", _Kind("a ZIP archive (or an office document)", hint=_UNPACK)),
    (b"\x28\xb5\x2f\xfd", _Kind("zstd-compressed data", hint=_UNPACK + ": zstd -d")),
    (b"\xfd7zXZ\x00", _Kind("xz-compressed data", hint=_UNPACK + ": xz -d")),
    (b"BZh", _Kind("bzip2-compressed data", hint=_UNPACK + ": bzip2 -d")),
    (b"7z\xbc\xaf\x27\x1c", _Kind("a 7z archive", hint=_UNPACK)),
    (b"%PDF-", _Kind("a PDF document", hint="convert it to text: pdftotext")),
    (b"{\\rtf", _Kind("an RTF document", hint="save it as plain text")),
    (b"SQLite format 3\x00", _Kind("an SQLite database", hint="export its text")),
    (b"GGUF", _Kind("a GGUF model", hint="give a text file")),
)  # fmt: skip
_MARKS = (
    (codecs.BOM_UTF32_LE, _Kind("UTF-32", "UTF-32")),
    (codecs.BOM_UTF32_BE, _Kind("UTF-32", "UTF-32")),
    (codecs.BOM_UTF16_LE, _Kind("UTF-16", "UTF-16")),
    (codecs.BOM_UTF16_BE, _Kind("UTF-16", "UTF-16")),
)


def decode_utf8(data: bytes, path: Path, kind: type[DataError], *, offset: int = 0) -> str:
    """Bytes as text, less a byte order mark at the file's beginning.

    Args:
        data: of a complete file, or of a part of it.
        path: of the file, for the error.
        kind: of the error that is raised.
        offset: of the part in the file.

    Raises:
        DataError: it is not UTF-8 text; says what it is, where, and how to convert it.
    """
    mark = 0
    if offset == 0:
        refuse_head(data[:HEAD], path, kind)
        mark = len(codecs.BOM_UTF8) if data.startswith(codecs.BOM_UTF8) else 0
    zero = data.find(b"\0")
    if zero >= 0:
        raise _not_utf8(_name(data, zero), data[zero], offset + zero, path, kind)
    try:
        # A view: a large text is not copied for three bytes.
        return codecs.utf_8_decode(memoryview(data)[mark:], "strict", True)[0]
    except UnicodeDecodeError as error:
        at = mark + error.start
        raise _not_utf8(_name(data, at), data[at], offset + at, path, kind) from error


def refuse_head(head: bytes, path: Path, kind: type[DataError]) -> None:
    """Refuse a file that its first bytes show to be no text.

    Raises:
        DataError: with its right name.
    """
    for magic, what in (*_MARKS, *_MAGIC):
        if head.startswith(magic):
            raise kind(f"expected UTF-8 text, got {what.name} in `{path}`", hint=_hint(what, path))


def _not_utf8(what: _Kind, byte: int, offset: int, path: Path, kind: type[DataError]) -> DataError:
    return kind(
        f"expected UTF-8 text, got {what.name} (byte 0x{byte:02x} at offset {offset} of `{path}`)",
        hint=_hint(what, path),
    )


def _hint(what: _Kind, path: Path) -> str:
    if not what.iconv:
        return what.hint
    # What ends in .gz is unpacked first; iconv reads it from the pipe then.
    packed = path.suffix.lower() == ".gz"
    source = shlex.quote(str(path))
    out = path.with_suffix("") if packed else path
    target = shlex.quote(str(out.with_name(f"{out.stem}.utf8{out.suffix}")))
    convert = f"iconv -f {what.iconv} -t UTF-8"
    command = f"gzip -dc {source} | {convert}" if packed else f"{convert} {source}"
    return f"convert it: {command} > {target}"


def _name(data: bytes, at: int) -> _Kind:
    """What bytes are that are not UTF-8 at an offset."""
    # From the first byte that is not ASCII, where a character surely begins.
    first = _NOT_ASCII.search(data)
    begin = at if first is None else first.start()
    sample = data[begin : begin + HEAD]
    head = data[:HEAD]
    if b"\0" in head:
        return _wide(head)
    control = sum(byte < 0x20 and byte not in b"\t\n\r\f\x1b" for byte in sample)
    if control * 100 > len(sample) * 2:
        return _BINARY
    high = [byte for byte in sample if byte >= 0x80]
    valid = len(sample.decode("utf-8", "ignore").encode()) - (len(sample) - len(high))
    if valid * 10 >= len(high) * 9:
        return _Kind(
            "UTF-8 text with a broken byte",
            hint="copy it again, or remove what is broken with: iconv -c -f UTF-8 -t UTF-8",
        )
    return _utf16_without_mark(head) or _double_byte(sample, high) or _single_byte(sample, high)


def _wide(head: bytes) -> _Kind:
    """Bytes with zeros among them: ASCII in UTF-16 or UTF-32, else no text."""
    usable = head[: len(head) // 4 * 4]
    zeros = [usable[n::4].count(0) for n in range(4)]
    quarter = max(len(usable) // 4, 1)
    filled = [count > 0.9 * quarter for count in zeros]
    if filled == [False, True, True, True] or filled == [False, False, True, True]:
        return _Kind("UTF-32 without a byte order mark", "UTF-32LE")
    if filled == [True, True, True, False] or filled == [True, True, False, False]:
        return _Kind("UTF-32 without a byte order mark", "UTF-32BE")
    return _utf16_without_mark(head) or _BINARY


def _utf16_without_mark(head: bytes) -> _Kind | None:
    for name in ("UTF-16LE", "UTF-16BE"):
        text = codecs.getincrementaldecoder(name)("ignore").decode(head)
        # Latin letters and what is common in Chinese, Japanese and Korean: other pairs of bytes
        # hardly ever fall into these rows only.
        usual = sum(c in "\t\n\r" or " " <= c < "\u0250" or _is_east_asian(c) for c in text)
        spaces = sum(c in " \n\r\t，。、" for c in text)
        if len(head) >= 4 and usual * 20 >= len(text) * 19 and spaces * 100 >= len(text):
            return _Kind("UTF-16 without a byte order mark", name)
    return None


def _is_east_asian(char: str) -> bool:
    return any(
        first <= char < end
        for first, end in (
            ("\u3000", "\u3100"),
            ("\u4e00", "\u9fa6"),
            ("\uac00", "\ud7a4"),
            ("\uff00", "\ufff0"),
        )
    )


def _double_byte(sample: bytes, high: list[int]) -> _Kind | None:
    """Chinese, Japanese and Korean: the encoding whose everyday characters the text is made of."""
    best: tuple[float, _Kind] | None = None
    for codec, what, usual in (
        ("euc_kr", _Kind("EUC-KR (CP949)", "CP949"), ("\uac00", "\ud7a4")),
        ("gb18030", _Kind("GBK/GB18030", "GB18030"), ("\u4e00", "\u9fa6")),
        ("big5", _Kind("Big5", "BIG5"), ("\u4e00", "\u9fa6")),
        ("shift_jis", _Kind("Shift-JIS", "CP932"), ("\u3040", "\u30ff")),
        ("euc_jp", _Kind("EUC-JP", "EUC-JP"), ("\u3040", "\u30ff")),
    ):
        try:
            text = codecs.getincrementaldecoder(codec)("strict").decode(sample)
        except UnicodeDecodeError:
            continue
        wide = [char for char in text if char >= "\u0080"]
        share = sum(usual[0] <= char < usual[1] for char in wide) / max(len(wide), 1)
        share *= _everyday(codec, sample)
        if share > 0.3 and (best is None or share > best[0]):
            best = (share, what)
    return best[1] if best else None


def _everyday(codec: str, sample: bytes) -> float:
    """Share of the pairs of bytes that lie where an encoding has its everyday characters."""
    first, second = {
        "gb18030": (range(0xB0, 0xD8), range(0xA1, 0xFF)),
        "euc_kr": (range(0xB0, 0xC9), range(0xA1, 0xFF)),
        "big5": (range(0xA4, 0xC7), (*range(0x40, 0x7F), *range(0xA1, 0xFF))),
    }.get(codec, (range(0), range(0)))
    if not first:
        return 1.0
    pairs = inside = low = at = 0
    while at + 1 < len(sample):
        if sample[at] < 0x80:
            at += 1
            continue
        # Punctuation (rows A1 to A3) is the same everywhere and tells nothing.
        if sample[at] not in (0xA1, 0xA2, 0xA3):
            pairs += 1
            inside += sample[at] in first and sample[at + 1] in second
            low += sample[at + 1] < 0x80
        at += 2
    # A third of Big5's characters end in an ASCII byte; those of the EUC family never do.
    return inside / pairs if pairs and (codec != "big5" or low) else 0.0


def _single_byte(sample: bytes, high: list[int]) -> _Kind:
    letters = len(high) + sum(chr(byte).isalpha() for byte in sample if byte < 0x80)
    if len(high) > 20 and len(high) * 5 > letters * 2:
        return _Kind(
            "text in another encoding (Windows-1251 or KOI8-R, if it is Russian)", "WINDOWS-1251"
        )
    if any(0x80 <= byte < 0xA0 for byte in high):
        return _Kind("Latin-1 (Windows-1252)", "WINDOWS-1252")
    return _LATIN
