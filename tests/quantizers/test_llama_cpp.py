"""Oracles: llama.cpp's mixtures and refusals, and transformers' own GGUF loader."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch

from bitloss.errors import UsageError
from bitloss.formats.base import checkpoint_notes
from bitloss.formats.gguf import GgufCheckpoint, open_checkpoint
from bitloss.formats.gguf.file_types import FILE_TYPES
from bitloss.quantizers.gguf_writer import open_source, write_gguf
from bitloss.quantizers.imatrix import importance_matrix
from bitloss.quantizers.llama_cpp import _NEED_IMATRIX, GGUF, quantize
from bitloss.quantizers.workers import Workers
from bitloss.spec.recipe import parse_recipe
from bitloss.types import Progress, SilentProgress
from peers import llama_cpp as peer
from peers.tiny import save_tiny

CALIBRATION = [list(range(start, start + 64)) for start in (3, 500, 1000)]


class Recorder:
    def __init__(self) -> None:
        self.total: int | None = None
        self.done = 0

    @contextmanager
    def task(
        self, label: str, total: int | None, unit: str = "tokens"
    ) -> Iterator[Callable[[int], None]]:
        self.total = total

        def advance(count: int) -> None:
            self.done += count

        yield advance


def _make(
    recipe: str,
    model: Path,
    out: Path,
    *,
    progress: Progress | None = None,
    threads: int | None = 1,
) -> GgufCheckpoint:
    out.mkdir()
    parsed = parse_recipe(recipe)
    quantize(
        parsed,
        model,
        out,
        calibration=CALIBRATION if parsed.calibration else [],
        device="cpu",
        progress=progress or SilentProgress(),
        workers=Workers(),
        threads=threads,
    )
    assert [file.name for file in out.iterdir()] == ["model.gguf"]
    return open_checkpoint(out)


@pytest.fixture(scope="session")
def q4_k_m(pocket: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[GgufCheckpoint, Any]:
    progress = Recorder()
    out = tmp_path_factory.mktemp("gguf") / "q4_k_m"
    return _make("gguf-q4_k_m", pocket, out, progress=progress), progress


def test_the_mixture_is_llama_cpps(q4_k_m: tuple[GgufCheckpoint, Any]) -> None:
    """src/llama-quant.cpp for four layers: `use_more_bits` holds for the last and every third."""
    checkpoint, _ = q4_k_m
    types = {name: tensor.type for name, tensor in checkpoint.files.tensors.items()}
    assert types["token_embd.weight"] == "Q4_K"
    assert types["output.weight"] == "Q6_K"
    assert types["output_norm.weight"] == "F32"
    assert [types[f"blk.{i}.attn_q.weight"] for i in range(4)] == ["Q4_K"] * 4
    assert [types[f"blk.{i}.attn_v.weight"] for i in range(4)] == ["Q4_K", "Q4_K", "Q6_K", "Q6_K"]
    assert checkpoint.info.format == "gguf-q4_k_m"
    assert checkpoint.info.bits == 4.0
    assert 4.5 < checkpoint.info.bits_per_weight < 5.5
    assert checkpoint.files.metadata["general.name"] == "pocket"
    assert checkpoint.files.metadata["tokenizer.ggml.pre"] == "smollm"


def test_progress_reaches_its_total(q4_k_m: tuple[GgufCheckpoint, Any]) -> None:
    checkpoint, progress = q4_k_m
    assert progress.total == progress.done == 2 * len(checkpoint.names())


def test_the_weights_are_those_that_transformers_loads(
    q4_k_m: tuple[GgufCheckpoint, Any],
) -> None:
    from transformers import AutoModelForCausalLM

    checkpoint, _ = q4_k_m
    file = checkpoint.files.paths[0]
    model: Any = AutoModelForCausalLM.from_pretrained(file.parent, gguf_file=file.name)
    state = model.state_dict()
    assert set(checkpoint.names()) == set(state)
    for name in checkpoint.names():
        assert torch.equal(checkpoint.read(name), state[name].float()), name


def test_the_weights_are_near_the_reference(
    pocket: Path, q4_k_m: tuple[GgufCheckpoint, Any]
) -> None:
    """Four bits with 32 weights to a scale: the step is about an eighth of the largest weight."""
    checkpoint, _ = q4_k_m
    source = open_source(pocket)
    for name in source.parameters:
        dense = source.checkpoint.read(name).float()
        error = float((checkpoint.read(name) - dense).norm() / dense.norm())
        assert error < 0.12, name
        assert error > 0.005 or dense.ndim == 1, name


def test_dense_types_keep_every_bit(pocket: Path, tmp_path: Path) -> None:
    source = open_source(pocket)
    checkpoint = _make("gguf-bf16", pocket, tmp_path / "out")
    assert checkpoint.info.format == "gguf-bf16"
    for name in source.parameters:
        assert torch.equal(checkpoint.read(name), source.checkpoint.read(name).float())


def test_an_importance_matrix_moves_the_error_to_where_it_matters_less(
    pocket: Path, tmp_path: Path, q4_k_m: tuple[GgufCheckpoint, Any]
) -> None:
    """The error weighted by the mean squares of the inputs falls, summed over the layers."""
    checkpoint = _make("gguf-q4_k_m-imatrix@wiki", pocket, tmp_path / "out")
    metadata = checkpoint.files.metadata
    assert checkpoint.info.calibration == "wiki"
    assert metadata["quantize.imatrix.entries_count"] == 28
    assert metadata["quantize.imatrix.chunks_count"] == 3
    source = open_source(pocket)
    importance = importance_matrix(source, CALIBRATION)
    errors = []
    for variant in (checkpoint, q4_k_m[0]):
        total = 0.0
        for name in source.parameters:
            if source.stored_name(name) in importance:
                difference = variant.read(name) - source.checkpoint.read(name).float()
                weights = torch.from_numpy(importance[source.stored_name(name)])
                total += float((difference**2 @ weights).sum())
        errors.append(total)
    assert errors[0] < 0.95 * errors[1]
    embedding = "model.embed_tokens.weight"
    assert torch.equal(checkpoint.read(embedding), q4_k_m[0].read(embedding))


def test_a_type_that_needs_an_importance_matrix_is_made_with_one(tmp_path: Path) -> None:
    """Q2_K_S is the quickest: the codebooks of the IQ types take llama.cpp seconds to set up."""
    sizes = {"hidden_size": 256, "intermediate_size": 256, "num_hidden_layers": 1}
    save_tiny(tmp_path / "model", "llama", vocab_size=1100, **sizes)
    checkpoint = _make("gguf-q2_k_s-imatrix", tmp_path / "model", tmp_path / "out")
    assert checkpoint.files.tensors["blk.0.ffn_up.weight"].type == "Q2_K"
    assert checkpoint.info.format == "gguf-q2_k_s"


def test_llama_cpp_wants_an_importance_matrix_for_just_these_types(
    pocket: Path, tmp_path: Path
) -> None:
    write_gguf(open_source(pocket), tmp_path / "dense.gguf")
    assert peer.need_imatrix(tmp_path / "dense.gguf", dict(FILE_TYPES)) == set(_NEED_IMATRIX)


@pytest.mark.parametrize("kind", ["iq1_s", "iq3_xs", "q2_k_s"])
def test_types_that_need_an_importance_matrix_say_so(
    pocket: Path, tmp_path: Path, kind: str
) -> None:
    with pytest.raises(UsageError, match=f"{kind} needs an importance matrix") as caught:
        _make(f"gguf-{kind}", pocket, tmp_path / "out")
    assert f"gguf-{kind}-imatrix" in caught.value.hint


def test_an_importance_matrix_without_a_use_or_without_tokens_is_refused(
    pocket: Path, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match="no effect on f16"):
        _make("gguf-f16-imatrix", pocket, tmp_path / "out")
    with pytest.raises(UsageError, match="needs calibration tokens"):
        quantize(
            parse_recipe("gguf-q4_0-imatrix"),
            pocket,
            tmp_path,
            calibration=[],
            device="cpu",
            progress=SilentProgress(),
            workers=Workers(),
        )


@pytest.mark.parametrize(
    ("recipe", "hidden", "matrices", "note"),
    [
        (
            "gguf-q4_k_m",
            64,
            {"Q5_0", "Q8_0"},
            "16 of 16 matrices have rows (64, 96) that the blocks of their type do not divide; "
            "llama.cpp's fallback types are in their place: Q5_0 (13), Q8_0 (3)",
        ),
        (
            "gguf-q4_0",
            64,
            {"Q4_0", "Q8_0"},
            "1 of 16 matrices have rows (64) that the blocks of their type do not divide; "
            "llama.cpp's fallback types are in their place: Q8_0 (1); the others are Q4_0 (15)",
        ),
        (
            "gguf-q8_0",
            48,
            {"Q8_0", "F16"},
            "14 of 16 matrices have rows (48) that the blocks of their type do not divide; "
            "llama.cpp's fallback types are in their place: F16 (14); the others are Q8_0 (2)",
        ),
    ],
)
def test_what_llama_cpp_takes_for_rows_that_do_not_fit_is_noted(
    tmp_path: Path, recipe: str, hidden: int, matrices: set[str], note: str
) -> None:
    """Oracle: llama.cpp's ``tensor_type_fallback`` (Q4_K to Q5_0, Q6_K to Q8_0, else F16)."""
    save_tiny(tmp_path / "model", "llama", hidden_size=hidden)
    checkpoint = _make(recipe, tmp_path / "model", tmp_path / "out")
    types = {t.type for t in checkpoint.files.tensors.values() if len(t.shape) == 2}
    assert types == matrices
    assert checkpoint.notes == checkpoint_notes(checkpoint) == (note,)


def test_a_file_of_its_own_types_has_no_note(q4_k_m: tuple[GgufCheckpoint, Any]) -> None:
    assert q4_k_m[0].notes == ()


def test_k_quants_in_files_of_small_blocks_fall_back_too(tmp_path: Path) -> None:
    """Without an importance matrix, IQ4_NL files have Q5_K in the first eighth's `ffn_down`."""
    save_tiny(tmp_path / "model", "llama", num_hidden_layers=8)
    (note,) = _make("gguf-iq4_nl", tmp_path / "model", tmp_path / "out").notes
    assert "Q5_1 (1)" in note


@pytest.mark.usefixtures("started_fresh")
@pytest.mark.parametrize("recipe", ["gguf-q4_k_m", "gguf-q4_k_m-imatrix@wiki"])
def test_the_bytes_do_not_depend_on_the_cores_that_are_free(
    pocket: Path, tmp_path: Path, recipe: str
) -> None:
    """Oracle: the same recipe, carried out where the process may use all cores."""
    if not hasattr(os, "sched_setaffinity") or len(os.sched_getaffinity(0)) < 2:
        pytest.skip("needs two cores, and a system that can take one away")
    both = _make(recipe, pocket, tmp_path / "both", threads=None)
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(allowed)})
    try:
        one = _make(recipe, pocket, tmp_path / "one", threads=None)
    finally:
        os.sched_setaffinity(0, allowed)
    assert one.info.digest == both.info.digest


def test_the_result_does_not_depend_on_the_threads(
    pocket: Path, tmp_path: Path, q4_k_m: tuple[GgufCheckpoint, Any]
) -> None:
    again = _make("gguf-q4_k_m", pocket, tmp_path / "out", threads=2)
    assert again.info.digest == q4_k_m[0].info.digest


def test_llama_cpps_own_words_are_passed_on(tmp_path: Path) -> None:
    """A file that llama.cpp cannot open, given to the worker's own function in a process."""
    bad = tmp_path / "bad.gguf"
    bad.write_bytes(b"GGUF")
    code = (
        "from pathlib import Path; from bitloss.quantizers._llama_cpp_worker import _Quantization; "
        f"_Quantization('q8_0', {{}}, 1).run(Path({str(bad)!r}), Path('unused'), print)"
    )
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True)
    assert done.returncode == 1
    assert "QuantizationError: llama.cpp could not make q8_0: " in done.stderr
    assert str(bad) in done.stderr.splitlines()[-1]


@pytest.mark.parametrize("kind", ["Q8_0", "Q4_0"])
def test_bytes_are_those_of_the_gguf_package(tmp_path: Path, kind: str) -> None:
    """Oracle: the quantizers that the package `gguf` has in numpy, bit-exact with llama.cpp's."""
    import gguf

    save_tiny(tmp_path / "model", "llama")
    _make(f"gguf-{kind.lower()}", tmp_path / "model", tmp_path / "out")
    source = open_source(tmp_path / "model")
    tensors = {t.name: t for t in gguf.GGUFReader(tmp_path / "out" / "model.gguf").tensors}
    compared = 0
    for name in source.parameters:
        tensor = tensors[source.stored_name(name)]
        if tensor.tensor_type.name == kind:
            dense = source.read(name).float().numpy()
            assert (tensor.data == gguf.quants.quantize(dense, tensor.tensor_type)).all(), name
            compared += 1
    # Seven matrices in each of two blocks, the embedding, and the head unless it is Q4_0.
    assert compared == (16 if kind == "Q8_0" else 15)


@pytest.mark.parametrize("recipe", ["gguf-q8_0", "gguf-q4_k_m", "gguf-q3_k_m", "gguf-q2_k"])
def test_bits_per_weight_are_near_those_of_a_file(
    pocket: Path, tmp_path: Path, recipe: str
) -> None:
    """The pocket model's embedding is a tenth of it, a smaller part than Llama 3.1's fourth."""
    made = _make(recipe, pocket, tmp_path / "out").info.bits_per_weight
    assert GGUF.bits_per_weight(parse_recipe(recipe)) == pytest.approx(made, rel=0.15)


def test_every_file_type_has_an_estimate() -> None:
    for kind in FILE_TYPES:
        assert 1 < GGUF.bits_per_weight(parse_recipe(f"gguf-{kind}")) <= 32
