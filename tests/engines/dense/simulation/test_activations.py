"""Oracle: compressed-tensors' own fake quantization of inputs, bit for bit."""

from __future__ import annotations

import warnings
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from bitloss.engines.dense.simulation.activations import InputQuantizer
from bitloss.spec.activations import ActivationType, parse_activations

_MX = {"strategy": "group", "group_size": 32, "scale_dtype": torch.uint8, "zp_dtype": torch.uint8}
TYPES: dict[str, dict[str, Any]] = {
    "int8": {"num_bits": 8, "strategy": "token"},
    "int4": {"num_bits": 4, "strategy": "token"},
    "int8-tensor": {"num_bits": 8, "strategy": "tensor"},
    "int8-block64": {"num_bits": 8, "strategy": "group", "group_size": 64},
    "fp8": {"num_bits": 8, "type": "float", "strategy": "token"},
    "fp8-tensor": {"num_bits": 8, "type": "float", "strategy": "tensor"},
    "fp8-block128": {"num_bits": 8, "type": "float", "strategy": "group", "group_size": 128},
    "mxfp8": {"num_bits": 8, "type": "float", **_MX},
    "mxfp4": {"num_bits": 4, "type": "float", **_MX},
}
NVFP4 = {
    "num_bits": 4, "type": "float", "strategy": "tensor_group", "group_size": 16,
    "dynamic": "local", "scale_dtype": torch.float8_e4m3fn, "zp_dtype": torch.float8_e4m3fn,
}  # fmt: skip


def numbers() -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(1, 300, 128, generator=generator)
    x *= torch.exp(2 * torch.randn(1, 300, 1, generator=generator))
    x[0, 3], x[0, 5], x[0, 7] = 0.0, 7.0, -1e-20
    x[0, 9] = torch.arange(128) / 8 - 8  # ties
    return x


def library(x: torch.Tensor, arguments: dict[str, Any], **scales: torch.Tensor) -> torch.Tensor:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # imports of optional packages
        from compressed_tensors.quantization import QuantizationArgs, QuantizationStatus
        from compressed_tensors.quantization.lifecycle.forward import forward_quantize
    args = QuantizationArgs(**{"dynamic": True, "symmetric": True, **arguments})
    module = SimpleNamespace(quantization_status=QuantizationStatus.FROZEN, **scales)
    return forward_quantize(module, x, "input", args)


@pytest.mark.parametrize("name", TYPES)
def test_dynamic_types_are_the_librarys(name):
    x = numbers()
    assert torch.equal(InputQuantizer(parse_activations(name))(x), library(x, TYPES[name]))


def test_asymmetric_integers_are_the_librarys():
    x, kind = numbers(), ActivationType("int8", "token", symmetric=False)
    expected = library(x, {**TYPES["int8"], "symmetric": False})
    assert torch.equal(InputQuantizer(kind)(x), expected)


@pytest.mark.parametrize(("name", "zero"), [("int8", 0.0), ("int8", 5.0), ("fp8", 0.0)])
def test_static_scales_are_the_librarys(name, zero):
    x, scale = numbers(), torch.tensor(0.037)
    arguments = {**TYPES[f"{name}-tensor"], "dynamic": False, "symmetric": not zero}
    expected = library(
        x, arguments, input_scale=scale[None], input_zero_point=torch.tensor([zero]).to(torch.int8)
    )
    kind = ActivationType(name, "tensor", symmetric=not zero)
    assert torch.equal(InputQuantizer(kind, scale, torch.tensor(zero))(x), expected)


def test_nvfp4_with_a_second_scale_of_the_file_the_sequence_or_the_token():
    from compressed_tensors.quantization.utils.helpers import generate_gparam

    x, kind = numbers(), parse_activations("nvfp4")
    static = torch.tensor([123.4])
    expected = library(x, NVFP4, input_global_scale=static)
    assert torch.equal(InputQuantizer(kind, static[0])(x), expected)
    whole = library(x, NVFP4, input_global_scale=generate_gparam(x.min(), x.max()))
    assert torch.equal(InputQuantizer(parse_activations("nvfp4-tensor"))(x), whole)
    tokens = [
        library(t[None, None], NVFP4, input_global_scale=generate_gparam(t.min(), t.max()))
        for t in x[0]
    ]
    assert torch.equal(InputQuantizer(kind)(x), torch.cat(tokens, 1))


def test_int8_by_hand():
    """The largest size is at 127.5 steps: clipped to code 127 or, if negative, rounded to -128."""
    x = torch.tensor([[127.5, 64.2, -0.4], [-127.5, 63.5, 0.5]])
    expected = [[127.0, 64.0, 0.0], [-128.0, 64.0, 0.0]]  # steps of 1, ties to even
    assert InputQuantizer(parse_activations("int8"))(x).tolist() == expected


def test_scales_of_sequences_are_told_from_others():
    names = ("int8-tensor", "nvfp4-tensor", "int8", "nvfp4", "mxfp4", "fp8-block64")
    assert [InputQuantizer(parse_activations(name)).per_sequence for name in names] == [
        True, True, False, False, False, False,
    ]  # fmt: skip
    static = InputQuantizer(ActivationType("fp8", "tensor"), torch.tensor(1.0))
    assert not static.per_sequence


@pytest.mark.parametrize("name", ["int8", "fp8", "nvfp4", "mxfp8", "mxfp4", "int8-block64"])
def test_a_token_is_stored_alone(name):
    x, quantizer = numbers(), InputQuantizer(parse_activations(name))
    assert torch.equal(quantizer(x)[0, 11], quantizer(x[0, 11]))
    assert quantizer(x.bfloat16()).dtype == torch.bfloat16
