"""What the demonstration shows where something is missing. Oracle: its recipes and the suite."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from bitloss import demo, sandbox
from bitloss.errors import StorageError, UsageError

Without = Callable[..., None]


@pytest.fixture
def without(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Without:
    """Nothing is missing but what is named."""

    def change(*packages: str) -> None:
        def version(package: str) -> str:
            if package in packages:
                raise importlib.metadata.PackageNotFoundError(package)
            return "1.0"

        monkeypatch.setattr(importlib.metadata, "version", version)
        opened = SimpleNamespace(close=lambda: None)
        monkeypatch.setattr(sandbox, "open_sandbox", lambda: opened)

    change()
    monkeypatch.setenv("BITLOSS_CACHE", str(tmp_path))
    return change


def test_all_of_it(without: Without) -> None:
    planned = demo.plan_demo()
    assert planned.left_out == ()
    assert planned.spec.reference == "pocket"
    assert planned.spec.variants == demo.RECIPES
    assert len(planned.spec.tasks) == 7
    assert planned.spec.corpora == ("pocket-prose", "pocket-code")


def test_without_gptqmodel(without: Without) -> None:
    without("gptqmodel")
    planned = demo.plan_demo()
    assert planned.spec.variants == ("gguf-q8_0", "gguf-q4_k_m", "gguf-q3_k_m", "gguf-q2_k")
    assert len(planned.left_out) == 3
    assert 'gptq-8: needs gptqmodel; pip install "bitloss[gptq]"' in planned.left_out


def test_without_anything_that_quantizes(without: Without) -> None:
    without("gptqmodel", "gguf")
    with pytest.raises(UsageError, match="nothing that quantizes") as fault:
        demo.plan_demo()
    assert "bitloss[all]" in fault.value.hint


def test_a_cache_that_cannot_be_written_is_found_first(
    without: Without, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("BITLOSS_CACHE", str(tmp_path / "file"))
    with pytest.raises(StorageError, match="file") as fault:
        demo.plan_demo()
    assert "BITLOSS_CACHE" in fault.value.hint


def test_without_a_sandbox(without: Without, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise UsageError("no bwrap", hint="apt install bubblewrap")

    monkeypatch.setattr(sandbox, "open_sandbox", fail)
    planned = demo.plan_demo()
    assert "pocket_code" not in [task.name for task in planned.spec.tasks]
    assert planned.left_out == ("code: no bwrap; apt install bubblewrap",)
