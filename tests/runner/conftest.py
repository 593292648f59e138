"""Tiny random models, their variants, and text: in memory, and as files of complete runs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bitloss.runner import Plan, prepare
from bitloss.spec.run import RunSpec
from bitloss.spec.suite import TaskChoice
from bitloss.tasks.custom.examples import write_example
from bitloss.types import SilentProgress
from peers.random_models import models, random_model, windows
from peers.tiny_model import write_tiny_model

__all__ = ["models", "random_model", "windows"]

KINDS = ("choice", "exact_match", "contains", "gold_likelihood")


@pytest.fixture(scope="session")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ``tiny``, ``noisy``, ``copy``, ``text.txt`` and a task file for each kind."""
    folder = tmp_path_factory.mktemp("files")
    write_tiny_model(folder / "tiny")
    write_tiny_model(folder / "noisy", noise=0.02)
    (folder / "copy").symlink_to("tiny")
    (folder / "text.txt").write_text("".join(f"{n} foxes, {n * n} dogs. " for n in range(200)))
    for kind in KINDS:
        write_example(kind.replace("_", "-"), kind, folder)
    return folder


@pytest.fixture
def plan(files: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Plan]:
    """A function: a plan of ``tiny`` with variants, corpora and tasks by the names of files."""
    monkeypatch.chdir(files)

    def make(
        *,
        variants: tuple[str, ...] = ("./noisy", "./copy"),
        corpora: tuple[str, ...] = (),
        tasks: tuple[str, ...] = (),
        **choices: Any,
    ) -> Plan:
        spec = RunSpec(
            reference="./tiny",
            variants=variants,
            corpora=corpora,
            tasks=tuple(TaskChoice(name=f"./{name}.yaml") for name in tasks),
            **choices,
        )
        return prepare(spec, progress=SilentProgress())

    return make
