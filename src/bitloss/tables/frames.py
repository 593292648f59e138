"""A comparison's numbers as data frames: one row per model and corpus, task or capability."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, get_args

from bitloss.errors import MissingDependency, UnknownName
from bitloss.results.comparison import FrameRows
from bitloss.results.models import ReferenceResult, VariantResult
from bitloss.results.values import Frozen

if TYPE_CHECKING:
    import pandas as pd

    from bitloss.results.comparison import Comparison

__all__ = ["dataframe"]

_FACTS = (
    "name", "digest", "format", "bits", "bits_per_weight", "group_size", "desc_act",
    "calibration", "file_bytes", "parameters", "architecture",
)  # fmt: skip
# Texts and tables of their own, which are no columns.
_LEFT_OUT = {"notes", "digest", "subjects", "groups", "tasks"}


def dataframe(comparison: Comparison, rows: FrameRows) -> pd.DataFrame:
    """See `Comparison.to_dataframe`."""
    if rows not in get_args(FrameRows):
        raise UnknownName("rows", rows, get_args(FrameRows))
    try:
        import pandas as pd
    except ModuleNotFoundError as error:
        raise MissingDependency("pandas", "to_dataframe", extra="dataframe") from error
    models: list[tuple[str, ReferenceResult | VariantResult]] = [
        ("reference", comparison.reference),
        *(("variant", variant) for variant in comparison.variants),
    ]
    return pd.DataFrame([row for role, model in models for row in _rows(role, model, rows)])


def _rows(
    role: str, model: ReferenceResult | VariantResult, rows: FrameRows
) -> list[dict[str, Any]]:
    values = model.model_dump(include=set(_FACTS))
    facts = {"name": values.pop("name"), "role": role, **values}
    if isinstance(model, VariantResult):
        facts["status"] = model.status
        if model.error is not None:
            facts["error"] = model.error.message
    column = {"corpora": "corpus", "tasks": "task", "capabilities": "capability"}[rows]
    scored = [{**facts, column: name, **values} for name, values in _results(model, rows).items()]
    return scored or [facts]


def _results(model: ReferenceResult | VariantResult, rows: FrameRows) -> dict[str, dict[str, Any]]:
    found: Mapping[str, Frozen]
    if rows == "corpora":
        found = model.corpora
    elif rows == "tasks":
        found = model.tasks or {}
    elif isinstance(model, ReferenceResult):
        found = model.abilities or {}
    else:
        found = model.capabilities or {}
    columns = {name: _flat(one.model_dump(exclude=_LEFT_OUT)) for name, one in found.items()}
    if rows == "capabilities" and isinstance(model, VariantResult) and model.verdict is not None:
        for name, verdict in model.verdict.capabilities.items():
            columns[name] |= _flat(verdict.model_dump())
    return columns


def _flat(results: dict[str, Any]) -> dict[str, Any]:
    """Nested results as columns: ``kl_divergence_p99``; an estimate's value has its name alone."""
    flat: dict[str, Any] = {}
    for key, value in results.items():
        if key == "protocol":
            flat["protocol"] = value["name"]
        elif isinstance(value, dict):
            below = _flat(value)
            if "value" in below:
                flat[key] = below.pop("value")
            flat.update({f"{key}_{name}": item for name, item in below.items()})
        else:
            flat[key] = value
    return flat
