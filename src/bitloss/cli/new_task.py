"""`bitloss new-task`: an example task file to adapt."""

from __future__ import annotations

import shlex
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

__all__ = ["new_task"]


class Kind(StrEnum):
    """How answers are graded, as `bitloss.tasks.custom.examples.KINDS` spells it."""

    CHOICE = "choice"
    EXACT_MATCH = "exact_match"
    REGEX = "regex"
    CONTAINS = "contains"
    PYTHON_TESTS = "python_tests"
    GOLD_LIKELIHOOD = "gold_likelihood"
    TOOL_CALL = "tool_call"
    REFUSAL = "refusal"


def new_task(
    name: Annotated[str, typer.Argument(help="Task name, for NAME.yaml and NAME.jsonl.")],
    kind: Annotated[
        Kind, typer.Option("--kind", help="How answers are graded.")
    ] = Kind.EXACT_MATCH,
    folder: Annotated[
        Path,
        typer.Option("--out", help="Directory to write to.", show_default="the working directory"),
    ] = Path(),
) -> None:
    """Write an example task, YAML and data, ready to run; existing files are kept."""
    from bitloss.tasks.custom.examples import NEEDS_CHAT, write_example

    task, data = write_example(name, kind.value, folder)
    print(f"task: {task}")
    print(f"data: {data}")
    chat = " --chat" if kind.value in NEEDS_CHAT else ""
    print(f"next: bitloss compare REF VARIANT{chat} --tasks {shlex.quote(str(task))}")
