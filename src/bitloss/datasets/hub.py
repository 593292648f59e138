"""Rows of text from the hub, through the library `datasets`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from itertools import islice
from typing import Any

from bitloss.errors import HubError, MissingDependency

__all__ = ["hub_rows"]

_TIMEOUT = 10.0


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

    # Left to itself the library asks a hub that does not answer for half a minute.
    silence = _silence(repository)
    try:
        with _cache_only(datasets) if silence else nullcontext():
            table = datasets.load_dataset(
                repository, config, split=split, streaming=first is not None
            )
            return [row["text"] for row in islice(table, first)]
    # The library raises OSError without a network, data set or cache, ValueError for a
    # configuration or split that is not there, and lets errors of the transport through.
    except (OSError, ValueError, DatasetsError, httpx2.HTTPError) as error:
        raise HubError(
            f"cannot get `{repository}` ({config}, {split}) from the hub: {silence or error}",
            hint=f"give a folder with {expected_file}: --data DIR or BITLOSS_DATA=DIR",
        ) from error


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
        return "it is not in the cache, and HF_HUB_OFFLINE forbids to ask"
    except (httpx2.TransportError, OSError) as fault:
        return f"it is not in the cache, and there is no answer ({fault})"
    return ""


@contextmanager
def _cache_only(datasets: Any) -> Iterator[None]:
    before = datasets.config.HF_HUB_OFFLINE
    datasets.config.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        datasets.config.HF_HUB_OFFLINE = before
