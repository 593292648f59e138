"""Oracle: GPTQModel's `pack_awq` and `dequantize_gemm` (tests/peers/gptqmodel_kernels.py)."""

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
from peers.gptqmodel_kernels import awq_pair
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
    assert weight.dtype == dtype
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
    assert torch.equal(weight, exact.half().t())


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
        ({"version": "gemv"}, UnsupportedModel, "layout `gemv`"),
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
