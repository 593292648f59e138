"""Rows of data sets on the hub, through the library `datasets`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from itertools import islice
from typing import Any

from bitloss.datasets.tables import HubTable, Row, Table, table_from_rows
from bitloss.errors import HubError, MissingDependency

__all__ = ["hub_rows", "hub_table"]

_TIMEOUT = 10.0


def hub_rows(table: HubTable, *, expected_file: str, first: int | None = None) -> list[str]:
    """The column ``text`` of a data set on the hub.

    Args:
        table: which.
        expected_file: where a local copy would lie, for the hint.
        first: stream the first so many rows and download no more; None is all.

    Raises:
        HubError: the hub cannot be reached or does not have it.
        MissingDependency: `datasets` is not installed.
    """
    rows = _fetch(table, expected_file, first)
    return [row["text"] for row in rows]


def hub_table(table: HubTable, *, expected: str, columns: tuple[str, ...] = ()) -> Table:
    """All rows of a split, with all their columns.

    Args:
        table: which.
        expected: where a local copy would lie, for the hint.
        columns: that it must have.

    Raises:
        HubError: the hub cannot be reached or does not have it, or not these columns.
        MissingDependency: `datasets` is not installed.
    """
    rows = _fetch(table, expected, None)
    lacking = [column for column in columns if rows and column not in rows[0]]
    if lacking:
        raise HubError(
            f"expected columns {', '.join(columns)} in `{table.repository}` "
            f"({_place(table)}), got {', '.join(rows[0])}",
            hint=_local_hint(expected),
        )
    return table_from_rows(rows, str(table))


def _fetch(table: HubTable, expected: str, first: int | None) -> list[Row]:
    repository = table.repository
    try:
        import datasets
    except ImportError as error:
        raise MissingDependency("datasets", f"`{repository}` from the hub", extra="hub") from error
    import httpx2
    from datasets.exceptions import DatasetsError

    # Left to itself the library asks a hub that does not answer for half a minute.
    silence = _silence(repository)
    try:
        with _cache_only(datasets) if silence else nullcontext():
            rows = datasets.load_dataset(
                repository, table.config, split=table.split, streaming=first is not None
            )
            return [dict(row) for row in islice(rows, first)]
    # The library raises OSError without a network, data set or cache, ValueError for a
    # configuration or split that is not there, RuntimeError for a data set that is a program (no
    # longer supported since 4.0), and lets errors of the transport through.
    except (OSError, ValueError, RuntimeError, DatasetsError, httpx2.HTTPError) as error:
        raise HubError(
            f"cannot get `{repository}` ({_place(table)}) from the hub: {silence or error}",
            hint=_local_hint(expected),
        ) from error


def _place(table: HubTable) -> str:
    return ", ".join(part for part in (table.config, table.split) if part)


def _local_hint(expected: str) -> str:
    return f"give a folder with {expected}: --data DIR or BITLOSS_DATA=DIR"


def _silence(repository: str) -> str:
    """Why the hub does not answer one question; empty where it answers, whatever it says."""
    import httpx2
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled

    try:
        HfApi(library_name="bitloss").dataset_info(repository, timeout=_TIMEOUT)
    except HfHubHTTPError:
        return ""
    except OfflineModeIsEnabled:
        return "it is not in the cache, and HF_HUB_OFFLINE is set"
    except (httpx2.TransportError, OSError) as error:
        return f"it is not in the cache, and there is no answer ({error})"
    return ""


@contextmanager
def _cache_only(datasets: Any) -> Iterator[None]:
    before = datasets.config.HF_HUB_OFFLINE
    datasets.config.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        datasets.config.HF_HUB_OFFLINE = before
