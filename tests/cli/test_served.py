"""Runs with a simulated runtime, through the real command line.

Oracles: hand-made files whose configs say what enters their layers, and runs without.
"""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from bitloss.cli.main import main
from bitloss.results import Comparison
from peers.tiny import save_tiny

WORDS = ["--corpus", "text.txt", "--max-length", "64", "--stride", "64", "--no-report", "--quiet"]


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("BITLOSS_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    save_tiny(tmp_path / "tiny", "llama", head_dim=32)
    (tmp_path / "text.txt").write_text("the thing in the rain, and then nothing else. " * 40)
    return tmp_path


@pytest.fixture
def w8a8(place: Path) -> str:
    """The model in compressed-tensors int8, which asks for int8 inputs by token."""
    save_tiny(place / "w8a8", "llama", head_dim=32)
    stored: dict[str, torch.Tensor] = {}
    for name, weight in load_file(place / "w8a8/model.safetensors").items():
        stored[name] = weight
        if name.endswith("_proj.weight"):
            scale = weight.abs().amax(1, keepdim=True) / 127
            stored[name] = (weight / scale).round().to(torch.int8)
            stored[f"{name}_scale"] = scale
    save_file(stored, place / "w8a8/model.safetensors", {"format": "pt"})
    config = json.loads((place / "w8a8/config.json").read_text())
    integers = {"num_bits": 8, "type": "int", "symmetric": True}
    group = {
        "targets": ["Linear"], "weights": {**integers, "strategy": "channel"},
        "input_activations": {**integers, "strategy": "token", "dynamic": True},
    }  # fmt: skip
    config["quantization_config"] = {
        "quant_method": "compressed-tensors", "format": "int-quantized", "ignore": ["lm_head"],
        "config_groups": {"group_0": group},
    }  # fmt: skip
    (place / "w8a8/config.json").write_text(json.dumps(config))
    return "./w8a8"


def run(out: str, *words: str, code: int = 0) -> Comparison:
    assert main(["compare", "./tiny", *words, "--out", out, *WORDS]) == code
    return Comparison.load(out)


def divergence(result: Comparison) -> float:
    """In the last of the ways in which the variant was run."""
    (variant,) = result.variants
    found = variant.corpora["text.txt"]
    if variant.served:
        found = variant.served[-1].corpora["text.txt"].result
    mean = found.kl_divergence.mean
    assert mean is not None
    return mean


def test_a_model_served_in_another_way_is_its_own_variant() -> None:
    """One store for all: what was scored without is not taken for what is scored with."""
    plain = run("out", "./tiny")
    lost = [
        divergence(run("out", "./tiny", "--force", *words))
        for words in (
            ("--cache-type", "q8_0"), ("--cache-type", "q4_0"), ("--activations", "int8"),
            ("--activations", "int4"), ("--cache-type", "q4_0", "--activations", "int4"),
        )
    ]  # fmt: skip
    assert divergence(plain) == 0.0
    q8_0, q4_0, int8, int4, both = lost
    assert 0 < q8_0 < q4_0 / 10
    assert 0 < int8 < int4 / 10
    assert both > max(q4_0, int4)
    again = run("out", "./tiny", "--force")
    assert divergence(again) == 0.0
    assert again.reference.corpora == plain.reference.corpora


def test_a_file_that_asks_for_activations_says_so(w8a8: str) -> None:
    """Without them a note; with them both parts: weights and activations."""
    (weights,) = run("a", w8a8).variants
    note = "the file asks for int8 activations, which this run leaves out: --activations checkpoint"
    assert note in weights.corpora["text.txt"].notes
    as_declared = run("b", w8a8, "--activations", "checkpoint")
    notes = as_declared.variants[0].corpora["text.txt"].notes
    assert not [note for note in notes if "the file asks for" in note]
    named = run("c", w8a8, "--activations", "int8")
    assert divergence(named) == divergence(as_declared) > divergence(run("a", w8a8)) > 0
    assert (
        "the file asks for int8 activations; this run adds int8"
        in named.variants[0].corpora["text.txt"].notes
    )


def test_a_file_that_asks_for_nothing_cannot_be_run_as_it_asks(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["compare", "./tiny", "./tiny", "--activations", "checkpoint", *WORDS]) == 1
    error = capsys.readouterr().err
    assert "expected a checkpoint that says how inputs of its layers are stored, got" in error


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--cache-type", "q9"], "cache type: expected one of f32, "),
        (["--activations", "int9"], "activations: expected one of int8, "),
    ],
)
def test_unknown_types_are_usage_errors(
    capsys: pytest.CaptureFixture[str], words: list[str], message: str
) -> None:
    assert main(["compare", "./tiny", "./tiny", *words, *WORDS]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("engine", ["llama.cpp", "packed"])
def test_what_an_engine_refuses_is_said_before_the_reference_is_read(
    w8a8: str, capsys: pytest.CaptureFixture[str], engine: str
) -> None:
    """`--device` and formats alike: nothing is kept of a run in which nothing can be run."""
    words = ["--engine", engine]
    if engine == "packed":
        config = json.loads(Path("w8a8/config.json").read_text())
        config["quantization_config"] = {"quant_method": "exl3"}
        Path("w8a8/config.json").write_text(json.dumps(config))
    assert main(["compare", "./tiny", w8a8, *words, "--out", "out", *WORDS]) != 0
    said = capsys.readouterr().err
    assert "w8a8" in said or "llama-cpp-python" in said
    assert not list(Path("out").rglob("*.parquet"))
    # The plan says it of a further way; that no variant could be run in it is a failure.
    if engine == "llama.cpp" and find_spec("llama_cpp") is not None:
        both = ["--engine", f"dense,{engine}"]
        assert main(["compare", "./tiny", w8a8, *both, "--plan", *WORDS]) == 0
        assert "not run: ./w8a8" in " ".join(capsys.readouterr().out.split())
        result = run("both", w8a8, *both, code=1)
        (served,) = result.variants[0].served or ()
        assert served.status == "unsupported"
