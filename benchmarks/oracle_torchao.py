"""Does bitloss read what transformers saves of torchao's tensors as torchao does?

    python benchmarks/oracle_torchao.py

Needs torchao (0.18; it comes with the extra ``gptq``) and accelerate. A tiny llama and a tiny
Mixtral are quantized in every way that works on a CPU and saved; parameters are compared with
`dequantize` of the tensors in the model, after rounding to its type.
`Int4Tensor` can be made on GPUs only and is left to the tests.
"""

from __future__ import annotations

import tempfile
import warnings
from pathlib import Path
from typing import Any

import torch

from bitloss.formats import open_checkpoint

__all__: list[str] = []


def configs() -> dict[str, Any]:
    from torchao.prototype.mx_formats import (
        MXDynamicActivationMXWeightConfig,
        NVFP4WeightOnlyConfig,
    )
    from torchao.quantization import (
        Float8WeightOnlyConfig,
        Int8DynamicActivationInt8WeightConfig,
        Int8WeightOnlyConfig,
        IntxWeightOnlyConfig,
        PerAxis,
        PerGroup,
    )
    from torchao.quantization.quantize_.common import KernelPreference

    def mx(element: torch.dtype) -> Any:
        return MXDynamicActivationMXWeightConfig(
            activation_dtype=element, weight_dtype=element,
            kernel_preference=KernelPreference.EMULATED,
        )  # fmt: skip

    return {
        "int8": Int8WeightOnlyConfig(version=2),
        "int8 and activations": Int8DynamicActivationInt8WeightConfig(version=2),
        "float8": Float8WeightOnlyConfig(version=2),
        "int4 in int8": IntxWeightOnlyConfig(torch.int4, PerGroup(32)),
        "int2 in int8": IntxWeightOnlyConfig(torch.int2, PerAxis(0)),
        "mxfp8": mx(torch.float8_e4m3fn),
        "mxfp4": mx(torch.float4_e2m1fn_x2),
        "nvfp4": NVFP4WeightOnlyConfig(use_dynamic_per_tensor_scale=False),
    }


def check(folder: Path, family: str, kind: str, config: Any) -> None:
    from transformers import AutoModelForCausalLM, TorchAoConfig

    quantized = AutoModelForCausalLM.from_pretrained(
        folder / family, quantization_config=TorchAoConfig(config), device_map="cpu",
        dtype=torch.bfloat16,
    )  # fmt: skip
    path = folder / f"{family}-{kind.replace(' ', '-')}"
    quantized.save_pretrained(path)
    expected = {
        name: value.dequantize()
        for name, value in quantized.state_dict().items()
        if type(value) is not torch.Tensor
    }
    opened = open_checkpoint(path)
    differ = sum(
        not torch.equal(opened.read(name).to(dense.dtype), dense)
        for name, dense in expected.items()
    )
    info = opened.info
    print(
        f"{family:8} {kind:20} {differ} of {len(expected)} matrices differ; {info.format}, "
        f"{info.bits} bits g{info.group_size}, {info.bits_per_weight:.3f} bits/weight"
    )


def main() -> None:
    from transformers import LlamaConfig, LlamaForCausalLM, MixtralConfig, MixtralForCausalLM

    sizes: dict[str, Any] = {
        "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "vocab_size": 128,
        "num_attention_heads": 4, "num_key_value_heads": 2,
    }  # fmt: skip
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as name, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        folder = Path(name)
        made: dict[str, Any] = {
            "llama": LlamaForCausalLM(LlamaConfig(**sizes)),
            "mixtral": MixtralForCausalLM(MixtralConfig(**sizes, num_local_experts=4)),
        }
        for family, model in made.items():
            model.to(torch.bfloat16).save_pretrained(folder / family)
            for kind, config in configs().items():
                try:
                    check(folder, family, kind, config)
                except (RuntimeError, ValueError, AssertionError) as error:
                    print(f"{family:8} {kind:20} cannot be made here: {error!r}"[:200])


if __name__ == "__main__":
    main()
