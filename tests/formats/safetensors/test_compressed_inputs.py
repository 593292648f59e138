"""Oracle: compressed-tensors' own reading of the same settings (`QuantizationArgs`)."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import pytest
import torch

from bitloss.errors import CheckpointError
from bitloss.formats import open_checkpoint
from bitloss.formats.base import checkpoint_inputs
from bitloss.spec.activations import ActivationType
from peers.checkpoints import write_model

NAME = "model.layers.0.mlp.up_proj"
DYNAMIC: dict[str, Any] = {"dynamic": True, "symmetric": True}


def opened(
    folder: Path, inputs: dict[str, Any] | None, *, target: str = "Linear", **parts: torch.Tensor
) -> Any:
    """A layer in int8 whose inputs are declared so, and one that no group names."""
    tensors = {
        f"{NAME}.weight": torch.ones(4, 64, dtype=torch.int8),
        f"{NAME}.weight_scale": torch.ones(4, 1),
        "lm_head.weight": torch.ones(4, 64),
        **{f"{NAME}.{part}": value for part, value in parts.items()},
    }
    weights = {"num_bits": 8, "type": "int", "strategy": "channel", "symmetric": True}
    group: dict[str, Any] = {"targets": [target], "weights": weights, "input_activations": inputs}
    config = {
        "quant_method": "compressed-tensors", "format": "int-quantized",
        "config_groups": {"group_0": group}, "ignore": ["lm_head"],
    }  # fmt: skip
    return open_checkpoint(write_model(folder, tensors, config))


CASES: dict[str, tuple[dict[str, Any], ActivationType | None]] = {
    "int8": ({"num_bits": 8, "type": "int", "strategy": "token"}, ActivationType("int8")),
    "int8-asymmetric": (
        {"num_bits": 8, "type": "int", "strategy": "token", "symmetric": False},
        ActivationType("int8", symmetric=False),
    ),
    "int4": ({"num_bits": 4, "type": "int", "strategy": "token"}, ActivationType("int4")),
    "int8-block32": (
        {"num_bits": 8, "type": "int", "strategy": "group", "group_size": 32},
        ActivationType("int8", "block", 32),
    ),
    "fp8": ({"num_bits": 8, "type": "float", "strategy": "token"}, ActivationType("fp8")),
    "fp8-tensor": (
        {"num_bits": 8, "type": "float", "strategy": "tensor"},
        ActivationType("fp8", "tensor"),
    ),
    "mxfp8": (
        {"num_bits": 8, "type": "float", "strategy": "group", "group_size": 32,
         "scale_dtype": "torch.uint8"},
        ActivationType("mxfp8", "block", 32),
    ),
    "mxfp4": (
        {"num_bits": 4, "type": "float", "strategy": "group", "group_size": 32,
         "scale_dtype": "torch.uint8"},
        ActivationType("mxfp4", "block", 32),
    ),
    "6-bit integer": ({"num_bits": 6, "type": "int", "strategy": "token"}, None),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_dynamic_inputs(tmp_path, name):
    settings, kind = CASES[name]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # imports of optional packages
        from compressed_tensors.quantization import QuantizationArgs
    # As the library saves its own reading of the settings.
    saved = QuantizationArgs(**{**DYNAMIC, **settings}).model_dump(mode="json")
    (declared,) = checkpoint_inputs(opened(tmp_path, saved)).values()
    assert (declared.type, declared.words, declared.scale) == (kind, name, None)


def test_static_scales_are_read(tmp_path):
    settings = {"num_bits": 8, "type": "int", "strategy": "tensor", "symmetric": False}
    checkpoint = opened(
        tmp_path, settings, input_scale=torch.tensor([0.25]),
        input_zero_point=torch.tensor([-3], dtype=torch.int8),
    )  # fmt: skip
    inputs = checkpoint_inputs(checkpoint)
    assert list(inputs) == [f"{NAME}.weight"]
    declared = inputs[f"{NAME}.weight"]
    assert declared.type == ActivationType("int8", "tensor", symmetric=False)
    assert declared.words == "int8-tensor-asymmetric, static,"
    assert (declared.scale().item(), declared.zero().item()) == (0.25, -3.0)


def test_nvfp4_has_a_static_second_scale(tmp_path):
    settings = {
        "num_bits": 4, "type": "float", "strategy": "tensor_group", "group_size": 16,
        "dynamic": "local",
    }  # fmt: skip
    checkpoint = opened(tmp_path, settings, input_global_scale=torch.tensor([123.0]))
    (declared,) = checkpoint_inputs(checkpoint).values()
    assert declared.type == ActivationType("nvfp4", "token", 16)
    assert declared.scale().item() == 123.0


@pytest.mark.parametrize("scale", [None, torch.ones(2), torch.tensor([0.0]), torch.tensor([-1.0])])
def test_a_scale_that_is_none_is_refused_when_it_is_asked_for(tmp_path, scale):
    settings = {"num_bits": 8, "type": "int", "strategy": "tensor", "symmetric": True}
    parts = {} if scale is None else {"input_scale": scale}
    (declared,) = checkpoint_inputs(opened(tmp_path, settings, **parts)).values()
    with pytest.raises(CheckpointError, match=r"`.*input_scale`: expected .*got"):
        declared.scale()


@pytest.mark.parametrize("inputs", [None, {}])
def test_weights_alone_declare_nothing(tmp_path, inputs):
    assert checkpoint_inputs(opened(tmp_path, inputs)) == {}
