"""Variants opened side by side; oracle: the order in which they were asked for."""

from __future__ import annotations

import importlib
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from bitloss.errors import QuantizationError
from bitloss.runner.models import Model
from bitloss.spec.model import ModelRef, parse_model
from bitloss.types import SilentProgress

execute = importlib.import_module("bitloss.runner.execute")


def plan(*names: str, parameters: int) -> Any:
    info = SimpleNamespace(parameters=parameters)
    reference = SimpleNamespace(checkpoint=SimpleNamespace(info=info))
    variants = [parse_model(name, allow_recipe=True) for name in names]
    return SimpleNamespace(
        variants=variants, reference=reference, spec=None, tokenizer=None, cache=None
    )


@pytest.mark.parametrize(("parameters", "threads"), [(1_000_000, 2), (1_000_000_000, 1)])
def test_slow_recipes_begin_first_and_all_come_back_as_asked(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, parameters: int, threads: int
) -> None:
    begun: list[str] = []
    running: list[str] = []
    most: list[int] = []
    lock = threading.Lock()

    def opened(ref: ModelRef, *_: Any, **options: Any) -> Model:
        with lock:
            begun.append(ref.text)
            running.append(ref.text)
            most.append(len(running))
        try:
            if ref.text == "gptq-4":
                raise QuantizationError("no")
            return Model(ref.text, ref, None, None)  # type: ignore[arg-type]
        finally:
            running.remove(ref.text)

    monkeypatch.setattr(execute, "open_variant", opened)
    monkeypatch.chdir(tmp_path)
    Path("made.gguf").touch()
    asked = ("gguf-q8_0", "gptq-4", "./made.gguf", "awq-4", "gptq-8")
    models, failed = execute._open_variants(plan(*asked, parameters=parameters), SilentProgress())
    assert [model.name for model in models] == ["gguf-q8_0", "./made.gguf", "awq-4", "gptq-8"]
    assert [one.name for one in failed] == ["gptq-4"]
    assert max(most) <= threads
    if threads == 1:
        assert begun == ["awq-4", "gptq-4", "gptq-8", "gguf-q8_0", "./made.gguf"]
