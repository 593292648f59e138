"""Oracles: GPTQModel's torch kernel for EXL3, and an own packer and decoder, bit by bit."""

from __future__ import annotations

import json
import math
import struct
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

from bitloss.engines.dense.graph import ModelGraph
from bitloss.engines.dense.scoring.head import load_head
from bitloss.errors import CheckpointError, UnsupportedModel
from bitloss.formats import open_checkpoint
from bitloss.formats.safetensors import exl3
from peers.checkpoints import write_model
from peers.gptqmodel_kernels import exl3_weight

INPUTS, OUTPUTS = 256, 384
NAME = "model.layers.0.mlp.up_proj"
CONFIG: dict[str, Any] = {
    "quant_method": "exl3", "version": "0.0.7", "bits": 4.0, "head_bits": 6,
    "calibration": {"rows": 100, "cols": 2048}, "out_scales": "auto",
}  # fmt: skip
MULTIPLIERS = {"mcg": 0xCBAC1FED, "mul1": 0x83DCD12D}


def layer(bits: float, codebook: str, shape=(OUTPUTS, INPUTS), seed=0) -> dict[str, torch.Tensor]:
    """Random tensors of a module: any words are a trellis."""
    outputs, inputs = shape
    generator = torch.Generator().manual_seed(seed)
    words = (inputs // 16, outputs // 16, int(16 * bits))
    tensors = {
        "trellis": torch.randint(-(2**15), 2**15, words, generator=generator, dtype=torch.int16),
        "suh": torch.randn(inputs, generator=generator).half(),
        "svh": torch.randn(outputs, generator=generator).half(),
    }
    if codebook in MULTIPLIERS:
        multiplier = torch.tensor(MULTIPLIERS[codebook] - (1 << 32), dtype=torch.int32)
        tensors[codebook] = multiplier
    return tensors


def stored(tensors: dict[str, torch.Tensor], name: str = NAME) -> dict[str, torch.Tensor]:
    return {f"{name}.{key}": value for key, value in tensors.items()}


def half(bits: int) -> float:
    return struct.unpack("<e", struct.pack("<H", bits))[0]


def value(state: int, codebook: str) -> float:
    """exllamav3's `decode_3inst`, in Python's own numbers, rounded to fp16 at the end."""
    if codebook == "mul1":
        product = state * MULTIPLIERS["mul1"] & 0xFFFFFFFF
        total = 0x6400 + sum(product.to_bytes(4, "little"))
        exact = half(total) * half(0x1EEE) + half(0xC931)
    else:
        scale, offset = (MULTIPLIERS["mcg"], 0) if codebook == "mcg" else (89226354, 64248484)
        word = (state * scale + offset) & 0xFFFFFFFF
        word = (word & 0x8FFF8FFF) ^ 0x3B603B60
        exact = half(word & 0xFFFF) + half(word >> 16)
    return struct.unpack("<e", struct.pack("<e", exact))[0]


def tile(words: list[int], bits: float, codebook: str) -> torch.Tensor:
    """A tile of 16 inputs by 16 outputs, walking along the ring of bits."""
    stream = "".join(
        f"{words[at + 1] & 0xFFFF:016b}{words[at] & 0xFFFF:016b}" for at in range(0, len(words), 2)
    )
    found, end = torch.empty(16, 16, dtype=torch.float64), 0
    for step in range(256):
        end += int(bits) + (step % 2 if bits % 1 else 0)
        window = (stream + stream)[len(stream) + end - 16 : len(stream) + end]
        lane, part = divmod(step, 8)  # of a tensor core's fragment
        row = 2 * (lane % 4) + part % 2 + 8 * (part // 2 % 2)
        found[row, lane // 4 + 8 * (part // 4)] = value(int(window, 2), codebook)
    assert end == len(stream)
    return found


def rotation() -> torch.Tensor:
    """Hadamard's matrix by its definition: the parity of the common bits."""
    signs = [[(-1) ** (row & column).bit_count() for column in range(128)] for row in range(128)]
    return torch.tensor(signs, dtype=torch.float64) / math.sqrt(128)


def by_hand(tensors: dict[str, torch.Tensor], bits: float, codebook: str) -> torch.Tensor:
    rows = [
        torch.cat([tile(words.tolist(), bits, codebook) for words in row], dim=1)
        for row in tensors["trellis"]
    ]
    inner, matrix = torch.cat(rows), rotation()
    turned = (matrix @ inner.view(-1, 128, inner.shape[1])).view_as(inner)
    turned = turned * tensors["suh"].double().unsqueeze(1)
    turned = (turned.view(len(turned), -1, 128) @ matrix).reshape(turned.shape)
    return (turned * tensors["svh"].double()).T


def close(found: torch.Tensor, expected: torch.Tensor, tolerance: float = 2e-6) -> bool:
    return float((found - expected).abs().max()) <= tolerance * float(expected.abs().max())


@pytest.mark.parametrize("codebook", ["3inst", "mcg", "mul1"])
@pytest.mark.parametrize("bits", [1, 2, 3, 4, 5, 6, 7, 8])
def test_agrees_with_gptqmodel(bits: int, codebook: str, tmp_path: Path) -> None:
    tensors = layer(bits, codebook)
    weight = open_checkpoint(write_model(tmp_path, stored(tensors), CONFIG)).read(f"{NAME}.weight")
    assert weight.shape == (OUTPUTS, INPUTS)
    assert weight.dtype == torch.float32
    x = torch.randn(7, INPUTS, generator=torch.Generator().manual_seed(1))
    # Its table is not rounded to fp16, as exllamav3's kernels round; beside that it is the same.
    forward, rounded = exl3_weight(tensors, x)
    assert close(x @ weight.T, forward, 1e-3)
    assert close(weight, rounded)


@pytest.mark.parametrize(
    ("bits", "codebook"), [(1, "3inst"), (3, "mcg"), (4, "mul1"), (2.5, "mul1"), (4.5, "mul1")]
)
def test_agrees_with_a_walk_along_the_ring(bits: float, codebook: str) -> None:
    tensors = layer(bits, codebook, (128, 128))
    found = exl3.decode(
        exl3.Layer(bits, codebook, 128, 128, 128),
        *(tensors[part] for part in ("trellis", "suh", "svh")),
    )
    assert close(found.double(), by_hand(tensors, bits, codebook))


def test_blocks_do_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    tensors = layer(3, "mcg", (640, 640))
    parts = [tensors[part] for part in ("trellis", "suh", "svh")]
    whole = exl3.decode(exl3.Layer(3, "mcg", 640, 640, 600), *parts)
    monkeypatch.setattr(exl3, "_DEEP", 128)
    monkeypatch.setattr(exl3, "_WIDE", 256)
    again = exl3.decode(exl3.Layer(3, "mcg", 640, 640, 600), *parts)
    assert whole.shape == (600, 640)
    assert close(again, whole)


def test_packed_signs(tmp_path: Path) -> None:
    """Files of the first versions: a bit for each sign."""
    tensors = layer(2, "3inst")
    signs = {"su": torch.randint(-(2**15), 2**15, (INPUTS // 16,), dtype=torch.int16),
             "sv": torch.randint(-(2**15), 2**15, (OUTPUTS // 16,), dtype=torch.int16)}  # fmt: skip
    spread = {
        f"{key}h": torch.tensor(
            [1.0 - 2 * (int(word) >> place & 1) for word in words for place in range(16)]
        ).half()
        for key, words in signs.items()
    }
    old = write_model(tmp_path / "old", stored({"trellis": tensors["trellis"], **signs}), CONFIG)
    new = write_model(tmp_path / "new", stored(tensors | spread), CONFIG)
    name = f"{NAME}.weight"
    assert torch.equal(open_checkpoint(old).read(name), open_checkpoint(new).read(name))


def test_head_without_padding_and_info(tmp_path: Path) -> None:
    tensors = stored(layer(4, "mcg")) | stored(layer(6, "mcg", (256, INPUTS)), "lm_head")
    embedding = torch.randn(200, INPUTS).half()
    path = write_model(
        tmp_path, tensors | {"model.embed_tokens.weight": embedding}, CONFIG, vocab_size=200
    )
    checkpoint = open_checkpoint(path)
    assert checkpoint.shape("lm_head.weight") == (200, INPUTS)
    assert checkpoint.read("lm_head.weight").shape == (200, INPUTS)
    assert set(checkpoint.names()) == {
        f"{NAME}.weight", "lm_head.weight", "model.embed_tokens.weight",
    }  # fmt: skip
    info = checkpoint.info
    assert (info.format, info.bits, info.group_size) == ("exl3", 4, None)
    bits = INPUTS * (OUTPUTS * 4 + 256 * 6 + 200 * 16) + 16 * (2 * INPUTS + OUTPUTS + 256) + 64
    assert info.bits_per_weight == pytest.approx(bits / (INPUTS * (OUTPUTS + 400)), rel=1e-12)


@pytest.mark.parametrize("tied", [True, False])
def test_logits_of_a_model(tied: bool, tmp_path: Path) -> None:
    """exllamav3 stores a head of its own for models that tie it, and older versions keep the flag.

    Oracle: transformers' forward with the weights of GPTQModel's kernel.
    """
    config = transformers.LlamaConfig(
        hidden_size=128, intermediate_size=256, num_hidden_layers=1, num_attention_heads=4,
        vocab_size=200, max_position_embeddings=64, tie_word_embeddings=False,
    )  # fmt: skip
    torch.manual_seed(0)
    model = transformers.LlamaForCausalLM(config).eval()
    tensors: dict[str, torch.Tensor] = {}
    for number, (name, module) in enumerate(model.named_modules()):
        if not isinstance(module, torch.nn.Linear):
            tensors |= {f"{name}.{key}": value.half() for key, value in
                        module.named_parameters(recurse=False)}  # fmt: skip
            continue
        rows = -(-module.out_features // 128) * 128
        own = layer(4, "mcg", (rows, module.in_features), seed=number)
        own = {key: value * 0.2 if key == "suh" else value for key, value in own.items()}
        tensors |= stored(own, name)
        _, weight = exl3_weight(own, torch.zeros(1, module.in_features))
        module.weight.data = weight[: module.out_features]
    values = {**config.to_dict(), "tie_word_embeddings": tied}
    checkpoint = open_checkpoint(write_model(tmp_path, tensors, CONFIG, **values))
    graph = ModelGraph(checkpoint.config, precision="fp32", device="cpu")
    graph.load(checkpoint)
    head = load_head(checkpoint, precision="fp32", device="cpu")
    ids = torch.randint(3, 200, (1, 21), generator=torch.Generator().manual_seed(1))
    model.load_state_dict(
        {key: value for key, value in tensors.items() if "trellis" not in key}, strict=False
    )
    with torch.no_grad():
        expected = model(input_ids=ids).logits.flatten(0, 1)
    logits = head.logits(graph.hidden(ids).flatten(0, 1), 0, head.vocabulary)
    assert close(logits, expected, 5e-6)


def storage(bits: float, module: str = NAME) -> dict[str, Any]:
    return {module: {"quant_format": "exl3", "bits_per_weight": bits, "stored_tensors": {}}}


@pytest.mark.parametrize(
    ("change", "config", "error", "words"),
    [
        ({"suh": torch.ones(128).half()}, {}, CheckpointError, "suh`: expected shape [256]"),
        ({"svh": torch.ones(384)}, {}, CheckpointError, "svh`: expected F16, got F32"),
        ({"svh": None}, {}, CheckpointError, "svh`: expected shape [384]"),
        ({"trellis": torch.zeros(16, 24, 64)}, {}, CheckpointError, "expected I16"),
        ({"trellis": torch.zeros(16, 24, 72, dtype=torch.int16)}, {}, UnsupportedModel, "4.5 bits"),
        ({"trellis": torch.zeros(16, 24, 60, dtype=torch.int16)}, {}, UnsupportedModel, "3.75"),
        ({"trellis": torch.zeros(16, 20, 64, dtype=torch.int16)}, {}, CheckpointError,
         "multiples of 128 inputs and outputs, got 256 and 320"),
        ({"mcg": torch.tensor(5, dtype=torch.int32)}, {}, UnsupportedModel,
         "multiplier 0xcbac1fed, got 0x5"),
        ({"mul1": torch.tensor(5, dtype=torch.int32)}, {}, CheckpointError, "mcg and mul1"),
        ({"scale": torch.ones(1)}, {}, UnsupportedModel, "scale`: expected none"),
        ({}, {"bits": "4"}, CheckpointError, "`bits` from 1 to 8, got '4'"),
        ({}, {"tensor_storage": storage(5)}, CheckpointError, "5 bits by `tensor_storage`"),
        ({}, {"tensor_storage": storage(4, "model.x")}, CheckpointError, "got none"),
        ({}, {"tensor_storage": [1]}, CheckpointError, "`tensor_storage` of modules, got list"),
    ],
)  # fmt: skip
def test_malformed(
    change: dict[str, Any], config: dict[str, Any], error: type[Exception], words: str,
    tmp_path: Path,
) -> None:  # fmt: skip
    tensors = {key: value for key, value in (layer(4, "mcg") | change).items() if value is not None}
    path = write_model(tmp_path, stored(tensors), CONFIG | config)
    with pytest.raises(error) as caught:
        open_checkpoint(path)
    assert words in str(caught.value)


def test_storage_in_a_file_of_its_own(tmp_path: Path) -> None:
    path = write_model(tmp_path, stored(layer(4, "mcg")), CONFIG)
    file = path / "quantization_config.json"
    file.write_text(json.dumps(CONFIG | {"tensor_storage": storage(4)}), encoding="utf-8")
    assert open_checkpoint(path).names() == (f"{NAME}.weight",)
    file.write_text(json.dumps(CONFIG | {"tensor_storage": storage(3)}), encoding="utf-8")
    with pytest.raises(CheckpointError, match="a trellis of 3 bits"):
        open_checkpoint(path)
    file.write_text("[", encoding="utf-8")
    with pytest.raises(CheckpointError, match="not a quantization config"):
        open_checkpoint(path)


def test_a_table_without_scales_is_refused(tmp_path: Path) -> None:
    """exllamav3 also quantizes embeddings, as a trellis with signs alone."""
    path = write_model(tmp_path, stored(layer(4, "mul1")), CONFIG)
    file = path / "model.safetensors"
    tensors = load_file(file)
    del tensors[f"{NAME}.suh"], tensors[f"{NAME}.svh"]
    save_file(tensors, file)
    with pytest.raises(CheckpointError, match=r"suh.*no such tensor"):
        open_checkpoint(path)
