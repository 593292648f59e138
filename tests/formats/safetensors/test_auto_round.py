"""Oracle: tests/peers/packing.py, and codes times scales in float64, rounded once to float32.

``benchmarks/oracle_auto_round.py`` compares with auto-round.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from bitloss.errors import CheckpointError, UnsupportedModel
from bitloss.expectations import load_expectations
from bitloss.formats import open_checkpoint
from peers.checkpoints import write_model
from peers.packing import pack_columns, pack_rows

INPUTS, OUTPUTS, SIZE = 128, 64, 32
NAME = "model.layers.0.mlp.up_proj"
CONFIG: dict[str, Any] = {
    "quant_method": "auto-round", "bits": 4, "group_size": SIZE, "sym": False, "data_type": "int",
    "packing_format": "auto_round", "block_name_to_quantize": "model.layers",
    "autoround_version": "0.16.1",
}  # fmt: skip
FLOATS = CONFIG | {"packing_format": "auto_round:llm_compressor", "sym": True}
ORDER = (0, 2, 4, 6, 1, 3, 5, 7)
E2M1 = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0)


def layer(
    packing: str, bits: int, size: int = SIZE, name: str = NAME, *, middle: bool = False
) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
    """The stored tensors of a random layer, and its dense weight."""
    size = INPUTS if size == -1 else size
    generator = torch.Generator().manual_seed(bits)
    codes = torch.randint(0, 2**bits, (INPUTS, OUTPUTS), generator=generator)
    zeros = torch.randint(1, 2**bits, (INPUTS // size, OUTPUTS), generator=generator)
    if middle:
        zeros.fill_(2 ** (bits - 1))
    scales = torch.rand(zeros.shape, generator=generator).half()
    dense = codes - zeros.repeat_interleave(size, 0)
    dense = (dense * scales.double().repeat_interleave(size, 0)).float().t()
    if "awq" in packing:
        order = [8 * word + place for word in range(OUTPUTS // 8) for place in ORDER]
        qweight = pack_rows(codes[:, order].tolist(), bits)
        qzeros = pack_rows(zeros[:, order].tolist(), bits)
    else:
        less = 1 if packing in ("auto_round:auto_gptq", "auto_round:gptq") else 0
        qweight, qzeros = pack_columns(codes, bits), pack_rows((zeros - less).tolist(), bits)
    tensors = {"qweight": qweight, "qzeros": qzeros, "scales": scales}
    if "gptqmodel" in packing:
        tensors["g_idx"] = (torch.arange(INPUTS) // size).int()
    return {f"{name}.{part}": tensor for part, tensor in tensors.items()}, dense


@pytest.mark.parametrize("size", [SIZE, -1])
@pytest.mark.parametrize("bits", range(2, 9))
@pytest.mark.parametrize(
    "packing",
    ["auto_round", "auto_round:gptqmodel", "auto_round:auto_gptq", "auto_round:gptq",
     "auto_round:auto_awq", "auto_round:awq"],
)  # fmt: skip
def test_integers(packing: str, bits: int, size: int, tmp_path: Path) -> None:
    tensors, dense = layer(packing, bits, size)
    config = CONFIG | {"packing_format": packing, "bits": bits, "group_size": size}
    checkpoint = open_checkpoint(write_model(tmp_path, tensors, config))
    assert checkpoint.names() == (f"{NAME}.weight",)
    assert torch.equal(checkpoint.read(f"{NAME}.weight"), dense)
    info = checkpoint.info
    assert (info.format, info.bits, info.group_size) == ("auto-round", bits, size)


@pytest.mark.parametrize("method", ["auto-round", "intel/auto-round"])
@pytest.mark.parametrize("backend", ["auto_round:exllamav2", "auto_round:gptq:exllamav2", None])
def test_old_configs_store_zero_points_less_one(
    method: str, backend: str | None, tmp_path: Path
) -> None:
    """Without ``packing_format`` the library reads ``auto_round:auto_gptq``."""
    tensors, dense = layer("auto_round:auto_gptq", 4)
    config = {key: value for key, value in CONFIG.items() if key != "packing_format"}
    config |= {"quant_method": method} | ({"backend": backend} if backend else {})
    checkpoint = open_checkpoint(write_model(tmp_path, tensors, config))
    assert torch.equal(checkpoint.read(f"{NAME}.weight"), dense)


def test_settings_by_name_then_by_the_first_pattern(tmp_path: Path) -> None:
    layers = {
        "model.layers.0.self_attn.q_proj": (8, SIZE),
        "model.layers.0.mlp.down_proj": (2, 64),
        "model.layers.1.mlp.down_proj": (3, SIZE),
        "model.layers.1.mlp.up_proj": (4, SIZE),
        "lm_head": (8, 64),
    }
    extra = {
        ".*down_proj.*": {"bits": 2, "group_size": 64},
        ".*layers\\.0.*": {"bits": 7},
        "model.layers.0.self_attn.q_proj": {"bits": 8},
        "model.layers.1.mlp.down_proj": {"bits": 3},
        "model.layers.1.mlp.gate_proj": {"bits": 16, "data_type": "float"},
        "lm_head": {"bits": 8, "group_size": 64},
        "[": {"bits": 5},
    }
    tensors, dense = {}, {}
    for name, (bits, size) in layers.items():
        stored, dense[name] = layer("auto_round", bits, size, name)
        tensors |= stored
    kept = torch.randn(OUTPUTS, INPUTS).half()
    tensors["model.layers.1.mlp.gate_proj.weight"] = kept
    path = write_model(tmp_path, tensors, CONFIG | {"extra_config": extra})
    checkpoint = open_checkpoint(path)
    for name, weight in dense.items():
        assert torch.equal(checkpoint.read(f"{name}.weight"), weight), name
    assert torch.equal(checkpoint.read("model.layers.1.mlp.gate_proj.weight"), kept)
    assert checkpoint.info.bits == 8  # of two in five


def small_floats(kind: str) -> tuple[dict[str, torch.Tensor], dict[str, Any], torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    codes = torch.randint(0, 16, (OUTPUTS, INPUTS), generator=generator)
    table = torch.tensor([*E2M1, *(-value for value in E2M1)])
    packed = (codes[:, 0::2] | codes[:, 1::2] << 4).to(torch.uint8)
    eight = torch.randn(OUTPUTS, INPUTS, generator=generator).to(torch.float8_e4m3fn)
    exponents = torch.randint(120, 131, (OUTPUTS, INPUTS // 32), generator=generator)
    if kind in ("mxfp4", "mxfp8"):
        scale = 2.0 ** (exponents - 127).double().repeat_interleave(32, 1)
        tensors = {"weight_scale": exponents.to(torch.uint8)}
        tensors["weight_packed" if kind == "mxfp4" else "weight"] = (
            packed if kind == "mxfp4" else eight
        )
        values = table[codes].double() if kind == "mxfp4" else eight.double()
        settings = {"data_type": "mx_fp", "bits": 4 if kind == "mxfp4" else 8, "group_size": 32}
        return tensors, settings, values * scale
    if kind == "nvfp4":
        scale = (torch.rand(OUTPUTS, INPUTS // 16, generator=generator) + 1).to(torch.float8_e4m3fn)
        tensors = {
            "weight_packed": packed, "weight_scale": scale,
            "weight_global_scale": torch.tensor([64.0]), "input_global_scale": torch.ones(1),
        }  # fmt: skip
        values = table[codes].double() * scale.double().repeat_interleave(16, 1) / 64
        return tensors, {"data_type": "nv_fp", "bits": 4, "group_size": 16}, values
    scale = torch.rand(1 if kind == "fp8" else OUTPUTS, generator=generator).bfloat16()
    tensors = {"weight": eight, "weight_scale": scale, "input_scale": torch.ones(1).bfloat16()}
    settings = {"data_type": "fp", "bits": 8, "group_size": 0 if kind == "fp8" else -1}
    return tensors, settings, eight.double() * scale.double().unsqueeze(1)


@pytest.mark.parametrize("kind", ["mxfp4", "mxfp8", "nvfp4", "fp8", "fp8 rows"])
def test_small_floats(kind: str, tmp_path: Path) -> None:
    tensors, settings, dense = small_floats(kind)
    stored = {f"{NAME}.{part}": tensor for part, tensor in tensors.items()}
    checkpoint = open_checkpoint(write_model(tmp_path, stored, FLOATS | settings))
    assert checkpoint.names() == (f"{NAME}.weight",)
    weight = checkpoint.read(f"{NAME}.weight")
    assert weight.dtype == torch.float32
    assert torch.equal(weight, dense.float())
    name = f"auto-round-{kind.removesuffix(' rows')}"
    assert (checkpoint.info.format, checkpoint.info.bits) == (name, settings["bits"])
    row = load_expectations().expected(name, settings["bits"])
    assert row is not None
    assert row.format == kind.removesuffix(" rows").upper().replace("MXFP8", "FP8")


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"bits": 8}, CheckpointError, "qzeros`: expected shape [2, 16]"),
        ({"group_size": 64}, CheckpointError, "qzeros`: expected shape [2, 8]"),
        ({"packing_format": "auto_round:mlx"}, UnsupportedModel, "`auto_round:mlx`"),
        ({"packing_format": "auto_round:awq"}, CheckpointError, "multiple of the group size 32"),
        ({"packing_format": "auto_round:llm_compressor"}, UnsupportedModel, "llm_compressor`"),
        ({"rotation_config": {"type": "quarot"}}, UnsupportedModel, "rotated"),
        ({"extra_config": {NAME: {"bits": 16}}}, CheckpointError, "leaves it at 16 bits"),
        ({"extra_config": {".*up.*": {"bits": 16}}}, CheckpointError, "(`.*up.*`)"),
        ({"extra_config": {NAME: 4}}, CheckpointError, "names to settings"),
        ({"extra_config": {NAME: {"data_type": "mx_fp"}}}, UnsupportedModel, "among integers"),
        ({"data_type": "mx_fp"}, CheckpointError, "got no tensor `*.weight_scale`"),
    ],
)
def test_config_that_contradicts_the_weights(
    change: dict[str, Any], error: type[Exception], words: str, tmp_path: Path
) -> None:
    tensors, _ = layer("auto_round", 4)
    with pytest.raises(error) as caught:
        open_checkpoint(write_model(tmp_path, tensors, CONFIG | change))
    assert words in str(caught.value)
    assert "hint: " in str(caught.value)


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"data_type": "mx_int"}, UnsupportedModel, "data type `mx_int` with 4 bits"),
        ({"data_type": "nvfp4_v2"}, UnsupportedModel, "data type `nvfp4_v2`"),
        ({"data_type": "nv_fp"}, CheckpointError, "weight_scale`: expected F8_E4M3, got U8"),
        ({"bits": 8}, CheckpointError, "weight`: expected a matrix, got no such tensor"),
        ({"group_size": 64}, CheckpointError, "weight_scale`: expected shape [64, 2]"),
        ({"group_size": 48}, CheckpointError, "multiple of the group size 48"),
    ],
)
def test_config_that_contradicts_the_floats(
    change: dict[str, Any], error: type[Exception], words: str, tmp_path: Path
) -> None:
    tensors, settings, _ = small_floats("mxfp4")
    stored = {f"{NAME}.{part}": tensor for part, tensor in tensors.items()}
    with pytest.raises(error) as caught:
        open_checkpoint(write_model(tmp_path, stored, FLOATS | settings | change))
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("packing", "label"),
    [("auto_round", "auto_round:auto_gptq"), ("auto_round:auto_gptq", "auto_round")],
)
def test_symmetric_zero_points_of_the_other_convention(
    packing: str, label: str, tmp_path: Path
) -> None:
    tensors, _ = layer(packing, 4, middle=True)
    config = CONFIG | {"packing_format": label, "sym": True}
    checkpoint = open_checkpoint(write_model(tmp_path, tensors, config))
    with pytest.raises(CheckpointError, match="expected zero points of 8 for symmetric"):
        checkpoint.read(f"{NAME}.weight")
