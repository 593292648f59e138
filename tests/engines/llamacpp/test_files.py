"""The file that llama.cpp runs an unquantized reference from."""

from __future__ import annotations

from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import pytest

from bitloss.engines.llamacpp.files import gguf_file
from bitloss.engines.llamacpp.plug import ENGINE
from bitloss.engines.values import Candidate, Model
from bitloss.formats import open_checkpoint
from bitloss.formats.base import identify

pytestmark = pytest.mark.skipif(
    find_spec("llama_cpp") is None, reason="llama-cpp-python is not installed"
)


def test_the_file_of_the_reference_is_planned_and_kept_where_the_run_says(
    pocket: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By hand: four bytes per parameter, at 0.04 seconds per million of them (the quantizer's)."""
    monkeypatch.setenv("BITLOSS_CACHE", str(tmp_path / "default"))
    checkpoint = open_checkpoint(pocket)
    model = Model("pocket", identify(checkpoint), checkpoint, pocket, cache=tmp_path / "own")
    parameters = model.identity.info.parameters
    cost = ENGINE.written_file(model)
    assert cost is not None
    assert cost.disk_bytes == 4 * parameters
    assert cost.seconds == pytest.approx(0.04e-6 * parameters)
    file = gguf_file(Candidate(model, "llama.cpp"))
    assert file.is_relative_to(tmp_path / "own")
    assert file.stat().st_size == pytest.approx(cost.disk_bytes, rel=0.1)
    assert not (tmp_path / "default").exists()
    assert ENGINE.written_file(replace(model, path=file)) is None
