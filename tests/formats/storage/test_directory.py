"""Where quantization configs stand: at the top, in a part, in a file beside; by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from bitloss.errors import CheckpointError, UnsupportedModel
from bitloss.formats import open_checkpoint
from bitloss.formats.storage.directory import open_directory, quant_method, read_quantization
from peers.checkpoints import write_model

FP8 = {"quant_method": "fp8", "weight_block_size": [128, 128]}
WEIGHT = torch.ones((2, 4)).to(torch.float8_e4m3fn)
TENSORS = {"a.weight": WEIGHT, "a.weight_scale_inv": torch.full((1, 1), 3.0)}


@pytest.mark.parametrize("part", ["text_config", "language_config"])
def test_a_nested_config_is_seen(part: str, tmp_path: Path) -> None:
    settings: dict[str, Any] = {part: {"model_type": "llama", "quantization_config": FP8}}
    path = write_model(tmp_path, TENSORS, **settings)
    checkpoint = open_checkpoint(path)
    assert checkpoint.info.format == "fp8"
    assert torch.equal(checkpoint.read("a.weight"), torch.full((2, 4), 3.0))
    assert checkpoint.config[part] == {"model_type": "llama"}


def test_two_levels_down_and_under_the_older_name(tmp_path: Path) -> None:
    inner = {"compression_config": {"quant_method": "Compressed-Tensors"}}
    path = write_model(tmp_path, TENSORS, thinker_config={"text_config": inner})
    assert quant_method(path) == "compressed-tensors"


def test_the_same_config_twice(tmp_path: Path) -> None:
    path = write_model(tmp_path, TENSORS, FP8, text_config={"quantization_config": FP8})
    assert read_quantization(path) == FP8
    assert open_directory(path, None).config["text_config"] == {}


def test_different_configs(tmp_path: Path) -> None:
    other = {"quantization_config": {**FP8, "weight_block_size": [64, 64]}}
    path = write_model(tmp_path, TENSORS, FP8, vision_config=other)
    words = "different ones in `quantization_config` and `vision_config.quantization_config`"
    with pytest.raises(UnsupportedModel, match=words):
        open_checkpoint(path)


def test_a_nested_config_that_is_no_object(tmp_path: Path) -> None:
    path = write_model(tmp_path, TENSORS, text_config={"quantization_config": "fp8"})
    with pytest.raises(CheckpointError, match=r"`text_config\.quantization_config` to be a JSON"):
        open_checkpoint(path)


@pytest.mark.parametrize("empty", [None, {}])
def test_an_empty_nested_config_is_none(empty: object, tmp_path: Path) -> None:
    path = write_model(
        tmp_path, {"a.weight": torch.ones(2)}, text_config={"quantization_config": empty}
    )
    assert quant_method(path) is None
    assert open_checkpoint(path).info.format == "safetensors-fp32"


@pytest.mark.parametrize(
    ("file", "method"),
    [("quantize_config.json", "gptq"), ("quant_config.json", "awq"),
     ("hf_quant_config.json", "modelopt")],
)  # fmt: skip
def test_files_beside(file: str, method: str, tmp_path: Path) -> None:
    path = write_model(tmp_path, TENSORS)
    (path / file).write_text(json.dumps({"bits": 4}))
    assert quant_method(path) == method
    assert read_quantization(path)["bits"] == 4
