"""The records behind a result as CSV: one row per scored token, one row per question.

``tokens.csv``, in the order of the text:

corpus, model      which text, and whose results; the reference's own rows come first
dtype              arithmetic; a variant near the noise floor was scored again in fp32 on some
                   windows, and has rows of both
token, window      which of these tokens, from 0, and the window of the text that it stands in, from
                   0: of a limited corpus, windows in between are missing
reference_nll      negative log-likelihood of the true token, nats: the reference's
nll                the model's own
kl_divergence      KL(reference || model) of the next-token distributions, nats
same_top1          whether both find the same token most likely: true, false
delta_p            probability of the true token, the model's minus the reference's
overlap            probability that the two distributions have in common, sum min(p, q)
reference_entropy  of the reference's distribution, nats
entropy            of the model's own

``items.csv``, in the order of the questions:

task, model        which task, and whose answers; the reference's rows come first
item, subject      which question
asked              whether it was evaluated: it fitted the context, and was drawn where not all are
detail             the chosen option, the extracted answer, why a program failed
answer_tokens      tokens of the answers, their ends included; this and the next four are means over
                   an item's texts, and empty where options are scored
thinking_tokens    tokens of thinking before them
cut_off            share of its texts that ended because their tokens were spent
unanswered         share whose thinking did not end
loops              share that was cut off while it repeated itself
same_text          of a variant, whether the text is the reference's; empty where tokens are drawn
parts_at           tokens of the reference's text before the first that differs; empty if none does
gold_tokens        tokens of the gold answer that were scored; 0 where there is none
gold_nll           their summed negative log-likelihood, nats
gold_kl            their summed divergence from the reference, nats
score:METRIC       0 to 1, for every metric of any task
weight:METRIC      how often the item counts

A field is empty if the row has no such number. Numbers are written in as few digits as give
the same number back. Lines end in LF, the text is UTF-8, fields are quoted where they must be.
"""

from __future__ import annotations

import csv
import gzip
import io
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from bitloss.analysis.task_items import metric_columns
from bitloss.files import make_folder, replacing
from bitloss.results.manifest import Manifest
from bitloss.runner import RunStore
from bitloss.runner.tasks.drafts import PARTING
from bitloss.runner.tasks.records import WRITING
from bitloss.types import TokenRecords

__all__ = ["TOKEN_COLUMNS", "item_columns", "write_csv"]

TOKEN_COLUMNS = (
    "corpus", "model", "dtype", "token", "window", "reference_nll", "nll", "kl_divergence",
    "same_top1", "delta_p", "overlap", "reference_entropy", "entropy",
)  # fmt: skip
_ITEM_COLUMNS = (
    "task", "model", "item", "subject", "asked", "detail", *WRITING, *PARTING, "gold_tokens",
    "gold_nll", "gold_kl",
)  # fmt: skip
_OWN = ("window", "nll", "entropy")  # what is kept of the reference alone


def write_csv(
    store: RunStore, manifest: Manifest, folder: Path, *, compressed: bool = False
) -> tuple[Path, ...]:
    """Write the records of a run.

    One record file is in memory at a time, or a model's records of a corpus if a limit drew them.

    Args:
        store: the run directory.
        manifest: of the run.
        folder: created if need be; files of the same names are replaced.
        compressed: by gzip, with ``.gz`` behind the names; the same records give the same bytes.

    Returns:
        The files: ``tokens.csv`` if there are corpora, ``items.csv`` if there are tasks.

    Raises:
        StorageError: a record is missing or damaged, or the folder cannot be written; no file is
            left half-written.
    """
    make_folder(folder)
    tables: dict[str, tuple[Sequence[str], Iterator[Sequence[Any]]]] = {}
    if manifest.corpora:
        tables["tokens.csv"] = (TOKEN_COLUMNS, _token_rows(store, manifest))
    if manifest.tasks:
        tables["items.csv"] = (item_columns(manifest), _item_rows(store, manifest))
    written = []
    for name, (columns, rows) in tables.items():
        target = folder / (f"{name}.gz" if compressed else name)
        with replacing(target) as temporary, _text(temporary, compressed) as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(columns)
            writer.writerows(rows)
        written.append(target)
    return tuple(written)


def item_columns(manifest: Manifest) -> tuple[str, ...]:
    """The header of ``items.csv``: the metrics of all tasks stand behind what every item has."""
    metrics = dict.fromkeys(m for entry in manifest.tasks.values() for m in entry.metrics)
    return (*_ITEM_COLUMNS, *metric_columns(metrics))


@contextmanager
def _text(path: Path, compressed: bool) -> Iterator[io.TextIOBase]:
    with path.open("wb") as raw:
        if not compressed:
            with io.TextIOWrapper(raw, encoding="utf-8", newline="") as file:
                yield file
            return
        # Neither a time nor the temporary name goes into the header.
        with (
            gzip.GzipFile(filename="", mode="wb", fileobj=raw, mtime=0) as packed,
            io.TextIOWrapper(packed, encoding="utf-8", newline="") as file,
        ):
            yield file


def _token_rows(store: RunStore, manifest: Manifest) -> Iterator[Sequence[Any]]:
    for corpus, entry in manifest.corpora.items():
        columns = TokenRecords.__slots__
        drawn = entry.facts.draw_seed is not None
        facts = (corpus, manifest.reference.name, entry.dtype)
        yield from _rows(store, _parts(entry.reference, drawn), _OWN, facts)
        for variant, scored in entry.variants.items():
            facts = (corpus, variant, entry.dtype)
            yield from _rows(store, _parts(scored.records, drawn), columns, facts)
            if (exact := scored.exact) is not None:
                facts = (corpus, variant, exact.dtype)
                yield from _rows(store, _parts(exact.records, drawn or exact.drawn), columns, facts)


def _parts(fingerprints: Sequence[str], drawn: bool) -> list[Sequence[str]]:
    """What is read together: drawn windows were scored in the order of the draw."""
    return [fingerprints] if drawn else [(one,) for one in fingerprints]


def _rows(
    store: RunStore,
    parts: Sequence[Sequence[str]],
    columns: Sequence[str],
    facts: tuple[str, ...],
) -> Iterator[Sequence[Any]]:
    first = 0
    for part in parts:
        records = store.read_records(part, tuple(columns))
        order = np.argsort(records["window"], kind="stable")
        records = {name: column[order] for name, column in records.items()}
        n = len(records["window"])
        values = [
            range(first, first + n) if name == "token" else _fields(records.get(name), n)
            for name in TOKEN_COLUMNS[len(facts) :]
        ]
        for row in zip(*values, strict=True):
            yield (*facts, *row)
        first += n


def _item_rows(store: RunStore, manifest: Manifest) -> Iterator[Sequence[Any]]:
    header = item_columns(manifest)
    reference = manifest.reference.name
    for task, entry in manifest.tasks.items():
        own = {*_ITEM_COLUMNS, *metric_columns(entry.metrics)}
        columns = [name for name in header[2:] if name in own]
        models = sorted(entry.items, key=lambda name: name != reference)  # stable
        for model in models:
            records = store.read_records([entry.items[model]], tuple(columns))
            n = len(records["item"])
            values = [_fields(records.get(name), n) for name in header[2:]]
            for row in zip(*values, strict=True):
                yield (task, model, *row)


def _fields(values: Any, n: int) -> Sequence[Any]:
    """A column's fields; empty where a value is not a number, or the column does not exist."""
    if values is None:
        return [""] * n
    if values.dtype == np.float32:
        # Of a float32 as few digits as give it back, not those of its float64.
        return ["" if math.isnan(value) else str(value) for value in values]
    plain = values.tolist()
    if values.dtype == np.bool_:
        return ["true" if value else "false" for value in plain]
    if values.dtype.kind == "f":
        return ["" if math.isnan(value) else repr(value) for value in plain]
    return ["" if value is None else value for value in plain]
