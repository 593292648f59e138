"""Oracle: products by hand in float64, rounded to float32.

`benchmarks/oracle_modelopt.py` compares with ModelOpt itself.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from bitloss.errors import CheckpointError, UnsupportedModel
from bitloss.formats import open_checkpoint
from bitloss.formats.base import checkpoint_inputs
from bitloss.formats.storage import packing
from bitloss.spec.activations import ActivationType
from peers.checkpoints import write_model
from peers.exact import ulps
from peers.small_floats import E2M1, dequantized, pack_e2m1

NAME = "model.layers.0.mlp.up_proj"
ROWS, COLUMNS = 20, 64


def e4m3(*shape: int, near: float = 50.0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return (torch.randn(shape, generator=generator) * near).to(torch.float8_e4m3fn)


def e2m1(*shape: int) -> torch.Tensor:
    return torch.randint(0, 16, shape, generator=torch.Generator().manual_seed(1))


def values(codes: torch.Tensor) -> torch.Tensor:
    return torch.tensor(E2M1)[codes]


def exponents(*shape: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(2)
    return torch.randint(110, 130, shape, generator=generator, dtype=torch.uint8)


def config(algorithm: str | None, **settings: Any) -> dict[str, Any]:
    """As in ``hf_quant_config.json``."""
    producer = {"name": "modelopt", "version": "0.47.0"}
    return {"producer": producer, "quantization": {"quant_algo": algorithm, **settings}}


def nvfp4(name: str = NAME) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
    """The stored tensors and the dense weight."""
    codes = e2m1(ROWS, COLUMNS)
    scale, second = e4m3(ROWS, COLUMNS // 16).abs(), torch.tensor(0.0123)
    tensors = {
        f"{name}.weight": pack_e2m1(codes),
        f"{name}.weight_scale": scale,
        f"{name}.weight_scale_2": second,
        f"{name}.input_scale": torch.tensor(0.5),
    }
    return tensors, dequantized(values(codes), scale.float() * second, (1, 16))


def fp8(name: str = NAME) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
    weight, scale = e4m3(ROWS, COLUMNS), torch.tensor(0.0321)
    dense = dequantized(weight.float(), scale.view(1, 1), (ROWS, COLUMNS))
    tensors = {f"{name}.weight": weight, f"{name}.weight_scale": scale}
    return {**tensors, f"{name}.input_scale": torch.tensor(0.5)}, dense


def opened(path: Path, tensors: dict[str, torch.Tensor], settings: dict[str, Any]) -> Any:
    """With ``hf_quant_config.json`` beside a config that says nothing."""
    write_model(path, tensors)
    (path / "hf_quant_config.json").write_text(json.dumps(settings))
    return open_checkpoint(path)


@pytest.fixture(autouse=True)
def several_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packing, "_BLOCK", 6 * COLUMNS)  # the last one short


@pytest.mark.parametrize("algorithm", ["NVFP4", "W4A16_NVFP4", "W4A8_NVFP4_FP8", "NVFP4_AWQ"])
def test_nvfp4(algorithm: str, tmp_path: Path) -> None:
    tensors, dense = nvfp4()
    checkpoint = opened(tmp_path, tensors, config(algorithm, group_size=16))
    found = checkpoint.read(f"{NAME}.weight")
    assert checkpoint.names() == (f"{NAME}.weight",)
    assert checkpoint.shape(f"{NAME}.weight") == (ROWS, COLUMNS)
    assert found.dtype == torch.float32
    assert torch.equal(found, dense)
    scales = tensors[f"{NAME}.weight_scale"].double() * tensors[f"{NAME}.weight_scale_2"].double()
    exact = dequantized(values(e2m1(ROWS, COLUMNS)), scales, (1, 16))
    assert ulps(found, exact) <= 1  # the two scales' product is rounded to float32 before
    info = checkpoint.info
    assert (info.format, info.bits, info.group_size) == ("modelopt-nvfp4", 4, 16)
    assert info.bits_per_weight == pytest.approx(4.5 + 64 / (ROWS * COLUMNS))


def test_the_input_is_multiplied_before_the_layer(tmp_path: Path) -> None:
    tensors, dense = nvfp4()
    smooth = torch.rand(COLUMNS, generator=torch.Generator().manual_seed(3)) + 0.5
    tensors[f"{NAME}.pre_quant_scale"] = smooth
    weight = opened(tmp_path, tensors, config("NVFP4_AWQ")).read(f"{NAME}.weight")
    assert torch.equal(weight, dense * smooth)
    inputs = torch.randn((3, COLUMNS), generator=torch.Generator().manual_seed(4))
    torch.testing.assert_close(inputs @ weight.t(), (inputs * smooth) @ dense.t())


FP8_SCALES = {
    "tensor": ("FP8", torch.tensor(0.0321), (ROWS, COLUMNS), None),
    "tensor [1]": ("FP8", torch.tensor([0.0321]), (ROWS, COLUMNS), None),
    "row": ("FP8_PER_CHANNEL_PER_TOKEN", torch.rand(ROWS) + 0.1, (1, COLUMNS), -1),
    "blocks": ("FP8_PB_WO", torch.rand(2, 4) + 0.1, (16, 16), None),
    "blocks of four dimensions": ("fp8_pb_wo", torch.rand(2, 1, 4, 1) + 0.1, (16, 16), None),
}


@pytest.mark.parametrize("kind", FP8_SCALES)
def test_fp8(kind: str, tmp_path: Path) -> None:
    algorithm, scale, block, group = FP8_SCALES[kind]
    weight = e4m3(ROWS, COLUMNS)
    tensors = {
        f"{NAME}.weight": weight, f"{NAME}.weight_scale": scale,
        "model.layers.0.self_attn.k_proj.k_scale": torch.tensor(1.0),
        "model.layers.0.self_attn.v_proj.v_scale": torch.tensor(1.0),
        "model.layers.0.self_attn.k_proj.k_bias": torch.ones((1, 2)),
        "lm_head.weight": torch.ones((2, 4), dtype=torch.bfloat16),
    }  # fmt: skip
    settings = config(algorithm, group_size=16, kv_cache_quant_algo="FP8")
    checkpoint = opened(tmp_path, tensors, settings)
    blocks = scale.reshape(-(-ROWS // block[0]), -(-COLUMNS // block[1]))
    expected = dequantized(weight.float(), blocks, block)
    assert torch.equal(checkpoint.read(f"{NAME}.weight"), expected)
    assert set(checkpoint.names()) == {f"{NAME}.weight", "lm_head.weight"}
    info = checkpoint.info
    assert (info.format, info.bits, info.group_size) == ("modelopt-fp8", 8, group)


def test_mx_formats(tmp_path: Path) -> None:
    codes, scale = e2m1(ROWS, COLUMNS), exponents(ROWS, COLUMNS // 32)
    weight = e4m3(ROWS, COLUMNS)
    two = 2.0 ** (scale.double() - 127)
    for algorithm, stored, plain, bits in (
        ("MXFP8", weight, weight.float(), 8), ("W4A8_MXFP4_FP8", pack_e2m1(codes), values(codes), 4)
    ):  # fmt: skip
        tensors = {f"{NAME}.weight": stored, f"{NAME}.weight_scale": scale}
        checkpoint = opened(tmp_path / algorithm, tensors, config(algorithm, group_size=32))
        found = checkpoint.read(f"{NAME}.weight")
        assert found.dtype == torch.float32
        assert torch.equal(found, dequantized(plain, two, (1, 32)))
        info = checkpoint.info
        assert (info.format, info.bits, info.group_size) == (f"modelopt-mxfp{bits}", bits, 32)


def test_mixed_precision(tmp_path: Path) -> None:
    names = [f"model.layers.{n}.mlp.up_proj" for n in range(3)]
    parts = [nvfp4(names[0]), fp8(names[1]), fp8(names[2])]
    layers = {
        names[0]: {"quant_algo": "NVFP4", "group_size": 16},
        names[1]: {"quant_algo": "FP8"}, names[2]: {"quant_algo": "FP8"},
    }  # fmt: skip
    tensors = {key: value for part, _ in parts for key, value in part.items()}
    settings = config("MIXED_PRECISION", quantized_layers=layers, kv_cache_quant_algo=None)
    checkpoint = opened(tmp_path, tensors, settings)
    for name, (_, dense) in zip(names, parts, strict=True):
        assert torch.equal(checkpoint.read(f"{name}.weight"), dense)
    info = checkpoint.info
    assert (info.format, info.bits, info.group_size) == ("modelopt-fp8", 8, None)


@pytest.mark.parametrize(
    "settings",
    [
        {"quant_method": "modelopt", "quant_algo": "FP8", "ignore": ["lm_head"]},
        {"quant_method": "modelopt", **config("FP8")},
        {"quant_algo": "FP8", "producer": {"name": "modelopt"}},
        {"quant_method": "modelopt_mixed", "quant_algo": "FP8"},
    ],
)
def test_settings_in_the_models_config(settings: dict[str, Any], tmp_path: Path) -> None:
    tensors, dense = fp8()
    checkpoint = open_checkpoint(write_model(tmp_path, tensors, settings))
    assert torch.equal(checkpoint.read(f"{NAME}.weight"), dense)


def test_only_the_cache_is_quantized(tmp_path: Path) -> None:
    tensors = {
        "lm_head.weight": torch.ones((2, 4)),
        "model.layers.0.self_attn.k_proj.k_scale": torch.ones(()),
    }
    checkpoint = opened(tmp_path, tensors, config(None, kv_cache_quant_algo="FP8"))
    assert checkpoint.names() == ("lm_head.weight",)
    assert checkpoint.info.bits == 16


def changed(tensors: dict[str, torch.Tensor], **parts: torch.Tensor | None) -> dict[str, Any]:
    own = {**tensors, **{f"{NAME}.{part}": value for part, value in parts.items()}}
    return {key: value for key, value in own.items() if value is not None}


REFUSED: dict[str, tuple[dict[str, Any], dict[str, Any], type[Exception], str]] = {
    "packed integers": (
        nvfp4()[0], config("W4A16_AWQ"), UnsupportedModel, "algorithm `W4A16_AWQ`; expected one",
    ),
    "integers in one layer": (
        nvfp4()[0],
        config("MIXED_PRECISION", quantized_layers={"a": {"quant_algo": "W8A16"}}),
        UnsupportedModel, "algorithm `W8A16`",
    ),
    "another algorithm than stored": (
        nvfp4()[0], config("FP8"), CheckpointError,
        "expected weights and scales of FP8, got U8 and F8_E4M3",
    ),
    "no algorithm": (
        fp8()[0], config(None), CheckpointError, "of no algorithm, got F8_E4M3 and F32",
    ),
    "dense weights with scales": (
        changed(fp8()[0], weight=torch.ones((ROWS, COLUMNS))), config("FP8"), CheckpointError,
        "got F32 and F32",
    ),
    "no weight": (changed(fp8()[0], weight=None), config("FP8"), CheckpointError, "no weights"),
    "no second scale": (
        changed(nvfp4()[0], weight_scale_2=None), config("NVFP4"), CheckpointError,
        r"weight_scale_2`: expected shape \[\] .* got no such tensor",
    ),
    "a second scale for each row": (
        changed(nvfp4()[0], weight_scale_2=torch.ones(ROWS)), config("NVFP4"), CheckpointError,
        r"weight_scale_2`: expected shape \[\] .* got \[20\]",
    ),
    "another group size": (
        nvfp4()[0], config("NVFP4", group_size=32), CheckpointError,
        r"expected shape \[20, 2\] for NVFP4 with groups of 32, got \[20, 4\]",
    ),
    "rows that groups do not divide": (
        {f"{NAME}.weight": e4m3(4, 40), f"{NAME}.weight_scale": exponents(4, 2)}, config("MXFP8"),
        CheckpointError, "multiple of the group size 32, got 40",
    ),
    "another number of scales": (
        changed(fp8()[0], weight_scale=torch.ones(3)), config("FP8"), CheckpointError,
        r"expected one scale, \[20\] or \[1, 1\] .* got \[3\]",
    ),
    "another smoothing": (
        changed(nvfp4()[0], pre_quant_scale=torch.ones(3)), config("NVFP4_AWQ"), CheckpointError,
        r"pre_quant_scale`: expected shape \[64\]",
    ),
    "fused experts": (
        {"e.weight": e4m3(2, 4, 4), "e.weight_scale": torch.ones(())}, config("FP8"),
        UnsupportedModel, r"expected two dimensions, got \[2, 4, 4\]",
    ),
    "fused experts under their own name": (
        {"e.gate_up_proj": e4m3(2, 4, 4), "e.gate_up_proj_weight_scale": torch.ones(())},
        config("FP8"), UnsupportedModel, "belongs to no module that is decoded",
    ),
    "low-rank corrections": (
        {**nvfp4()[0], f"{NAME}.svdquant_lora_a": torch.ones((2, 2))}, config("NVFP4"),
        UnsupportedModel, "belongs to no module that is decoded",
    ),
    "settings that are none": (
        fp8()[0], {"quantization": [1]}, CheckpointError, r"expected a JSON object, got \[1\]",
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", REFUSED)
def test_refused(kind: str, tmp_path: Path) -> None:
    tensors, settings, error, words = REFUSED[kind]
    with pytest.raises(error, match=words) as caught:
        opened(tmp_path, tensors, settings)
    assert caught.value.hint


INPUTS = {
    "NVFP4": (nvfp4, ActivationType("nvfp4", "token", 16), 2.0),
    "W4A16_NVFP4": (nvfp4, None, None),
    "W4A8_NVFP4_FP8": (nvfp4, ActivationType("fp8", "tensor"), 0.5),
    "FP8": (fp8, ActivationType("fp8", "tensor"), 0.5),
    "FP8_PC_PT": (fp8, ActivationType("fp8", "token"), None),
    "FP8_PB_WO": (fp8, None, None),
}


@pytest.mark.parametrize("algorithm", INPUTS)
def test_an_algorithm_says_what_enters_its_layers(algorithm: str, tmp_path: Path) -> None:
    """ModelOpt's `input_scale` of 0.5 is amax / (6 * 448) for NVFP4: one by what scales take."""
    make, kind, scale = INPUTS[algorithm]
    inputs = checkpoint_inputs(opened(tmp_path, make()[0], config(algorithm)))
    if kind is None:
        assert inputs == {}
        return
    declared = inputs[f"{NAME}.weight"]
    assert declared.type == kind
    assert (declared.scale and declared.scale().item()) == scale


def test_inputs_of_each_layer_of_a_mixed_model(tmp_path: Path) -> None:
    other = NAME.replace("up", "down")
    layers = {NAME: {"quant_algo": "FP8"}, other: {"quant_algo": "NVFP4", "group_size": 16}}
    tensors = fp8()[0] | nvfp4(other)[0]
    settings = config("MIXED_PRECISION", quantized_layers=layers)
    inputs = checkpoint_inputs(opened(tmp_path, tensors, settings))
    assert {name: one.words for name, one in inputs.items()} == {
        f"{NAME}.weight": "fp8-tensor, static,",
        f"{other}.weight": "nvfp4",
    }


def test_inputs_that_are_scaled_before_they_are_stored_have_no_name(tmp_path: Path) -> None:
    tensors = nvfp4()[0] | {f"{NAME}.pre_quant_scale": torch.ones(COLUMNS)}
    (declared,) = checkpoint_inputs(opened(tmp_path, tensors, config("NVFP4_AWQ"))).values()
    assert (declared.type, declared.words) == (None, "NVFP4_AWQ, scaled before they are stored,")
