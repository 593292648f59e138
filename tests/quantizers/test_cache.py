"""Oracles: what lies in the cache directory, and how often the maker was called."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import time
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from bitloss.errors import QuantizationError, StorageError
from bitloss.quantizers import cache
from bitloss.quantizers.cache import cache_directory, get_or_create, made_in
from bitloss.types import SilentProgress


class Maker:
    """Writes one file and counts."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, directory: Path) -> dict[str, Any]:
        assert list(directory.iterdir()) == []
        self.calls += 1
        (directory / "weights").write_text(f"made {self.calls}")
        return {"recipe": "test"}


def keep(root: Path, maker: Any, key: str = "abc123") -> Path:
    return get_or_create(root, "gptq-4@my text.txt", key, maker, progress=SilentProgress())


def visible(root: Path) -> list[str]:
    return sorted(entry.name for entry in root.iterdir() if not entry.name.startswith(".lock-"))


def test_a_variant_is_made_once(tmp_path: Path) -> None:
    maker = Maker()
    first = keep(tmp_path / "cache", maker)
    second = keep(tmp_path / "cache", maker)
    assert first == second
    assert maker.calls == 1
    assert first.name == "gptq-4-my-text.txt-abc123"
    assert (first / "weights").read_text() == "made 1"
    assert json.loads((first / "recipe.json").read_text()) == {"recipe": "test"}


def test_another_key_is_another_variant(tmp_path: Path) -> None:
    maker = Maker()
    assert keep(tmp_path, maker, "aaa") != keep(tmp_path, maker, "bbb")
    assert maker.calls == 2


def test_a_directory_without_a_record_is_made_again(tmp_path: Path) -> None:
    maker = Maker()
    made = keep(tmp_path, maker)
    (made / "recipe.json").unlink()
    (made / "rest").write_text("x")
    keep(tmp_path, maker)
    assert sorted(path.name for path in made.iterdir()) == ["recipe.json", "weights"]
    assert (made / "weights").read_text() == "made 2"


@pytest.mark.parametrize("fault", [QuantizationError("no"), KeyboardInterrupt()])
def test_a_failure_leaves_nothing(tmp_path: Path, fault: BaseException) -> None:
    def fail(directory: Path) -> dict[str, Any]:
        (directory / "half").write_text("x")
        raise fault

    with pytest.raises(type(fault)):
        keep(tmp_path, fail)
    assert visible(tmp_path) == []


PROGRAM = """
import os, sys, time
from pathlib import Path
from bitloss.quantizers.cache import get_or_create
from bitloss.types import SilentProgress
root, log, last_line = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
def make(directory):
    with log.open("a") as file:
        file.write("made\\n")
    (directory / "weights").write_text("x")
    exec(last_line)
    return {}
print(get_or_create(root, "gptq-4", "abc123", make, progress=SilentProgress()))
"""


def start(root: Path, log: Path, last_line: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(root), str(log), last_line],
        stdout=subprocess.PIPE,
        text=True,
    )


def wait_for(path: Path) -> None:
    for _ in range(1500):
        if path.exists():
            return
        time.sleep(0.02)
    raise AssertionError(f"{path} did not appear")


def test_two_processes_make_it_once(tmp_path: Path) -> None:
    processes = [start(tmp_path / "cache", tmp_path / "log", "time.sleep(1)") for _ in range(3)]
    paths = {process.communicate()[0] for process in processes}
    assert [process.returncode for process in processes] == [0, 0, 0]
    assert len(paths) == 1
    assert (tmp_path / "log").read_text() == "made\n"


def test_what_a_killed_process_left_is_removed_at_the_next_use(tmp_path: Path) -> None:
    root = tmp_path / "cache"
    killed = start(root, tmp_path / "log", "os.kill(os.getpid(), 9)")
    killed.communicate()
    assert killed.returncode == -signal.SIGKILL
    assert [name.startswith(".making-abc123-") for name in visible(root)] == [True]
    maker = Maker()
    keep(root, maker, "def456")  # another variant's maker cleans up too
    assert visible(root) == ["gptq-4-my-text.txt-def456"]


def test_what_a_living_process_makes_is_left_alone(tmp_path: Path) -> None:
    root = tmp_path / "cache"
    release = tmp_path / "release"
    wait = f"[time.sleep(0.02) for _ in range(1500) if not os.path.exists({str(release)!r})]"
    living = start(root, tmp_path / "log", wait)
    wait_for(tmp_path / "log")
    keep(root, Maker(), "def456")
    assert any(name.startswith(".making-abc123-") for name in visible(root))
    release.touch()
    assert living.communicate()[0].strip() == str(root / "gptq-4-abc123")


def test_waiting_for_another_process_is_shown(tmp_path: Path) -> None:
    release = tmp_path / "release"
    wait = f"[time.sleep(0.02) for _ in range(1500) if not os.path.exists({str(release)!r})]"
    living = start(tmp_path / "cache", tmp_path / "log", wait)
    wait_for(tmp_path / "log")
    shown = []

    class Shown(SilentProgress):
        def task(
            self, label: str, total: int | None, unit: str = "tokens"
        ) -> AbstractContextManager[Any]:
            shown.append(label)
            release.touch()
            return super().task(label, total, unit)

    maker = Maker()
    get_or_create(tmp_path / "cache", "gptq-4", "abc123", maker, progress=Shown())
    living.communicate()
    assert shown == ["waiting for another process to make gptq-4"]
    assert maker.calls == 0


def test_a_cache_that_cannot_be_written_is_a_storage_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(StorageError, match="cannot write") as caught:
        keep(tmp_path / "file", Maker())
    assert "BITLOSS_CACHE=DIR" in caught.value.hint


def test_a_full_cache_is_a_storage_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(directory: Path, record: dict[str, Any]) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(cache, "write_record", full)
    with pytest.raises(StorageError, match="the disk is full"):
        keep(tmp_path, Maker())
    assert visible(tmp_path) == []


def test_where_the_cache_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BITLOSS_CACHE", str(tmp_path / "named"))
    assert cache_directory(None) == tmp_path / "named" / "variants"
    assert cache_directory(tmp_path) == tmp_path / "variants"
    monkeypatch.delenv("BITLOSS_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_directory(None).name == "variants"


def test_a_variants_record_says_how_long_it_took(tmp_path: Path) -> None:
    made = get_or_create(
        tmp_path, "gptq-4", "0123", lambda folder: {"seconds": 1.5}, progress=SilentProgress()
    )
    assert made_in(made) == 1.5
    (made / "model.gguf").touch()
    assert made_in(made / "model.gguf") == 1.5
    assert made_in(tmp_path) is None
