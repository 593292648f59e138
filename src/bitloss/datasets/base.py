"""What a corpus is: a function that reads its text, and what is known without reading it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bitloss.datasets.tables import HubTable
from bitloss.types import Corpus

__all__ = ["CorpusLoader", "PublishedCorpus", "published"]

CorpusLoader = Callable[[Path | None], Corpus]
"""Reads a text from a directory with local data; None asks ``BITLOSS_DATA``, then a hub."""


@dataclass(frozen=True, slots=True)
class PublishedCorpus:
    """A `CorpusLoader` of a text that others publish.

    Attributes:
        load: reads the text.
        title: what publications call it.
        hub: where it is on the hub.
        license: of the text.
    """

    load: CorpusLoader
    title: str
    hub: HubTable
    license: str

    def __call__(self, data: Path | None) -> Corpus:
        """Read the text; see `CorpusLoader`."""
        return self.load(data)


def published(
    title: str,
    hub: HubTable,
    license: str,  # noqa: A002 - as it is called everywhere
) -> Callable[[CorpusLoader], PublishedCorpus]:
    """Decorate a `CorpusLoader` with what is known of its text; see `PublishedCorpus`."""
    return lambda load: PublishedCorpus(load, title, hub, license)
