"""An engine over a native runtime: llama.cpp on GGUF files beside a dense reference.

Oracles: transformers' forward of the same weights, and the dense engine on the same files.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from bitloss.cli.main import main
from bitloss.engines.values import Candidate, Model
from bitloss.errors import CheckpointError, UnsupportedModel
from bitloss.formats import open_checkpoint
from bitloss.formats.base import identify
from bitloss.quantizers.gguf_writer import open_source, write_gguf
from bitloss.results import Comparison
from engines import pair_checks
from peers import llama_cpp_engine
from peers.llama_cpp_engine import ENGINE
from peers.registering import register
from peers.tiny import VOCABULARY, save_tiny

pytestmark = pytest.mark.skipif(
    find_spec("llama_cpp") is None, reason="llama-cpp-python is not installed"
)


@pytest.fixture(autouse=True)
def _registered(monkeypatch: pytest.MonkeyPatch) -> None:
    register(monkeypatch, "ENGINES", **{"llama.cpp": "peers.llama_cpp_engine:ENGINE"})


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Path], dict[str, Any]]:
    """F32 files of a random model, of two noisy copies and of a broken one; and the models."""
    folder = tmp_path_factory.mktemp("gguf")
    paths, models = {}, {}
    for name, noise in (("reference", 0.0), ("a", 0.03), ("b", 0.05), ("broken", torch.nan)):
        model = save_tiny(folder / name, "llama")
        torch.manual_seed(3)
        with torch.no_grad():
            for weight in model.parameters():
                weight += noise * torch.randn_like(weight) if noise else 0.0
        model.save_pretrained(folder / name)
        paths[name], models[name] = folder / f"{name}.gguf", model
        write_gguf(open_source(folder / name), paths[name])
    return paths, models


def candidate(path: Path, engine: str = "llama.cpp", **options: Any) -> Candidate:
    checkpoint = open_checkpoint(path)
    model = Model(path.stem, identify(checkpoint), checkpoint, path)
    return Candidate(model, engine, "fp32", **options)


@pytest.mark.parametrize("check", pair_checks.PAIR_CHECKS, ids=lambda check: check.__name__)
def test_it_scores(files: Any, tmp_path: Path, check: Any) -> None:
    paths, models = files

    def logits(name: str, ids: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            return models[name](torch.from_numpy(ids[None]).long()).logits[0].double().numpy()

    facts = pair_checks.Facts(
        vocabulary=VOCABULARY,
        reference=candidate(paths["reference"], "dense"),
        copy=candidate(paths["reference"]),
        variants=(candidate(paths["a"]), candidate(paths["b"])),
        broken=candidate(paths["broken"]),
        logits=logits,
        tolerance=1e-4,
        floor=1e-5,
    )
    check(ENGINE, facts, tmp_path)


def test_the_command_line(
    pocket: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    """The oracle is the dense engine on the same files and tokens."""
    monkeypatch.chdir(tmp_path)
    for name in ("f16", "q8_0"):
        assert main(["quantize", "pocket", f"{name}.gguf", "--recipe", f"gguf-{name}", "-q"]) == 0
    results = {}
    for engine in ("dense", "llama.cpp"):
        words = ["compare", "pocket", "f16.gguf", "q8_0.gguf", "--engine", engine, "--out", engine,
                 "--corpus", "pocket-prose", "--limit", "4", "--no-report", "-q"]  # fmt: skip
        assert main(words) == 0, capsys.readouterr().err
        results[engine] = [v.corpora["pocket-prose"] for v in Comparison.load(engine).variants]
    capsys.readouterr()
    (dense_f16, dense_q8), (f16, q8) = results["dense"], results["llama.cpp"]
    # Dense tensors of both files are the same; llama.cpp rounds what they are multiplied with to
    # half precision (F16) or to 8 bits (Q8_0), which costs more than the weights of F16 do.
    assert dense_f16.kl_divergence.mean < 1e-8
    assert f16.kl_divergence.mean < 1e-4
    assert f16.perplexity == pytest.approx(dense_f16.perplexity, rel=1e-3)
    assert dense_q8.kl_divergence.mean < q8.kl_divergence.mean < 2 * dense_q8.kl_divergence.mean
    assert q8.perplexity == pytest.approx(dense_q8.perplexity, rel=3e-3)
    assert dense_q8.noise_floor is not None
    assert q8.noise_floor is None
    assert any("the noise floor was not measured" in note for note in q8.notes)


def test_other_formats_and_damaged_files_are_refused(
    pocket: Path, files: Any, tmp_path: Path
) -> None:
    checkpoint = open_checkpoint(pocket)
    dense = Candidate(Model("m", identify(checkpoint), checkpoint, pocket), "llama.cpp")
    with pytest.raises(UnsupportedModel, match="expected a GGUF file, got safetensors") as error:
        llama_cpp_engine.load(dense, batch_tokens=64)
    assert "bitloss quantize" in error.value.hint
    whole = candidate(files[0]["a"])
    with pytest.raises(UnsupportedModel, match="runs on the CPU, got device `cuda`"):
        llama_cpp_engine.load(candidate(files[0]["a"], device="cuda"), batch_tokens=64)
    damaged = tmp_path / "a.gguf"
    damaged.write_bytes(files[0]["a"].read_bytes()[:-100])
    model = Model("a", whole.model.identity, None, damaged)
    with pytest.raises(CheckpointError, match=r"a: llama\.cpp cannot load"):
        llama_cpp_engine.load(Candidate(model, "llama.cpp"), batch_tokens=64)
