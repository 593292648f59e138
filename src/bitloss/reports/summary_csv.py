"""What a run came to, as CSV: one row for each number that a model has.

``summary.csv``, models in the order of the run, the reference first:

model, kind        whose number, and of what: model, corpus, task or capability
name               of the corpus, the task or the capability
metric             the field's name in comparison.json (docs/results.md): relative_perplexity,
                   kl_divergence (its mean; kl_divergence.p99 and others have rows too) ...
value              as in comparison.json: shares from 0 to 1, differences as variant minus reference
low, high          bounds of the 95% interval; empty where there is none

Only numbers that stand for the whole text, task or capability have rows.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from bitloss.files import make_folder, write_text
from bitloss.results import Comparison, ReferenceResult, VariantResult

__all__ = ["SUMMARY_COLUMNS", "write_summary"]

SUMMARY_COLUMNS = ("model", "kind", "name", "metric", "value", "low", "high")


def write_summary(comparison: Comparison, folder: Path) -> Path:
    """Write ``summary.csv``.

    Args:
        comparison: the result.
        folder: created if need be; a file of that name is replaced.

    Raises:
        StorageError: it cannot be written.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(SUMMARY_COLUMNS)
    writer.writerows(_rows(comparison))
    make_folder(folder)
    write_text(folder / "summary.csv", text.getvalue())
    return folder / "summary.csv"


def _rows(comparison: Comparison) -> Iterator[tuple[Any, ...]]:
    models: list[ReferenceResult | VariantResult] = [comparison.reference, *comparison.variants]
    for model in models:
        groups: dict[str, dict[str, BaseModel]] = {
            "corpus": dict(model.corpora),
            "task": dict(model.tasks or {}),
            "capability": dict(getattr(model, "capabilities", None) or {}),
        }
        for row in _numbers(model):
            yield (model.name, "model", "", *row)
        for kind, named in groups.items():
            for name, result in named.items():
                for row in _numbers(result):
                    yield (model.name, kind, name, *row)


def _numbers(result: BaseModel) -> Iterator[tuple[Any, ...]]:
    """Metric, value and bounds of the fields that are numbers or estimates."""
    for name in type(result).model_fields:
        value = getattr(result, name)
        if _is_number(value):
            yield (name, value, *_bounds(getattr(result, f"{name}_interval", None)))
        elif isinstance(value, BaseModel):
            fields = {key: getattr(value, key) for key in type(value).model_fields}
            main = "value" if "value" in fields else "mean"
            if "low" not in fields or main not in fields:
                continue
            if _is_number(fields[main]):
                yield (name, fields[main], *_bounds(value))
            for key, further in fields.items():
                if key not in (main, "low", "high") and _is_number(further):
                    yield (f"{name}.{key}", further, "", "")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _bounds(limits: Any) -> tuple[Any, Any]:
    low, high = (getattr(limits, name, None) for name in ("low", "high"))
    return ("" if low is None else low, "" if high is None else high)
