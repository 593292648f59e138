"""Oracles: a packer written apart from the decoder, and a layer of hqq 0.2.8 itself.

`benchmarks/oracle_hqq.py` compares with the library over all its settings.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from bitloss.errors import CheckpointError, UnsupportedModel
from bitloss.formats import open_checkpoint
from bitloss.formats.safetensors import hqq
from peers.checkpoints import write_model
from peers.exact import ulps
from peers.hqq_files import encode, layer

MODULE = "model.layers.0.mlp.up_proj"
NAME = f"{MODULE}.weight"
# As transformers 4 wrote it; hqq's own files have no quantization config.
CONFIG = {"quant_method": "hqq", "quant_config": {}, "skip_modules": ["lm_head"]}
# `Quantizer.quantize` of hqq 0.2.8 with 3 bits made this of 32 numbers in groups of 8, and
# `Quantizer.dequantize` made the last one of that.
GOLDEN_WORDS = [
    70778880, 545783808, 1007943680, 528744448, 871366656, 375390208, 718274560, 224133120,
]  # fmt: skip
GOLDEN_SCALE = [0.4642857015132904] * 4
GOLDEN_ZERO = [3.769230842590332, 3.500000238418579, 3.230769395828247, 3.769230842590332]
GOLDEN_DENSE = [
    [-1.75, 0.10714282095432281, 1.4999998807907104, -0.3571428954601288,
     1.0357142686843872, -0.8214285969734192, 0.5714285373687744, -1.2857142686843872],
    [0.23214274644851685, -1.6250001192092896, 0.23214274644851685, 1.6249998807907104,
     -0.23214295506477356, 1.1607141494750977, -0.696428656578064, 0.6964284181594849],
    [-1.0357143878936768, 0.35714277625083923, -1.5, 0.35714277625083923,
     1.7499998807907104, -0.10714293271303177, 1.2857141494750977, -0.571428656578064],
    [1.0357142686843872, -0.8214285969734192, 0.5714285373687744, -1.2857142686843872,
     0.10714282095432281, -1.75, 0.10714282095432281, 1.4999998807907104],
]  # fmt: skip


@pytest.mark.parametrize("bits", [8, 6, 5, 4, 3, 2, 1.58, 1])
@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("view_as_float", [False, True])
@pytest.mark.parametrize(
    ("dtype", "group_size", "shape"),
    [(torch.bfloat16, 64, (40, 96)), (torch.float16, 16, (16, 32)), (torch.float32, 48, (8, 96))],
)
def test_every_packing(
    bits: float,
    axis: int,
    view_as_float: bool,
    dtype: torch.dtype,
    group_size: int,
    shape: tuple[int, int],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(hqq, "_BLOCK", 200)  # several steps, the last one short
    tensors, dense = layer(
        MODULE, shape, bits=bits, axis=axis, group_size=group_size, dtype=dtype,
        view_as_float=view_as_float,
    )  # fmt: skip
    checkpoint = open_checkpoint(write_model(tmp_path, tensors, CONFIG))
    weight = checkpoint.read(NAME)
    groups = weight.numel() // group_size
    matrix = (groups, group_size) if axis else (group_size, groups)
    assert checkpoint.names() == (NAME,)
    assert checkpoint.shape(NAME) == shape == weight.shape
    assert weight.dtype == torch.float32
    # The difference and the product are rounded each, here to float32, by hqq to the dtype.
    assert ulps(weight, dense.float()) <= 1
    codes = dense.reshape(matrix) / tensors[f"{MODULE}.scale"].double()
    codes = (codes + tensors[f"{MODULE}.zero"].double()).round().to(dtype)
    library = (codes - tensors[f"{MODULE}.zero"]) * tensors[f"{MODULE}.scale"]
    assert ulps(weight.to(dtype), library.reshape(shape)) <= 1
    info = checkpoint.info
    assert (info.format, info.bits, info.group_size) == ("hqq", bits, group_size)


def test_a_layer_of_the_library() -> None:
    words = torch.tensor([GOLDEN_WORDS], dtype=torch.int32)
    stored = hqq.Layer(3, "3bit_32", 1, 8, (4, 8), torch.float32)
    scale, zero = torch.tensor([GOLDEN_SCALE]).t(), torch.tensor([GOLDEN_ZERO]).t()
    assert torch.equal(hqq.decode(stored, words, scale, zero), torch.tensor(GOLDEN_DENSE))


@pytest.mark.parametrize("shards", [1, 3])
def test_files_without_a_quantization_config(shards: int, tmp_path: Path) -> None:
    tensors, dense = layer(MODULE, (40, 96))
    bias, head = torch.randn(40).bfloat16(), torch.randn((7, 40)).bfloat16()
    tensors |= {f"{MODULE}.bias": bias, "lm_head.weight": head}
    checkpoint = open_checkpoint(write_model(tmp_path, tensors, shards=shards))
    assert set(checkpoint.names()) == {NAME, f"{MODULE}.bias", "lm_head.weight"}
    assert ulps(checkpoint.read(NAME), dense.float()) <= 1
    assert torch.equal(checkpoint.read(f"{MODULE}.bias"), bias)
    info = checkpoint.info
    assert info.parameters == 40 * 96 + 40 + 7 * 40
    stored = sum(tensor.nbytes for tensor in tensors.values())
    assert info.bits_per_weight == pytest.approx(8 * stored / info.parameters, rel=1e-12)


def test_mixed_precision_is_named_after_most_weights(tmp_path: Path) -> None:
    four, _ = layer(MODULE, (40, 96))
    eight, _ = layer("model.layers.0.mlp.down_proj", (16, 32), bits=8, group_size=32)
    info = open_checkpoint(write_model(tmp_path, four | eight, CONFIG)).info
    assert (info.bits, info.group_size) == (4, 64)


def test_pickles_are_named(tmp_path: Path) -> None:
    path = write_model(tmp_path, {"a": torch.zeros(1)})
    (path / "model.safetensors").rename(path / "qmodel.pt")
    with pytest.raises(CheckpointError, match=r"pickled \(qmodel\.pt\)") as caught:
        open_checkpoint(path)
    assert "save_to_safetensors" in caught.value.hint


@pytest.mark.parametrize(
    ("part", "value", "message"),
    [
        ("scale", None, r"scale`: expected shape \[60, 1\] .*no such tensor"),
        ("zero", None, r"zero`: expected shape \[60, 1\]"),
        ("shape", None, "no tensor `.*shape`"),
        ("packing", None, "no tensor `.*packing`"),
        ("axis", None, "no tensor `.*axis`"),
        ("scale", torch.zeros(60), r"scale`: expected shape \[60, 1\] .*got \[60\]"),
        ("scale", torch.zeros((60, 1)).double(), "scale`: expected F16 or BF16 or F32, got F64"),
        ("W_q", torch.zeros((30, 63), dtype=torch.uint8), r"W_q`: expected shape \[30, 64\]"),
        ("W_q", torch.zeros((30, 64), dtype=torch.int8), "W_q`: expected U8, got I8"),
        ("view_as_float", encode(True), r"W_q`: expected shape \[30, 32\]"),
        ("group_size", encode(128), r"W_q`: expected shape \[15, 128\]"),
        ("group_size", encode(7), "expected axis 0 or 1 and groups that divide"),
        ("group_size", encode(0), "expected axis 0 or 1 and groups that divide"),
        ("axis", encode(2), "expected axis 0 or 1 and groups that divide"),
        ("axis", encode(0), r"W_q`: expected shape \[32, 60\]"),
        ("axis", torch.zeros(2), "axis`: expected a number, got F32"),
        ("nbits", torch.zeros(1).half(), "nbits`: expected a number, got F16"),
        ("shape", torch.tensor([40, 95]), "groups that divide"),
        ("shape", torch.tensor([40, 96, 1]), "shape`: expected two sizes"),
        ("shape", torch.tensor([-40, -96]), "shape`: expected two sizes"),
        ("shape", torch.zeros(2), "shape`: expected two sizes, got F32"),
        ("packing", encode("2bit_u8"), r"W_q`: expected shape \[15, 64\]"),
        ("packing", encode("4bit_32"), "HQQ packing `4bit_32`"),
        ("packing", encode(4), "packing`: expected text, got I32"),
        ("packing", torch.tensor([200], dtype=torch.uint8), "packing`: expected text"),
        ("compute_dtype", encode("torch.float64"), "computed in `torch.float64`"),
        ("quant_scale", encode(True), "quantized scales: hqq writes them into pickles only"),
        ("quant_zero", encode(True), "quantized zero points"),
        ("offload_meta", encode(True), "kept apart"),
        ("channel_wise", encode(False), "one scale for the whole matrix"),
        ("encoded_state_dict", None, "no tensor `.*encoded_state_dict`"),
    ],
)
def test_damaged_or_unknown(
    part: str, value: torch.Tensor | None, message: str, tmp_path: Path
) -> None:
    tensors: dict[str, Any] = layer(MODULE, (40, 96))[0]
    tensors.pop(f"{MODULE}.{part}")
    if value is not None:
        tensors[f"{MODULE}.{part}"] = value
    path = write_model(tmp_path, tensors, CONFIG)
    with pytest.raises((CheckpointError, UnsupportedModel), match=message) as caught:
        open_checkpoint(path)
    assert caught.value.hint


def test_scales_without_codes_are_no_dense_parameters(tmp_path: Path) -> None:
    tensors, _ = layer(MODULE, (40, 96))
    del tensors[f"{MODULE}.W_q"]
    path = write_model(tmp_path, tensors, CONFIG)
    with pytest.raises(CheckpointError, match=r"W_q`: .*no such tensor"):
        open_checkpoint(path)
