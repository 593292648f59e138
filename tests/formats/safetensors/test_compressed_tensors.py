"""Oracle: the compressed-tensors library compresses a module and decompresses it again.

Weights are codes times scales in float64, rounded to float32; rounded to the library's type they
are its weights.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import pytest
import torch

from bitloss.errors import CheckpointError, UnsupportedModel
from bitloss.expectations import load_expectations
from bitloss.formats import open_checkpoint
from bitloss.formats.storage import packing
from peers.checkpoints import write_model
from peers.exact import multiplied_out, spread, ulps

ROWS, COLUMNS = 40, 96
NAME = "model.layers.0.mlp.up_proj"
TENSOR = {"strategy": "tensor"}
CHANNEL = {"strategy": "channel"}
GROUP = {"strategy": "group", "group_size": 32}
BLOCK = {"strategy": "block", "block_structure": [16, 40]}
FP8 = {"num_bits": 8, "type": "float"}
INTEGERS = [
    (form, {"num_bits": bits, "symmetric": symmetric, **strategy})
    for form, widths in {
        "pack-quantized": (2, 3, 4, 5, 8), "int-quantized": (8,), "naive-quantized": (4,),
    }.items()
    for bits in widths
    for symmetric in (True, False)
    for strategy in (TENSOR, CHANNEL, GROUP)
]  # fmt: skip
FLOATS = [
    *(("float-quantized", {**FP8, **strategy}) for strategy in (TENSOR, CHANNEL, GROUP, BLOCK)),
    ("nvfp4-pack-quantized", FP8 | {"num_bits": 4, "strategy": "tensor_group", "group_size": 16}),
    ("mxfp4-pack-quantized", FP8 | {"num_bits": 4, **GROUP}),
    ("mxfp8-quantized", {**FP8, **GROUP, "scale_dtype": "torch.uint8"}),
]


def compressed(
    form: str, weights: dict[str, Any], dtype: torch.dtype, name: str = NAME
) -> tuple[dict[str, torch.Tensor], dict[str, Any], torch.Tensor]:
    """The stored tensors, the config group as saved, and the exact weight.

    What the library decompresses is known to be its rounding.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # imports of optional packages
        from compressed_tensors.compressors import BaseCompressor
        from compressed_tensors.quantization import QuantizationArgs, QuantizationScheme
    arguments = QuantizationArgs(**weights)
    scheme = QuantizationScheme(targets=["Linear"], weights=arguments, format=form)
    size, block = arguments.group_size or COLUMNS, arguments.block_structure or [1, 1]
    shape = {
        "tensor": (1,), "channel": (ROWS, 1),
        "block": (-(-ROWS // block[0]), -(-COLUMNS // block[1])),
    }.get(str(arguments.strategy), (ROWS, COLUMNS // size))  # fmt: skip
    generator = torch.Generator().manual_seed(0)
    state = {
        "weight": torch.randn((ROWS, COLUMNS), generator=generator).to(dtype),
        "weight_scale": (torch.rand(shape, generator=generator) * 0.2 + 0.05).to(dtype),
    }
    if not arguments.symmetric:
        half = 2 ** (arguments.num_bits - 1)
        zeros = torch.randint(-half, half, shape, generator=generator)
        state["weight_zero_point"] = zeros.to(torch.int8)
    if arguments.strategy == "tensor_group":
        state["weight_global_scale"] = torch.tensor([123.4])
    compressor = BaseCompressor.get_value_from_registry(form)
    packed = compressor.compress(state, scheme)
    dense = exact(compressor.decompress(packed, scheme)["weight"], packed, weights)
    group = {"targets": ["Linear"], "format": form, "weights": weights}
    return {f"{name}.{key}": value.contiguous() for key, value in packed.items()}, group, dense


def exact(
    dense: torch.Tensor, packed: dict[str, torch.Tensor], weights: dict[str, Any]
) -> torch.Tensor:
    """Codes times scales in float64, rounded to float32, from the library's weights."""
    scales = packed["weight_scale"]
    if scales.dtype == torch.uint8:  # MX
        scales = 2.0 ** (scales.double() - 127)
    scales = scales.double()
    if "weight_global_scale" in packed:
        scales = scales / packed["weight_global_scale"].double()
    if weights["strategy"] == "block":
        high, wide = weights["block_structure"]
        wide_scales = scales.repeat_interleave(high, 0)[:ROWS].repeat_interleave(wide, 1)
        scales = wide_scales[:, :COLUMNS]
    else:
        scales = spread(scales.reshape(-1, 1) if scales.numel() == 1 else scales, dense.shape)
    if weights.get("type") == "float" and weights["num_bits"] == 8:
        products = packed["weight"].double() * scales
        assert torch.equal(products.to(dense.dtype), dense)
        return products.float()
    return multiplied_out(dense, scales, 0.5 if weights.get("type") == "float" else 1)


def config(form: str, *groups: dict[str, Any], **extra: Any) -> dict[str, Any]:
    named = {f"group_{n}": group for n, group in enumerate(groups)}
    values = {"quant_method": "compressed-tensors", "format": form, "config_groups": named}
    return values | {"ignore": ["lm_head"], "quantization_status": "compressed"} | extra


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
@pytest.mark.parametrize(("form", "weights"), INTEGERS + FLOATS)
def test_exact_with_the_library(
    form: str,
    weights: dict[str, Any],
    dtype: torch.dtype,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(packing, "_BLOCK", 12 * COLUMNS)  # several blocks, the last one short
    tensors, group, dense = compressed(form, weights, dtype)
    checkpoint = open_checkpoint(write_model(tmp_path, tensors, config(form, group)))
    weight = checkpoint.read(f"{NAME}.weight")
    assert checkpoint.names() == (f"{NAME}.weight",)
    assert checkpoint.shape(f"{NAME}.weight") == (ROWS, COLUMNS) == weight.shape
    assert weight.dtype == torch.float32
    # Scales divided by a global scale are rounded to float32 before the product is.
    assert ulps(weight, dense) <= ("tensor_group" in weights.values())
    # The library's name of the layout says which floats: integers have the plain name.
    kind = "fp8" if form == "float-quantized" else form.partition("-")[0]
    name = f"compressed-tensors-{kind}" if weights.get("type") == "float" else "compressed-tensors"
    assert (checkpoint.info.format, checkpoint.info.bits) == (name, weights["num_bits"])
    if weights.get("type") == "float":
        row = load_expectations().expected(name, checkpoint.info.bits)
        assert row is not None
        assert row.format == kind.upper().replace("MXFP8", "FP8")


def test_act_order_takes_each_columns_own_group(tmp_path: Path) -> None:
    """The library has dropped ``weight_g_idx``; columns moved by hand are the oracle."""
    weights = {"num_bits": 8, "symmetric": True, **GROUP}
    tensors, group, dense = compressed("int-quantized", weights, torch.float32)
    order = torch.randperm(COLUMNS, generator=torch.Generator().manual_seed(1))
    tensors[f"{NAME}.weight"] = tensors[f"{NAME}.weight"][:, order].contiguous()
    tensors[f"{NAME}.weight_g_idx"] = (torch.arange(COLUMNS) // 32)[order].int()
    moved = open_checkpoint(write_model(tmp_path, tensors, config("int-quantized", group)))
    assert torch.equal(moved.read(f"{NAME}.weight"), dense[:, order])
    tensors[f"{NAME}.weight_g_idx"][0] = 3
    path = write_model(tmp_path / "damaged", tensors, config("int-quantized", group))
    damaged = open_checkpoint(path)
    with pytest.raises(CheckpointError, match="group numbers from 0 to 2, got 0 to 3"):
        damaged.read(f"{NAME}.weight")


def test_mixed_precision_by_name_pattern_and_class(tmp_path: Path) -> None:
    names = [f"model.layers.{n}.mlp.up_proj" for n in range(3)]
    packed4 = {"num_bits": 4, "symmetric": True, **GROUP}
    packed8 = {"num_bits": 8, "symmetric": True, **CHANNEL}
    parts = [
        compressed("pack-quantized", packed8, torch.bfloat16, names[0]),
        compressed("float-quantized", {**FP8, **CHANNEL}, torch.bfloat16, names[1]),
        compressed("pack-quantized", packed4, torch.bfloat16, names[2]),
    ]
    targets = ([names[0]], ["re:.*layers\\.[01]\\."], ["Linear"])
    groups = [{**p[1], "targets": list(t)} for p, t in zip(parts, targets, strict=True)]
    head = torch.randn((7, ROWS)).to(torch.bfloat16)
    tensors = {key: value for part in parts for key, value in part[0].items()}
    tensors |= {"lm_head.weight": head, f"{names[1]}.input_scale": torch.ones(1)}
    path = write_model(tmp_path, tensors, config("mixed-precision", *groups))
    checkpoint = open_checkpoint(path)
    for name, (_, _, dense) in zip(names, parts, strict=True):
        assert torch.equal(checkpoint.read(f"{name}.weight"), dense)
    assert torch.equal(checkpoint.read("lm_head.weight"), head)
    info = checkpoint.info
    assert info.parameters == 3 * ROWS * COLUMNS + 7 * ROWS
    stored = sum(tensor.nbytes for tensor in tensors.values())
    assert info.bits_per_weight == pytest.approx(8 * stored / info.parameters, rel=1e-12)
    assert info.format == "compressed-tensors"


def test_without_quantized_weights_it_is_dense(tmp_path: Path) -> None:
    weight = torch.randn((4, 8))
    scales = {"model.layers.0.self_attn.k_scale": torch.ones(1)}
    path = write_model(tmp_path, {"lm_head.weight": weight, **scales}, config("dense"))
    checkpoint = open_checkpoint(path)
    assert checkpoint.names() == ("lm_head.weight",)
    assert torch.equal(checkpoint.read("lm_head.weight"), weight)


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"weights": {"num_bits": 8, **GROUP}}, CheckpointError, "expected shape [40, 24]"),
        ({"weights": {"num_bits": 4, "group_size": 48}}, CheckpointError, "expected shape [40, 2]"),
        ({"weights": {"num_bits": 4, "group_size": 64}}, CheckpointError, "group size 64, got 96"),
        ({"targets": ["Conv2d"]}, CheckpointError, "no target in `config_groups` names it"),
        ({"weights": {"num_bits": 4, "type": "float"}}, UnsupportedModel, "expected U8"),
        ({"format": "marlin-24"}, UnsupportedModel, "format `marlin-24`"),
    ],
)
def test_config_that_contradicts_the_weights(
    change: dict[str, Any], error: type[Exception], words: str, tmp_path: Path
) -> None:
    weights = {"num_bits": 4, "symmetric": True, **GROUP}
    tensors, group, _ = compressed("pack-quantized", weights, torch.bfloat16)
    path = write_model(tmp_path, tensors, config("pack-quantized", group | change))
    with pytest.raises(error) as caught:
        open_checkpoint(path)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    "extra",
    [
        {"transform_config": {"config_groups": {"R1": {"type": "hadamard"}}}},
        {"sparsity_config": {"format": "sparse-24-bitmask"}},
    ],
)
def test_rotated_and_sparse_models_are_refused(extra: dict[str, Any], tmp_path: Path) -> None:
    path = write_model(tmp_path, {"lm_head.weight": torch.ones(2, 2)}, config("dense", **extra))
    with pytest.raises(UnsupportedModel):
        open_checkpoint(path)


@pytest.mark.parametrize(
    ("damage", "change", "words"),
    [
        (lambda t: t.pop(f"{NAME}.weight_packed"), {}, "weight_shape` has no|has no `weight` or"),
        (lambda t: t.pop(f"{NAME}.weight_scale"), {}, "has no `.*weight_scale` beside it"),
        (lambda t: t.update({f"{NAME}.weight": torch.ones(40, 96)}), {}, "expected I8|twice"),
        (
            lambda t: t.update({f"{NAME}.weight": torch.ones(40, 96, dtype=torch.int8)}),
            {}, "is stored twice",
        ),
        (lambda t: None, {"ignore": [NAME]}, "`ignore` lists"),
        (lambda t: None, {"ignore": ["re:.*up_proj"]}, "`ignore` lists `re:"),
    ],
)  # fmt: skip
def test_tensors_that_contradict_the_config(
    damage: Any, change: dict[str, Any], words: str, tmp_path: Path
) -> None:
    weights = {"num_bits": 4, "symmetric": True, **GROUP}
    tensors, group, _ = compressed("pack-quantized", weights, torch.bfloat16)
    damage(tensors)
    path = write_model(tmp_path, tensors, config("pack-quantized", group, **change))
    with pytest.raises((CheckpointError, UnsupportedModel), match=words):
        open_checkpoint(path)


@pytest.mark.parametrize(
    ("part", "value", "words"),
    [
        ("weight_scale", torch.inf, "infinite or NaN"),
        ("weight_zero_point", 1, "zero points of 0 for symmetric weights"),
    ],
)
def test_scales_and_zero_points_that_contradict_the_config(
    part: str, value: float, words: str, tmp_path: Path
) -> None:
    weights = {"num_bits": 8, "symmetric": True, **GROUP}
    tensors, group, dense = compressed("int-quantized", weights, torch.bfloat16)
    zeros = torch.zeros((40, 3), dtype=torch.int8)
    tensors.setdefault(f"{NAME}.weight_zero_point", zeros)
    fine = open_checkpoint(write_model(tmp_path / "a", tensors, config("int-quantized", group)))
    assert torch.equal(fine.read(f"{NAME}.weight"), dense)
    tensors[f"{NAME}.{part}"][3, 1] = value
    path = write_model(tmp_path / "b", tensors, config("int-quantized", group))
    with pytest.raises(CheckpointError, match=words):
        open_checkpoint(path).read(f"{NAME}.weight")


def test_one_scale_is_one_scale(tmp_path: Path) -> None:
    tensors, group, _ = compressed("int-quantized", {"num_bits": 8, **TENSOR}, torch.bfloat16)
    tensors[f"{NAME}.weight_scale"] = torch.ones((40, 1)).bfloat16()
    path = write_model(tmp_path, tensors, config("int-quantized", group))
    with pytest.raises(CheckpointError, match=r"weight_scale`: expected shape \[1\]"):
        open_checkpoint(path)
