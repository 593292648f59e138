"""Types of single tensors. Oracles: llama.cpp's own mixture, and files of one type."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

from bitloss.errors import UnknownName
from bitloss.formats.gguf.checkpoint import GgufCheckpoint, open_checkpoint
from bitloss.quantizers.tensor_types import TypedFile, make_all_typed, make_typed, stored_types
from bitloss.types import SilentProgress

DOWN = "model.layers.2.mlp.down_proj.weight"

needs_llama_cpp = pytest.mark.skipif(
    find_spec("llama_cpp") is None, reason="llama-cpp-python is not installed"
)


@pytest.fixture(scope="session")
def made(pocket: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, GgufCheckpoint]:
    cache = tmp_path_factory.mktemp("cache")
    wanted = {
        "mixed": (("^blk\\.2\\.ffn_down\\.", "q8_0"), ("ffn_down", "q2_k"), ("attn_q", "q3_k")),
        "q8_0": ((".", "q8_0"),),
    }
    paths = make_all_typed(
        [TypedFile("q4_k_m", types, name) for name, types in wanted.items()], pocket,
        model_digest="pocket", name="both", cache=cache, progress=SilentProgress(),
    )  # fmt: skip
    assert sorted(path.name for path in paths[0].parent.glob("*.gguf")) == [
        "mixed.gguf", "q8_0.gguf",
    ]  # fmt: skip
    return {name: open_checkpoint(path) for name, path in zip(wanted, paths, strict=True)}


@needs_llama_cpp
def test_a_file_is_the_same_alone(made: dict[str, GgufCheckpoint], pocket: Path) -> None:
    """One process writes several files, or each its own: to the byte."""
    cache = made["mixed"].files.paths[0].parents[2]
    alone = make_typed(
        TypedFile("q4_k_m", ((".", "q8_0"),), "q8_0"), pocket, model_digest="pocket",
        cache=cache, progress=SilentProgress(),
    )  # fmt: skip
    assert alone.read_bytes() == made["q8_0"].files.paths[0].read_bytes()


@needs_llama_cpp
def test_the_first_pattern_that_is_found_decides(made: dict[str, GgufCheckpoint]) -> None:
    types = {name: one.type for name, one in stored_types(made["mixed"]).items()}
    assert [types[f"blk.{n}.ffn_down.weight"] for n in range(4)] == ["q2_k", "q2_k", "q8_0", "q2_k"]
    assert {types[f"blk.{n}.attn_q.weight"] for n in range(4)} == {"q3_k"}
    # The rest is the file type's mixture, and norms are never quantized.
    assert types["blk.0.attn_k.weight"] == "q4_k"
    assert types["output.weight"] == "q6_k"
    assert types["blk.0.attn_norm.weight"] == "f32"
    assert made["mixed"].info.format == "gguf-q4_k_m"


@needs_llama_cpp
def test_a_tensor_does_not_depend_on_the_others(made: dict[str, GgufCheckpoint]) -> None:
    """What a group costs is measured with tensors of a file of one type."""
    assert torch.equal(made["mixed"].read(DOWN), made["q8_0"].read(DOWN))
    other = "model.layers.1.mlp.down_proj.weight"
    assert not torch.equal(made["mixed"].read(other), made["q8_0"].read(other))


@needs_llama_cpp
def test_bytes_add_up_to_the_file(made: dict[str, GgufCheckpoint]) -> None:
    """Tensors are aligned to 32 bytes: a change of types changes the file by just their bytes."""
    sizes = {n: {k: one.nbytes for k, one in stored_types(c).items()} for n, c in made.items()}
    files = {name: checkpoint.files.file_bytes for name, checkpoint in made.items()}
    assert files["q8_0"] - files["mixed"] == sum(sizes["q8_0"].values()) - sum(
        sizes["mixed"].values()
    )


def test_types_that_need_an_importance_matrix_are_refused(pocket: Path, tmp_path: Path) -> None:
    with pytest.raises(UnknownName, match="iq2_xxs"):
        make_typed(
            TypedFile("q4_k_m", ((".", "iq2_xxs"),), "x"), pocket, model_digest="pocket",
            cache=tmp_path, progress=SilentProgress(),
        )  # fmt: skip
