"""Oracles: files written with the package gguf, whose contents are known.

Names and layouts are tested against llama.cpp's logits in tests/quantizers/test_gguf_writer.py.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
import torch

from bitloss import formats
from bitloss.errors import CheckpointError, MissingDependency, UnsupportedModel
from bitloss.formats.gguf import matches, open_checkpoint
from bitloss.formats.gguf.families import operations

EMBEDDING = np.arange(64 * 32, dtype=np.float32).reshape(64, 32) / 100


def _write(
    path: Path,
    *,
    arch: str = "llama",
    alter: Callable[[Any], None] = lambda writer: None,
    without: str = "",
    split: int = 0,
) -> Path:
    """A model without layers: an embedding in Q8_0 and a norm in F32."""
    writer = gguf.GGUFWriter(path, arch, split_max_tensors=split)
    settings: dict[str, tuple[Callable[[Any], None], Any]] = {
        "block_count": (writer.add_block_count, 0),
        "context_length": (writer.add_context_length, 128),
        "embedding_length": (writer.add_embedding_length, 32),
        "feed_forward_length": (writer.add_feed_forward_length, 48),
        "head_count": (writer.add_head_count, 4),
        "rms_eps": (writer.add_layer_norm_rms_eps, 1e-5),
        "file_type": (writer.add_file_type, int(gguf.LlamaFileType.MOSTLY_Q8_0)),
    }
    for name, (add, value) in settings.items():
        if name != without:
            add(value)
    if without != "token_embd":
        quantized = gguf.quantize(EMBEDDING, gguf.GGMLQuantizationType.Q8_0)
        writer.add_tensor("token_embd.weight", quantized, raw_dtype=gguf.GGMLQuantizationType.Q8_0)
    writer.add_tensor("output_norm.weight", np.ones(32, np.float32))
    alter(writer)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def test_info_of_a_small_file(tmp_path: Path) -> None:
    path = _write(tmp_path / "model.gguf")
    info = open_checkpoint(path, "mine").info
    assert (info.name, info.format, info.bits) == ("mine", "gguf-q8_0", 8.0)
    assert info.parameters == 64 * 32 + 32
    # 64 blocks of 34 bytes and 32 floats.
    assert info.bits_per_weight == 8 * (64 * 34 + 128) / (64 * 32 + 32)
    assert info.file_bytes == path.stat().st_size
    content = hashlib.sha256(path.read_bytes()).digest()
    assert info.digest == hashlib.sha256(content).hexdigest()
    assert info.architecture == "LlamaForCausalLM"
    assert info.calibration is None
    assert info.group_size is None


def test_quantized_weights_are_rounded_once_and_floats_are_not(tmp_path: Path) -> None:
    """Oracle: torch's rounding of the float32 weights, which are those of the package gguf."""
    norm = np.linspace(0.5, 1.5, 32, dtype=np.float32)
    checkpoint = open_checkpoint(
        _write(tmp_path / "model.gguf", alter=lambda writer: writer.tensors[0].update(
            {"output_norm.weight": replace(writer.tensors[0]["output_norm.weight"], tensor=norm)}
        ))
    )  # fmt: skip
    name = "model.embed_tokens.weight"
    exact = checkpoint.read(name)
    assert exact.dtype == torch.float32
    assert torch.equal(checkpoint.read(name, torch.bfloat16), exact.bfloat16())
    assert not torch.equal(exact, exact.bfloat16().float())
    kept = checkpoint.read("model.norm.weight", torch.bfloat16)
    assert torch.equal(kept, torch.from_numpy(norm))


def test_operations_that_compute_say_so() -> None:
    """What they are given must not be rounded before: tried on numbers, not on names."""
    numbers = -torch.rand((8, 8), generator=torch.Generator().manual_seed(0)) - 1
    for name in ("SAME", "TRANSPOSED", "CONV1D", "MINUS_ONE", "NEGATIVE_LOG"):
        operation = getattr(operations, name)
        made = operation.decode([numbers], {}, 0)
        same = torch.equal(made.flatten().sort().values, numbers.flatten().sort().values)
        assert operation.computes is not same
    assert operations.FLAT["log"].computes
    assert operations.DELTA_STATE.computes


@pytest.mark.parametrize("key", ["dataset", "file"])
def test_the_importance_matrix_is_told(tmp_path: Path, key: str) -> None:
    path = _write(
        tmp_path / "model.gguf",
        alter=lambda writer: writer.add_string(f"quantize.imatrix.{key}", "groups_merged.txt"),
    )
    assert open_checkpoint(path).info.calibration == "groups_merged.txt"


@pytest.mark.parametrize(
    ("number", "name", "bits"),
    [
        (gguf.LlamaFileType.MOSTLY_Q4_K_M, "gguf-q4_k_m", 4.0),
        (gguf.LlamaFileType.MOSTLY_IQ2_XXS, "gguf-iq2_xxs", 2.0),
        (gguf.LlamaFileType.MOSTLY_BF16, "gguf-bf16", 16.0),
        (gguf.LlamaFileType.MOSTLY_TQ1_0, "gguf-tq1_0", 1.0),
        (gguf.LlamaFileType.GUESSED, "gguf-q8_0", 8.0),  # falls back on what the tensors are
    ],
)
def test_the_format_is_named_after_the_file_type(
    tmp_path: Path, number: int, name: str, bits: float
) -> None:
    path = _write(
        tmp_path / "model.gguf",
        without="file_type",
        alter=lambda writer: writer.add_file_type(int(number)),
    )
    info = open_checkpoint(path).info
    assert (info.format, info.bits) == (name, bits)


def test_all_parts_of_a_split_model_are_read(tmp_path: Path) -> None:
    whole = open_checkpoint(_write(tmp_path / "whole.gguf"))
    folder = tmp_path / "split"
    folder.mkdir()
    _write(folder / "model.gguf", split=1)
    first, second = sorted(folder.iterdir())
    for path in (first, second, folder):
        checkpoint = open_checkpoint(path)
        assert checkpoint.files.paths == (first, second)
        assert checkpoint.names() == whole.names()
        assert checkpoint.info.bits_per_weight == whole.info.bits_per_weight
        assert checkpoint.info.file_bytes == first.stat().st_size + second.stat().st_size
        for name in whole.names():
            assert checkpoint.read(name).equal(whole.read(name))
    second.unlink()
    with pytest.raises(CheckpointError, match=r"expected 2 parts, missing .*00002-of-00002"):
        open_checkpoint(first)
    lonely = first.rename(tmp_path / "lonely.gguf")
    with pytest.raises(CheckpointError, match="expected 2 parts, got 1"):
        open_checkpoint(lonely)


def test_parts_of_different_versions_are_refused(tmp_path: Path) -> None:
    _write(tmp_path / "model.gguf", split=1)
    first, second = sorted(tmp_path.iterdir())
    second.write_bytes(first.read_bytes())
    with pytest.raises(CheckpointError, match="expected 2 tensors in 2 parts, got 1"):
        open_checkpoint(first)


def test_what_matches(tmp_path: Path) -> None:
    single = tmp_path / "single"
    single.mkdir()
    assert not matches(single)
    path = _write(single / "model.gguf")
    assert matches(single)
    assert matches(path)
    nameless = tmp_path / "blob"
    nameless.write_bytes(path.read_bytes())
    assert matches(nameless)
    assert not matches(Path(__file__))
    (single / "mmproj-F16.gguf").write_bytes(path.read_bytes())
    assert matches(single)
    other = single / "other.gguf"
    other.write_bytes(path.read_bytes())
    assert not matches(single)
    other.rename(single / "model.safetensors")
    assert not matches(single)


def test_the_registry_finds_the_format(tmp_path: Path) -> None:
    path = _write(tmp_path / "model.gguf")
    assert formats.open_checkpoint(path).info.format == "gguf-q8_0"


@pytest.mark.parametrize(
    ("arch", "alter", "words"),
    [
        ("rwkv7", lambda writer: None, "architecture `rwkv7`"),
        (
            "llama",
            lambda writer: writer.add_tensor(
                "ffn_gate_exps.weight", np.zeros((2, 2, 32), np.float32)
            ),
            "`ffn_gate_exps.weight` is not part of a `llama` model",
        ),
        (
            "llama",
            lambda writer: writer.add_tensor("blk.0.mask.weight", np.zeros(4, np.int32)),
            "type I32 cannot be decoded",
        ),
        (
            "llama",
            lambda writer: writer.add_array("llama.attention.head_count_kv", [1, 2]),
            "differs from layer to layer",
        ),
        (
            "llama",
            lambda writer: (
                writer.add_rope_scaling_type(gguf.RopeScalingType.LONGROPE),
                writer.add_rope_scaling_factor(2.0),
            ),
            "rope scaling `longrope`",
        ),
    ],
)
def test_other_models_are_refused(
    tmp_path: Path, arch: str, alter: Callable[[Any], None], words: str
) -> None:
    path = _write(tmp_path / "model.gguf", arch=arch, alter=alter)
    with pytest.raises(UnsupportedModel, match=words):
        open_checkpoint(path)


@pytest.mark.parametrize(
    ("without", "words"),
    [
        ("head_count", r"lacks `llama\.attention\.head_count`"),
        ("rms_eps", r"lacks `llama\.attention\.layer_norm_rms_epsilon`"),
        ("block_count", r"lacks `llama\.block_count`"),
        ("token_embd", r"no tensor `token_embd\.weight`"),
    ],
)
def test_what_is_missing_is_named(tmp_path: Path, without: str, words: str) -> None:
    with pytest.raises(CheckpointError, match=words):
        open_checkpoint(_write(tmp_path / "model.gguf", without=without))


@pytest.mark.parametrize("key", ["tokens", "scores", "token_type"])
def test_tokens_are_as_many_as_rows(tmp_path: Path, key: str) -> None:
    """llama.cpp's loader wants the embedding to have one row per token."""
    lists = {"tokens": ["a"] * 64, "scores": [0.0] * 64, "token_type": [1] * 64}
    lists[key] = lists[key][:3]

    def alter(writer: Any) -> None:
        for name, values in lists.items():
            writer.add_array(f"tokenizer.ggml.{name}", values)

    path = _write(tmp_path / "model.gguf", alter=alter)
    with pytest.raises(CheckpointError, match=rf"`tokenizer\.ggml\.{key}`: expected 64 items"):
        open_checkpoint(path)


def test_helper_tensors_are_left_out(tmp_path: Path) -> None:
    """Llama 3's rope factors become the config's; see `bitloss.formats.gguf.config`."""
    factors = np.array([1, 1, 2, 8], np.float32)
    path = _write(
        tmp_path / "model.gguf",
        alter=lambda writer: writer.add_tensor("rope_freqs.weight", factors),
    )
    checkpoint = open_checkpoint(path)
    assert checkpoint.names() == ("model.embed_tokens.weight", "model.norm.weight")
    assert checkpoint.config["rope_parameters"]["short_factor"] == [1.0, 1.0, 2.0, 8.0]
    assert checkpoint.info.parameters == 64 * 32 + 32


def test_an_unknown_parameter_is_an_error(tmp_path: Path) -> None:
    checkpoint = open_checkpoint(_write(tmp_path / "model.gguf"))
    with pytest.raises(CheckpointError, match=r"no parameter `lm_head\.weight`"):
        checkpoint.read("lm_head.weight")


def test_a_missing_library_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = _write(tmp_path / "model.gguf")
    monkeypatch.setitem(__import__("sys").modules, "gguf", None)
    with pytest.raises(MissingDependency, match="reading GGUF files needs the package `gguf`"):
        open_checkpoint(path)
