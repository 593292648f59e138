"""`quantize` from the command line; what it makes is read back and scored."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from bitloss import Calibration, api
from bitloss.cli.main import main

Captured = pytest.CaptureFixture[str]

needs_llama_cpp = pytest.mark.skipif(
    find_spec("llama_cpp") is None, reason="llama-cpp-python is not installed"
)


@needs_llama_cpp
def test_file_is_made_said_and_close_to_its_model(
    pocket: Path, tmp_path: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["quantize", str(pocket), "q8.gguf", "--recipe", "gguf-q8_0", "-q"]) == 0
    out, err = capsys.readouterr()
    assert out == f"{tmp_path / 'q8.gguf'}\n"
    assert err == ""
    assert [path.name for path in tmp_path.iterdir()] == ["q8.gguf"]
    words = ["compare", "pocket", "q8.gguf", "--corpus", "pocket-prose", "--out", "run", "--json"]
    assert main(words) == 0
    (variant,) = json.loads(capsys.readouterr().out)["variants"]
    assert variant["format"] == "gguf-q8_0"
    (figures,) = variant["corpora"].values()
    # Q8_0 keeps 8 bits of each weight: a divergence above zero, and far below Q4_K_M's 0.14.
    assert 0 < figures["kl_divergence"]["mean"] < 0.03


def test_place_that_is_taken(pocket: Path, tmp_path: Path, capsys: Captured) -> None:
    (tmp_path / "taken.gguf").write_text("mine")
    words = ["quantize", str(pocket), str(tmp_path / "taken.gguf"), "--recipe", "gguf-q8_0"]
    assert main(words) == 1
    assert "is not empty" in capsys.readouterr().err
    assert (tmp_path / "taken.gguf").read_text() == "mine"


@pytest.mark.parametrize(
    ("recipe", "error"),
    [
        ("gptq-5", "GPTQ is made with 2, 3, 4, 8 bits, got 5"),
        ("gpqt-4", "unknown recipe `gpqt-4`"),
        ("gguf-q4_x", "unknown recipe `gguf-q4_x`"),
    ],
)
def test_recipe_that_cannot_be(tmp_path: Path, capsys: Captured, recipe: str, error: str) -> None:
    assert main(["quantize", str(tmp_path), str(tmp_path / "out"), "--recipe", recipe]) == 2
    assert error in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_every_option_reaches_the_quantizer(
    monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    asked: list[dict[str, Any]] = []

    def record(model: str, out: Path, **options: Any) -> Path:
        asked.append({"model": model, "out": out, **options})
        return out

    monkeypatch.setattr(api, "quantize", record)
    words = (
        "quantize ./ref out --recipe awq-4 --calibration code --calibration-sequences 3 "
        "--calibration-length 64 --device cuda:1 "
        "--seed 7 --data /data --trust-remote-code --quiet"
    )
    assert main(words.split()) == 0
    del asked[0]["progress"], asked[0]["on_note"]
    assert asked == [
        {
            "model": "./ref", "out": Path("out"), "recipe": "awq-4", "device": "cuda:1",
            "calibration": Calibration("code", samples=3, length=64), "seed": 7,
            "data": Path("/data"), "trust_remote_code": True,
        }
    ]  # fmt: skip
    assert capsys.readouterr().out == "out\n"
