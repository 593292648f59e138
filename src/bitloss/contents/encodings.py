"""Bytes that are not UTF-8 text, by their right names and with the command that converts them.

Guesses are made for an error's message only: no file is ever read in a guessed encoding.
"""

from __future__ import annotations

import codecs
import re
import shlex
from dataclasses import replace
from pathlib import Path

from bitloss.contents.kinds import HEAD, TEXT, Door, FileKind, kind_of
from bitloss.errors import BitlossError

__all__ = ["decode_utf8", "name_of", "refuse_head", "refuse_other", "require_kind"]

_NOT_ASCII = re.compile(rb"[\x80-\xff]")
_SURE = 40
"""Bytes of Chinese, Japanese or Korean that leave no doubt of its encoding."""
_TOO_FEW = 8
_FIND_OUT = "find out in which one it was written, and convert it: iconv -f ENCODING -t UTF-8"
_BINARY = FileKind("binary data")
_CHECK = "convert it, and read the result before you use it"


def decode_utf8(
    data: bytes, path: Path, error: type[BitlossError], *, door: Door = TEXT, offset: int = 0
) -> str:
    """Bytes as text, less a byte order mark at the file's beginning.

    Args:
        data: of a complete file, or of a part of it.
        path: of the file, for the error.
        error: that is raised.
        door: where the file is read.
        offset: of the part in the file.

    Raises:
        BitlossError: `error`: it is not UTF-8 text; says what it is, where, and how to convert it.
    """
    mark = 0
    if offset == 0:
        refuse_head(data[:HEAD], path, error, door=door)
        mark = len(codecs.BOM_UTF8) if data.startswith(codecs.BOM_UTF8) else 0
    zero = data.find(b"\0")
    if zero >= 0:
        raise _not_utf8(_name(data, zero), data[zero], offset + zero, path, error, door)
    try:
        # A view: a large text is not copied for three bytes.
        return codecs.utf_8_decode(memoryview(data)[mark:], "strict", True)[0]
    except UnicodeDecodeError as fault:
        at = mark + fault.start
        raise _not_utf8(_name(data, at), data[at], offset + at, path, error, door) from fault


def refuse_head(head: bytes, path: Path, error: type[BitlossError], *, door: Door = TEXT) -> None:
    """Refuse a file that its first bytes show to be of another kind.

    Raises:
        BitlossError: `error`, with the file's right name.
    """
    kind = kind_of(head)
    if kind is None or head.startswith(door.magic or (b"\0never",)):
        return
    if door.any_text and kind.name.startswith("a web page"):
        return
    if door.expected == kind.name:
        return
    raise error(f"expected {door.expected}, got {kind.name} in `{path}`",
                hint=_hint(kind, path, door))  # fmt: skip


def refuse_other(head: bytes, path: Path, error: type[BitlossError], *, door: Door) -> None:
    """Refuse a file that does not begin as those that a door takes; see `refuse_head`."""
    if head.startswith(door.magic):
        return
    refuse_head(head, path, error, door=door)
    raise error(f"expected {door.expected}, got {name_of(head)} in `{path}`",
                hint=f"give {door.expected}; a download may have been interrupted")  # fmt: skip


def require_kind(path: Path, error: type[BitlossError], *, door: Door) -> None:
    """`refuse_other` for a file that is there.

    Raises:
        BitlossError: `error`; or it cannot be read.
    """
    with path.open("rb") as file:
        refuse_other(file.read(HEAD), path, error, door=door)


def name_of(head: bytes) -> str:
    """What bytes without a mark of their kind are: text, in which encoding, or binary data."""
    if not head:
        return "nothing"
    try:
        codecs.getincrementaldecoder("utf-8")("strict").decode(head)
    except UnicodeDecodeError as error:
        return _name(head, error.start).name
    zero = head.find(b"\0")
    return "text" if zero < 0 else _name(head, zero).name


def _not_utf8(
    what: FileKind, byte: int, offset: int, path: Path, error: type[BitlossError], door: Door
) -> BitlossError:
    return error(
        f"expected {door.expected}, got {what.name} (byte 0x{byte:02x} at offset {offset} of "
        f"`{path}`)",
        hint=_hint(what, path, door),
    )


def _hint(what: FileKind, path: Path, door: Door) -> str:
    if what.suffix and door.by_suffix:
        return f"rename it to end in {what.suffix}"
    if not what.iconv or door.magic:
        return what.hint or f"give {'a text file' if door.by_suffix else door.expected}"
    # What ends in .gz is unpacked first; iconv reads it from the pipe then.
    packed = path.suffix.lower() == ".gz"
    source = shlex.quote(str(path))
    out = path.with_suffix("") if packed else path
    target = shlex.quote(str(out.with_name(f"{out.stem}.utf8{out.suffix}")))
    convert = f"iconv -f {what.iconv} -t UTF-8"
    command = f"gzip -dc {source} | {convert}" if packed else f"{convert} {source}"
    return f"{what.hint or 'convert it'}: {command} > {target}"


def _name(data: bytes, at: int) -> FileKind:
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
        return FileKind(
            "UTF-8 text with a broken byte",
            "copy it again, or remove what is broken with: iconv -c -f UTF-8 -t UTF-8",
        )
    return (
        _utf16_without_mark(head)
        or _double_byte(sample, high)
        or _single_byte(data[max(begin - 1, 0) : begin + HEAD], high)
    )


def _wide(head: bytes) -> FileKind:
    """Bytes with zeros among them: ASCII in UTF-16 or UTF-32, else no text."""
    usable = head[: len(head) // 4 * 4]
    zeros = [usable[n::4].count(0) for n in range(4)]
    quarter = max(len(usable) // 4, 1)
    filled = [count > 0.9 * quarter for count in zeros]
    if filled == [False, True, True, True] or filled == [False, False, True, True]:
        return FileKind("UTF-32 without a byte order mark", iconv="UTF-32LE")
    if filled == [True, True, True, False] or filled == [True, True, False, False]:
        return FileKind("UTF-32 without a byte order mark", iconv="UTF-32BE")
    return _utf16_without_mark(head) or _BINARY


def _utf16_without_mark(head: bytes) -> FileKind | None:
    for name in ("UTF-16LE", "UTF-16BE"):
        text = codecs.getincrementaldecoder(name)("ignore").decode(head)
        # Latin letters and what is common in Chinese, Japanese and Korean: other pairs of bytes
        # hardly ever fall into these rows only.
        usual = sum(c in "\t\n\r" or " " <= c < "\u0250" or _is_east_asian(c) for c in text)
        spaces = sum(c in " \n\r\t，。、" for c in text)
        if len(head) >= 4 and usual * 20 >= len(text) * 19 and spaces * 100 >= len(text):
            return FileKind("UTF-16 without a byte order mark", iconv=name)
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


def _double_byte(sample: bytes, high: list[int]) -> FileKind | None:
    """Chinese, Japanese and Korean: the encoding whose everyday characters the text is made of."""
    best: tuple[float, FileKind] | None = None
    for codec, what, usual in (
        ("euc_kr", FileKind("EUC-KR (CP949)", iconv="CP949"), ("\uac00", "\ud7a4")),
        ("gb18030", FileKind("GBK/GB18030", iconv="GB18030"), ("\u4e00", "\u9fa6")),
        ("big5", FileKind("Big5", iconv="BIG5"), ("\u4e00", "\u9fa6")),
        ("shift_jis", FileKind("Shift-JIS", iconv="CP932"), ("\u3040", "\u30ff")),
        ("euc_jp", FileKind("EUC-JP", iconv="EUC-JP"), ("\u3040", "\u30ff")),
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
    if best is None:
        return None
    if len(high) < _TOO_FEW:
        return FileKind(f"text in another encoding (perhaps {best[1].name})", _FIND_OUT)
    return best[1] if len(high) >= _SURE else replace(best[1], hint=_CHECK)


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


def _single_byte(sample: bytes, high: list[int]) -> FileKind:
    """Western European, Russian, or an encoding that only whoever wrote the text can know."""
    letters = len(high) + sum(chr(byte).isalpha() for byte in sample if byte < 0x80)
    if len(high) > 20 and len(high) * 5 > letters * 2:
        # Small letters are the more frequent ones; the two encodings have them in other rows.
        small = sum(byte >= 0xE0 for byte in high) > sum(0xC0 <= byte < 0xE0 for byte in high)
        name, code = ("Windows-1251", "WINDOWS-1251") if small else ("KOI8-R", "KOI8-R")
        return FileKind(f"text in another encoding ({name}, if it is Russian)", _CHECK, iconv=code)
    if _WITHIN_WORD.search(sample.decode("cp1252", "replace")):
        return FileKind("text in another encoding", _FIND_OUT)
    if any(0x80 <= byte < 0xA0 for byte in high):
        return FileKind("Latin-1 (Windows-1252)", _CHECK, iconv="WINDOWS-1252")
    return FileKind("Latin-1", _CHECK, iconv="ISO-8859-1")


_SIGNS = (
    "\u00a1-\u00a9\u00ab-\u00b6\u00b8\u00b9\u00bb-\u00bf\u00d7\u00f7\u2020-\u2022\u2030\u2039\u20ac"
)
_WITHIN_WORD = re.compile(rf"[^\W\d_][{_SIGNS}][^\W\d_]|[\u00c0-\u00ff]{{4}}")
"""What stands in no word of a Western European language: the bytes are of another alphabet's."""
