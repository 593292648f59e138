"""Oracles: `dequantize` of torchao's own tensors where it is installed, and weights made by hand.

`benchmarks/oracle_torchao.py` compares models that transformers saves.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from bitloss.errors import CheckpointError, UnsupportedModel
from bitloss.formats import open_checkpoint
from bitloss.formats.storage import packing
from peers.checkpoints import write_model
from peers.exact import spread, ulps
from peers.small_floats import E2M1

ROWS, COLUMNS = 40, 96
NAME = "model.layers.0.mlp.up_proj.weight"
PREFIX = "model.layers.0.mlp.up_proj._weight_"
CONFIG = {"quant_method": "torchao", "quant_type": {"default": {"_type": "Int8WeightOnlyConfig"}}}


def torchao() -> dict[str, Any]:
    """What the tests use of the library."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pytest.importorskip("torchao")
        from torchao import quantization
        from torchao.prototype.mx_formats import mx_tensor, nvfp4_tensor
        from torchao.prototype.safetensors.safetensors_support import flatten_tensor_state_dict
        from torchao.quantization.granularity import PerBlock
    return {**vars(quantization), **vars(mx_tensor), **vars(nvfp4_tensor),
            "flatten": flatten_tensor_state_dict, "PerBlock": PerBlock}  # fmt: skip


def int8(ao: dict[str, Any], weight: torch.Tensor, *arguments: Any) -> Any:
    kind, mapping = arguments
    granularity = ao[kind](32) if kind == "PerGroup" else ao[kind]()
    return ao["Int8Tensor"].from_hp(weight, granularity, getattr(ao["MappingType"], mapping))


def intx(ao: dict[str, Any], weight: torch.Tensor, *arguments: Any) -> Any:
    bits, group, mapping = arguments
    return ao["IntxUnpackedToInt8Tensor"].from_hp(
        weight, (1, group), getattr(torch, f"int{bits}"),
        mapping_type=getattr(ao["MappingType"], mapping),
    )  # fmt: skip


def float8(ao: dict[str, Any], weight: torch.Tensor, *arguments: Any) -> Any:
    kind, dtype = arguments
    granularity = ao["PerBlock"]([8, 16]) if kind == "PerBlock" else ao[kind]()
    return ao["Float8Tensor"].from_hp(weight, dtype, granularity)


def mx(ao: dict[str, Any], weight: torch.Tensor, *arguments: Any) -> Any:
    element, swizzled = arguments
    return ao["MXTensor"].to_mx(weight, element, is_swizzled_scales=swizzled)


def nvfp4(ao: dict[str, Any], weight: torch.Tensor, *arguments: Any) -> Any:
    whole, swizzled = arguments
    scale = ao["per_tensor_amax_to_scale"](weight.abs().max()) if whole else None
    return ao["NVFP4Tensor"].to_nvfp4(weight, per_tensor_scale=scale, is_swizzled_scales=swizzled)


Make = Callable[..., Any]
CASES: list[tuple[Make, tuple[Any, ...], str, int | None]] = [
    (int8, ("PerRow", "SYMMETRIC"), "torchao-int8", -1),
    (int8, ("PerRow", "ASYMMETRIC"), "torchao-int8", -1),
    (int8, ("PerTensor", "ASYMMETRIC"), "torchao-int8", None),
    (int8, ("PerGroup", "SYMMETRIC"), "torchao-int8", 32),
    (intx, (4, 32, "ASYMMETRIC"), "torchao-int4", 32),
    (intx, (3, 96, "SYMMETRIC"), "torchao-int3", -1),
    (intx, (1, 16, "ASYMMETRIC"), "torchao-int1", 16),
    (float8, ("PerRow", torch.float8_e4m3fn), "torchao-float8", -1),
    (float8, ("PerTensor", torch.float8_e5m2), "torchao-float8", None),
    (float8, ("PerBlock", torch.float8_e4m3fn), "torchao-float8", None),
    (mx, (torch.float8_e4m3fn, True), "torchao-mxfp8", 32),
    (mx, (torch.float8_e5m2, False), "torchao-mxfp8", 32),
    (mx, (torch.float4_e2m1fn_x2, False), "torchao-mxfp4", 32),
    (mx, (torch.float4_e2m1fn_x2, True), "torchao-mxfp4", 32),
    (nvfp4, (False, False), "torchao-nvfp4", 16),
    (nvfp4, (True, True), "torchao-nvfp4", 16),
]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
@pytest.mark.parametrize("rows", [ROWS, 200])  # 200: several tiles of scales
@pytest.mark.parametrize(("make", "arguments", "form", "group_size"), CASES)
def test_exact_with_the_library(
    make: Make,
    arguments: tuple[Any, ...],
    form: str,
    group_size: int | None,
    rows: int,
    dtype: torch.dtype,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(packing, "_BLOCK", 12 * COLUMNS)  # several blocks, the last one short
    ao = torchao()
    dense = torch.randn((rows, COLUMNS), generator=torch.Generator().manual_seed(0)).to(dtype)
    tensor = make(ao, dense, *arguments)
    tensors, metadata = ao["flatten"]({NAME: tensor})
    path = write_model(tmp_path, tensors, CONFIG, metadata=metadata | {"format": "pt"})
    checkpoint = open_checkpoint(path)
    weight, expected = checkpoint.read(NAME), tensor.dequantize()
    exact = by_definition(tensor, arguments)
    assert checkpoint.names() == (NAME,)
    assert checkpoint.shape(NAME) == (rows, COLUMNS) == weight.shape
    assert weight.dtype == torch.float32
    assert torch.equal(weight.to(dtype), expected)
    if exact is not None:
        assert ulps(weight, exact) <= (make is nvfp4)  # which rounds a product of scales before
    info = checkpoint.info
    assert (info.format, info.group_size) == (form, group_size)


def by_definition(tensor: Any, arguments: tuple[Any, ...]) -> torch.Tensor | None:
    """Codes times scales in float64, rounded to float32; None where scales lie in tiles."""
    if arguments[-1] is True:
        return None
    scale, codes = tensor.scale, tensor.qdata
    if scale.dtype == torch.float8_e8m0fnu:
        scale = 2.0 ** (scale.view(torch.uint8).double() - 127)
    if codes.dtype in (torch.uint8, getattr(torch, "float4_e2m1fn_x2", None)):
        pairs = codes.view(torch.uint8).int()
        codes = torch.tensor(E2M1)[torch.stack((pairs & 15, pairs >> 4), -1).flatten(-2)]
    grid, parts = scale.reshape(-1, scale.shape[-1] if scale.ndim else 1).double(), codes.double()
    if getattr(tensor, "zero_point", None) is not None:
        zero = tensor.zero_point.reshape(grid.shape).double()
        parts = parts - spread(zero, tuple(codes.shape))
    if getattr(tensor, "per_tensor_scale", None) is not None:
        grid = grid * tensor.per_tensor_scale.double()
    return (parts * spread(grid, tuple(codes.shape))).float()


def test_stacked_experts(tmp_path: Path) -> None:
    ao = torchao()
    name = "model.layers.0.mlp.experts.gate_up_proj"
    dense = torch.randn((3, 8, 32), generator=torch.Generator().manual_seed(0))
    tensor = ao["Float8Tensor"].from_hp(dense)
    plain = torch.randn((4, 8)).to(torch.bfloat16)
    tensors, metadata = ao["flatten"]({name: tensor, "lm_head.weight": plain})
    path = write_model(tmp_path, tensors, CONFIG, metadata=metadata, shards=2)
    checkpoint = open_checkpoint(path)
    assert set(checkpoint.names()) == {name, "lm_head.weight"}
    assert torch.equal(checkpoint.read(name), tensor.dequantize())
    assert torch.equal(checkpoint.read("lm_head.weight"), plain)


def int4_by_hand() -> tuple[dict[str, torch.Tensor], dict[str, Any], torch.Tensor]:
    """An Int4Tensor's parts and attributes, and its weight in float64.

    Only kernels for GPUs write it: two codes per byte, the first in the low half, and scales
    ``[groups, out]``, as `pack_int4` and `int4_row_quantize_zp` in mslk 1.1 do.
    """
    generator = torch.Generator().manual_seed(0)
    codes = torch.randint(-8, 8, (ROWS, COLUMNS), generator=generator)
    scale = torch.rand((3, ROWS), generator=generator).to(torch.bfloat16)
    zero = torch.randn((3, ROWS), generator=generator).to(torch.bfloat16)
    dense = torch.empty((ROWS, COLUMNS), dtype=torch.float64)
    for row in range(ROWS):
        for column in range(COLUMNS):
            group = column // 32
            weight = float(codes[row, column]) * float(scale[group, row]) + float(zero[group, row])
            dense[row, column] = weight
    low, high = codes[:, ::2] & 15, (codes[:, 1::2] & 15) << 4
    parts = {"qdata": (low | high).to(torch.uint8).view(torch.int8), "scale": scale,
             "zero_point": zero}  # fmt: skip
    attributes = {"block_size": [1, 32], "shape": [ROWS, COLUMNS], "activation_dtype": None}
    return parts, attributes, dense


def int8_by_hand() -> tuple[dict[str, torch.Tensor], dict[str, Any], torch.Tensor]:
    """An Int8Tensor's parts and attributes, and its weight."""
    generator = torch.Generator().manual_seed(0)
    codes = torch.randint(-128, 128, (ROWS, COLUMNS), generator=generator).to(torch.int8)
    zero = torch.randint(-128, 128, (ROWS, 3), generator=generator).to(torch.int8)
    scale = torch.rand((ROWS, 3), generator=generator)
    wide = [part.repeat_interleave(32, dim=1).double() for part in (zero, scale)]
    dense = ((codes.double() - wide[0]) * wide[1]).float()
    attributes = {"block_size": [1, 32], "dtype": {"_type": "torch.dtype", "_data": "float32"}}
    return {"qdata": codes, "scale": scale, "zero_point": zero}, attributes, dense


def noted(
    kind: str, attributes: dict[str, Any], parts: dict[str, Any], **others: Any
) -> dict[str, str]:
    """The headers' metadata of one quantized parameter; `others` overrides its keys."""
    value = {"_type": kind, "_data": attributes, "_tensor_data_names": list(parts), **others}
    return {"tensor_names": json.dumps([NAME]), NAME: json.dumps(value), "format": "pt"}


def write(path: Path, parts: dict[str, torch.Tensor], metadata: dict[str, str]) -> Path:
    tensors = {f"{PREFIX}{part}": value.contiguous() for part, value in parts.items()}
    return write_model(path, tensors, CONFIG, metadata=metadata)


def test_int8_by_hand(tmp_path: Path) -> None:
    parts, attributes, dense = int8_by_hand()
    checkpoint = open_checkpoint(write(tmp_path, parts, noted("Int8Tensor", attributes, parts)))
    assert torch.equal(checkpoint.read(NAME), dense)
    stored = sum(value.nbytes for value in parts.values())
    assert checkpoint.info.bits_per_weight == pytest.approx(8 * stored / dense.numel())


def test_int4_rounds_the_sum_only(tmp_path: Path) -> None:
    parts, attributes, dense = int4_by_hand()
    checkpoint = open_checkpoint(write(tmp_path, parts, noted("Int4Tensor", attributes, parts)))
    weight = checkpoint.read(NAME)
    assert checkpoint.shape(NAME) == (ROWS, COLUMNS)
    assert weight.dtype == torch.float32
    assert torch.equal(weight, dense.float())
    info = checkpoint.info
    assert (info.format, info.bits, info.group_size) == ("torchao-int4", 4, 32)


def test_int4_is_what_the_library_means(tmp_path: Path) -> None:
    """Its GPTQ dequantizes with another order of the same sum, so nearly equal."""
    torchao()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from torchao.prototype.gptq.api import _int4_row_dequantize_zp
    parts, attributes, _ = int4_by_hand()
    checkpoint = open_checkpoint(write(tmp_path, parts, noted("Int4Tensor", attributes, parts)))
    packed = parts["qdata"]
    codes = torch.stack((packed << 4 >> 4, packed >> 4), dim=-1).flatten(1)
    scale, zero = parts["scale"].float(), parts["zero_point"].float()
    expected = _int4_row_dequantize_zp(codes, scale, zero, 32)
    torch.testing.assert_close(checkpoint.read(NAME), expected, rtol=1e-6, atol=2e-6)


def test_experts_of_int4(tmp_path: Path) -> None:
    parts, attributes, dense = int4_by_hand()
    stacked = {part: torch.stack((value, value)) for part, value in parts.items()}
    attributes |= {"block_size": [1, 1, 32], "shape": [2, ROWS, COLUMNS]}
    checkpoint = open_checkpoint(write(tmp_path, stacked, noted("Int4Tensor", attributes, stacked)))
    assert torch.equal(checkpoint.read(NAME), torch.stack((dense, dense)).float())


def test_names_of_plain_tensors_may_be_the_publishers(tmp_path: Path) -> None:
    """Transformers notes its graph's `mlp.experts.up_proj`, and stores experts one by one."""
    stored = {"model.layers.0.block_sparse_moe.experts.0.w1.weight": torch.randn((4, 8))}
    graph = "model.layers.0.mlp.experts.gate_up_proj"
    metadata = {"tensor_names": json.dumps([graph]), graph: json.dumps({"_type": "Tensor"})}
    checkpoint = open_checkpoint(write_model(tmp_path, stored, CONFIG, metadata=metadata))
    assert checkpoint.names() == tuple(stored)
    assert checkpoint.info.format == "torchao"


def test_quantized_experts_may_lie_under_the_publishers_name(tmp_path: Path) -> None:
    """As transformers 5.24 saves a Mixtral with quantized experts, and loads it again."""
    parts, attributes, dense = int8_by_hand()
    other = {part: value.flip(0) for part, value in parts.items()}
    layers = [f"model.layers.{number}.mlp.experts.down_proj" for number in range(2)]
    metadata = {"tensor_names": json.dumps(layers)}
    tensors: dict[str, torch.Tensor] = {}
    for number, (layer, values) in enumerate(zip(layers, (parts, other), strict=True)):
        metadata[layer] = noted("Int8Tensor", attributes, values)[NAME]
        prefix = f"model.layers.{number}.block_sparse_moe.experts._down_proj_"
        tensors |= {f"{prefix}{part}": value for part, value in values.items()}
    path = write_model(tmp_path / "both", tensors, CONFIG, metadata=metadata)
    checkpoint = open_checkpoint(path)
    assert set(checkpoint.names()) == set(layers)
    assert torch.equal(checkpoint.read(layers[0]), dense)
    assert torch.equal(checkpoint.read(layers[1]), dense.flip(0))
    twice = {
        name.replace("block_sparse_moe", "other"): value.clone() for name, value in tensors.items()
    }
    path = write_model(tmp_path / "twice", tensors | twice, CONFIG, metadata=metadata)
    with pytest.raises(CheckpointError, match=r"no tensor `.*mlp\.experts\._down_proj_qdata`"):
        open_checkpoint(path)


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ({"format": "pt"}, "expected `tensor_names` in the metadata .*got format"),
        ({"tensor_names": "{"}, "metadata `tensor_names` .*cannot be read"),
        ({"tensor_names": "{}"}, "metadata `tensor_names` .*expected a list of names"),
        ({"tensor_names": f'["{NAME}"]'}, f"metadata `{NAME}` .*cannot be read"),
        ({"tensor_names": f'["{NAME}"]', NAME: "[" * 20000}, "cannot be read"),
        ({"tensor_names": f'["{NAME}"]', NAME: "3"}, "expected an object with a `_type`"),
        ({"tensor_names": "[]"}, r"_weight_\w+` is part of a quantized tensor"),
    ],
)
def test_damaged_metadata(metadata: dict[str, str], message: str, tmp_path: Path) -> None:
    path = write(tmp_path, int8_by_hand()[0], metadata)
    with pytest.raises((CheckpointError, UnsupportedModel), match=message) as caught:
        open_checkpoint(path)
    assert caught.value.hint


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"block_size": [1, 48]}, r"_weight_scale`: expected 80 values .*got shape \[40, 3\]"),
        ({"block_size": [1, 7]}, r"not the attributes of a Int8Tensor: .*block_size"),
        ({"block_size": [32]}, "not the attributes of a Int8Tensor"),
        ({"block_size": None}, "not the attributes of a Int8Tensor"),
        ({"block_size": [1, 0]}, "not the attributes of a Int8Tensor"),
        ({"block_size": "32"}, "not the attributes of a Int8Tensor"),
        ({"dtype": {"_type": "torch.dtype", "_data": "float64"}}, "not the attributes"),
        ({"dtype": None}, "not the attributes of a Int8Tensor"),
    ],
)
def test_attributes_that_contradict_the_tensors(
    changes: dict[str, Any], message: str, tmp_path: Path
) -> None:
    parts, attributes, _ = int8_by_hand()
    path = write(tmp_path, parts, noted("Int8Tensor", attributes | changes, parts))
    with pytest.raises(CheckpointError, match=message):
        open_checkpoint(path)


@pytest.mark.parametrize(
    ("part", "value", "message"),
    [
        ("scale", None, "no tensor `.*_weight_scale`, scale of a Int8Tensor"),
        ("qdata", None, "no tensor `.*_weight_qdata`, qdata of a Int8Tensor"),
        ("zero_point", None, "no tensor `.*_weight_zero_point`"),
        ("scale", torch.ones((ROWS, 2)), r"expected 120 values .*got shape \[40, 2\]"),
        ("zero_point", torch.ones(3).char(), r"expected 120 values .*got shape \[3\]"),
        ("scale", torch.ones((ROWS, 3)).double(), "expected F32 or F16 or BF16 .*got F64"),
        ("qdata", torch.zeros((ROWS, COLUMNS)), "expected I8 for a Int8Tensor, got F32"),
        ("qdata", torch.tensor(3, dtype=torch.int8), "not the attributes of a Int8Tensor"),
    ],
)
def test_damaged_tensors(
    part: str, value: torch.Tensor | None, message: str, tmp_path: Path
) -> None:
    parts, attributes, _ = int8_by_hand()
    metadata = noted("Int8Tensor", attributes, parts)
    parts.pop(part)
    if value is not None:
        parts[part] = value
    path = write(tmp_path, parts, metadata)
    with pytest.raises((CheckpointError, UnsupportedModel), match=message):
        open_checkpoint(path)


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("Int4TilePackedTo4dTensor", "tiles of a GPU's kernel"),
        ("Int4PlainInt32Tensor", "XPU's or NPU's kernel"),
        ("Int4PreshuffledTensor", "expected one of Int8Tensor"),
        ("AffineQuantizedTensor", "expected one of Int8Tensor"),
    ],
)
def test_classes_that_are_not_decoded(kind: str, message: str, tmp_path: Path) -> None:
    parts, attributes, _ = int8_by_hand()
    path = write(tmp_path, parts, noted(kind, attributes, parts))
    with pytest.raises(UnsupportedModel, match=f"is a torchao {kind}: .*{message}"):
        open_checkpoint(path)


def test_uses_that_are_not_decoded(tmp_path: Path) -> None:
    parts, attributes, _ = int8_by_hand()
    scaled = parts | {"act_pre_scale": torch.ones(COLUMNS)}
    path = write(tmp_path / "scaled", scaled, noted("Int8Tensor", attributes, scaled))
    with pytest.raises(UnsupportedModel, match="act_pre_scale"):
        open_checkpoint(path)
    six = {"elem_dtype": "fp6_e2m3", "block_size": 32, "orig_dtype": "float32"}
    parts = {"qdata": torch.zeros((ROWS, COLUMNS), dtype=torch.uint8), "scale": torch.ones(1)}
    path = write(tmp_path / "six", parts, noted("MXTensor", six, parts))
    with pytest.raises(UnsupportedModel, match="MX elements `fp6_e2m3`"):
        open_checkpoint(path)
    rows = int4_by_hand()
    rows[0]["scale"] = rows[0]["scale"].t()  # [out, groups]
    path = write(tmp_path / "rows", rows[0], noted("Int4Tensor", rows[1], rows[0]))
    with pytest.raises(CheckpointError, match=r"got shape \[40, 3\]"):
        open_checkpoint(path)


def test_pickles_are_named(tmp_path: Path) -> None:
    """What torchao before 0.14 and transformers 4 wrote."""
    path = write_model(tmp_path, {"a": torch.zeros(1)}, CONFIG)
    (path / "model.safetensors").rename(path / "pytorch_model.bin")
    with pytest.raises(CheckpointError, match=r"pickled \(pytorch_model\.bin\)"):
        open_checkpoint(path)
