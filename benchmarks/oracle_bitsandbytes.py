"""Does bitloss read bitsandbytes as bitsandbytes does?

    python3 -m venv ENV && ENV/bin/pip install torch==2.13.0 transformers==5.24.0 accelerate \
        bitsandbytes
    ENV/bin/pip install -e .
    ENV/bin/python benchmarks/oracle_bitsandbytes.py

First single tensors: every shape, type, code, block size, storage type, with and without double
quantization, against the library's reference kernel (``backends/default/ops.py``) and against
`dequantize_4bit`, after rounding to the state's type as both round at the end. The latter's
vectorized CPU kernel (0.50.2) reads the wrong scale where rows are no multiple of the block size:
such tensors are counted apart. Then the tests' own packer. Then tiny models that transformers
saves: parameters and logits against `model.dequantize()`, with bitloss's weights rounded to its
type.
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
NAME = "model.layers.0.mlp.up_proj.weight"
CONFIG = {"quant_method": "bitsandbytes"}
SHAPES = ((64, 96), (33, 70), (7, 13), (128, 4096), (5, 8, 64))
DTYPES = (torch.float32, torch.float16, torch.bfloat16)
MODELS: dict[str, dict[str, Any]] = {
    "nf4": {"load_in_4bit": True, "bnb_4bit_quant_type": "nf4"},
    "nf4 double": {"load_in_4bit": True, "bnb_4bit_quant_type": "nf4",
                   "bnb_4bit_use_double_quant": True},
    "fp4 in bf16": {"load_in_4bit": True, "bnb_4bit_quant_type": "fp4",
                    "bnb_4bit_quant_storage": torch.bfloat16},
    "int8": {"load_in_8bit": True},
}  # fmt: skip


def tensors(folder: Path) -> None:
    import bitsandbytes.functional as library
    from bitsandbytes.backends.default.ops import _dequantize_4bit_compute

    from peers.checkpoints import write_model

    reference = getattr(_dequantize_4bit_compute, "__wrapped__", _dequantize_4bit_compute)
    counts = dict.fromkeys(("compared", "differ", "of `dequantize_4bit`, rows in whole blocks",
                            "of `dequantize_4bit`, other rows"), 0)  # fmt: skip
    settings = itertools.product(
        SHAPES, DTYPES, ("nf4", "fp4"), (32, 64, 256, 4096), (False, True),
        (torch.uint8, torch.bfloat16, torch.float32),
    )  # fmt: skip
    for shape, dtype, kind, size, nested, storage in settings:
        try:
            weight, state = library.quantize_4bit(
                torch.randn(shape).to(dtype), blocksize=size, compress_statistics=nested,
                quant_type=kind, quant_storage=storage,
            )  # fmt: skip
        except RuntimeError:  # bytes that do not fill the storage type
            continue
        stored = {f"{NAME}.{key}": value for key, value in state.as_dict(packed=True).items()}
        path = write_model(folder / "one", {NAME: weight, **stored}, CONFIG)
        ours = open_checkpoint(path).read(NAME).to(dtype)
        absmax = state.absmax
        if state.nested:
            absmax = library.dequantize_blockwise(absmax, state.state2) + state.offset
        flat = weight.contiguous().view(-1).view(torch.uint8)
        code = library.get_4bit_type(kind, device="cpu")
        expected = reference(flat, absmax, code, size, shape, dtype).view(shape)
        counts["compared"] += 1
        counts["differ"] += not torch.equal(ours, expected)
        whole = "rows in whole blocks" if shape[-1] % size == 0 else "other rows"
        fast = library.dequantize_4bit(weight, state)
        counts[f"of `dequantize_4bit`, {whole}"] += not torch.equal(ours, fast)
    print("four-bit tensors:", ", ".join(f"{value} {key}" for key, value in counts.items()))


def packers(folder: Path) -> None:
    import bitsandbytes.functional as library

    from peers.bitsandbytes_files import four_bits, int8
    from peers.checkpoints import write_model

    differ = 0
    for kind, nested, dtype in itertools.product(("nf4", "fp4"), (False, True), DTYPES):
        stored, dense = four_bits(NAME, (16, 128), kind=kind, nested=nested, dtype=dtype)
        parts = {key.removeprefix(f"{NAME}."): value for key, value in stored.items()}
        weight = parts.pop(NAME)
        state = library.QuantState.from_dict(parts, device=torch.device("cpu"))
        differ += not torch.equal(library.dequantize_4bit(weight, state), dense.to(dtype))
    module = NAME.removesuffix(".weight")
    stored, dense = int8(module, (40, 96))
    expected = library.int8_vectorwise_dequant(stored[NAME], stored[f"{module}.SCB"])
    differ += not torch.equal(expected, dense)
    ours = open_checkpoint(write_model(folder / "int8", stored, CONFIG)).read(NAME)
    print(f"the tests' packer: {differ} of 13 differ; int8: {torch.equal(ours, expected)}")


def models(folder: Path) -> None:
    from transformers import (
        AutoModelForCausalLM,
        BitsAndBytesConfig,
        GPT2Config,
        GPT2LMHeadModel,
        LlamaConfig,
        LlamaForCausalLM,
    )

    sizes = {"vocab_size": 128, "bos_token_id": 1, "eos_token_id": 2}
    made: dict[str, Any] = {
        "llama": LlamaForCausalLM(LlamaConfig(
            hidden_size=64, intermediate_size=128, num_hidden_layers=2, num_attention_heads=4,
            num_key_value_heads=2, **sizes)),
        "gpt2": GPT2LMHeadModel(GPT2Config(n_embd=64, n_layer=2, n_head=4, **sizes)),
    }  # fmt: skip
    ids = torch.arange(32)[None]
    for family, (kind, settings) in itertools.product(made, MODELS.items()):
        made[family].to(torch.bfloat16).save_pretrained(folder / family)
        quantized = AutoModelForCausalLM.from_pretrained(
            folder / family, quantization_config=BitsAndBytesConfig(**settings),
            device_map="cpu", dtype=torch.bfloat16,
        )  # fmt: skip
        path = folder / f"{family}-{kind.replace(' ', '-')}"
        quantized.save_pretrained(path)
        dense = torch.float32 if kind == "int8" else torch.bfloat16
        plain = quantized.dequantize(dtype=dense).float()
        ours = AutoModelForCausalLM.from_pretrained(folder / family, dtype=torch.float32)
        opened = open_checkpoint(path)
        state = {name: opened.read(name, dense).float() for name in opened.names()}
        unread = ours.load_state_dict(state, strict=False)
        with torch.no_grad():
            difference = (ours(ids).logits - plain(ids).logits).abs().max().item()
        info = opened.info
        print(
            f"{family:6} {kind:12} {info.format:18} {info.bits} bits g{info.group_size} "
            f"{info.bits_per_weight:.3f} bits/weight, missing {unread.missing_keys}, "
            f"unexpected {unread.unexpected_keys}, logits differ by {difference}"
        )


def main() -> None:
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as name, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for step in (tensors, packers, models):
            step(Path(name))


if __name__ == "__main__":
    main()
