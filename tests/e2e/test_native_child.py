"""The process of native kernels dies in the middle of a run. Oracle: a run in which it did not."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from bitloss.cli.main import main
from bitloss.engines.child.process import Child
from bitloss.results import Comparison

pytestmark = pytest.mark.skipif(
    find_spec("llama_cpp") is None, reason="llama-cpp-python is not installed"
)

MARKS = (".finished", ".report")
"""They hold the times of files."""


def run(folder: Path, monkeypatch: pytest.MonkeyPatch) -> int:
    folder.mkdir()
    monkeypatch.chdir(folder)
    return main(
        ["compare", "pocket", "gguf-q8_0", "--engine", "dense,llama.cpp",
         "--corpus", "pocket-prose", "--limit", "4", "--max-length", "128", "--stride", "128",
         "--out", "run", "-q"]
    )  # fmt: skip


def files(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name not in MARKS
    }


def kill_variant(monkeypatch: pytest.MonkeyPatch, when: Callable[[int, int], bool]) -> list[int]:
    """Kill llama.cpp's process of the variant as soon as it has given a block of logits.

    Args:
        monkeypatch: undoes it.
        when: told how many of its processes were killed, and how many blocks this one has given.

    Returns:
        Ids of what was killed, to be filled.
    """
    receive, killed, given = Child.receive, [], {}

    def receive_and_kill(child: Child) -> dict[str, Any]:
        message = receive(child)
        start = child._start
        if "slot" in message and start.runtime == "llama.cpp" and "q8_0" in start.name:
            given[child.pid] = given.get(child.pid, 0) + 1
            if child.pid not in killed and when(len(killed), given[child.pid]):
                killed.append(child.pid)
                os.kill(child.pid, signal.SIGKILL)
        return message

    monkeypatch.setattr(Child, "receive", receive_and_kill)
    return killed


def test_a_native_child_that_is_killed(
    pocket: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    """Once costs a repetition and no byte; twice fails that way, and the others stay."""
    del pocket
    monkeypatch.setenv("BITLOSS_CACHE", str(tmp_path / "cache"))
    assert run(tmp_path / "whole", monkeypatch) == 0
    assert "llama.cpp was killed" not in capsys.readouterr().err
    with monkeypatch.context() as patch:
        killed = kill_variant(patch, lambda deaths, blocks: deaths == 0 and blocks == 3)
        assert run(tmp_path / "killed", monkeypatch) == 0
    assert len(killed) == 1
    assert "llama.cpp was killed" not in capsys.readouterr().err
    assert files(tmp_path / "killed") == files(tmp_path / "whole")

    with monkeypatch.context() as patch:
        killed = kill_variant(patch, lambda deaths, blocks: blocks == 2)
        assert run(tmp_path / "twice", monkeypatch) == 1
    assert len(killed) == 2
    assert "llama.cpp was killed by SIGKILL" in capsys.readouterr().err
    (whole,), (twice,) = (
        Comparison.load(tmp_path / name / "run").variants for name in ("whole", "twice")
    )
    # Notes name floors that were not measured, such as that of what failed.
    unnoted = [
        {name: one.model_copy(update={"notes": ()}) for name, one in variant.corpora.items()}
        for variant in (twice, whole)
    ]
    assert unnoted[0] == unnoted[1]
    (native,) = whole.served
    assert native.status == "ok"
    (failed,) = twice.served
    assert (failed.way.label, failed.status, failed.corpora) == ("llama.cpp", "failed", {})
    assert "was killed by SIGKILL" in failed.error.message
    assert "free some memory" in failed.error.hint
