"""Options that several commands share, worded once."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from bitloss.errors import UsageError

__all__ = [
    "AsJson",
    "Batch",
    "Calibration",
    "Chat",
    "Corpora",
    "Data",
    "Device",
    "Dtype",
    "Engine",
    "ExpectationsFile",
    "Limit",
    "MaxLength",
    "Out",
    "PlanOnly",
    "Precision",
    "ProtocolName",
    "Quiet",
    "Samples",
    "Seed",
    "Stride",
    "SuiteName",
    "Tasks",
    "TrustRemoteCode",
    "UnsafeExec",
    "Until",
    "UntilChoice",
    "split_limits",
    "split_names",
]


def split_names(values: list[str]) -> list[str]:
    """Names separated by commas, given once or several times."""
    return [name.strip() for value in values for name in value.split(",") if name.strip()]


def split_limits(flag: str, values: list[str] | None) -> dict[str, str] | None:
    """``["0.05", "code=0.1"]`` as ``{"all": "0.05", "code": "0.1"}``.

    Raises:
        UsageError: a name is given twice.
    """
    limits: dict[str, str] = {}
    for value in values or ():
        name, _, limit = value.rpartition("=")
        name = name.strip() or "all"
        if name in limits:
            raise UsageError(
                f"{flag}: two limits for {name}: {limits[name]} and {limit}",
                hint=f"say what each is for: {flag} NAME={limit}",
            )
        limits[name] = limit.strip()
    return limits or None


class DtypeChoice(StrEnum):
    """Arithmetic of the dense engine, as `bitloss.spec.run.DtypePolicy` spells it."""

    AUTO = "auto"
    FP32 = "fp32"
    MIXED = "mixed"
    BF16 = "bf16"


class UntilChoice(StrEnum):
    """How long variants are scored, as `bitloss.spec.run.RunSpec.until` spells it."""

    DECIDED = "decided"
    ALL = "all"


AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")]
Batch = Annotated[int, typer.Option("--batch-tokens", min=1, help="Tokens in one forward.")]
Calibration = Annotated[
    str, typer.Option("--calibration", help="Text that recipes without @text calibrate on.")
]
CalibrationLength = Annotated[
    int, typer.Option("--calibration-length", min=1, help="Tokens of each of these sequences.")
]
CalibrationSamples = Annotated[
    int, typer.Option("--calibration-samples", min=1, help="Sequences that recipes calibrate on.")
]
Chat = Annotated[
    bool, typer.Option("--chat", help="Put the model's chat template around every prompt.")
]
Corpora = Annotated[
    list[str] | None,
    typer.Option(
        "--corpus",
        help="A corpus (`bitloss list`) or a text file; may be repeated.  [default: the suite's, "
        "else wikitext-2 if no tasks are named]",
    ),
]
Data = Annotated[
    Path | None,
    typer.Option("--data", help="Folder with local data; else BITLOSS_DATA, else the hub."),
]
Device = Annotated[str, typer.Option("--device", help="A torch device: cpu, cuda, cuda:1.")]
Dtype = Annotated[
    DtypeChoice,
    typer.Option("--dtype", help="Arithmetic; auto rescores in fp32 what is near the floor."),
]
Engine = Annotated[str, typer.Option("--engine", help="What computes the scores.")]
ExpectationsFile = Annotated[
    Path | None,
    typer.Option(
        "--expectations",
        metavar="FILE",
        help="Levels, margins and expected losses that verdicts are made with (YAML), laid over "
        "the built-in ones.",
    ),
]
Limit = Annotated[
    int | None,
    typer.Option(
        "--limit",
        min=1,
        help="Windows of each corpus and items of each task.  [default: the suite's, else all]",
    ),
]
MaxLength = Annotated[
    int | None,
    typer.Option("--max-length", help="Tokens in a window.  [default: the protocol's]"),
]
Out = Annotated[
    Path | None,
    typer.Option("--out", help="The run directory.  [default: runs/<model>-<what was asked>]"),
]
PlanOnly = Annotated[
    bool, typer.Option("--plan", help="Say what it would take, score nothing, and stop.")
]
Precision = Annotated[
    float | None,
    typer.Option(
        "--precision",
        help="Score a variant no further once its relative perplexity is known to within this "
        "much (0.005).",
    ),
]
ProtocolName = Annotated[
    str, typer.Option("--protocol", help="How text is cut and averaged (`bitloss list`).")
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress on stderr.")]
Samples = Annotated[
    int | None,
    typer.Option("--samples", min=1, help="Texts for each item of tasks scored by pass@k."),
]
Seed = Annotated[int, typer.Option("--seed", help="Of the bootstrap and of calibration.")]
Stride = Annotated[
    int | None,
    typer.Option("--stride", help="Tokens between windows.  [default: the protocol's]"),
]
SuiteName = Annotated[
    str | None,
    typer.Option("--suite", help="A suite (`bitloss list`) or a suite file: corpora and tasks."),
]
Tasks = Annotated[
    list[str] | None,
    typer.Option(
        "--tasks",
        help="Tasks (`bitloss list`) or task files, separated by commas; may be repeated.  "
        "[default: the suite's]",
    ),
]
TrustRemoteCode = Annotated[
    bool, typer.Option("--trust-remote-code", help="Let a model's own Python code run.")
]
UnsafeExec = Annotated[
    bool,
    typer.Option("--unsafe-exec", help="Run what models wrote without a sandbox: at your risk."),
]
Until = Annotated[
    UntilChoice,
    typer.Option(
        "--until", help="decided: score a variant in random order until its verdict is settled."
    ),
]
