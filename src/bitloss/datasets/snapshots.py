"""Tables of the hub in a local directory, in the layouts that its own tools leave there.

Below the data directory a repository is looked for as `hf download --local-dir` leaves it
(``owner/name``, ``name`` or the name of the task), and as its cache keeps it
(``datasets--owner--name/snapshots/...``). Within the repository, which files a split is in is said
by the ``configs`` of its README; without one, by the hub's usual names:

    CONFIG/test-00000-of-00001.parquet     data/test-00000-of-00001-0123456789abcdef.parquet
    CONFIG/test/0000.parquet               the branch refs/convert/parquet
    data/name_test.jsonl                   where names of files end in the split's
    CONFIG/test/state.json                 what the library `datasets` saves (`save_to_disk`)
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from bitloss.contents.encodings import decode_utf8, refuse_other
from bitloss.contents.kinds import ARROW, HEAD, PARQUET, TABLE
from bitloss.datasets.folders import arrow_files, shards
from bitloss.datasets.hub import hub_table
from bitloss.datasets.local import data_directory
from bitloss.datasets.opening import kind_suffix, opened
from bitloss.datasets.row_texts import TABLE_SUFFIXES
from bitloss.datasets.tables import (
    HubTable,
    Row,
    Table,
    read_csv,
    read_jsonl,
    table_from_rows,
)
from bitloss.errors import TaskDataError
from bitloss.spec.json_text import parse_json
from bitloss.spec.yaml_text import YamlFault, load_yaml

__all__ = ["file_rows", "find_snapshot", "local_or_hub_table"]

_AGAIN = "download it again: it is damaged"


def local_or_hub_table(
    data: Path | None,
    table: HubTable,
    *,
    expected: str,
    columns: tuple[str, ...] = (),
    folders: Sequence[str] = (),
    origin: str = "",
) -> Table:
    """A table of the hub: from the local directory if there is one, else from the hub.

    Args:
        data: the user's directory; None asks ``BITLOSS_DATA``, then the hub.
        table: which.
        expected: where the upstream's own file would lie, for the error.
        columns: that it must have.
        folders: further names that the repository's folder may have.
        origin: where the upstream's file can be had, for the error; the hub by default.

    Returns:
        The rows, with the hub's columns and a digest of the rows (`Table.from_hub`).

    Raises:
        TaskDataError: there is a directory, and the table is not in it or is damaged.
        HubError: there is no directory, and the hub cannot be reached.
        MissingDependency: likewise, and `datasets` is not installed.
    """
    directory = data_directory(data)
    if directory is None:
        return hub_table(table, expected=expected, columns=columns)
    files = find_snapshot(directory, table, folders)
    if not files:
        raise _absent(directory, table, expected, origin or str(table))
    rows = [row for file in files for row in file_rows(file)]
    source = str(files[0] if len(files) == 1 else files[0].parent)
    lacking = [column for column in columns if rows and column not in rows[0]]
    if lacking:
        raise TaskDataError(
            f"expected columns {', '.join(columns)} in `{source}`, got {', '.join(rows[0])}",
            hint=f"download {table.repository} again",
        )
    return table_from_rows(rows, source)


def find_snapshot(
    directory: Path, table: HubTable, folders: Sequence[str] = ()
) -> tuple[Path, ...]:
    """The files of a table below a directory, in order; empty where it is not there.

    Raises:
        CorpusError: some parts of the table are there and others are missing.
    """
    for root in _roots(directory, table.repository, folders):
        files = _listed_in_readme(root, table) or _usual_names(root, table)
        if files:
            return files
    return ()


# Where the repository is -----------------------------------------------------------------------


def _roots(directory: Path, repository: str, folders: Sequence[str]) -> Iterator[Path]:
    owner, _, name = repository.rpartition("/")
    names = (f"{owner}/{name}", f"{owner}--{name}", name, *folders)
    for candidate in (*names, *(f"datasets/{name}" for name in names)):
        if (directory / candidate).is_dir():
            yield directory / candidate
    for base in (directory, directory / "hub"):
        yield from _cached(base / f"datasets--{owner}--{name}")
    # The directory may be the repository itself, if it says so.
    if directory.resolve().name in (name, f"{owner}--{name}", *folders):
        yield directory


def _cached(folder: Path) -> Iterator[Path]:
    """The snapshot that the main branch is at, then the others."""
    main = folder / "refs" / "main"
    revision = main.read_text().strip() if main.is_file() else ""
    snapshots = sorted((folder / "snapshots").glob("*"))
    yield from sorted(snapshots, key=lambda path: path.name != revision)


# Which of its files are the split --------------------------------------------------------------


def _listed_in_readme(root: Path, table: HubTable) -> tuple[Path, ...]:
    for config in _configs(root / "README.md"):
        name = config.get("config_name", "default")
        only = table.config is None and (name == "default" or config.get("default") is True)
        if name != table.config and not only:
            continue
        listed = config.get("data_files")
        entries = listed if isinstance(listed, list) else [listed]
        for entry in entries:
            if not isinstance(entry, dict) or entry.get("split") != table.split:
                continue
            paths = entry.get("path")
            patterns = paths if isinstance(paths, list) else [paths]
            files = [
                file
                for pattern in patterns
                if isinstance(pattern, str) and pattern and ".." not in pattern
                for file in sorted(root.glob(pattern.lstrip("/")))
                if file.is_file() and kind_suffix(file) in TABLE_SUFFIXES
            ]
            if files:
                shards(files)
                return tuple(files)
    return ()


def _configs(readme: Path) -> list[dict[str, Any]]:
    """What the hub reads of a README: the list `configs` of its YAML head, empty without one."""
    try:
        text = readme.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError):
        return []
    head = re.match(r"---\s*\n(.*?)\n---\s*(\n|$)", text, re.DOTALL)
    if head is None:
        return []
    try:
        value = load_yaml(head[1])
    except YamlFault:
        return []
    configs = value.get("configs") if isinstance(value, dict) else None
    entries = configs if isinstance(configs, list) else []
    return [entry for entry in entries if isinstance(entry, dict)]


def _usual_names(root: Path, table: HubTable) -> tuple[Path, ...]:
    if table.config is not None:
        places = [root / table.config, root / "data" / table.config]
    else:
        places = [root / "data", root, root / "default"]
    for place in places:
        if files := _split_files(place, table.split):
            return files
    if table.config is not None:
        return ()
    # A data set of one configuration may have a folder of its name: any, if it is the only one.
    nested = [
        files for place in sorted(root.glob("*/")) if (files := _split_files(place, table.split))
    ]
    if len(nested) == 1:
        return nested[0]
    return _only_file(root) if table.split == "train" and not nested else ()


def _split_files(place: Path, split: str) -> tuple[Path, ...]:
    """The parts of a split in a folder: names that begin with the split's, else that end in it."""
    kinds = "|".join(re.escape(suffix) for suffix in TABLE_SUFFIXES)
    parts = r"([-.]\d{5}-of-\d{5})?(-[0-9a-f]{16})?"
    for prefix in ("", r".+[-._]"):
        own = re.compile(rf"({prefix}){re.escape(split)}{parts}({kinds})(\.gz)?")
        matches = [own.fullmatch(file.name) for file in sorted(place.glob(f"*{split}*"))]
        found = [match for match in matches if match is not None]
        same = [place / match[0] for match in found if match.group(1, 4) == found[0].group(1, 4)]
        # With a prefix, several tables could be meant; without, one in two formats.
        if found and (not prefix or len(same) == len(found)):
            shards(same)
            return tuple(same)
    folder = place / split
    if (folder / "state.json").is_file():
        return arrow_files(folder)
    return tuple(file for file in sorted(folder.glob("*.parquet")) if file.stem.isdecimal())


def _only_file(root: Path) -> tuple[Path, ...]:
    """The one table of a repository that names no split: the hub calls it the training split."""
    files = [
        file
        for place in (root, root / "data")
        for file in sorted(place.glob("*"))
        if file.is_file() and kind_suffix(file) in TABLE_SUFFIXES
    ]
    return tuple(files) if len(files) == 1 else ()


# Rows ------------------------------------------------------------------------------------------


def file_rows(path: Path) -> Sequence[Row]:
    """Rows of a table of any kind in `TABLE_SUFFIXES` but tab-separated values.

    Raises:
        TaskDataError: it is damaged, or of another kind than its name says.
    """
    suffix = kind_suffix(path)
    if suffix in (".parquet", ".arrow"):
        return _arrow_rows(path, suffix)
    if suffix == ".csv":
        return read_csv(path, (), header=True).rows
    if suffix in (".jsonl", ".ndjson"):
        return read_jsonl(path, ()).rows
    return _json_rows(path)


def _arrow_rows(path: Path, suffix: str) -> list[Row]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    with opened(path, TaskDataError) as stream:
        door = PARQUET if suffix == ".parquet" else ARROW
        refuse_other(stream.read(HEAD), path, TaskDataError, door=door)
    try:
        with opened(path, TaskDataError) as stream:
            if suffix == ".parquet":
                table = pq.read_table(stream)
            else:
                whole = stream.read(6) == b"ARROW1"
                stream.seek(0)
                reader = pa.ipc.open_file if whole else pa.ipc.open_stream
                table = reader(stream).read_all()
            rows: list[Row] = table.to_pylist()
    except (pa.ArrowException, UnicodeDecodeError) as error:
        raise TaskDataError(f"cannot read `{path}`: {error}", hint=_AGAIN) from error
    return rows


def _json_rows(path: Path) -> Sequence[Row]:
    """A list of objects, or, as the hub has them too, one object per line."""
    with opened(path, TaskDataError) as stream:
        begin = stream.read(64).lstrip(b"\xef\xbb\xbf \r\n\t")
    if not begin.startswith(b"["):
        return read_jsonl(path, ()).rows
    try:
        with opened(path, TaskDataError) as stream:
            text = decode_utf8(stream.read(), path, TaskDataError, door=TABLE)
        value = parse_json(text)
    except ValueError as error:
        raise TaskDataError(f"cannot read `{path}`: {error}", hint=_AGAIN) from error
    return [row for row in value if isinstance(row, dict)]


def _absent(directory: Path, table: HubTable, expected: str, origin: str) -> TaskDataError:
    name = table.repository.rpartition("/")[2]
    target = shlex.quote(str(directory / name))
    return TaskDataError(
        f"`{directory}` has no {expected}",
        hint=f"copy the data set there in its upstream layout (from {origin}), or as the hub has "
        f"it: hf download {table.repository} --repo-type dataset --local-dir {target}; or omit "
        "--data and unset BITLOSS_DATA to fetch it",
    )
