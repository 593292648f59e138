"""Levels measured on records that are made by formula: `example_store.write_run`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bitloss.results import Engine, Environment, Estimate, ProtocolUsed
from bitloss.results.environment import Seeds
from bitloss.studies.base import FactorLevel
from bitloss.studies.measured import Measured, MeasuredRun
from bitloss.studies.paired import RunRecords
from bitloss.studies.result import CorpusMeasured, LevelResult, ModelResult
from bitloss.types import SilentProgress

__all__ = ["ENVIRONMENT", "measured_levels"]

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
