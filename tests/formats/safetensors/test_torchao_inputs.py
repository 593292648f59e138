"""Oracle: torchao's configs, and what its tensors make of activations."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch

from bitloss.engines.dense.simulation.activations import InputQuantizer
from bitloss.formats import open_checkpoint
from bitloss.formats.base import DeclaredInput, checkpoint_inputs
from bitloss.spec.activations import ActivationType
from peers.checkpoints import write_model

NAME = "model.layers.0.mlp.up_proj.weight"


def torchao() -> dict[str, Any]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pytest.importorskip("torchao")
        from torchao import quantization
        from torchao.prototype.safetensors.safetensors_support import flatten_tensor_state_dict
    return {**vars(quantization), "flatten": flatten_tensor_state_dict}


def declared(folder: Path, ao: dict[str, Any], config: Any) -> DeclaredInput | None:
    """What is read of a layer that the library has quantized and saved."""
    layer = torch.nn.Sequential(torch.nn.Linear(64, 64, bias=False))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ao["quantize_"](layer, config)
    tensors, metadata = ao["flatten"]({NAME: layer[0].weight})
    quantization = {"quant_method": "torchao", "quant_type": {"default": {}}}
    path = write_model(folder, tensors, quantization, metadata=metadata | {"format": "pt"})
    return checkpoint_inputs(open_checkpoint(path)).get(NAME)


def test_int8_by_token(tmp_path):
    ao = torchao()
    found = declared(tmp_path, ao, ao["Int8DynamicActivationInt8WeightConfig"]())
    assert found is not None
    assert (found.type, found.words, found.scale) == (ActivationType("int8"), "int8", None)
    x = torch.randn(50, 64, generator=torch.Generator().manual_seed(0))
    expected = ao["Int8Tensor"].from_hp(x, ao["PerRow"](), ao["MappingType"].SYMMETRIC)
    ours, theirs = InputQuantizer(found.type)(x), expected.dequantize()
    # It multiplies by the inverse of a step: the largest of a row, at 127.5 steps, may fall apart.
    steps = (ours - theirs).abs() / (x.abs().amax(1, keepdim=True) / 127.5)
    assert (steps > 1e-3).float().mean() < 2e-3
    assert steps.max() < 1.001


def test_asymmetric_int8_by_token(tmp_path):
    ao = torchao()
    found = declared(tmp_path, ao, ao["Int8DynamicActivationIntxWeightConfig"]())
    assert found is not None
    assert found.type == ActivationType("int8", symmetric=False)


def test_weights_alone_declare_nothing(tmp_path):
    ao = torchao()
    assert declared(tmp_path, ao, ao["Int8WeightOnlyConfig"]()) is None


def test_attributes_without_a_name_are_told(tmp_path):
    """Another granularity, saved by hand."""
    parts = {
        "qdata": torch.zeros(4, 64, dtype=torch.int8), "scale": torch.ones(4, 1),
        "zero_point": torch.zeros(4, 1, dtype=torch.int8),
    }  # fmt: skip
    settings = {"granularity": {"_type": "PerGroup"}}
    attributes = {
        "block_size": [1, 64], "dtype": {"_type": "torch.dtype", "_data": "float32"},
        "act_quant_kwargs": {"_type": "QuantizeTensorToInt8Kwargs", "_data": settings},
    }  # fmt: skip
    noted = {"_type": "Int8Tensor", "_data": attributes, "_tensor_data_names": list(parts)}
    prefix = NAME.removesuffix("weight") + "_weight_"
    path = write_model(
        tmp_path,
        {f"{prefix}{part}": value for part, value in parts.items()},
        {"quant_method": "torchao", "quant_type": {"default": {}}},
        metadata={"tensor_names": json.dumps([NAME]), NAME: json.dumps(noted), "format": "pt"},
    )
    (found,) = checkpoint_inputs(open_checkpoint(path)).values()
    assert (found.type, found.words) == (None, "`QuantizeTensorToInt8Kwargs`")
