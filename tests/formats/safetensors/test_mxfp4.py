"""Oracle: transformers' `convert_moe_packed_tensors`, and its `from_pretrained` of gpt-oss."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from bitloss.engines.dense.graph import ModelGraph
from bitloss.engines.dense.scoring.head import load_head
from bitloss.errors import CheckpointError, UnsupportedModel
from bitloss.formats import open_checkpoint
from bitloss.formats.storage import packing
from peers.checkpoints import write_model
from peers.small_floats import E2M1

NAME = "model.layers.0.mlp.experts.gate_up_proj"
MXFP4 = {"quant_method": "mxfp4", "modules_to_not_convert": ["model.layers.*.self_attn"]}


def packed(experts: int, outputs: int, groups: int, seed: int = 0) -> dict[str, torch.Tensor]:
    """Random blocks, and scales near 2**-4."""
    generator = torch.Generator().manual_seed(seed)
    shape = (experts, outputs, groups)
    blocks = torch.randint(0, 256, (*shape, 16), generator=generator, dtype=torch.uint8)
    scales = torch.randint(121, 126, shape, generator=generator, dtype=torch.uint8)
    return {"blocks": blocks, "scales": scales}


def library(blocks: torch.Tensor, scales: torch.Tensor) -> torch.Tensor:
    from transformers.integrations.mxfp4 import convert_moe_packed_tensors

    return convert_moe_packed_tensors(blocks, scales)


def test_exact_with_the_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packing, "_BLOCK", 5 * 96)  # several blocks, the last one short
    parts = packed(3, 12, 3)
    parts["scales"][0] = torch.arange(36).view(12, 3)  # down to numbers that are not normal
    parts["scales"][1] = torch.arange(36).view(12, 3) + 216
    tensors = {f"{NAME}_{part}": value for part, value in parts.items()}
    tensors[f"{NAME}_bias"] = torch.ones((3, 12), dtype=torch.bfloat16)
    checkpoint = open_checkpoint(write_model(tmp_path, tensors, MXFP4))
    found, expected = checkpoint.read(NAME), library(**parts)
    assert set(checkpoint.names()) == {NAME, f"{NAME}_bias"}
    assert checkpoint.shape(NAME) == (3, 96, 12) == found.shape
    assert found.dtype == torch.float32
    assert found.is_contiguous()
    assert torch.equal(found.bfloat16(), expected)
    codes = torch.stack((parts["blocks"] & 15, parts["blocks"] >> 4), -1).view(3, 12, 3, 32)
    two = 2.0 ** (parts["scales"].double() - 127)
    exact = torch.tensor(E2M1, dtype=torch.float64)[codes.int()] * two[..., None]
    assert torch.equal(found.double(), exact.view(3, 12, 96).mT)  # nothing is rounded
    info = checkpoint.info
    assert (info.format, info.bits, info.group_size) == ("mxfp4", 4, 32)
    assert info.parameters == 3 * 96 * 12 + 36
    assert info.bits_per_weight == (4.25 * 3 * 96 * 12 + 16 * 36) / info.parameters


def test_exponents_that_are_no_numbers(tmp_path: Path) -> None:
    parts = packed(1, 2, 1)
    parts["scales"][0, 1] = 255
    path = write_model(tmp_path, {f"{NAME}_{k}": v for k, v in parts.items()}, MXFP4)
    with pytest.raises(CheckpointError, match="exponents from 0 to 254, got 255"):
        open_checkpoint(path).read(NAME)


@pytest.mark.parametrize(
    ("blocks", "scales", "words"),
    [
        ((2, 4, 3, 16), None, r"_scales`: expected U8 \[2, 4, 3\], got no such tensor"),
        ((2, 4, 3, 16), (2, 4, 2), r"expected U8 \[2, 4, 3\], got U8 \[2, 4, 2\]"),
        ((2, 4, 3, 8), (2, 4, 3), r"\[experts, out, in / 32, 16\], got \[2, 4, 3, 8\]"),
        ((4, 3, 16), (4, 3), r"\[experts, out, in / 32, 16\], got \[4, 3, 16\]"),
    ],
)
def test_refused(
    blocks: tuple[int, ...], scales: tuple[int, ...] | None, words: str, tmp_path: Path
) -> None:
    tensors = {f"{NAME}_blocks": torch.zeros(blocks, dtype=torch.uint8)}
    if scales is not None:
        tensors[f"{NAME}_scales"] = torch.zeros(scales, dtype=torch.uint8)
    with pytest.raises(CheckpointError, match=words):
        open_checkpoint(write_model(tmp_path, tensors, MXFP4))


def test_scales_of_another_type_or_without_blocks(tmp_path: Path) -> None:
    parts = packed(1, 2, 1)
    tensors = {f"{NAME}_blocks": parts["blocks"], f"{NAME}_scales": parts["scales"].float()}
    with pytest.raises(CheckpointError, match=r"expected U8 .* got F32"):
        open_checkpoint(write_model(tmp_path / "a", tensors, MXFP4))
    alone = {f"{NAME}_scales": parts["scales"]}
    with pytest.raises(UnsupportedModel, match="is stored as U8"):
        open_checkpoint(write_model(tmp_path / "b", alone, MXFP4))


def test_logits_of_a_whole_model(tmp_path: Path) -> None:
    from transformers import AutoConfig, AutoModelForCausalLM, Mxfp4Config

    torch.manual_seed(0)
    config = AutoConfig.for_model(
        "gpt_oss", vocab_size=96, hidden_size=64, intermediate_size=32, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=2, head_dim=8, num_local_experts=4,
        num_experts_per_tok=2, sliding_window=8, max_position_embeddings=64,
        tie_word_embeddings=False,
    )  # fmt: skip
    tensors = dict(AutoModelForCausalLM.from_config(config).state_dict())
    for layer in range(2):
        experts = f"model.layers.{layer}.mlp.experts"
        for number, (part, sizes) in enumerate(
            {"gate_up_proj": (64, 2), "down_proj": (64, 1)}.items()
        ):
            dense = tensors.pop(f"{experts}.{part}")
            parts = packed(4, *sizes, seed=2 * layer + number)
            assert library(**parts).shape == dense.shape
            tensors |= {f"{experts}.{part}_{key}": value for key, value in parts.items()}
    path = write_model(tmp_path, tensors, MXFP4, **config.to_dict())
    expected = AutoModelForCausalLM.from_pretrained(
        path, dtype=torch.float32, quantization_config=Mxfp4Config(dequantize=True)
    )
    ids = torch.randint(3, 96, (2, 21), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        wanted = expected(ids).logits
    checkpoint = open_checkpoint(path)
    graph = ModelGraph(checkpoint.config, precision="fp32", device="cpu")
    graph.load(checkpoint)
    head = load_head(checkpoint, precision="fp32", device="cpu")
    logits = head.logits(graph.hidden(ids).flatten(0, 1), 0, 96).view_as(wanted)
    assert float(wanted.std()) > 0.1
    torch.testing.assert_close(logits, wanted, rtol=0, atol=2e-6 * float(wanted.abs().max()))
