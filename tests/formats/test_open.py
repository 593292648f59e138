"""What `open_checkpoint` says of paths that are no model; messages are the contract."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from bitloss import registry
from bitloss.errors import CheckpointError, UnsupportedModel
from bitloss.formats import open_checkpoint
from bitloss.formats.undecoded import UNDECODED
from peers.checkpoints import write_model


def test_importing_the_floor_loads_no_torch() -> None:
    code = "import sys, bitloss.formats; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_nothing_there(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no such file or directory"):
        open_checkpoint(tmp_path / "absent")


def test_directory_without_config(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"without config\.json"):
        open_checkpoint(tmp_path)


def test_file_of_another_kind(tmp_path: Path) -> None:
    file = write_model(tmp_path, {"a.weight": torch.ones(2)}) / "model.safetensors"
    with pytest.raises(CheckpointError, match="got a safetensors file") as caught:
        open_checkpoint(file)
    assert "directory" in caught.value.hint


@pytest.mark.parametrize("name", ["pytorch_model.bin", "consolidated.00.pth", "model.pt"])
def test_pickles_are_refused(name: str, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / name).write_bytes(b"\x80\x04.")
    with pytest.raises(CheckpointError, match=rf"pickled \({name}\)") as caught:
        open_checkpoint(tmp_path)
    assert "safetensors" in caught.value.hint


def test_no_weights(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(CheckpointError, match="weights are not"):
        open_checkpoint(tmp_path)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "not valid JSON"),
        ("[]", "expected a JSON object, got list"),
        ('{"quantization_config": 4}', "expected `quantization_config` to be a JSON object"),
    ],
)
def test_damaged_config(text: str, words: str, tmp_path: Path) -> None:
    write_model(tmp_path, {"a.weight": torch.ones(2)})
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(CheckpointError, match=words):
        open_checkpoint(tmp_path)


@pytest.mark.parametrize("method", ["new", "fancy"])
def test_unknown_method(method: str, tmp_path: Path) -> None:
    path = write_model(tmp_path, {"a.weight": torch.ones(2)}, {"quant_method": method})
    with pytest.raises(UnsupportedModel, match=f"method `{method}` is not supported") as caught:
        open_checkpoint(path)
    assert "gptq" in caught.value.hint


def test_name_is_the_users(tmp_path: Path) -> None:
    path = write_model(tmp_path, {"a.weight": torch.ones(2)})
    assert open_checkpoint(path).info.name == str(path)
    assert open_checkpoint(path, name="org/model").info.name == "org/model"


@pytest.mark.parametrize("method", UNDECODED)
def test_methods_that_are_not_decoded_say_why(method: str, tmp_path: Path) -> None:
    reason, hint = UNDECODED[method]
    path = write_model(tmp_path, {"a.weight": torch.ones(2)}, {"quant_method": method.upper()})
    with pytest.raises(UnsupportedModel) as caught:
        open_checkpoint(path)
    assert f"method `{method}` is not supported: {reason}" in caught.value.message
    assert caught.value.hint == hint


def test_no_method_is_both_decoded_and_refused() -> None:
    # GGUF's blocks in a .gguf file are decoded, and those in safetensors are not.
    assert set(UNDECODED) & set(registry.FORMATS) == {"gguf"}


FP8 = torch.ones((2, 4)).to(torch.float8_e4m3fn)
BYTES = torch.ones((2, 4), dtype=torch.uint8)
WORDS = torch.ones((2, 4), dtype=torch.int32)


@pytest.mark.parametrize(
    ("tensors", "words", "method"),
    [
        ({"a.weight": FP8, "a.weight_scale_inv": torch.ones(1)}, "FP8 with scales per block",
         "fp8"),
        ({"a.weight": FP8, "a.weight_scale": torch.ones(1)}, "FP8 with scales per tensor", "fp8"),
        ({"a.weight": FP8}, "FP8 cast without scales", ""),
        ({"e.up_blocks": BYTES, "e.up_scales": BYTES + 1}, "MXFP4 experts as in gpt-oss", "mxfp4"),
        ({"a.weight": BYTES, "a.weight_scale": FP8, "a.weight_scale_2": torch.ones(())},
         "NVFP4 as ModelOpt exports it", "modelopt"),
        ({"a.weight_packed": WORDS}, "compressed-tensors", "compressed-tensors"),
        ({"a.qweight": WORDS, "a.qzeros": WORDS + 1}, "GPTQ or AWQ", "gptq"),
        ({"a.weight": BYTES, "a.weight.absmax": torch.ones(1)}, "bitsandbytes", "bitsandbytes"),
    ],
)  # fmt: skip
def test_codes_without_a_quantization_config(
    tensors: dict[str, torch.Tensor], words: str, method: str, tmp_path: Path
) -> None:
    with pytest.raises(UnsupportedModel, match="expected one of F32, F16, BF16") as caught:
        open_checkpoint(write_model(tmp_path, tensors))
    assert f"the tensors look like {words}" in caught.value.message
    assert ("quant_method" in caught.value.hint) == bool(method)
    assert method in caught.value.hint


def test_unknown_codes_without_a_quantization_config(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedModel, match=r"`a.weight` is stored as U8; expected") as caught:
        open_checkpoint(write_model(tmp_path, {"a.weight": BYTES}))
    assert "look like" not in caught.value.message
