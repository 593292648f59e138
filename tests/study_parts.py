"""Levels measured on records that are made by formula: `example_store.write_run`."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from bitloss.results import Engine, Environment, Estimate, ProtocolUsed
from bitloss.results.environment import Seeds
from bitloss.studies.base import FactorLevel
from bitloss.studies.measured import Measured, MeasuredRun
from bitloss.studies.paired import RunRecords
from bitloss.studies.result import CorpusMeasured, LevelResult, ModelResult
from bitloss.types import SilentProgress
from page_reader import Reader

__all__ = ["ENVIRONMENT", "measured_levels", "numbers_at_paths"]

ENVIRONMENT = Environment(
    versions={"bitloss": "1"}, engine=Engine(name="dense"), dtype="fp32", device="cpu",
    seeds=Seeds(bootstrap=0, calibration=0),
)  # fmt: skip
NOTHING = Estimate(value=None, low=None, high=None)


def measured_levels(
    runs: dict[str, Path], recipe: str = "gptq-4", corpora: tuple[str, ...] = ("wikitext-2",)
) -> Measured:
    """By level, a run directory whose variant `recipe` is that level."""
    found = []
    levels = []
    for name, folder in runs.items():
        level = FactorLevel(name, recipe)
        nothing: Any = None
        found.append(MeasuredRun(nothing, nothing, RunRecords(folder), (level,)))
        levels.append(
            LevelResult(
                level=name, recipe=recipe, corpora={c: {"kl_divergence": NOTHING} for c in corpora}
            )
        )
    result = ModelResult(
        name="model", digest="d", format="safetensors-fp32", run="runs/model",
        corpora={
            name: CorpusMeasured(
                protocol=ProtocolUsed(name="strided", parameters={}),
                n_scored=1, n_windows=1, perplexity=2.0,
            )
            for name in corpora
        },
        tasks={}, levels=tuple(levels), steps=(), environment=ENVIRONMENT,
    )  # fmt: skip
    folder = next(iter(runs.values()))
    return Measured(result, tuple(found), folder, False, SilentProgress())


def numbers_at_paths(page: str, document: str) -> int:
    """How many elements of a page name their place in the document; each shows what is there."""
    values = json.loads(document)
    found = 0
    for one in Reader(page).root.all():
        path = one.attributes.get("data-path")
        if path is None:
            continue
        value = values
        for part in re.findall(r'"(?:[^"\\]|\\.)*"|[^."]+', path):
            name = json.loads(part) if part.startswith('"') else part
            value = value[int(name) if isinstance(value, list) else name]
        found += 1
        if isinstance(value, str):
            assert one.text == value
        elif value is not None:
            share = 100 if one.attributes.get("data-unit") in ("share", "points") else 1
            shown = float(one.text.rstrip("%").replace(",", "").replace("\u2212", "-"))
            rounded = 0.051 if "." in one.text else 0.51
            assert shown == pytest.approx(share * value, abs=rounded, rel=0.01), path
    return found
