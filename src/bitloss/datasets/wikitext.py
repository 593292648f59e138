"""WikiText, raw: the text that most published perplexities are of.

Merity et al. 2016, "Pointer Sentinel Mixture Models" (arXiv:1609.07843). WikiText-2 and
WikiText-103 share their test and validation texts. On disk, in this order, below the data
directory: the archive's layout (``wikitext-2-raw/wiki.test.raw``), the file itself, or the hub's
(``wikitext-2-raw-v1/test-00000-of-00001.parquet``, also within the repository's folder).
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from bitloss.datasets.base import published
from bitloss.datasets.files import corpus_from_text, read_rows, read_text
from bitloss.datasets.hub import hub_rows
from bitloss.datasets.local import data_directory, find_file
from bitloss.datasets.pages import join_rows
from bitloss.datasets.snapshots import find_snapshot
from bitloss.datasets.tables import HubTable
from bitloss.types import Corpus

__all__ = ["wikitext_2", "wikitext_2_valid", "wikitext_103"]

# sha256 of the archive's files: every published figure is of exactly these bytes.
_DIGESTS = {
    "test": "173c87a53759e0201f33e0ccf978e510c2042d7f2cb78229d9a50d79b9e7dd08",
    "valid": "4cd0f6876d07a413aa911261ff6d363c72d757d47f0fdd6015702014c89cb9c7",
}


_LICENSE = "CC-BY-SA-3.0, GFDL"
_HUB_2 = HubTable("Salesforce/wikitext", "wikitext-2-raw-v1", "test")
_HUB_2_VALID = replace(_HUB_2, split="validation")
_HUB_103 = replace(_HUB_2, config="wikitext-103-raw-v1")


@published("WikiText-2", _HUB_2, _LICENSE)
def wikitext_2(data: Path | None) -> Corpus:
    """WikiText-2 raw, test: 4,358 rows, 62 pages, 1,290,590 bytes."""
    return _load("wikitext-2", "test", _HUB_2, data)


@published("WikiText-2", _HUB_2_VALID, _LICENSE)
def wikitext_2_valid(data: Path | None) -> Corpus:
    """WikiText-2 raw, validation: 3,760 rows, 60 pages."""
    return _load("wikitext-2-valid", "valid", _HUB_2_VALID, data)


@published("WikiText-103", _HUB_103, _LICENSE)
def wikitext_103(data: Path | None) -> Corpus:
    """WikiText-103 raw, test: the same text as WikiText-2's."""
    return _load("wikitext-103", "test", _HUB_103, data)


def _load(name: str, split: str, hub: HubTable, data: Path | None) -> Corpus:
    """Read the split from disk, else from the hub.

    A text whose bytes are not the published ones is loaded, and `Corpus.source` says so: a
    tokenized WikiText or a Windows copy gives other perplexities than the published.
    """
    directory = data_directory(data)
    folders = ("wikitext-103-raw", "wikitext-2-raw") if "103" in name else ("wikitext-2-raw",)
    raw = (*(f"{folder}/wiki.{split}.raw" for folder in folders), f"wiki.{split}.raw")
    parquet = tuple(f"{folder}-v1/{hub.split}-*.parquet" for folder in folders)
    path = find_file(directory, raw + parquet)
    snapshot = find_snapshot(directory, hub) if directory and path is None else ()
    if snapshot:
        text, source = join_rows(read_rows(snapshot, "text")[0]), str(snapshot[0])
    elif path is None:
        text, source = join_rows(hub_rows(hub, expected_file=raw[0])), str(hub)
    elif path.suffix == ".parquet":
        text, source = join_rows(read_rows([path], "text")[0]), str(path)
    else:
        text, source = read_text(path), str(path)
    corpus = corpus_from_text(name, text, source=source, wikitext=True)
    if corpus.digest != _DIGESTS[split]:
        note = f"sha256 {corpus.digest[:8]}, the published text has {_DIGESTS[split][:8]}"
        return replace(corpus, source=f"{source} ({note})")
    return corpus
