"""Oracle: the tensors that transformers saved, before they were parted as GPTQModel parts them."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from bitloss.formats import open_checkpoint
from bitloss.formats.naming import plan_names
from peers.tiny import save_tiny


def _part(kind: str, name: str, tensor: torch.Tensor) -> dict[str, torch.Tensor]:
    if kind == "phi3" and ".gate_up_proj." in name:
        gate, up = tensor.chunk(2)
        parts = {"gate_proj": gate, "up_proj": up}
        return {name.replace("gate_up_proj", new): t.contiguous() for new, t in parts.items()}
    for old, new in (("w1", "gate_proj"), ("w3", "up_proj"), ("w2", "down_proj")):
        if kind == "mixtral" and name.endswith(f".{old}.weight"):
            return {name.replace("block_sparse_moe", "mlp").replace(f".{old}.", f".{new}."): tensor}
    return {name: tensor}


@pytest.mark.parametrize(
    ("kind", "options"),
    [("phi3", {"pad_token_id": 0}), ("mixtral", {"num_local_experts": 4})],
)
def test_projections_that_were_parted_are_joined(
    tmp_path: Path, kind: str, options: dict[str, int]
) -> None:
    model = save_tiny(tmp_path, kind, **options)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_()
    model.save_pretrained(tmp_path)
    file = tmp_path / "model.safetensors"
    stored = load_file(file)
    parted: dict[str, torch.Tensor] = {}
    for name, tensor in stored.items():
        parted |= _part(kind, name, tensor)
    assert parted.keys() != stored.keys()
    save_file(parted, file, metadata={"format": "pt"})
    checkpoint = open_checkpoint(tmp_path)
    plan = plan_names(model, checkpoint.names())
    assert not plan.unread
    state = model.state_dict()
    assert plan.by_target.keys() == state.keys()
    for name, group in plan.by_target.items():
        assert torch.equal(group.read(checkpoint, name), state[name]), name
