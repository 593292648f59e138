"""Oracles: transformers' forward, and our own, of a dense copy with the weights decoded by hand."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from bitloss.engines.dense.graph import ModelGraph
from bitloss.formats import open_checkpoint
from peers.checkpoints import write_model
from peers.packing import pack_columns, pack_rows
from peers.tiny_architectures import save_tiny

IDS = torch.randint(3, 96, (2, 21), generator=torch.Generator().manual_seed(1))
SIZE = 16
# The router and all that is no linear layer stay dense, as writers leave them.
QUANTIZED = re.compile(r"\.(experts\.\d+\.\w+|[qkvo]_proj)\.weight$")
ORDER = (0, 2, 4, 6, 1, 3, 5, 7)
CONFIGS: dict[str, dict[str, Any]] = {
    "gptq": {"quant_method": "gptq", "bits": 4, "group_size": SIZE, "sym": False,
             "desc_act": False, "checkpoint_format": "gptq"},
    "awq": {"quant_method": "awq", "bits": 4, "group_size": SIZE, "version": "gemm",
            "modules_to_not_convert": ["gate"]},
    "auto-round": {"quant_method": "auto-round", "bits": 4, "group_size": SIZE, "sym": False,
                   "packing_format": "auto_round:gptqmodel"},
}  # fmt: skip


def packed(weight: torch.Tensor, kind: str) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
    """A matrix ``[out, in]`` rounded to four bits: its parts, and what they stand for."""
    grouped = weight.t().float().unflatten(0, (-1, SIZE))
    low, high = grouped.amin(1), grouped.amax(1)
    scales = ((high - low) / 14).half().clamp_min(1e-4)
    zeros = (-low / scales.float()).round().clamp(1, 15)
    spread = [table.repeat_interleave(SIZE, 0) for table in (zeros, scales.float())]
    codes = (weight.t().float() / spread[1] + spread[0]).round().clamp(0, 15).long()
    dense = ((codes - spread[0]) * spread[1]).t()
    if kind == "awq":
        order = [8 * word + place for word in range(codes.shape[1] // 8) for place in ORDER]
        parts = [pack_rows(table[:, order].tolist(), 4) for table in (codes, zeros.long())]
    else:
        less = 1 if kind == "gptq" else 0
        parts = [pack_columns(codes, 4), pack_rows((zeros.long() - less).tolist(), 4)]
    tensors = {"qweight": parts[0], "qzeros": parts[1], "scales": scales}
    if kind == "gptq":
        tensors["g_idx"] = (torch.arange(len(codes)) // SIZE).int()
    return tensors, dense


def hidden(path: Path) -> torch.Tensor:
    checkpoint = open_checkpoint(path)
    graph = ModelGraph(checkpoint.config, precision="fp32", device="cpu")
    graph.load(checkpoint)
    return graph.hidden(IDS)


@pytest.mark.parametrize("kind", CONFIGS)
@pytest.mark.parametrize("architecture", ["qwen3_moe", "mixtral"])
def test_experts_stored_one_by_one(architecture: str, kind: str, tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM

    source = tmp_path / "dense"
    save_tiny(architecture, source)
    stored: dict[str, torch.Tensor] = {}
    dense = load_file(source / "model.safetensors")
    names = [name for name in dense if QUANTIZED.search(name)]
    assert sum(".experts." in name for name in names) == 2 * 4 * 3  # layers, experts, projections
    for name, weight in dict(dense).items():
        if name not in names:
            stored[name] = weight
            continue
        parts, rounded = packed(weight, kind)
        module = name.removesuffix(".weight")
        stored |= {f"{module}.{part}": tensor.contiguous() for part, tensor in parts.items()}
        dense[name] = rounded.to(weight.dtype).contiguous()
    save_file(dense, source / "model.safetensors", metadata={"format": "pt"})
    config = dict(open_checkpoint(source).config)
    quantized = write_model(tmp_path / kind, stored, CONFIGS[kind], **config)

    checkpoint = open_checkpoint(quantized)
    assert set(checkpoint.names()) == set(dense)
    for name in names:
        assert torch.equal(checkpoint.read(name).to(dense[name].dtype), dense[name]), name
    ours = hidden(quantized)
    assert torch.equal(ours, hidden(source))
    model = AutoModelForCausalLM.from_pretrained(source, dtype=torch.float32).eval()
    with torch.no_grad():
        theirs = model.model(IDS).last_hidden_state
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)
