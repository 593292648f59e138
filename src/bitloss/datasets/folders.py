"""Folders of a user's: which of their files are the text, and in which order."""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

from bitloss.datasets.opening import kind_suffix
from bitloss.datasets.row_texts import TABLE_SUFFIXES
from bitloss.errors import CorpusError
from bitloss.spec.json_text import parse_json

__all__ = ["FolderParts", "arrow_files", "folder_parts", "shards"]

_TEXTS = (".txt", ".md", ".text", ".rst")
_ABOUT = re.compile(r"(?i)(readme|licen[cs]e|copying|notice|changelog|provenance)([._-].*)?")
# The hub's names of a split's parts: `test-00000-of-00002.parquet`, also with a hash after it.
_SHARD = re.compile(r"^(?P<split>.+?)-(?P<index>\d{5})-of-(?P<count>\d{5})\b")
_STATE = "state.json"
_SPLITS = "dataset_dict.json"


@dataclass(frozen=True, slots=True)
class FolderParts:
    """The files of a folder that are its text.

    Attributes:
        files: all of one kind, in order.
        notes: what was left out.
    """

    files: tuple[Path, ...]
    notes: tuple[str, ...] = ()


def folder_parts(folder: Path) -> FolderParts:
    """The files that a folder's text is in.

    A folder that the library `datasets` saved has them in its `state.json`. Otherwise they are the
    text files below it, sorted by path, or the tables, if those are one split; files like
    `README.md` and hidden ones are left out.

    Raises:
        CorpusError: there are none, there are texts and tables, or there are several splits.
    """
    if (folder / _STATE).is_file() or (folder / _SPLITS).is_file():
        return FolderParts(arrow_files(folder))
    texts: list[Path] = []
    tables: dict[str, list[Path]] = defaultdict(list)
    left_out: list[str] = []
    for file in sorted(folder.rglob("*")):
        inside = file.relative_to(folder)
        if any(part.startswith(".") for part in inside.parts) or not file.is_file():
            continue
        suffix = kind_suffix(file)
        if _ABOUT.fullmatch(file.name):
            left_out.append(inside.as_posix())
        elif suffix in _TEXTS:
            texts.append(file)
        elif suffix in TABLE_SUFFIXES:
            tables[suffix].append(file)
        else:
            left_out.append(inside.as_posix())
    return FolderParts(_of_one_kind(folder, texts, tables), _left_out(left_out))


def arrow_files(folder: Path) -> tuple[Path, ...]:
    """The files of a data set that the library `datasets` saved with `save_to_disk`.

    Raises:
        CorpusError: it has several splits, or files are missing.
    """
    if not (folder / _STATE).is_file():
        splits = _read_json(folder / _SPLITS).get("splits")
        names = [str(split) for split in splits] if isinstance(splits, list) else []
        if len(names) == 1:
            return arrow_files(folder / names[0])
        raise CorpusError(
            f"expected one data set in `{folder}`, got the splits {', '.join(names) or 'none'}",
            hint=f"name the folder of a split: {folder / (names or ['test'])[-1]}",
        )
    state = _read_json(folder / _STATE)
    if state.get("_indices_data_files") or state.get("_indices_files"):
        raise CorpusError(
            f"`{folder}` is a selection of rows, saved by an old version of the library `datasets`",
            hint="save it again: dataset.flatten_indices().save_to_disk(...)",
        )
    listed = state.get("_data_files")
    entries = listed if isinstance(listed, list) else []
    names = [str(entry["filename"]) for entry in entries if isinstance(entry, dict)]
    files = tuple(folder / Path(name).name for name in names)
    missing = [file.name for file in files if not file.is_file()]
    if missing or not files:
        raise CorpusError(
            f"`{folder}` lacks {', '.join(missing[:3]) or 'its list of files'}",
            hint="copy the complete folder again",
        )
    return files


def shards(files: list[Path]) -> dict[str, list[Path]]:
    """Files by split, each split's parts in order.

    Raises:
        CorpusError: a part of a split is missing.
    """
    splits: dict[str, list[Path]] = defaultdict(list)
    for file in files:
        match = _SHARD.match(file.name)
        name = file.name.removesuffix(".gz").removesuffix(kind_suffix(file))
        split = match["split"] if match else re.sub(r"\d+$", "", name).rstrip("-_.") or "all"
        splits[(file.parent / split).as_posix()].append(file)
        if match is None:
            continue
        count = int(match["count"])
        there = sum(
            f"-of-{match['count']}" in other.name
            for other in files
            if other.parent == file.parent and other.name.startswith(f"{split}-")
        )
        if there != count:
            raise CorpusError(
                f"expected {count} parts of `{split}` in `{file.parent}`, got {there}",
                hint="download the complete folder",
            )
    return dict(splits)


def _of_one_kind(
    folder: Path, texts: list[Path], tables: dict[str, list[Path]]
) -> tuple[Path, ...]:
    kinds = [f"{len(texts)} text files"] * bool(texts)
    kinds += [f"{len(files)} {suffix} files" for suffix, files in tables.items()]
    if len(kinds) != 1:
        raise CorpusError(
            f"expected text files or tables of one kind in `{folder}`, got "
            f"{' and '.join(kinds) or 'none'}",
            hint="name one of the files, or a folder with files of one kind",
        )
    if texts:
        return tuple(texts)
    ((_, files),) = tables.items()
    splits = shards(files)
    if len(splits) > 1:
        shown = ", ".join(Path(name).name for name in list(splits)[:5])
        raise CorpusError(
            f"expected the parts of one table in `{folder}`, got {len(splits)} tables: {shown}",
            hint=f"name one of the files: {files[0]}",
        )
    return tuple(files)


def _left_out(files: list[str]) -> tuple[str, ...]:
    if not files:
        return ()
    shown = ", ".join(files[:3]) + (f" and {len(files) - 3} more" if files[3:] else "")
    return (f"files left out: {shown}",)


def _read_json(path: Path) -> dict[str, object]:
    try:
        value = parse_json(path.read_bytes())
    except (OSError, ValueError) as error:
        raise CorpusError(
            f"cannot read `{path}`: {error}", hint="copy the complete folder again"
        ) from error
    return value if isinstance(value, dict) else {}
