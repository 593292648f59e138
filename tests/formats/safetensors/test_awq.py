"""Oracle: GPTQModel's `pack_awq` and `dequantize_gemm` (tests/peers/gptqmodel_kernels.py).

Weights are codes times scales in float64, rounded to float32, bit for bit; rounded to the scales'
type they are the weights of GPTQModel.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bitloss.errors import CheckpointError, UnsupportedModel
from bitloss.formats import open_checkpoint
from bitloss.formats.safetensors import awq
from bitloss.formats.storage import packing
from peers.checkpoints import write_model
from peers.gptqmodel_kernels import awq_gemv_parts, awq_pair
from peers.marlin_files import marlin_parts
from peers.packing import pack_rows

INPUTS, OUTPUTS = 256, 96
NAME = "model.layers.0.mlp.up_proj"
CONFIG: dict[str, Any] = {
    "quant_method": "awq", "bits": 4, "group_size": 64, "zero_point": True, "version": "gemm",
    "modules_to_not_convert": None,
}  # fmt: skip
ORDER = (0, 2, 4, 6, 1, 3, 5, 7)  # llm-awq: the outputs of a word from its lowest bits up


def stored(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {f"{NAME}.{key}": value for key, value in tensors.items()}


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("group_size", [32, 64, -1])
@pytest.mark.parametrize("bits", [2, 3, 4, 8])
def test_bit_exact_with_gptqmodel(
    bits: int, group_size: int, dtype: torch.dtype, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packing, "_BLOCK", 64 * INPUTS)  # two blocks, the last one short
    size = INPUTS if group_size == -1 else group_size
    tensors, dense = awq_pair((INPUTS, OUTPUTS), bits=bits, group_size=size, dtype=dtype)
    config = CONFIG | {"bits": bits, "group_size": group_size}
    checkpoint = open_checkpoint(write_model(tmp_path, stored(tensors), config))
    weight = checkpoint.read(f"{NAME}.weight")
    assert checkpoint.shape(f"{NAME}.weight") == (OUTPUTS, INPUTS) == weight.shape
    assert weight.dtype == torch.float32
    assert weight.is_contiguous()
    assert torch.equal(weight, dense.t())


@settings(max_examples=25)
@given(groups=st.integers(1, 3), words=st.integers(1, 9), seed=st.integers(0, 999))
def test_nibble_order(groups: int, words: int, seed: int) -> None:
    """Own packer: eight outputs a word, in the order that llm-awq's kernels want."""
    inputs, outputs = 16 * groups, 8 * words
    generator = torch.Generator().manual_seed(seed)
    codes = torch.randint(0, 16, (inputs, outputs), generator=generator)
    zeros = torch.randint(0, 16, (groups, outputs), generator=generator)
    scales = torch.rand((groups, outputs), generator=generator).half()
    order = [8 * word + place for word in range(words) for place in ORDER]
    packed = [pack_rows(table[:, order].tolist(), 4) for table in (codes, zeros)]
    weight = awq.decode(awq.Layer(4, 16, inputs, outputs), packed[0], packed[1], scales)
    exact = (codes - zeros.repeat_interleave(16, 0)).double()
    exact *= scales.double().repeat_interleave(16, 0)
    assert torch.equal(weight, exact.float().t())


def test_autoawq_names_and_info(tmp_path: Path) -> None:
    tensors, dense = awq_pair((INPUTS, OUTPUTS), bits=4, group_size=64, dtype=torch.float16)
    bias = torch.randn(OUTPUTS).half()
    path = write_model(tmp_path, stored(tensors) | {f"{NAME}.bias": bias})
    config = '{"zero_point": true, "q_group_size": 64, "w_bit": 4, "version": "GEMM"}'
    (path / "quant_config.json").write_text(config, encoding="utf-8")
    checkpoint = open_checkpoint(path)
    assert set(checkpoint.names()) == {f"{NAME}.weight", f"{NAME}.bias"}
    assert torch.equal(checkpoint.read(f"{NAME}.weight"), dense.t())
    assert torch.equal(checkpoint.read(f"{NAME}.bias"), bias)
    info = checkpoint.info
    assert (info.format, info.bits, info.group_size, info.desc_act) == ("awq", 4, 64, None)
    # 4 bits, and for each group of 64 a 16-bit scale and a 4-bit zero; the bias is 16.
    weights = INPUTS * OUTPUTS
    bits = weights * (4 + 20 / 64) + 16 * OUTPUTS
    assert info.bits_per_weight == pytest.approx(bits / (weights + OUTPUTS), rel=1e-12)


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"group_size": 128}, CheckpointError, "qzeros`: expected shape [2, 12]"),
        ({"group_size": 48}, CheckpointError, "multiple of the group size 48"),
        ({"bits": 8}, CheckpointError, "qweight`: expected shape [256, 24]"),
        ({"group_size": None}, CheckpointError, "whole number for `group_size`, got None"),
        ({"version": "gemv"}, CheckpointError, "multiple of the group size 64"),
        ({"version": "gemv_fast"}, CheckpointError, "qweight`: expected I16, got I32"),
        ({"version": "marlin", "bits": 8}, CheckpointError, "qweight`: expected shape [256, 24]"),
        ({"version": "bitblas"}, UnsupportedModel, "layout `bitblas`"),
        ({"modules_to_not_convert": ["mlp.up_proj"]}, CheckpointError, "lists `mlp.up_proj`"),
        ({"version": "gemm", "checkpoint_format": "gemv_fast"}, UnsupportedModel, "gemv_fast"),
        ({"bits": 16}, UnsupportedModel, "AWQ with 16 bits"),
    ],
)
def test_config_that_contradicts_the_weights(
    change: dict[str, Any], error: type[Exception], words: str, tmp_path: Path
) -> None:
    tensors, _ = awq_pair((INPUTS, OUTPUTS), bits=4, group_size=64, dtype=torch.float16)
    path = write_model(tmp_path, stored(tensors), CONFIG | change)
    with pytest.raises(error) as caught:
        open_checkpoint(path)
    assert words in str(caught.value)
    assert "hint: " in str(caught.value)


@pytest.mark.parametrize("version", ["exllama", "exllamav2", "ipex", "marlin"])
def test_versions_of_a_runtime_store_gemm(version: str, tmp_path: Path) -> None:
    tensors, dense = awq_pair((INPUTS, OUTPUTS), bits=4, group_size=64, dtype=torch.float16)
    config = CONFIG | {"version": version}
    checkpoint = open_checkpoint(write_model(tmp_path, stored(tensors), config))
    assert torch.equal(checkpoint.read(f"{NAME}.weight"), dense.t())


def random_layer(inputs: int, outputs: int, group_size: int) -> tuple[torch.Tensor, ...]:
    generator = torch.Generator().manual_seed(0)
    codes = torch.randint(0, 16, (outputs, inputs), generator=generator)
    zeros = torch.randint(0, 16, (outputs, inputs // group_size), generator=generator)
    scales = (torch.rand(zeros.shape, generator=generator) * 0.01 + 0.001).half()
    return codes, zeros, scales


@pytest.mark.parametrize(
    ("layout", "group_size"),
    [
        *(("gemv", size) for size in (64, 128)),
        *((fast, size) for fast in ("gemv_fast", "llm-awq") for size in (16, 32, 64, 128)),
    ],
)
def test_layouts_for_single_tokens(
    layout: str, group_size: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Oracle: GPTQModel packs known codes; the definition in float64."""
    monkeypatch.setattr(packing, "_BLOCK", 24 * 384)
    codes, zeros, scales = random_layer(384, 64, group_size)
    tensors = stored(awq_gemv_parts(layout, codes, zeros, scales, group_size))
    config = CONFIG | {"version": layout, "group_size": group_size}
    checkpoint = open_checkpoint(write_model(tmp_path, tensors, config))
    weight = checkpoint.read(f"{NAME}.weight")
    spread = [table.double().repeat_interleave(group_size, 1) for table in (zeros, scales)]
    if layout == "gemv":
        exact = (codes - spread[0]) * spread[1]
    else:
        scaled = (zeros.double() * scales.double()).half().double()
        exact = codes * spread[1] - scaled.repeat_interleave(group_size, 1)
    assert checkpoint.names() == (f"{NAME}.weight",)
    assert checkpoint.shape(f"{NAME}.weight") == (64, 384) == weight.shape
    assert weight.is_contiguous()
    assert torch.equal(weight, exact.float())


@pytest.mark.parametrize(
    ("layout", "change", "words"),
    [
        ("gemv", {"group_size": 32}, "qzeros`: expected shape [64, 4]"),
        ("gemv", {"version": "gemm"}, "expected"),
        ("gemv", {"version": "gemv_fast"}, "expected I16, got I32"),
        ("gemv_fast", {"group_size": 128}, "qzeros`: expected shape [8, 64]"),
        ("gemv_fast", {"version": "gemv"}, "expected I32, got I16"),
    ],
)
def test_layouts_that_contradict_the_config(
    layout: str, change: dict[str, Any], words: str, tmp_path: Path
) -> None:
    tensors = stored(awq_gemv_parts(layout, *random_layer(384, 64, 64), 64))
    path = write_model(tmp_path, tensors, CONFIG | {"version": layout} | change)
    with pytest.raises(CheckpointError) as caught:
        open_checkpoint(path)
    assert words in str(caught.value)


def test_marlin_tiles(tmp_path: Path) -> None:
    """AutoAWQ stores them under AWQ's names; the oracle is the definition."""
    codes, _, scales = random_layer(128, 64, 64)
    words, moved = marlin_parts(codes.t(), scales.t())
    config = CONFIG | {"version": "marlin", "zero_point": False}
    tensors = stored({"qweight": words, "scales": moved})
    checkpoint = open_checkpoint(write_model(tmp_path, tensors, config))
    exact = (codes - 8) * scales.double().repeat_interleave(64, 1)
    assert torch.equal(checkpoint.read(f"{NAME}.weight"), exact.float())


@pytest.mark.parametrize("layout", ["gemm", "gemv", "gemv_fast"])
def test_scales_that_are_not_numbers(layout: str, tmp_path: Path) -> None:
    if layout == "gemm":
        parts, _ = awq_pair((256, 96), bits=4, group_size=64, dtype=torch.float16)
    else:
        parts = awq_gemv_parts(layout, *random_layer(256, 64, 64), 64)
    parts["scales"][0, 1] = torch.nan
    config = CONFIG | {"version": layout}
    checkpoint = open_checkpoint(write_model(tmp_path, stored(parts), config))
    with pytest.raises(CheckpointError, match="infinite or NaN"):
        checkpoint.read(f"{NAME}.weight")


def test_symmetric_zero_points_stored_less_one(tmp_path: Path) -> None:
    """GPTQ's v1 convention in AWQ's layout: every weight would be off by a scale."""
    tensors, _ = awq_pair((INPUTS, OUTPUTS), bits=4, group_size=64, dtype=torch.float16)
    tensors["qzeros"].fill_(0x77777777)
    config = CONFIG | {"sym": True}
    checkpoint = open_checkpoint(write_model(tmp_path, stored(tensors), config))
    with pytest.raises(CheckpointError, match="expected zero points of 8"):
        checkpoint.read(f"{NAME}.weight")
