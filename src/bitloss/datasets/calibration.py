"""The four calibration texts, and the choice of sequences from a text.

On disk they are exllamav3's calibration files, ``calibration/exl3_*.utf8`` below the data
directory. Without them, ``web`` is the start of C4's validation split and ``wiki`` of WikiText-2's
training split; code and technical text have no canonical source on a hub.
"""

from __future__ import annotations

import itertools
from pathlib import Path

from bitloss.datasets.files import corpus_from_rows, corpus_from_text, read_rows, read_text
from bitloss.datasets.hub import hub_rows
from bitloss.datasets.local import data_directory, find_file
from bitloss.datasets.pages import join_rows
from bitloss.datasets.row_texts import read_texts
from bitloss.datasets.snapshots import find_snapshot
from bitloss.datasets.tables import HubTable
from bitloss.errors import CorpusError, HubError, UsageError
from bitloss.types import Corpus, TextTokenizer

__all__ = ["calibration_tokens", "code", "technical", "web", "wiki"]

_C4 = HubTable("allenai/c4", "en", "validation")
_WIKITEXT = HubTable("Salesforce/wikitext", "wikitext-2-raw-v1", "train")
# Rows of C4 hold about 2 kB each: as much text as the local file has.
_C4_ROWS = 640


def web(data: Path | None) -> Corpus:
    """Web pages: the local C4 sample, else the first 640 rows of C4 English's validation split."""
    local = _local("web", "c4", data)
    if local is not None:
        return local
    directory = data_directory(data)
    if directory is not None and (files := find_snapshot(directory, _C4)):
        texts = (text for file in files for text in read_texts(file, "text").texts if text)
        first = list(itertools.islice(texts, _C4_ROWS))
        return corpus_from_rows("web", first, source=f"{files[0]}, first {_C4_ROWS} rows")
    rows = hub_rows(_C4, first=_C4_ROWS, expected_file=_file("c4"))
    return corpus_from_rows("web", rows, source=f"{_C4}, first {_C4_ROWS} rows")


def wiki(data: Path | None) -> Corpus:
    """Encyclopedia: the local sample, else WikiText-2's training split (never the test's)."""
    local = _local("wiki", "wiki", data)
    if local is not None:
        return local
    directory = data_directory(data)
    if directory is not None and (files := find_snapshot(directory, _WIKITEXT)):
        text = join_rows(read_rows(files, "text")[0])
        return corpus_from_text("wiki", text, source=str(files[0]), wikitext=True)
    rows = hub_rows(_WIKITEXT, expected_file=_file("wiki"))
    return corpus_from_text("wiki", join_rows(rows), source=str(_WIKITEXT), wikitext=True)


def code(data: Path | None) -> Corpus:
    """Program sources; a local file only."""
    return _local_only("code", data)


def technical(data: Path | None) -> Corpus:
    """Technical documents; a local file only."""
    return _local_only("technical", data)


def calibration_tokens(
    corpus: Corpus, tokenizer: TextTokenizer, *, samples: int, sample_length: int, seed: int
) -> list[list[int]]:
    """Choose sequences of a text at random, without overlap.

    The text is tokenized once, without special tokens, and cut into consecutive sequences of
    `sample_length` tokens (a shorter tail is dropped). `samples` of them are drawn without
    replacement by numpy's PCG64 with the seed, in the order drawn; where there are fewer, all
    of them are taken.

    Args:
        corpus: the text.
        tokenizer: of the model to be calibrated.
        samples: sequences wanted.
        sample_length: tokens of each.
        seed: same seed, same sequences.

    Returns:
        At least one and at most `samples` lists of `sample_length` token ids.

    Raises:
        CorpusError: the text is shorter than one sequence.
        UsageError: less than one sequence, or less than one token in each.
    """
    import numpy as np  # `bitloss list` reads this module and needs no numbers

    if samples < 1 or sample_length < 1:
        raise UsageError(
            f"expected at least 1 sample of at least 1 token, got {samples} of {sample_length}"
        )
    ids = tokenizer.encode(corpus.raw, special=False)
    available = len(ids) // sample_length
    if available == 0:
        raise CorpusError(
            f"calibration text `{corpus.name}`: expected at least {sample_length} tokens, "
            f"got {len(ids)}",
            hint="take a longer text or shorter samples",
        )
    sequences = ids[: available * sample_length].reshape(available, sample_length)
    order = np.random.default_rng(seed).permutation(available)[:samples]
    chosen: list[list[int]] = sequences[order].tolist()
    return chosen


def _file(part: str) -> str:
    return f"calibration/exl3_{part}.utf8"


def _local(name: str, part: str, data: Path | None) -> Corpus | None:
    path = find_file(data_directory(data), (_file(part), f"exl3_{part}.utf8"))
    if path is None:
        return None
    return corpus_from_text(name, read_text(path), source=str(path), wikitext=False)


def _local_only(name: str, data: Path | None) -> Corpus:
    corpus = _local(name, name, data)
    if corpus is None:
        directory = data_directory(data)
        where = f"not in `{directory}`" if directory else "no data directory was given"
        raise HubError(
            f"the text `{name}` has no source on a hub and {where}",
            hint=f"put a text at DIR/{_file(name)} and give --data DIR or BITLOSS_DATA=DIR, "
            "or name a text file instead",
        )
    return corpus
