"""A published table: a local file as upstream or the hub has it, else the hub; is it complete?"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bitloss.datasets.local import data_directory
from bitloss.datasets.snapshots import local_or_hub_table
from bitloss.datasets.tables import HubTable, Table, deviations, read_jsonl

__all__ = ["PublishedTable", "load_published"]


@dataclass(frozen=True, slots=True)
class PublishedTable:
    """A table that is the same for everybody.

    Attributes:
        name: for notes: ``"ARC-Easy test"``.
        file: below the data directory: ``"arc/ARC-Easy_test.jsonl"``.
        columns: that the file's rows must have.
        rows: how many there are.
        hub: where it is on the hub.
        digest: sha256 (hex) of the file, as `Table.digest` has it; empty where it is not known.
        hub_columns: that the hub's rows must have, where they are not those of the file.
        folders: names of its folder in the data directory, besides the repository's, where it may
            lie as the hub has it; never one that another table's repository may have.
    """

    name: str
    file: str
    columns: tuple[str, ...]
    rows: int
    hub: HubTable
    digest: str = ""
    hub_columns: tuple[str, ...] = ()
    folders: tuple[str, ...] = ()


def load_published(
    data: Path | None,
    table: PublishedTable,
    *,
    read: Callable[[Path, tuple[str, ...]], Table] = read_jsonl,
) -> tuple[Table, tuple[str, ...]]:
    """Read a published table, and say in notes what is not as published.

    Args:
        data: the user's directory; None asks ``BITLOSS_DATA``, then the hub.
        table: which.
        read: reads the local file.

    Returns:
        The table (`Table.from_hub` says which columns to expect) and notes, empty where all is
        as published.

    Raises:
        TaskDataError: the file is not in the directory, or damaged.
        HubError: there is no directory, and the hub cannot be reached.
        MissingDependency: likewise, and `datasets` is not installed.
    """
    directory = data_directory(data)
    if directory is not None and (directory / table.file).is_file():
        rows = read(directory / table.file, table.columns)
    else:
        columns = table.hub_columns or table.columns
        rows = local_or_hub_table(
            data, table.hub, expected=table.file, columns=columns, folders=table.folders
        )
    return rows, deviations(table.name, [rows], rows=table.rows, digest=table.digest)
