"""Rows of text from the hub, through the library `datasets`."""

from __future__ import annotations

from itertools import islice

from bitloss.errors import HubError, MissingDependency

__all__ = ["hub_rows"]


def hub_rows(
    repository: str,
    config: str,
    split: str,
    *,
    expected_file: str,
    first: int | None = None,
) -> list[str]:
    """The column ``text`` of a data set on the hub.

    Args:
        repository: ``"Salesforce/wikitext"``.
        config: the data set's configuration.
        split: ``"test"``, ``"validation"`` or ``"train"``.
        expected_file: where a local copy would lie, for the hint.
        first: stream the first so many rows and download no more; None is all.

    Raises:
        HubError: the hub cannot be reached or does not have it.
        MissingDependency: `datasets` is not installed.
    """
    try:
        import datasets
    except ImportError as error:
        raise MissingDependency("datasets", f"`{repository}` from the hub", extra="hub") from error
    import httpx2
    from datasets.exceptions import DatasetsError

    try:
        table = datasets.load_dataset(repository, config, split=split, streaming=first is not None)
        return [row["text"] for row in islice(table, first)]
    # The library raises OSError without a network, data set or cache, ValueError for a
    # configuration or split that is not there, and lets errors of the transport through.
    except (OSError, ValueError, DatasetsError, httpx2.HTTPError) as error:
        raise HubError(
            f"cannot get `{repository}` ({config}, {split}) from the hub: {error}",
            hint=f"give a folder with {expected_file}: --data DIR or BITLOSS_DATA=DIR",
        ) from error
