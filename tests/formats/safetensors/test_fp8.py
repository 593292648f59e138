"""Oracle: transformers' `Fp8Dequantize`, and its `from_pretrained` with ``dequantize=True``.

Weights are codes times scales in float64, rounded to float32, bit for bit; rounded to the library's
type they are its weights.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from bitloss.engines.dense.graph import ModelGraph
from bitloss.engines.dense.scoring.head import load_head
from bitloss.errors import CheckpointError, UnsupportedModel
from bitloss.formats import open_checkpoint
from bitloss.formats.base import checkpoint_inputs
from bitloss.formats.storage import packing
from bitloss.spec.activations import ActivationType
from peers.checkpoints import write_model
from peers.exact import spread
from peers.small_floats import E2M1, dequantized, pack_e2m1

NAME = "model.layers.0.mlp.up_proj"
FP8 = {"quant_method": "fp8", "activation_scheme": "dynamic"}


def codes(*shape: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return (torch.randn(shape, generator=generator) * 50).to(torch.float8_e4m3fn)


def floats(*shape: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    return (torch.rand(shape, generator=generator) * 0.2 + 0.05).to(dtype)


def powers(*shape: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randint(0, 255, shape, generator=generator, dtype=torch.uint8)


def library(weight: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    from transformers.integrations.finegrained_fp8 import Fp8Dequantize

    return Fp8Dequantize(None)._dequantize_one(weight, scale)


def opened(path: Path, tensors: dict[str, torch.Tensor], config: dict[str, Any]) -> Any:
    return open_checkpoint(write_model(path, tensors, {**FP8, **config}))


MATRICES = {
    "blocks": ((96, 64), "weight_scale_inv", floats(6, 4), {"weight_block_size": [16, 16]}),
    "blocks of another shape": (
        (96, 64), "weight_scale_inv", floats(3, 8, dtype=torch.bfloat16),
        {"weight_block_size": [32, 8]},
    ),
    "the default": ((256, 128), "weight_scale_inv", floats(2, 1), {}),
    "exponents in blocks": (
        (96, 64), "scale", powers(6, 4).view(torch.float8_e8m0fnu),
        {"weight_block_size": [16, 16], "scale_fmt": "ue8m0"},
    ),
    "mxfp8": ((96, 64), "weight_scale_inv", powers(96, 2), {"quant_method": "mxfp8"}),
    "mistral": ((96, 64), "qscale_weight", floats(), {"weight_block_size": None}),
    "tensor": ((96, 64), "weight_scale_inv", floats(), {"weight_block_size": None}),
    "tensor [1, 1]": ((96, 64), "weight_scale_inv", floats(1, 1), {"weight_block_size": None}),
    "tensor among blocks": ((96, 64), "weight_scale", floats(1), {"weight_block_size": [16, 16]}),
    "AutoFP8": ((96, 64), "weight_scale", floats(), {"activation_scheme": "static"}),
    "fbgemm": ((96, 64), "weight_scale", floats(96, 1), {"quant_method": "fbgemm_fp8"}),
}  # fmt: skip


@pytest.mark.parametrize("kind", MATRICES)
def test_exact_with_the_library(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shape, name, scale, config = MATRICES[kind]
    monkeypatch.setattr(packing, "_BLOCK", 20 * shape[1])  # several blocks, the last one short
    weight = codes(*shape)
    tensors = {
        f"{NAME}.weight": weight, f"{NAME}.{name}": scale, f"{NAME}.input_scale": torch.ones(()),
        f"{NAME}.activation_scale": torch.ones(()), "model.layers.0.self_attn.k_scale":
        torch.ones(()), "lm_head.weight": torch.ones((2, 64), dtype=torch.bfloat16),
    }  # fmt: skip
    checkpoint = opened(tmp_path, tensors, config)
    expected, values = library(weight, scale), scale
    if scale.dtype in (torch.uint8, torch.float8_e8m0fnu):
        values = 2.0 ** (scale.view(torch.uint8).double() - 127)
    grid = values.double() if values.ndim == 2 else values.double().reshape(1, 1)
    exact = weight.double() * spread(grid, shape)
    found = checkpoint.read(f"{NAME}.weight")
    assert set(checkpoint.names()) == {f"{NAME}.weight", "lm_head.weight"}
    assert checkpoint.shape(f"{NAME}.weight") == shape
    assert found.dtype == torch.float32
    assert torch.equal(found, exact.float())
    assert torch.equal(found.to(expected.dtype), expected)


@pytest.mark.parametrize("shape", [(40, 70), (7, 5), (48, 33)])
def test_short_last_blocks(shape: tuple[int, int], tmp_path: Path) -> None:
    """`Fp8Dequantize` refuses them, or takes the grid for another block size; products by hand."""
    weight, scale = codes(*shape), floats(-(-shape[0] // 16), -(-shape[1] // 16))
    tensors = {f"{NAME}.weight": weight, f"{NAME}.weight_scale_inv": scale}
    checkpoint = opened(tmp_path, tensors, {"weight_block_size": [16, 16]})
    expected = dequantized(weight.float(), scale, (16, 16))
    assert torch.equal(checkpoint.read(f"{NAME}.weight"), expected)
    from transformers.integrations.finegrained_fp8 import _dequantize_fp8_weight

    gradient = _dequantize_fp8_weight(weight, scale, [16, 16], torch.float32)
    assert torch.equal(gradient, expected)


def test_facts(tmp_path: Path) -> None:
    weight, scale = codes(96, 64), floats(6, 4)
    tensors = {f"{NAME}.weight": weight, f"{NAME}.weight_scale_inv": scale}
    info = opened(tmp_path / "a", tensors, {"weight_block_size": [16, 16]}).info
    assert (info.format, info.bits, info.group_size) == ("fp8", 8, None)
    assert info.bits_per_weight == 8 + 32 / 256
    assert info.parameters == 96 * 64
    tensors[f"{NAME}.weight_scale_inv"] = powers(96, 2)
    info = opened(tmp_path / "b", tensors, {"quant_method": "mxfp8"}).info
    assert (info.bits, info.group_size, info.bits_per_weight) == (8, 32, 8.25)
    tensors = {f"{NAME}.weight": weight, f"{NAME}.weight_scale": floats(96, 1)}
    info = opened(tmp_path / "c", tensors, {"quant_method": "fbgemm_fp8"}).info
    assert (info.bits, info.group_size, info.bits_per_weight) == (8, -1, 8.5)
    info = opened(tmp_path / "d", {"a.weight": torch.ones(3)}, {}).info
    assert (info.bits, info.group_size) == (16, None)


FUSED = {
    "blocks": (floats(3, 4, 4), {"weight_block_size": [16, 16]}),
    "an expert": (floats(3, 1, 1), {"weight_block_size": None}),
    "gate and up": (floats(3, 2, 1), {"weight_block_size": None}),
}


@pytest.mark.parametrize("kind", FUSED)
def test_fused_experts(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packing, "_BLOCK", 20 * 64)
    scale, config = FUSED[kind]
    weight, name = codes(3, 64, 64), "model.layers.0.mlp.experts.gate_up_proj"
    tensors = {name: weight, f"{name}_scale_inv": scale, f"{name}_activation_scale": torch.ones(3)}
    checkpoint = opened(tmp_path, tensors, config)
    assert checkpoint.names() == (name,)
    assert torch.equal(checkpoint.read(name), library(weight, scale))


@pytest.mark.parametrize("scale", [floats(40, 2), powers(40, 2).view(torch.float8_e8m0fnu)])
def test_four_bit_experts(scale: torch.Tensor, tmp_path: Path) -> None:
    generator = torch.Generator().manual_seed(0)
    packed = pack_e2m1(torch.randint(0, 16, (40, 64), generator=generator)).view(torch.int8)
    tensors = {"experts.0.w1.weight": packed, "experts.0.w1.scale": scale}
    config = {"weight_block_size": [128, 128], "expert_dtype": "fp4"}
    checkpoint = opened(tmp_path / "a", tensors, config)
    assert checkpoint.shape("experts.0.w1.weight") == (40, 64)
    found, expected = checkpoint.read("experts.0.w1.weight"), library(packed, scale)
    assert torch.equal(found.to(expected.dtype), expected)
    assert (checkpoint.info.bits, checkpoint.info.group_size) == (4, 32)
    with pytest.raises(UnsupportedModel, match=r"is stored as (I8|F8_E8M0)"):
        opened(tmp_path / "b", tensors, {"weight_block_size": [128, 128]})


def test_the_table_of_four_bit_floats_is_transformers() -> None:
    from transformers.integrations.finegrained_fp8 import Fp8Dequantize

    assert Fp8Dequantize._FP4_E2M1_LUT == E2M1


REFUSED: dict[str, tuple[dict[str, torch.Tensor], dict[str, Any], type[Exception], str]] = {
    "no scale": (
        {f"{NAME}.weight": codes(4, 4)}, {}, CheckpointError,
        r"expected one scale out of weight_scale_inv.* got none",
    ),
    "two scales": (
        {f"{NAME}.weight": codes(4, 4), f"{NAME}.weight_scale_inv": floats(1, 1),
         f"{NAME}.weight_scale": floats(1)}, {}, CheckpointError,
        "got .*weight_scale_inv and .*weight_scale",
    ),
    "another grid": (
        {f"{NAME}.weight": codes(40, 40), f"{NAME}.weight_scale_inv": floats(2, 3)},
        {"weight_block_size": [16, 16]}, CheckpointError,
        r"expected shape \[3, 3\] .* blocks of \[16, 16\], got \[2, 3\]",
    ),
    "a grid without blocks": (
        {f"{NAME}.weight": codes(40, 40), f"{NAME}.weight_scale_inv": floats(3, 3)},
        {"weight_block_size": None}, CheckpointError,
        r"expected shape one scale .* no `weight_block_size`, got \[3, 3\]",
    ),
    "one dimension": (
        {f"{NAME}.weight": codes(40), f"{NAME}.weight_scale_inv": floats(1)}, {}, CheckpointError,
        r"expected two dimensions, or three for fused experts, got \[40\]",
    ),
    "a scale for dense weights": (
        {f"{NAME}.weight": torch.ones((4, 4)), f"{NAME}.weight_scale_inv": floats(1, 1)}, {},
        CheckpointError, "`.*up_proj.weight` to be F8_E4M3, got F32",
    ),
    "a scale for nothing": (
        {"a.gate_up_proj_scale_inv": floats(1, 1)}, {}, CheckpointError,
        "`a.gate_up_proj` to be F8_E4M3, got no such tensor",
    ),
    "E5M2": (
        {f"{NAME}.weight": torch.ones((4, 4)).to(torch.float8_e5m2)}, {}, UnsupportedModel,
        "is stored as F8_E5M2",
    ),
    "another kind": ({"a.weight": torch.ones(2)}, {"fmt": "e5m2"}, UnsupportedModel, "e5m2"),
    "integers as scales": (
        {f"{NAME}.weight": codes(4, 4), f"{NAME}.weight_scale": torch.ones((), dtype=torch.int32)},
        {}, UnsupportedModel, "expected F32.* got I32",
    ),
    "a block across halves": (
        {"e.gate_up_proj": codes(2, 48, 16), "e.gate_up_proj_scale_inv": floats(2, 3, 1)},
        {"weight_block_size": [16, 16]}, UnsupportedModel, "multiple of 16 rows, got 24",
    ),
    "a block of one number": (
        {f"{NAME}.weight": codes(4, 4), f"{NAME}.weight_scale_inv": floats(1, 1)},
        {"weight_block_size": [128]}, CheckpointError, r"two positive numbers, got \[128\]",
    ),
    "fused experts of fbgemm": (
        {"e.gate_up_proj": codes(2, 16, 32), "e.gate_up_proj_scale": floats(2, 1, 32)},
        {"quant_method": "fbgemm_fp8"}, CheckpointError, r"got \[2, 1, 32\]",
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", REFUSED)
def test_refused(kind: str, tmp_path: Path) -> None:
    tensors, config, error, words = REFUSED[kind]
    with pytest.raises(error, match=words) as caught:
        opened(tmp_path, tensors, config)
    assert caught.value.hint


def test_exponents_that_are_no_numbers(tmp_path: Path) -> None:
    scale = powers(4, 1)
    scale[2] = 255
    tensors = {f"{NAME}.weight": codes(4, 32), f"{NAME}.weight_scale_inv": scale}
    checkpoint = opened(tmp_path, tensors, {"quant_method": "mxfp8"})
    with pytest.raises(CheckpointError, match="exponents from 0 to 254, got 255"):
        checkpoint.read(f"{NAME}.weight")


SIZES = {
    "vocab_size": 96, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2,
    "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8, "tie_word_embeddings": False,
}  # fmt: skip
MODELS = {
    "qwen3": {},
    "qwen3_moe": {"moe_intermediate_size": 32, "num_experts": 4, "num_experts_per_tok": 2},
}


def quantized(tensors: dict[str, torch.Tensor], settings: Any) -> dict[str, torch.Tensor]:
    """By transformers' own operation, but for embeddings, router and head."""
    from transformers.integrations.finegrained_fp8 import Fp8Quantize

    quantize = Fp8Quantize(type("Quantizer", (), {"quantization_config": settings})())
    result: dict[str, torch.Tensor] = {}
    for name, value in tensors.items():
        skipped = "embed" in name or "lm_head" in name or "mlp.gate." in name
        result |= {name: value} if skipped else quantize._quantize_one(name, value)
    return result


def logits_of(path: Path, ids: torch.Tensor) -> torch.Tensor:
    checkpoint = open_checkpoint(path)
    graph = ModelGraph(checkpoint.config, precision="fp32", device="cpu")
    graph.load(checkpoint)
    head = load_head(checkpoint, precision="fp32", device="cpu")
    return head.logits(graph.hidden(ids).flatten(0, 1), 0, 96).view(*ids.shape, 96)


@pytest.mark.parametrize("kind", MODELS)
def test_logits_of_whole_models(kind: str, tmp_path: Path) -> None:
    """Experts one by one as published; and fused, where transformers 5.24 drops the scales."""
    from safetensors.torch import load_file
    from transformers import AutoConfig, AutoModelForCausalLM, FineGrainedFP8Config

    torch.manual_seed(0)
    config = AutoConfig.for_model(kind, **SIZES, **MODELS[kind])
    original = AutoModelForCausalLM.from_config(config)
    original.save_pretrained(tmp_path / "dense")
    settings = FineGrainedFP8Config(
        weight_block_size=(16, 16), modules_to_not_convert=["lm_head", "mlp.gate"]
    )
    published = quantized(load_file(tmp_path / "dense" / "model.safetensors"), settings)
    config = {**config.to_dict()}
    path = write_model(tmp_path / "fp8", published, settings.to_dict(), **config)
    assert sum(value.dtype == torch.float8_e4m3fn for value in published.values()) >= 12

    expected = AutoModelForCausalLM.from_pretrained(
        path, dtype=torch.float32, quantization_config=FineGrainedFP8Config(dequantize=True)
    )
    ids = torch.randint(3, 96, (2, 21), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        wanted, dense = expected(ids).logits, original(ids).logits
    largest = float(wanted.abs().max())
    assert float((wanted - dense).abs().max()) > 1e-3 * largest
    torch.testing.assert_close(logits_of(path, ids), wanted, rtol=0, atol=2e-6 * largest)
    if "moe" not in kind:
        return
    fused = quantized(dict(original.state_dict()), settings)
    assert "model.layers.1.mlp.experts.gate_up_proj_scale_inv" in fused
    path = write_model(tmp_path / "fused", fused, settings.to_dict(), **config)
    torch.testing.assert_close(logits_of(path, ids), wanted, rtol=0, atol=2e-6 * largest)


@pytest.mark.parametrize(
    ("config", "scale", "kind"),
    [
        ({"weight_block_size": [16, 32]}, floats(2, 2), ActivationType("fp8", "block", 32)),
        ({}, floats(1), ActivationType("fp8", "token")),
        ({"activation_scheme": "static"}, floats(1), ActivationType("fp8", "tensor")),
    ],
)
def test_what_enters_a_layer(
    tmp_path: Path, config: dict[str, Any], scale: torch.Tensor, kind: ActivationType
) -> None:
    part = "weight_scale_inv" if scale.numel() > 1 else "weight_scale"
    tensors = {
        f"{NAME}.weight": codes(32, 64), f"{NAME}.{part}": scale,
        f"{NAME}.input_scale": torch.tensor([0.25]),
    }  # fmt: skip
    (declared,) = checkpoint_inputs(opened(tmp_path, tensors, config)).values()
    assert declared.type == kind
    static = kind.shares == "tensor"
    assert (declared.scale is not None and declared.scale().item() == 0.25) == static


def test_inputs_up_to_a_bound_have_no_name(tmp_path: Path) -> None:
    tensors = {f"{NAME}.weight": codes(32, 64), f"{NAME}.weight_scale": floats(32, 1)}
    config = {"quant_method": "fbgemm_fp8", "activation_scale_ub": 1200.0}
    (declared,) = checkpoint_inputs(opened(tmp_path, tensors, config)).values()
    assert (declared.type, declared.words) == (None, "fp8 (up to 1200.0)")
