"""Oracles: a packer written apart from the decoder, and tensors of bitsandbytes 0.50 itself.

`benchmarks/oracle_bitsandbytes.py` compares with the library over many shapes and settings.
"""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest
import torch

from bitloss.errors import CheckpointError, UnsupportedModel
from bitloss.formats import open_checkpoint
from bitloss.formats.safetensors import bitsandbytes
from peers.bitsandbytes_files import four_bits, int8
from peers.checkpoints import write_model

CONFIG = {"quant_method": "bitsandbytes", "load_in_4bit": True}
MODULE = "model.layers.0.mlp.up_proj"
NAME = f"{MODULE}.weight"
STATE = f"{NAME}.quant_state.bitsandbytes__nf4"
# What `quantize_4bit` of bitsandbytes 0.50.2 made of 128 numbers in blocks of 32, and what its
# `dequantize_4bit` made of that.
GOLDEN = {
    "nf4": (
        torch.bfloat16, [2.9375, 2.875, 2.875, 2.9375],
        "BMFuKfOwXRfinzwF0Y4q9MFuGfOwXRfinzsF0Y4q9MBuGOOwTRfinzsF0X4q9MBtGOKgTBbinzsF0X4p88BdGA==",
        "PMBWv6Y/A8CJvghAxb/yPjxAlL9+PzzAC7/UPwPAAAAIQMW/8j48QJS/pj88wAu/1D8DwG8+CEDFvzk/PEBWv6I/"
        "AMCGvgVAAMDtPjhAkb95PzjACL/PPwDAAAAFQMG/7T44QJG/eT84wAi/zz8AwGo+BUDBvzU/OEBRv6I/OMCGvgVA"
        "AMBqPgVAkb95PzjAUb/PPwDAAAAFQMG/7T44QJG/eT84wAi/zz8AwAAABUDBvzU/OEBRv6I/OMCGvs8/A8BvPghA"
        "xb85PzzAVr+mPwPAib4IQMW/8j48QJS/fj88wAu/1D8DwAAACEDFv/I+PECUv6Y/PMALv9Q/A8BvPg==",
    ),
    "fp4": (
        torch.float16, [2.94140625, 2.8828125, 2.8828125, 2.94140625],
        "v1qSpjxL5aAtY8S+KhLXP1uSpj1L9aktY8S+KhLXPFvipj1L9akqY8S+WhLXPFvioS179akqY8S+WgLWPEvioQ==",
        "4sHiueI92L/Yo9g/2L/YN+JB2LvYO+LB2LfiPdi/AADYP+K92DfiQdi72Dviwdi32D/Yv9gj2D/iveI54kHiucQ9"
        "xMGwo7A/sL+wN8RBxL2wO8TBxLnEPbC/sKOwP8S9sDfEQbC7sDvEwbC3sD+wv7AjsD/EvcQ5xEGwu8Q9xMGwt7A/"
        "sL+wN8RBxL2wO8TBxLnEPbC/sKOwP7C/sDfEQbC7sDvEwbC3xD2wv7AjsD/EvcQ5xEGwu8Q9xMGwt7A/2L/YI9g/"
        "4r3iOeLB4rniPdi/2KPYP9i/2DfiQdi72Dviwdi34j3YvwAA2D/ivdg34kHYu9g74sHYt9g/2L/YIw==",
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", GOLDEN)
def test_tensors_of_the_library(kind: str) -> None:
    dtype, absmax, packed, dense = GOLDEN[kind]
    layer = bitsandbytes.FourBits(kind, 32, (4, 32), None)
    weight = torch.tensor(list(base64.b64decode(packed)), dtype=torch.uint8)[:, None]
    values = bitsandbytes.VALUES[kind]
    decoded = bitsandbytes.decode_four_bits(layer, weight, torch.tensor(absmax), values)
    expected = torch.frombuffer(bytearray(base64.b64decode(dense)), dtype=dtype).view(4, 32)
    assert torch.equal(decoded.to(dtype), expected)  # one product, rounded once


@pytest.mark.parametrize("shape", [(40, 96), (7, 13), (3, 8, 40), (64,)])
@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
@pytest.mark.parametrize(("kind", "block_size"), [("nf4", 64), ("fp4", 32), ("nf4", 4096)])
def test_four_bits(
    shape: tuple[int, ...],
    nested: bool,
    dtype: torch.dtype,
    kind: str,
    block_size: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(bitsandbytes, "_BLOCK", 320)  # several steps, the last one short
    tensors, dense = four_bits(
        NAME, shape, kind=kind, block_size=block_size, dtype=dtype, nested=nested
    )
    checkpoint = open_checkpoint(write_model(tmp_path, tensors, CONFIG))
    weight = checkpoint.read(NAME)
    assert checkpoint.names() == (NAME,)
    assert checkpoint.shape(NAME) == shape == weight.shape
    assert weight.dtype == torch.float32
    assert torch.equal(weight, dense)


@pytest.mark.parametrize("storage", [torch.bfloat16, torch.float16, torch.float32, torch.int8])
def test_bytes_stored_as_another_type(storage: torch.dtype, tmp_path: Path) -> None:
    tensors, dense = four_bits(NAME, (40, 96), storage=storage)
    assert tensors[NAME].dtype == storage
    checkpoint = open_checkpoint(write_model(tmp_path, tensors, CONFIG))
    assert torch.equal(checkpoint.read(NAME), dense)


def test_int8_is_exact_in_float32(tmp_path: Path) -> None:
    tensors, dense = int8(MODULE, (40, 96))
    checkpoint = open_checkpoint(write_model(tmp_path, tensors, CONFIG))
    weight = checkpoint.read(NAME)
    assert weight.dtype == torch.float32
    assert torch.equal(weight, dense)
    del tensors[f"{MODULE}.weight_format"]  # versions before 0.38 had none
    older = open_checkpoint(write_model(tmp_path / "older", tensors, CONFIG))
    assert torch.equal(older.read(NAME), dense)
    info = checkpoint.info
    assert (info.format, info.bits, info.group_size) == ("bitsandbytes-int8", 8, -1)


@pytest.mark.parametrize("make", [four_bits, int8])
def test_conv1d_is_stored_transposed(make: Any, tmp_path: Path) -> None:
    """Transformers quantizes GPT-2's ``[in, out]`` matrices as linear layers."""
    module = "transformer.h.0.mlp.c_fc"
    name = f"{module}.weight"
    tensors, dense = make(name if make is four_bits else module, (64, 32))
    checkpoint = open_checkpoint(write_model(tmp_path, tensors, CONFIG, model_type="gpt2"))
    assert checkpoint.shape(name) == (32, 64)
    weight = checkpoint.read(name)
    assert weight.is_contiguous()
    assert torch.equal(weight, dense.t())


def test_mixed_with_dense_and_shards(tmp_path: Path) -> None:
    other = "model.layers.0.mlp.down_proj"
    four, four_dense = four_bits(NAME, (40, 96), nested=True)
    eight, eight_dense = int8(other, (8, 32))
    head = torch.randn((7, 40)).to(torch.bfloat16)
    tensors = {**four, **eight, "lm_head.weight": head}
    checkpoint = open_checkpoint(write_model(tmp_path, tensors, CONFIG, shards=3))
    assert set(checkpoint.names()) == {NAME, f"{other}.weight", "lm_head.weight"}
    assert torch.equal(checkpoint.read(NAME), four_dense)
    assert torch.equal(checkpoint.read(f"{other}.weight"), eight_dense)
    assert torch.equal(checkpoint.read("lm_head.weight"), head)
    info = checkpoint.info
    assert (info.format, info.bits, info.group_size) == ("bitsandbytes-nf4", 4, 64)
    assert info.parameters == 40 * 96 + 8 * 32 + 7 * 40
    stored = sum(tensor.nbytes for tensor in tensors.values())
    assert info.bits_per_weight == pytest.approx(8 * stored / info.parameters, rel=1e-12)


def test_settings_without_the_methods_name(tmp_path: Path) -> None:
    """As transformers 4.28 to 4.31 wrote them."""
    tensors, dense = int8(MODULE, (40, 96))
    checkpoint = open_checkpoint(write_model(tmp_path, tensors, {"load_in_8bit": True}))
    assert torch.equal(checkpoint.read(NAME), dense)


def test_models_without_quantized_weights_are_dense(tmp_path: Path) -> None:
    """``llm_int8_has_fp16_weight`` keeps them as they are."""
    weight = torch.randn((4, 8)).half()
    checkpoint = open_checkpoint(write_model(tmp_path, {NAME: weight}, CONFIG))
    assert torch.equal(checkpoint.read(NAME), weight)
    assert checkpoint.info.bits == 16


def text(value: str) -> torch.Tensor:
    return torch.tensor(list(value.encode())).to(torch.uint8)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({f"{NAME}.absmax": None}, r"`.*weight\.absmax`: expected shape \[60\] .*no such tensor"),
        ({f"{NAME}.quant_map": None}, r"weight\.quant_map`: expected shape \[16\]"),
        ({STATE: None}, "is quantized: expected a tensor .*quant_state"),
        ({STATE: None, f"{NAME}.absmax": None, f"{NAME}.quant_map": None},
         "is quantized: expected a tensor .*quant_state"),
        ({STATE: text('{"quant_type": "nf4"')}, "not a bitsandbytes state"),
        ({STATE: text("[1, 2]")}, "not a bitsandbytes state"),
        ({STATE: text("{}")}, "not a bitsandbytes state"),
        ({STATE: text("\xff")}, "not a bitsandbytes state"),
        ({NAME: torch.zeros((1919, 1), dtype=torch.uint8)}, "expected 1920 bytes .*got 1919"),
        ({NAME: None}, "expected 1920 bytes .*no such tensor"),
        ({f"{NAME}.absmax": torch.zeros(60).half()}, r"absmax`: expected F32, got F16"),
        ({f"{NAME}.nested_absmax": torch.zeros(1)}, "expected the block size, offset"),
        ({f"{MODULE}.SCB": torch.ones(40)}, "expected a matrix|expected I8"),
    ],
)  # fmt: skip
def test_damaged_four_bits(
    changes: dict[str, torch.Tensor | None], message: str, tmp_path: Path
) -> None:
    tensors, _ = four_bits(NAME, (40, 96))
    merged = {key: value for key, value in {**tensors, **changes}.items() if value is not None}
    path = write_model(tmp_path, merged, CONFIG)
    with pytest.raises((CheckpointError, UnsupportedModel), match=message) as caught:
        open_checkpoint(path)
    assert caught.value.hint


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ({"blocksize": 128}, r"absmax`: expected shape \[30\]"),
        ({"blocksize": 48}, "expected a block size of 32, .*got 48"),
        ({"blocksize": "64"}, "not a bitsandbytes state.*expected sizes"),
        ({"blocksize": True}, "not a bitsandbytes state.*expected sizes"),
        ({"shape": [40, 95]}, r"expected 1900 bytes .*got 1920"),
        ({"shape": []}, "not a bitsandbytes state.*expected sizes"),
        ({"shape": None}, "not a bitsandbytes state"),
        ({"shape": [-40, -96]}, "not a bitsandbytes state.*expected sizes"),
        ({"dtype": "float64"}, "got 64 and float64"),
        ({"quant_type": "fp4"}, "code `fp4` in"),
        ({"quant_type": "int4"}, "code `int4` in"),
        ({"rotation": "hadamard"}, "expected an object with keys"),
        ({"nested_offset": 1.0}, "expected the block size, offset"),
    ],
)
def test_states_that_contradict_the_tensors(
    state: dict[str, Any], message: str, tmp_path: Path
) -> None:
    tensors, _ = four_bits(NAME, (40, 96), state=state)
    path = write_model(tmp_path, tensors, CONFIG)
    with pytest.raises((CheckpointError, UnsupportedModel), match=message):
        open_checkpoint(path)


@pytest.mark.parametrize(
    ("part", "value", "message"),
    [
        ("nested_absmax", None, r"nested_absmax`: expected shape \[1\]"),
        ("nested_quant_map", torch.zeros(16), r"nested_quant_map`: expected shape \[256\]"),
        ("absmax", torch.zeros(60), "absmax`: expected U8, got F32"),
    ],
)
def test_damaged_double_quantization(
    part: str, value: torch.Tensor | None, message: str, tmp_path: Path
) -> None:
    tensors, _ = four_bits(NAME, (40, 96), nested=True)
    tensors.pop(f"{NAME}.{part}")
    if value is not None:
        tensors[f"{NAME}.{part}"] = value
    path = write_model(tmp_path, tensors, CONFIG)
    with pytest.raises((CheckpointError, UnsupportedModel), match=message):
        open_checkpoint(path)


@pytest.mark.parametrize("offset", ["x", float("nan"), float("inf"), None])
def test_offset_of_double_quantization_is_a_number(offset: Any, tmp_path: Path) -> None:
    tensors, _ = four_bits(NAME, (40, 96), nested=True, state={"nested_offset": offset})
    path = write_model(tmp_path, tensors, CONFIG)
    with pytest.raises(CheckpointError, match="expected the block size, offset"):
        open_checkpoint(path)


def test_values_of_its_own_are_refused(tmp_path: Path) -> None:
    """The library never reads the stored values: a model with others was never run with them."""
    tensors, _ = four_bits(NAME, (40, 96))
    tensors[f"{NAME}.quant_map"] = torch.linspace(-1, 1, 16)
    checkpoint = open_checkpoint(write_model(tmp_path, tensors, CONFIG))
    with pytest.raises(UnsupportedModel, match="expected the values of nf4"):
        checkpoint.read(NAME)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"SCB": None}, "is quantized: expected a tensor .*SCB"),
        ({"SCB": torch.ones(39)}, r"SCB`: expected shape \[40\] for 40 rows, got \[39\]"),
        ({"SCB": torch.ones(40).half()}, "SCB`: expected F32, got F16"),
        ({"weight": torch.zeros((40, 96))}, "weight`: expected I8, got F32"),
        ({"weight": None}, "expected a matrix .*no such tensor"),
        ({"weight_format": torch.tensor(2, dtype=torch.uint8)}, "layout `col_turing`"),
        ({"weight_format": torch.tensor(9, dtype=torch.uint8)}, "layout `9`"),
    ],
)
def test_damaged_int8(
    changes: dict[str, torch.Tensor | None], message: str, tmp_path: Path
) -> None:
    tensors, _ = int8(MODULE, (40, 96))
    merged = tensors | {f"{MODULE}.{part}": value for part, value in changes.items()}  # type: ignore[operator]
    path = write_model(tmp_path, {k: v for k, v in merged.items() if v is not None}, CONFIG)
    with pytest.raises((CheckpointError, UnsupportedModel), match=message):
        open_checkpoint(path)


def test_state_bytes_are_read_as_json(tmp_path: Path) -> None:
    tensors, dense = four_bits(NAME, (40, 96))
    spaced = json.dumps(json.loads(bytes(tensors[STATE].tolist())), indent=2)
    tensors[STATE] = text(spaced)
    checkpoint = open_checkpoint(write_model(tmp_path, tensors, CONFIG))
    assert torch.equal(checkpoint.read(NAME), dense)
