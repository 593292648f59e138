"""Oracle: an own packer and `sanitize` (tests/peers/mlx_files.py), and transformers' forward.

`benchmarks/oracle_mlx.py` compares with MLX and mlx-lm, which are not installed for tests.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from bitloss.engines.dense.graph import ModelGraph
from bitloss.engines.dense.scoring.head import load_head
from bitloss.errors import CheckpointError, UnsupportedModel
from bitloss.formats import open_checkpoint
from bitloss.formats.safetensors.mlx_families import FAMILIES, REFUSED
from bitloss.formats.storage import packing
from peers.checkpoints import write_model
from peers.mlx_files import CHANGES, affine, floats, to_mlx, write_mlx
from peers.tiny_architectures import save_tiny

SHAPE = (96, 256)
NAME = "model.layers.0.mlp.up_proj"
CONFIG: dict[str, Any] = {"group_size": 64, "bits": 4, "mode": "affine"}


def stored(tensors: dict[str, torch.Tensor], name: str = NAME) -> dict[str, torch.Tensor]:
    return {f"{name}.{key}": value for key, value in tensors.items()}


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
@pytest.mark.parametrize("group", [32, 64, 128])
@pytest.mark.parametrize("bits", [1, 2, 3, 4, 5, 6, 8])
def test_integers(
    bits: int, group: int, dtype: torch.dtype, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packing, "_BLOCK", 64 * SHAPE[1])  # two blocks, the last one short
    tensors, dense = affine(SHAPE, bits, group, dtype)
    settings = {"group_size": group, "bits": bits}  # older files do not say the mode
    checkpoint = open_checkpoint(write_mlx(tmp_path, stored(tensors), settings))
    weight = checkpoint.read(f"{NAME}.weight")
    assert checkpoint.shape(f"{NAME}.weight") == SHAPE == weight.shape
    assert weight.dtype == torch.float32
    assert weight.is_contiguous()
    wide = [tensors[part].double().repeat_interleave(group, -1) for part in ("scales", "biases")]
    product = (dense - wide[1]).abs()
    if dtype == torch.float32:  # both steps are rounded, as by MLX
        bound = torch.finfo(dtype).eps / 2 * (product + dense.abs())
        assert bool(((weight - dense).abs() <= bound).all())
    else:  # the product is exact, the sum is rounded once
        assert torch.equal(weight, dense.float())
    # MLX rounds the product and the sum to the scales' type: half a unit in the last place each,
    # and another half for what is rounded here.
    codes = ((dense - wide[1]) / wide[0]).round().to(dtype)
    library = codes * wide[0].to(dtype) + wide[1].to(dtype)
    bound = torch.finfo(dtype).eps * (product / 2 + dense.abs())
    assert bool(((weight.to(dtype).double() - library.double()).abs() <= bound).all())
    info = checkpoint.info
    assert (info.format, info.bits, info.group_size) == ("mlx", bits, group)
    expected = bits + 2 * 8 * dtype.itemsize / group
    assert info.bits_per_weight == pytest.approx(expected, rel=1e-12)
    assert "quantization" not in checkpoint.config


@pytest.mark.parametrize("mode", ["mxfp4", "mxfp8", "nvfp4"])
def test_floats(mode: str, tmp_path: Path) -> None:
    tensors, dense = floats(SHAPE, mode)
    bits, group = (8 if mode == "mxfp8" else 4), (16 if mode == "nvfp4" else 32)
    settings = {"group_size": group, "bits": bits, "mode": mode}
    checkpoint = open_checkpoint(write_mlx(tmp_path, stored(tensors), settings))
    weight = checkpoint.read(f"{NAME}.weight")
    assert weight.dtype == torch.float32
    assert torch.equal(weight.double(), dense)  # at most six bits: nothing is rounded
    info = checkpoint.info
    assert (info.format, info.bits, info.group_size) == (f"mlx-{mode}", bits, group)
    assert info.bits_per_weight == pytest.approx(bits + 8 / group, rel=1e-12)


def test_extreme_exponents(tmp_path: Path) -> None:
    """MLX reads 0 as 2 to the -127, and 255 as infinity."""
    scales = torch.tensor([[0], [1], [127], [254], [255]], dtype=torch.uint8)
    weight = torch.full((5, 4), 0x22222222, dtype=torch.int32).view(torch.uint32)
    settings = {"group_size": 32, "bits": 4, "mode": "mxfp4"}
    path = write_mlx(tmp_path, stored({"weight": weight, "scales": scales}), settings)
    found = open_checkpoint(path).read(f"{NAME}.weight")[:, 0].tolist()
    assert found == [2.0**-127, 2.0**-126, 1.0, 2.0**127, float("inf")]


def test_scale_of_each_expert(tmp_path: Path) -> None:
    """NVFP4 with ``global_scale``: the largest magnitude of an expert, 6 times 448 of it."""
    stack = "model.layers.0.mlp.switch_mlp.up_proj"
    tensors, _ = floats((3, 16, 32), "nvfp4")
    ones = torch.full_like(tensors["scales"], 0x38)  # 1 as E4M3
    largest = torch.tensor([1.0, 2688.0, 3.0])
    settings = {"group_size": 16, "bits": 4, "mode": "nvfp4"}
    unscaled = stored(tensors | {"scales": ones}, stack)
    plain = open_checkpoint(
        write_mlx(tmp_path / "plain", unscaled, settings, model_type="qwen3_moe")
    )
    path = write_mlx(
        tmp_path / "scaled", stored(tensors | {"global_scale": largest}, stack),
        settings | {stack: settings | {"global_scale": True}}, model_type="qwen3_moe",
    )  # fmt: skip
    checkpoint = open_checkpoint(path)
    for expert in range(3):
        weight = checkpoint.read(f"model.layers.0.mlp.experts.{expert}.up_proj.weight")
        scales = tensors["scales"][expert].view(torch.float8_e4m3fn).float()
        scales = scales * (largest[expert] / 2688)  # rounded to float32, as MLX does
        name = f"model.layers.0.mlp.experts.{expert}.up_proj.weight"
        codes = plain.read(name).float()
        assert torch.equal(weight, codes * scales.repeat_interleave(16, -1))


def test_mixed_settings_and_dense_modules(tmp_path: Path) -> None:
    """``mixed_4_6`` writes settings by path; False and modules without scales are dense."""
    low, low_dense = affine(SHAPE, 4, 64, torch.bfloat16)
    high, high_dense = affine(SHAPE, 6, 32, torch.bfloat16, seed=1)
    table, table_dense = affine((40, 256), 4, 64, torch.bfloat16, seed=2)
    down, gate = "model.layers.0.mlp.down_proj", "model.layers.0.mlp.gate_proj"
    plain = torch.randn(SHAPE).bfloat16()
    tensors = {
        **stored(table, "model.embed_tokens"), **stored(low), **stored(high, down),
        f"{gate}.weight": plain, "model.norm.weight": plain[0],
    }  # fmt: skip
    settings = {**CONFIG, down: {"group_size": 32, "bits": 6}, gate: False, NAME: True}
    checkpoint = open_checkpoint(write_mlx(tmp_path, tensors, settings))
    assert set(checkpoint.names()) == {f"{name.rpartition('.')[0]}.weight" for name in tensors}
    expected = {NAME: low_dense, down: high_dense, gate: plain, "model.embed_tokens": table_dense}
    for module, dense in expected.items():
        found = checkpoint.read(f"{module}.weight")
        assert torch.equal(found, dense if module == gate else dense.float())
    assert (checkpoint.info.bits, checkpoint.info.group_size) == (4, 64)  # most weights have them


def test_experts_are_decoded_one_at_a_time(tmp_path: Path) -> None:
    stack = "model.layers.0.mlp.switch_mlp.down_proj"
    tensors, dense = affine((4, 48, 64), 4, 32, torch.bfloat16)
    settings = {"group_size": 32, "bits": 4}
    path = write_mlx(tmp_path, stored(tensors, stack), settings, model_type="qwen3_moe")
    checkpoint = open_checkpoint(path)
    names = [f"model.layers.0.mlp.experts.{expert}.down_proj.weight" for expert in range(4)]
    assert list(checkpoint.names()) == names
    assert [checkpoint.shape(name) for name in names] == [(48, 64)] * 4
    assert torch.equal(torch.stack([checkpoint.read(name) for name in names]), dense.float())


@pytest.mark.parametrize("name", CHANGES)
def test_tensors_as_published(name: str, tmp_path: Path) -> None:
    """What mlx-lm does to a family is undone: transformers' logits of the original come out."""
    model = save_tiny(name, tmp_path / "source")
    checkpoint = open_checkpoint(to_mlx(name, tmp_path / "source", tmp_path / "mlx"))
    assert checkpoint.info.format == "safetensors-fp32"
    graph = ModelGraph(checkpoint.config, precision="fp32", device="cpu")
    graph.load(checkpoint)
    head = load_head(checkpoint, precision="fp32", device="cpu")
    ids = torch.randint(3, 96, (1, 21), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        expected = model(input_ids=ids).logits.flatten(0, 1)
    logits = head.logits(graph.hidden(ids).flatten(0, 1), 0, head.vocabulary)
    assert float((logits - expected).abs().max()) <= 2e-6 * float(expected.abs().max())


def test_quantized_fused_experts(tmp_path: Path) -> None:
    """gpt-oss: gate and up take turns, inputs come first; both are decoded by expert."""
    stem = "model.layers.0.mlp.experts"
    parts = {
        half: affine((3, rows, columns), 4, 32, torch.bfloat16, seed=number)
        for number, (half, rows, columns) in enumerate(
            (("gate_proj", 96, 64), ("up_proj", 96, 64), ("down_proj", 64, 96))
        )
    }
    tensors = {k: v for half in parts for k, v in stored(parts[half][0], f"{stem}.{half}").items()}
    path = write_mlx(tmp_path, tensors, {"group_size": 32, "bits": 4}, model_type="gpt_oss")
    checkpoint = open_checkpoint(path)
    both = checkpoint.read(f"{stem}.gate_up_proj")
    assert both.shape == checkpoint.shape(f"{stem}.gate_up_proj") == (3, 64, 192)
    assert torch.equal(both[:, :, 0::2].mT, parts["gate_proj"][1].float())
    assert torch.equal(both[:, :, 1::2].mT, parts["up_proj"][1].float())
    assert torch.equal(checkpoint.read(f"{stem}.down_proj").mT, parts["down_proj"][1].float())


def test_dense_files_of_other_writers_stay_dense(tmp_path: Path) -> None:
    """A published Mamba keeps its convolutions; the same file with MLX's mark is refused."""
    tensors = {"backbone.layers.0.mixer.conv1d.weight": torch.randn(8, 1, 4)}
    published = write_model(tmp_path / "published", tensors, model_type="mamba")
    assert open_checkpoint(published).shape("backbone.layers.0.mixer.conv1d.weight") == (8, 1, 4)
    with pytest.raises(UnsupportedModel, match=r"a convolution of \[channels, width, 1\]"):
        open_checkpoint(write_mlx(tmp_path / "mlx", tensors, model_type="mamba"))


def test_norms_without_a_witness_are_refused(tmp_path: Path) -> None:
    tensors = {"model.norm.weight": torch.ones(8)}
    with pytest.raises(UnsupportedModel, match="which show that mlx-lm added one"):
        open_checkpoint(write_mlx(tmp_path, tensors, model_type="qwen3_next"))


@pytest.mark.parametrize(("kind", "words"), [*REFUSED.items(), ("bloom", "it is not known what")])
def test_other_families_are_refused_by_name(kind: str, words: str, tmp_path: Path) -> None:
    assert kind not in FAMILIES
    path = write_mlx(tmp_path, {"model.norm.weight": torch.ones(8)}, model_type=kind)
    with pytest.raises(UnsupportedModel) as caught:
        open_checkpoint(path)
    assert f"model type `{kind}`: {words}" in str(caught.value)


@pytest.mark.parametrize(
    ("change", "config", "error", "words"),
    [
        ({}, {"bits": 8}, CheckpointError, "weight`: expected shape [96, 64]"),
        ({}, {"group_size": 32}, CheckpointError, "weight`: expected shape [96, 16]"),
        ({}, {"group_size": None}, CheckpointError, "whole number for `group_size`, got None"),
        ({}, {"bits": 7}, UnsupportedModel, "mode `affine`, got 7 bits"),
        ({}, {"mode": "mxfp4"}, UnsupportedModel, "4 bits and groups of 32 for mode `mxfp4`"),
        ({}, {"mode": "mxfp4", "group_size": 32}, CheckpointError, "expected shape [96, 16]"),
        ({}, {"mode": "trellis"}, UnsupportedModel, "mode `trellis`; expected affine, mxfp4"),
        ({}, {NAME: {**CONFIG, "rotation": 1}}, UnsupportedModel, "quantization with rotation"),
        ({}, {NAME: False}, CheckpointError, "under its name in `quantization`, got False"),
        ({}, {"lm_head": CONFIG}, CheckpointError, "no tensor `lm_head.scales`"),
        ({"biases": None}, {}, CheckpointError, "biases`: expected shape [96, 4]"),
        ({"biases": torch.ones(96, 4)}, {}, CheckpointError, "biases`: expected BF16"),
        ({"scales": torch.ones(96, 4, dtype=torch.uint8)}, {}, CheckpointError,
         "scales`: expected F32 or F16 or BF16 for mode `affine`, got U8"),
        ({"weight": torch.ones(96, 32, dtype=torch.int32)}, {}, CheckpointError,
         "weight`: expected U32 for mode `affine`, got I32"),
        ({"scales": torch.ones(4)}, {}, CheckpointError, "expected [out, groups]"),
        ({"scales": None}, {}, CheckpointError, "expected tensors `*.scales`"),
        ({"global_scale": torch.tensor(1.0)}, {}, CheckpointError, "global_scale`: expected none"),
    ],
)  # fmt: skip
def test_malformed(
    change: dict[str, Any], config: dict[str, Any], error: type[Exception], words: str,
    tmp_path: Path,
) -> None:  # fmt: skip
    tensors, _ = affine(SHAPE, 4, 64, torch.bfloat16)
    tensors = {key: value for key, value in (tensors | change).items() if value is not None}
    norm = {"model.norm.weight": torch.ones(8)}
    path = write_mlx(tmp_path, stored(tensors) | norm, CONFIG | config)
    with pytest.raises(error) as caught:
        open_checkpoint(path)
    assert words in str(caught.value)


def test_settings_without_quantized_tensors(tmp_path: Path) -> None:
    path = write_mlx(tmp_path, {"model.norm.weight": torch.ones(8)}, CONFIG)
    with pytest.raises(CheckpointError, match=r"expected tensors `\*.scales`"):
        open_checkpoint(path)


def test_codes_without_scales(tmp_path: Path) -> None:
    tensors, _ = affine(SHAPE, 4, 64, torch.bfloat16)
    other = stored({"weight": tensors["weight"]}, "model.layers.0.mlp.down_proj")
    with pytest.raises(UnsupportedModel, match="stored as U32"):
        open_checkpoint(write_mlx(tmp_path, stored(tensors) | other, CONFIG))


def test_half_of_the_fused_experts(tmp_path: Path) -> None:
    tensors = {"model.layers.0.mlp.experts.gate_proj.weight": torch.ones(2, 4, 4)}
    path = write_mlx(tmp_path, tensors, model_type="gpt_oss")
    with pytest.raises(CheckpointError, match=r"up_proj.weight`: expected \[2, 4, 4\]"):
        open_checkpoint(path)


def test_a_damaged_header_is_named(tmp_path: Path) -> None:
    path = write_mlx(tmp_path, {"model.norm.weight": torch.ones(8)})
    file = path / "model.safetensors"
    file.write_bytes(file.read_bytes()[:20])
    with pytest.raises(CheckpointError, match="bytes"):
        open_checkpoint(path)


def test_older_configs_have_the_settings_once(tmp_path: Path) -> None:
    tensors, dense = affine(SHAPE, 4, 64, torch.float16)
    path = write_model(tmp_path, stored(tensors))  # no mark in the header either
    config = {"model_type": "llama", "quantization": CONFIG}
    (path / "config.json").write_text(json.dumps(config), encoding="utf-8")
    checkpoint = open_checkpoint(path)
    assert checkpoint.info.format == "mlx"
    assert torch.equal(checkpoint.read(f"{NAME}.weight"), dense)
