"""A tiny model with a noisy copy and a text: what every trial of the command line starts from."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from peers.complaints import Break
from peers.tiny_model import write_tiny_model

FOX = "The quick brown fox jumps over the lazy dog. "

Bitloss = Callable[[Sequence[str]], "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("e2e")
    write_tiny_model(folder / "tiny")
    write_tiny_model(folder / "noisy", noise=0.02)
    (folder / "fox.txt").write_text(FOX * 30)
    (folder / "long.txt").write_text("".join(f"{n} foxes, {n * n} dogs. " for n in range(2000)))
    return folder


@pytest.fixture
def here(models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with ./tiny, ./noisy and texts, and a cache of its own."""
    for entry in models.iterdir():
        (tmp_path / entry.name).symlink_to(entry)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BITLOSS_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("BITLOSS_DATA", raising=False)
    monkeypatch.delenv("BITLOSS_DEBUG", raising=False)
    return tmp_path


@pytest.fixture
def bitloss(here: Path) -> Bitloss:
    """The program itself, in a process of its own."""

    def run(words: Sequence[str]) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "bitloss", *words],
            cwd=here, env={**os.environ, "NO_COLOR": "1"}, capture_output=True, text=True,
            check=False, timeout=240,
        )  # fmt: skip

    return run


@pytest.fixture
def broken(here: Path) -> Callable[[Break], str]:
    """A function: a copy of the tiny model, broken in some way, as the command line names it."""

    def make(fault: Break) -> str:
        shutil.copytree((here / "tiny").resolve(), here / "broken")
        fault(here / "broken")
        return "./broken"

    return make
