"""A tiny model with corpora and tasks, a pack of it, and the run from its weights."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import bitloss
from bitloss.results import Comparison
from bitloss.tasks.custom.examples import write_example
from peers.tiny_model import write_tiny_model

CHOICES: dict[str, Any] = {
    "corpora": ("first.txt", "second.txt"),
    "tasks": ("./choice.yaml", "./contains.yaml"),
    "limit": 6,
}


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder: ``tiny``, ``noisy``, texts, task files, ``ref.pack`` and the run ``weights``."""
    folder = tmp_path_factory.mktemp("packs")
    write_tiny_model(folder / "tiny")
    write_tiny_model(folder / "noisy", noise=0.02)
    (folder / "tiny" / "README.md").write_text("---\nlicense: apache-2.0\n---\nA tiny model.\n")
    for name, animals in {"first": "foxes", "second": "herons"}.items():
        text = "".join(f"{n} {animals}, {n * n} dogs. " for n in range(60))
        (folder / f"{name}.txt").write_text(text)
    for kind in ("choice", "contains"):
        write_example(kind, kind, folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        bitloss.pack("./tiny", "ref.pack", engines=["dense"], **CHOICES)
        bitloss.compare("./tiny", "./noisy", out="weights", **CHOICES)
    return folder


@pytest.fixture
def inside(made: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The same folder, as the working directory."""
    monkeypatch.chdir(made)
    return made


@pytest.fixture
def copied(made: Path, tmp_path: Path) -> Path:
    """A copy of the pack elsewhere, to be damaged."""
    return Path(shutil.copytree(made / "ref.pack", tmp_path / "elsewhere" / "ref.pack"))


@pytest.fixture(scope="session")
def equal_but_for_source() -> Callable[[Comparison, Comparison], None]:
    """A function: check that two results are equal but for what names the source."""

    def check(ours: Comparison, theirs: Comparison) -> None:
        named = {"name": "reference", "pack": None}
        environment = ours.environment.model_copy(update={"command": ""})
        left, right = (
            one.model_copy(
                update={
                    "reference": one.reference.model_copy(update=named),
                    "environment": one.environment.model_copy(update={"command": ""}),
                }
            )
            for one in (ours, theirs)
        )
        assert left.to_json() == right.to_json()
        assert left.environment == environment

    return check
