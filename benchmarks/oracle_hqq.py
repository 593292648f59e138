"""Does bitloss read HQQ as hqq does?

    python3 -m venv ENV && ENV/bin/pip install torch==2.13.0 transformers==5.24.0 accelerate hqq
    ENV/bin/pip install -e .
    ENV/bin/python benchmarks/oracle_hqq.py

Layers with every number of bits, axis, group size, compute dtype and with codes viewed as floats
are quantized by `HQQLinear`; their `state_dict` is stored, loaded again by the library and compared
with `HQQLinear.dequantize`. bitloss computes in float32 and hqq rounds the difference and the
product to the compute dtype: bitloss's weights, rounded to it, are equal where it is float32, and
else within a unit in the last place. Then the same of the tests' own packer, and a tiny model that
`AutoHQQHFModel.save_to_safetensors` writes. transformers 5.24 itself cannot write HQQ
(`get_quantize_ops` is not implemented), nor load it.
"""

from __future__ import annotations

import itertools
import sys
import tempfile
import warnings
from pathlib import Path
from typing import Any

import torch

from bitloss.formats import open_checkpoint

__all__: list[str] = []

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))
MODULE = "model.layers.0.mlp.up_proj"
SETTINGS = tuple(itertools.product(
    (8, 6, 5, 4, 3, 2, 1.58, 1), (0, 1), (64, 16, None),
    (torch.float16, torch.bfloat16, torch.float32), (False, True), ((64, 96), (40, 128)),
))  # fmt: skip


def ours(folder: Path, tensors: dict[str, torch.Tensor]) -> torch.Tensor:
    from peers.checkpoints import write_model

    return open_checkpoint(write_model(folder / "one", tensors)).read(f"{MODULE}.weight")


def theirs(tensors: dict[str, torch.Tensor], dtype: torch.dtype) -> torch.Tensor:
    from hqq.core.quantize import HQQLinear

    layer = HQQLinear(None, None, compute_dtype=dtype, device="cpu")
    layer.load_state_dict({key.removeprefix(f"{MODULE}."): t for key, t in tensors.items()})
    dense: torch.Tensor = layer.dequantize().detach()
    return dense


def layers(folder: Path) -> None:
    from hqq.core.quantize import BaseQuantizeConfig, HQQLinear

    from peers.exact import ulps

    differ = 0
    for bits, axis, size, dtype, view, (rows, columns) in SETTINGS:
        config = BaseQuantizeConfig(nbits=bits, group_size=size, axis=axis, view_as_float=view)
        linear = torch.nn.Linear(columns, rows)
        layer: Any = HQQLinear(linear, config, compute_dtype=dtype, device="cpu")
        tensors = {
            f"{MODULE}.{key}": value.detach().contiguous()
            for key, value in layer.state_dict().items()
        }
        dense, expected = ours(folder, tensors), theirs(tensors, dtype)
        differ += ulps(dense.to(dtype), expected) > (dtype != torch.float32)
    print(f"layers of the library: {differ} of {len(SETTINGS)} differ")


def packer(folder: Path) -> None:
    from peers.exact import ulps
    from peers.hqq_files import layer

    count = differ = 0
    for bits, axis, size, dtype, view, shape in SETTINGS:
        if size is None:
            continue
        tensors, dense = layer(
            MODULE, shape, bits=bits, axis=axis, group_size=size, dtype=dtype, view_as_float=view
        )
        count += 1
        differ += ulps(theirs(tensors, dtype), dense.to(dtype)) > 1
        differ += ulps(ours(folder, tensors), dense.float()) > 1
    print(f"the tests' packer: {differ} of {count} differ")


def model(folder: Path) -> None:
    from hqq.core.quantize import BaseQuantizeConfig, HQQLinear
    from hqq.models.hf.base import AutoHQQHFModel
    from transformers import LlamaConfig, LlamaForCausalLM

    from peers.exact import ulps

    config = LlamaConfig(hidden_size=64, intermediate_size=128, num_hidden_layers=2, vocab_size=128,
                         num_attention_heads=4, num_key_value_heads=2)  # fmt: skip
    quantized: Any = LlamaForCausalLM(config).to(torch.bfloat16)
    AutoHQQHFModel.quantize_model(
        quantized, BaseQuantizeConfig(nbits=4, group_size=64, axis=1),
        compute_dtype=torch.bfloat16, device="cpu",
    )  # fmt: skip
    quantized.config.architectures = ["LlamaForCausalLM"]
    AutoHQQHFModel.save_to_safetensors(quantized, str(folder / "model"))
    opened = open_checkpoint(folder / "model")
    expected = {
        f"{name}.weight": module.dequantize()
        for name, module in quantized.named_modules()
        if isinstance(module, HQQLinear)
    }
    differ = sum(
        ulps(opened.read(name).to(dense.dtype), dense) > 1 for name, dense in expected.items()
    )
    plain = LlamaForCausalLM(config)
    plain.load_state_dict({name: opened.read(name).float() for name in opened.names()})
    print(f"a model: {differ} of {len(expected)} matrices differ, {opened.info}")


def main() -> None:
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as name, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for step in (layers, packer, model):
            step(Path(name))


if __name__ == "__main__":
    main()
