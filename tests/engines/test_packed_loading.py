"""What the packed engine refuses, and what loading leaves as it was."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from bitloss.engines.packed import methods
from bitloss.engines.packed.loading import load, require_runnable
from bitloss.engines.packed.model import PackedTexts
from bitloss.engines.packed.plug import ENGINE
from bitloss.engines.raised import lacks_kernels
from bitloss.engines.values import Candidate, Model, TextSetup
from bitloss.errors import (
    CheckpointError,
    CorpusError,
    MissingDependency,
    NumericalError,
    UnsupportedModel,
)
from bitloss.spec.serving import Serving
from peers.packed_models import IN_PROCESS, Make, candidate, logits_of, maker, some_window


@pytest.fixture(scope="module")
def make(tmp_path_factory: pytest.TempPathFactory) -> Make:
    return maker(tmp_path_factory.mktemp("packed"))


def refused(own: Any, kind: type[Exception] = UnsupportedModel) -> str:
    assert IN_PROCESS.logits is not None
    with pytest.raises(kind) as error:
        IN_PROCESS.logits(own, batch_tokens=64)
    message = str(error.value.message)  # type: ignore[attr-defined]
    assert "\n" not in message
    return message


def test_other_files_devices_and_arithmetics(make: Make, tmp_path: Path) -> None:
    path, _ = make("dense")
    (tmp_path / "m.gguf").write_bytes(b"GGUF")
    own = candidate(path)
    gguf = Candidate(Model("m", own.model.identity, None, tmp_path / "m.gguf"), "packed", "bf16")
    assert "expected a model directory, got a GGUF file" in refused(gguf)
    served = Candidate(Model("m", own.model.identity), "packed", "bf16")
    assert "got a model without files" in refused(served)
    assert "got device `meta`" in refused(candidate(path, device="meta"))
    assert "computes in bf16 or fp32, got `mixed`" in refused(candidate(path, "mixed"))
    cached = candidate(path, serving=Serving("q8_0", "q8_0"))
    assert "sets no types of caches or activations, got cache q8_0" in refused(cached)


def test_a_method_without_kernels_here(make: Make, tmp_path: Path) -> None:
    own = candidate(make("dense")[0])
    for method, words in (
        ("exl3", "expected a model of .* got `exl3`"),
        # transformers would decode it on a CPU and say so in its log only.
        ("fp8", "no fp8 kernels for this device and would decode"),
    ):
        config = json.loads((own.model.path / "config.json").read_text())
        config["quantization_config"] = {"quant_method": method, "weight_block_size": [32, 32]}
        folder = tmp_path / method
        folder.mkdir()
        (folder / "config.json").write_text(json.dumps(config))
        tensors = load_file(own.model.path / "model.safetensors")
        if method == "fp8":
            tensors = _as_fp8(tensors)
        save_file(tensors, folder / "model.safetensors")
        other = Candidate(Model(method, own.model.identity, None, folder), "packed", "bf16")
        assert re.search(words, refused(other))


def _as_fp8(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    found = {}
    for name, value in tensors.items():
        if not name.endswith("_proj.weight"):
            found[name] = value
            continue
        found[name] = value.to(torch.float8_e4m3fn)
        blocks = tuple(-(-size // 32) for size in value.shape)
        found[f"{name}_scale_inv"] = torch.ones(blocks)
    return found


def test_a_missing_package(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    own = candidate(make("w8a16")[0])
    monkeypatch.setattr(methods, "find_spec", lambda module: None)
    assert "needs the package `compressed-tensors`" in refused(own, MissingDependency)
    with pytest.raises(MissingDependency) as error:
        methods.require_method("m", "gptq")
    assert error.value.hint == 'pip install "bitloss[packed]"'
    with pytest.raises(UnsupportedModel) as other:
        methods.require_method("m", "hqq")
    assert other.value.hint.startswith("pip install hqq")


def changed(source: Path, target: Path, change: Callable[[dict[str, Any]], Any]) -> Path:
    """A copy of a model with other tensors."""
    target.mkdir()
    for file in source.iterdir():
        (target / file.name).write_bytes(file.read_bytes())
    tensors = load_file(source / "model.safetensors")
    change(tensors)
    save_file(tensors, target / "model.safetensors")
    return target


LAYER = "model.layers.1.mlp.up_proj"


@pytest.mark.parametrize("layout", ["dense", "w8a16", "gptq-4"])
def test_incomplete_files_are_refused(make: Make, tmp_path: Path, layout: str) -> None:
    def drop(tensors: dict[str, Any]) -> None:
        for name in [name for name in tensors if name.startswith(LAYER)]:
            del tensors[name]

    folder = changed(make(layout)[0], tmp_path / "m", drop)
    assert f"`{LAYER}.weight`" in refused(candidate(folder), CheckpointError)


@pytest.mark.parametrize("layout", ["dense", "gptq-4"])
def test_a_library_makes_nothing_up(make: Make, tmp_path: Path, layout: str) -> None:
    """Even if the file is opened by nobody else: what libraries fill in, or leave unread."""
    path, _ = make(layout)
    identity = candidate(path).model.identity

    def drop(tensors: dict[str, Any]) -> None:
        del tensors["model.norm.weight"]

    def add(tensors: dict[str, Any]) -> None:
        tensors["model.strange"] = torch.ones(2)

    for change, words, kind in (
        (drop, "the weights have no `model.norm.weight`", CheckpointError),
        (add, "leaves `model.strange` unread", UnsupportedModel),
    ):
        folder = changed(path, tmp_path / change.__name__, change)
        assert words in refused(Candidate(Model("m", identity, None, folder), "packed"), kind)


def test_damage_that_only_the_library_finds_is_a_failure(make: Make, tmp_path: Path) -> None:
    """Not `not run`, which keeps a run successful. The reason is the library's own."""
    path, _ = make("w8a16")
    identity = candidate(path).model.identity

    def shorten(tensors: dict[str, Any]) -> None:
        name = next(name for name in tensors if name.startswith(LAYER) and "scale" in name)
        tensors[name] = tensors[name][..., : tensors[name].shape[-1] // 2 or 1][:3].contiguous()

    folder = changed(path, tmp_path / "m", shorten)
    said = refused(Candidate(Model("m", identity, None, folder), "packed", "bf16"), CheckpointError)
    assert "its library cannot load this" in said or "another shape than its config" in said


def test_what_libraries_say_of_kernels_and_of_files() -> None:
    """Messages of gptqmodel 7.6, transformers 5.17 and bitsandbytes 0.50, from their sources."""
    for error in (
        NotImplementedError("TorchLinear: `in_features`: 33 must be divisible by [32]."),
        ValueError("<class 'Marlin'> only supports `[4, 8]` bits: actual bits = `3`"),
        ValueError("FP8 quantized models is only supported on GPUs with compute capability >= 8.9"),
        RuntimeError("Torch not compiled with CUDA enabled"),
        ValueError("No compatible kernel for this device"),
    ):
        assert lacks_kernels(error), error
    for error in (
        RuntimeError("Error(s) in loading state_dict: size mismatch for q_proj.scales"),
        ValueError("g_idx length 12 != in_features 64"),
        KeyError("qzeros"),
        EOFError("Ran out of input"),
    ):
        assert not lacks_kernels(error), error


def test_a_window_beyond_the_context(make: Make) -> None:
    path, _ = make("dense")
    with pytest.raises(CorpusError, match=r"at most 128 tokens, .* got 129"):
        logits_of(candidate(path), some_window(130))


def test_nan_is_an_error(make: Make) -> None:
    path, _ = make("w8a16", float("nan"))
    with pytest.raises(NumericalError, match="expected finite logits"):
        logits_of(candidate(path), some_window())


def test_the_arithmetic_is_the_kernels_own() -> None:
    facts: dict[str, Any] = {"device": "cpu", "parameters": 1, "tokens": 1}
    chosen = [ENGINE.arithmetic(asked, **facts) for asked in ("auto", "mixed", "bf16", "fp32")]
    assert chosen == ["bf16", "bf16", "bf16", "fp32"]


def test_tokens_that_meet_in_a_kernel_are_not_packed(make: Make, tmp_path: Path) -> None:
    """One dynamic scale for all activations of a forward: a text would depend on its neighbours."""
    path, _ = make("w8a8")
    for strategy, mixes in (("token", False), ("tensor", True)):
        folder = tmp_path / strategy
        folder.mkdir()
        for file in path.iterdir():
            (folder / file.name).write_bytes(file.read_bytes())
        config = json.loads((path / "config.json").read_text())
        inputs = config["quantization_config"]["config_groups"]["group_0"]["input_activations"]
        inputs["strategy"] = strategy
        (folder / "config.json").write_text(json.dumps(config))
        own = candidate(folder)
        job = require_runnable(own)
        loaded = load(job)
        assert loaded.mixes_tokens == mixes
        setup = TextSetup(own.model.identity.config, str, (1,))
        model = PackedTexts(loaded, job, setup)
        assert model._graph.packs is (False if mixes else None)
