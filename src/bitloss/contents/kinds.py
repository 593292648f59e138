"""Kinds of files and folders, told by how they begin and what is in them.

Every place that reads a file of the user's is a `Door`: it says what it expects, and a file of
another kind is refused there by its own name, with what can be done about it.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path

__all__ = [
    "ARROW",
    "GGUF",
    "GZIP",
    "HEAD",
    "JSON",
    "MODEL",
    "PACK_FILE",
    "PARQUET",
    "SAFETENSORS",
    "TABLE",
    "TEXT",
    "YAML",
    "Door",
    "FileKind",
    "folder_kind",
    "is_pack",
    "kind_of",
]

PACK_FILE = "pack.json"
"""The file that makes a directory a pack: see `bitloss.results.pack`."""

HEAD = 1 << 16
"""Bytes of a file's beginning that are looked at to name what it is."""


@dataclass(frozen=True, slots=True)
class FileKind:
    """What bytes or folders are.

    Attributes:
        name: for people.
        hint: what to do, wherever it is met; ``""`` where that depends on the door.
        suffix: by which the doors for texts and tables know it.
        iconv: the encoding's name for iconv; ``""`` for what it cannot convert.
    """

    name: str
    hint: str = ""
    suffix: str = ""
    iconv: str = ""


@dataclass(frozen=True, slots=True)
class Door:
    """A place where a file is read.

    Attributes:
        expected: what it takes.
        magic: what a file of that kind begins with; empty for text.
        by_suffix: whether it knows other kinds by their suffix.
        any_text: whether every text will do, a page of the web too.
    """

    expected: str
    magic: tuple[bytes, ...] = ()
    by_suffix: bool = False
    any_text: bool = False


# What it takes is text, unless it has a mark that its files begin with.
TEXT = Door("UTF-8 text", by_suffix=True, any_text=True)
TABLE = Door("UTF-8 text", by_suffix=True)
YAML = Door("a YAML file")
JSON = Door("a JSON file")
PARQUET = Door("a Parquet file", (b"PAR1",), by_suffix=True)
ARROW = Door("an Arrow file", (b"ARROW1", b"\xff\xff\xff\xff"), by_suffix=True)
GZIP = Door("gzip-compressed data", (b"\x1f\x8b",))
GGUF = Door("a GGUF file", (b"GGUF",))
SAFETENSORS = Door("a safetensors file", (b"\0no mark",))
MODEL = Door("a .gguf file or a model's directory (with its config.json)", (b"GGUF",))

_UNPACK = "unpack it, and give the file in it"
_LFS = FileKind(
    "a Git LFS pointer", "run `git lfs pull` in the clone, or download it with `hf download`"
)
_MAGIC: tuple[tuple[bytes, FileKind], ...] = (
    (b"\xff\xfe\x00\x00", FileKind("UTF-32", iconv="UTF-32")),
    (b"\x00\x00\xfe\xff", FileKind("UTF-32", iconv="UTF-32")),
    (b"\xff\xfe", FileKind("UTF-16", iconv="UTF-16")),
    (b"\xfe\xff", FileKind("UTF-16", iconv="UTF-16")),
    # The first line of every pointer (github.com/git-lfs/git-lfs, docs/spec.md).
    (b"version https://git-lfs.github.com/spec/", _LFS),
    (b"\x1f\x8b", FileKind("gzip-compressed data", f"{_UNPACK}: gzip -d", ".gz")),
    (b"PAR1", FileKind("a Parquet file", suffix=".parquet")),
    (b"ARROW1", FileKind("an Arrow file", suffix=".arrow")),
    (b"\xff\xff\xff\xff", FileKind("an Arrow stream", suffix=".arrow")),
    (b"PK\x03\x04", FileKind("a ZIP archive (or an office document)", _UNPACK)),
    (b"\x28\xb5\x2f\xfd", FileKind("zstd-compressed data", f"{_UNPACK}: zstd -d")),
    (b"\xfd7zXZ\x00", FileKind("xz-compressed data", f"{_UNPACK}: xz -d")),
    (b"BZh", FileKind("bzip2-compressed data", f"{_UNPACK}: bzip2 -d")),
    (b"7z\xbc\xaf\x27\x1c", FileKind("a 7z archive", _UNPACK)),
    (b"%PDF-", FileKind("a PDF document", "convert it to text: pdftotext")),
    (b"{\\rtf", FileKind("an RTF document", "save it as plain text")),
    (b"SQLite format 3\x00", FileKind("an SQLite database", "export its text")),
    (b"\x89PNG", FileKind("a PNG image")),
    (b"\xff\xd8\xff", FileKind("a JPEG image")),
    (b"GGUF", FileKind("a GGUF model")),
)  # fmt: skip
_WEB = FileKind(
    "a web page (HTML)", "download the file itself; an error page may have been saved in its place"
)
_SAFETENSORS = FileKind("a safetensors file")
_HTML = re.compile(rb"(\xef\xbb\xbf)?\s*<(!doctype\s+html|html[\s>])", re.IGNORECASE)


def kind_of(head: bytes) -> FileKind | None:
    """What a file is that begins so; None for what may be text, or is not known."""
    for magic, kind in _MAGIC:
        if head.startswith(magic):
            return kind
    if _HTML.match(head):
        return _WEB
    length = int.from_bytes(head[:8], "little")
    return _SAFETENSORS if 0 < length < 1 << 30 and head[8:10] == b'{"' else None


def is_pack(folder: Path) -> bool:
    """Whether a path is to be read as a pack: a directory that has its document, or its name."""
    if not folder.is_dir():
        return False
    named = folder.suffix == ".pack" and not (folder / "config.json").is_file()
    return named or (folder / PACK_FILE).is_file()


def folder_kind(folder: Path) -> FileKind | None:
    """What a folder is, where it is one that tools leave; None for any other folder.

    Known are packs, adapters, a hub's cache, one repository in it, and data sets and models as
    their libraries save them.
    """
    if is_pack(folder):
        return FileKind(
            "a pack", "give it as the reference of `bitloss compare`: it has no weights"
        )
    if (folder / "adapter_config.json").is_file() and not (folder / "config.json").is_file():
        return _adapter(folder)
    if (folder / "config.json").is_file():
        return FileKind("a model")
    cached = [*folder.glob("models--*"), *folder.glob("hub/models--*")]
    cached += [*folder.glob("datasets--*"), *folder.glob("hub/datasets--*")]
    if cached:
        return FileKind("a hub's cache", _name_instead(cached[0]))
    repository = re.match(r"(models|datasets)--", folder.name)
    if repository and ((folder / "snapshots").is_dir() or (folder / "refs").is_dir()):
        return FileKind(f"a {repository[1][:-1]}'s folder in a hub's cache", _name_instead(folder))
    if (folder / "state.json").is_file() or (folder / "dataset_dict.json").is_file():
        return FileKind("a data set of the library `datasets`")
    return None


def _adapter(folder: Path) -> FileKind:
    try:
        config = json.loads((folder / "adapter_config.json").read_bytes())
        kind, base = config.get("peft_type"), config.get("base_model_name_or_path")
    except (OSError, ValueError, AttributeError):
        kind = base = None
    name = "a LoRA adapter" if kind in (None, "LORA") else f"an adapter ({kind})"
    return FileKind(
        f"{name} of the model `{base}`" if base else name,
        "merge it into its model first, and give the result: peft's `merge_and_unload` and "
        "`save_pretrained`",
    )


def _name_instead(cached: Path) -> str:
    """How a repository of the cache is named, and where its files lie."""
    kind, *parts = cached.name.split("--")
    snapshots = sorted(cached.glob("snapshots/*"))
    place = f"the folder `{snapshots[-1]}`" if snapshots else "a folder under `snapshots`"
    if kind == "models":
        return f"name the model, for example {'/'.join(parts)}, or give {place}"
    return f"give {place}"
