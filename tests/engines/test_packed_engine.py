"""Packed kernels beside a dense reference, a conformance test per format.

Oracle: transformers' float32 forward of the weights that the files mean, which the tests' own
packer knows. Kernels that compute in float32 agree with it to rounding.
"""

from __future__ import annotations

import json
import logging
import os
import re
import sys
import warnings
from collections.abc import Callable
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from bitloss.cli.main import main
from bitloss.engines.packed import methods
from bitloss.engines.packed.loading import load
from bitloss.engines.packed.model import PackedTextModel
from bitloss.engines.packed.plug import ENGINE
from bitloss.engines.values import Candidate, Model, TextSetup
from bitloss.errors import (
    CheckpointError,
    CorpusError,
    MissingDependency,
    NumericalError,
    UnsupportedModel,
)
from bitloss.formats import open_checkpoint
from bitloss.formats.base import identify
from bitloss.results import Comparison
from bitloss.types import Window
from engines import pair_checks, text_checks
from peers.packed_models import save_packed
from peers.tiny import VOCABULARY, save_tiny

_NEEDS = {
    "gptq-8": "gptqmodel", "gptq-4": "gptqmodel", "awq-4": "gptqmodel",
    "w4a16": "compressed_tensors", "w8a16": "compressed_tensors", "w8a8": "compressed_tensors",
    "nf4": "bitsandbytes", "int8": "bitsandbytes",
}  # fmt: skip
# Where loading takes a second, what does not depend on the format is checked for others alone.
QUICK = ("dense", "w8a16")
SLOW = ("gptq-8", "gptq-4", "awq-4", "w4a16")
PER_FORMAT = (
    pair_checks.check_a_copy_of_the_reference_lost_nothing,
    pair_checks.check_records_are_what_the_logits_say,
    pair_checks.check_a_broken_candidate_fails_alone,
    pair_checks.check_the_noise_floor_is_small,
    pair_checks.check_logits_are_one_row_per_scored_token,
)
Make = Callable[..., tuple[Path, Any]]


@pytest.fixture(scope="module")
def make(tmp_path_factory: pytest.TempPathFactory) -> Make:
    """Directories of packed models and their oracles, each made once."""
    folder = tmp_path_factory.mktemp("packed")

    @cache
    def made(layout: str, noise: float = 0.0) -> tuple[Path, Any]:
        need = _NEEDS.get(layout)
        if need is not None and find_spec(need) is None:
            pytest.skip(f"{need} is not installed")
        path = folder / f"{layout}-{noise}"
        return path, save_packed(path, layout, noise=noise)

    return made


def candidate(path: Path, arithmetic: str = "fp32", engine: str = "packed", **options: Any) -> Any:
    checkpoint = open_checkpoint(path)
    model = Model(path.name, identify(checkpoint), checkpoint, path)
    return Candidate(model, engine, arithmetic, **options)


def pair_facts(make: Make, layout: str) -> pair_checks.Facts:
    """AWQ's kernels have 16 bits alone: all that is asked of them is coarse."""
    own, noises = ("bf16", (1.0, 2.0)) if layout == "awq-4" else ("fp32", (0.05, 0.1))
    reference = make("dense")[0]
    made = {noise: make(layout, noise) for noise in noises}
    oracles = {path.name: model for path, model in (make("dense"), *made.values())}

    def logits(name: str, ids: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            return oracles[name](torch.from_numpy(ids[None]).long()).logits[0].double().numpy()

    return pair_checks.Facts(
        vocabulary=VOCABULARY,
        reference=candidate(reference, engine="dense"),
        copy=candidate(reference, own),
        variants=tuple(candidate(path, own) for path, _ in made.values()),
        broken=candidate(make(layout, float("nan"))[0], own),
        logits=None if layout == "awq-4" else logits,
        tolerance=1e-4,
        floor=0.05 if own == "bf16" else 1e-5,
    )


@pytest.mark.parametrize("layout", QUICK)
@pytest.mark.parametrize("check", pair_checks.PAIR_CHECKS, ids=lambda check: check.__name__)
def test_it_scores(make: Make, tmp_path: Path, check: Any, layout: str) -> None:
    check(ENGINE, pair_facts(make, layout), tmp_path)


@pytest.mark.parametrize("layout", SLOW)
@pytest.mark.parametrize("check", PER_FORMAT, ids=lambda check: check.__name__)
def test_it_scores_every_format(make: Make, tmp_path: Path, check: Any, layout: str) -> None:
    check(ENGINE, pair_facts(make, layout), tmp_path)


def decode(ids: Any) -> str:
    return " ".join(map(str, ids))


@pytest.fixture(scope="module")
def writer(make: Make) -> Callable[[str], Any]:
    @cache
    def loaded(layout: str) -> Any:
        own = candidate(make(layout)[0])
        assert ENGINE.text_model is not None
        setup = TextSetup(own.model.identity.config, decode, (1,), batch_tokens=64)
        return ENGINE.text_model(own, setup)

    return loaded


@pytest.mark.parametrize("layout", ["w8a16", "gptq-4"])
@pytest.mark.parametrize("check", text_checks.TEXT_CHECKS, ids=lambda check: check.__name__)
def test_it_writes(make: Make, writer: Any, check: Any, layout: str) -> None:
    oracle = make(layout)[1]

    def logits(ids: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            return oracle(torch.from_numpy(ids[None]).long()).logits[0].double().numpy()

    check(
        writer(layout),
        text_checks.Facts(
            vocabulary=VOCABULARY, context=128, logits=logits, decode=decode, eos_ids=(1,)
        ),
    )


def some_window(size: int = 40) -> Window:
    ids = np.random.default_rng(5).integers(2, VOCABULARY, size).astype(np.int32)
    return Window(ids, 1)


def divergence(ours: torch.Tensor, theirs: torch.Tensor) -> float:
    p, q = (logits.double().log_softmax(-1) for logits in (ours, theirs))
    return float((p.exp() * (p - q)).sum(-1).mean())


def logits_of(own: Any, window: Window) -> torch.Tensor:
    assert ENGINE.logits is not None
    return torch.cat(list(ENGINE.logits(own, batch_tokens=64).logits(window)))


def test_awq_is_what_the_file_means_up_to_16_bits(make: Make) -> None:
    """Oracle: the same weights, dense, by transformers in the same 16 bits."""
    path, oracle = make("awq-4", 1.0)
    window = some_window()
    ids = torch.from_numpy(window.ids[None, :-1]).long()
    with torch.no_grad():
        exact = oracle(ids).logits[0]
        rounded = oracle.bfloat16()(ids).logits[0].float()
        oracle.float()
    found = divergence(exact, logits_of(candidate(path, "bf16"), window))
    assert 0 < found < 3 * divergence(exact, rounded)


def test_quantized_activations_are_part_of_what_is_run(make: Make) -> None:
    """W8A8 rounds activations to 8 bits per token; without them the same file is exact."""
    window = some_window()
    exact, rounded = (
        divergence(
            make(layout)[1](torch.from_numpy(window.ids[None, :-1]).long()).logits[0].detach(),
            logits_of(candidate(make(layout)[0]), window),
        )
        for layout in ("w8a16", "w8a8")
    )
    assert abs(exact) < 1e-6
    assert 1e-4 < rounded < 0.1


@pytest.mark.parametrize("layout", ["nf4", "int8"])
def test_bitsandbytes(tmp_path: Path, layout: str) -> None:
    """Oracle: the dense engine on the same file; the library computes in 16 bits."""
    if find_spec("bitsandbytes") is None:
        pytest.skip("bitsandbytes is not installed")
    from transformers import AutoModelForCausalLM, BitsAndBytesConfig

    # Rows in whole blocks of 64: others its CPU kernel of 0.50 refuses or reads wrongly.
    save_tiny(tmp_path / "m", "llama", dtype=torch.bfloat16, intermediate_size=128)
    options: dict[str, Any] = {"nf4": {"load_in_4bit": True, "bnb_4bit_quant_type": "nf4"},
                               "int8": {"load_in_8bit": True}}[layout]  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        loader: Any = AutoModelForCausalLM
        model = loader.from_pretrained(
            tmp_path / "m",
            quantization_config=BitsAndBytesConfig(**options),
            dtype=torch.bfloat16,
        )
        model.save_pretrained(tmp_path / layout)
    from bitloss.engines.dense.plug import ENGINE as DENSE

    assert DENSE.logits is not None
    window = some_window()
    own = candidate(tmp_path / layout, engine="dense")
    exact = torch.cat(list(DENSE.logits(own, batch_tokens=64).logits(window)))
    assert 0 < divergence(exact, logits_of(candidate(tmp_path / layout, "bf16"), window)) < 0.02


@pytest.mark.skipif(find_spec("gptqmodel") is None, reason="gptqmodel is not installed")
def test_a_library_changes_nothing_and_prints_nothing(
    make: Make, capfd: pytest.CaptureFixture[str]
) -> None:
    path, _ = make("gptq-4")

    def state() -> Any:
        root = logging.getLogger()
        return (dict(os.environ), list(root.handlers), root.level, list(warnings.filters),
                sys.stdout, sys.stderr, torch.get_default_dtype(), torch.get_num_threads(),
                torch.is_grad_enabled(), logging.root.manager.disable)  # fmt: skip

    before = state()
    capfd.readouterr()
    logits_of(candidate(path), some_window())
    assert state() == before
    assert capfd.readouterr() == ("", "")


# What is refused ---------------------------------------------------------------------------------


def refused(own: Any, kind: type[Exception] = UnsupportedModel) -> str:
    assert ENGINE.logits is not None
    with pytest.raises(kind) as error:
        ENGINE.logits(own, batch_tokens=64)
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
        loaded = load(own)
        assert loaded.mixes_tokens == mixes
        setup = TextSetup(own.model.identity.config, decode, (1,))
        model = PackedTextModel(loaded, own, setup)
        assert model._graph.packs is (False if mixes else None)


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("layout", ["gptq-4", "awq-4", "w8a16"])
def test_on_cuda(make: Make, layout: str) -> None:
    path, oracle = make(layout, 1.0)
    window = some_window()
    with torch.no_grad():
        exact = oracle(torch.from_numpy(window.ids[None, :-1]).long()).logits[0]
    own = candidate(path, "bf16", device="cuda")
    assert 0 < divergence(exact, logits_of(own, window).cpu()) < 0.1


# From end to end ---------------------------------------------------------------------------------


def test_the_command_line(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    """The oracle is the dense engine on the same file and tokens."""
    monkeypatch.chdir(tmp_path)
    (reference, _), (path, _) = make("dense"), make("w8a16", 0.05)
    (tmp_path / "text.txt").write_text("the thing in the inn, then the other thing. " * 60)
    results = {}
    for engine in ("dense", "packed"):
        words = ["compare", str(reference), str(path), "--engine", engine, "--out", engine,
                 "--corpus", "text.txt", "--dtype", "fp32", "--no-report", "-q"]  # fmt: skip
        assert main(words) == 0, capsys.readouterr().err
        (variant,) = Comparison.load(engine).variants
        (results[engine],) = variant.corpora.values()
    dense, packed = results["dense"], results["packed"]
    assert packed.noise_floor is not None
    assert packed.kl_divergence.mean == pytest.approx(dense.kl_divergence.mean, rel=1e-3)
    assert packed.perplexity == pytest.approx(dense.perplexity, rel=1e-5)
