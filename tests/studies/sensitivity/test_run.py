"""The study of parts from end to end, on the bundled model and variants made by hand.

Oracle of the losses: `bitloss.compare` on a directory with the same tensors copied in.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

import bitloss
from bitloss.cli.main import main
from bitloss.errors import DataError, UnknownName, UsageError
from bitloss.studies.page import page
from bitloss.studies.sensitivity import SensitivityResult, sensitivity
from bitloss.studies.sensitivity.tables import part_words
from page_reader import Reader
from study_parts import numbers_at_paths

DOWN = "model.layers.2.mlp.down_proj.weight"
QUERY = "model.layers.0.self_attn.q_proj.weight"
QUICK: dict[str, Any] = {
    "corpora": ["pocket-prose"], "max_length": 32, "stride": 32, "limit": 24, "seed": 1,
}  # fmt: skip


def changed_copy(pocket: Path, folder: Path, names: dict[str, float]) -> Path:
    """The bundled model with some tensors rounded to a grid."""
    import torch
    from safetensors.torch import load_file, save_file

    shutil.copytree(pocket, folder)
    tensors = load_file(folder / "model.safetensors")
    for name, step in names.items():
        tensors[name] = (torch.round(tensors[name].float() / step) * step).to(tensors[name].dtype)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


@pytest.fixture(scope="module")
def variant(pocket: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return changed_copy(
        pocket, tmp_path_factory.mktemp("variant") / "coarse", {DOWN: 0.1, QUERY: 0.15}
    )


@pytest.fixture(scope="module")
def result(variant: Path, tmp_path_factory: pytest.TempPathFactory) -> SensitivityResult:
    out = tmp_path_factory.mktemp("studies")
    return bitloss.study(
        "sensitivity", "pocket", variants=[variant], parts=["kinds", "layers", "tensors"],
        until="all", out=out, **QUICK,
    )  # fmt: skip


def test_only_what_differs_is_a_part(result: SensitivityResult) -> None:
    (found,) = result.variants
    names = {d.division: {part.part for part in d.parts} for d in found.divisions}
    assert names == {
        "kinds": {"down", "q"},
        "layers": {"layer-2", "layer-0"},
        "tensors": {"layer-2.down", "layer-0.q"},
    }
    assert set(found.divisions[0].unchanged) == {
        "embeddings", "k", "v", "o", "gate", "up", "other", "head",
    }  # fmt: skip


def test_the_page_has_the_numbers_of_the_document(result: SensitivityResult) -> None:
    pytest.importorskip("vl_convert")
    text = page(result)
    assert numbers_at_paths(text, result.to_json()) > 30
    root = Reader(text).root
    assert [one.tag for one in root.all()].count("svg") == 3  # kinds, layers, tensors
    lead = next(one for one in root.all() if "lead" in one.classes)
    assert "of the loss" in lead.text


def test_losses_are_those_of_the_model_with_the_tensors_copied_in(
    result: SensitivityResult, pocket: Path, variant: Path, tmp_path: Path
) -> None:
    down = changed_copy(pocket, tmp_path / "down", {DOWN: 0.1})
    query = changed_copy(pocket, tmp_path / "query", {QUERY: 0.15})
    compared = bitloss.compare(
        "pocket", [variant, down, query], out=tmp_path / "run", dtype="fp32", **QUICK
    )
    losses = [v.corpora["pocket-prose"].kl_divergence.mean for v in compared.variants]
    assert all(losses)
    (found,) = result.variants
    assert found.loss is not None
    assert found.loss.value == pytest.approx(losses[0], rel=1e-4)
    kinds = {part.part: part for part in found.divisions[0].parts}
    whole = losses[0] or 0.0
    for part, restored, loss in (("down", "q", losses[1]), ("q", "down", losses[2])):
        assert kinds[part].loss.value == pytest.approx(loss, rel=1e-4)
        assert kinds[part].share.value == pytest.approx((loss or 0) / whole, rel=1e-4)
        # To put the other part back leaves this one alone.
        assert kinds[restored].recovered is not None
        assert kinds[restored].recovered.value == pytest.approx(
            (whole - (loss or 0)) / whole, rel=1e-3
        )
    total = found.divisions[0].sum_of_parts.value
    assert total == pytest.approx(sum(x or 0 for x in losses[1:]) / whole, rel=1e-4)


def test_the_document_and_the_tables(result: SensitivityResult, tmp_path: Path) -> None:
    result.write(tmp_path / "sensitivity.json")
    assert SensitivityResult.load(tmp_path / "sensitivity.json") == result
    shown = str(result)
    assert "parts of" in shown
    assert "layer-2.down" in shown
    assert "of the loss" in shown
    assert "takes" in shown
    assert result.work.reused_states
    # The whole; in this variant a kind, its layer and the tensor are the same two hybrids.
    assert result.work.swaps == 1 + 2 * 2
    assert result.work.share_of_full < 1
    (tmp_path / "other.json").write_text(json.dumps({"sensitivity_version": 0}))
    with pytest.raises(DataError, match="of version"):
        SensitivityResult.load(tmp_path / "other.json")


def test_a_study_resumes_with_the_same_answer(
    variant: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from bitloss.engines.dense.swaps import scorer

    given = {"parts": ["kinds"], "out": tmp_path, "restore": False, **QUICK}
    first = sensitivity("pocket", [variant], **given)
    assert first.sequential

    def refuse(*args: Any) -> Any:
        raise AssertionError("scored again")

    monkeypatch.setattr(scorer.SwapScorer, "score", refuse)
    assert sensitivity("pocket", [variant], **given) == first


def test_single_parts_beside_all_else(variant: Path, tmp_path: Path) -> None:
    found = sensitivity(
        "pocket", [variant], parts=["layer-2.down"], restore=False, out=tmp_path, **QUICK
    )
    (division,) = found.variants[0].divisions
    assert {part.part for part in division.parts} == {"layer-2.down", "all-else"}
    assert {part.tensors for part in division.parts} == {1}


@pytest.mark.parametrize(
    ("parts", "error", "words"),
    [
        (["layer-9"], UnknownName, "layer-9"),
        (["experts"], UnknownName, "experts"),
        (["qkv"], UnknownName, "qkv"),
        (["layer-2", "down"], UsageError, "in common"),
    ],
)
def test_parts_that_there_are_not(
    variant: Path, tmp_path: Path, parts: list[str], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        sensitivity("pocket", [variant], parts=parts, out=tmp_path, **QUICK)


def test_a_copy_and_another_model(pocket: Path, tmp_path: Path) -> None:
    from peers.tiny_model import write_tiny_model

    copy, other = tmp_path / "copy", write_tiny_model(tmp_path / "other")
    shutil.copytree(pocket, copy)
    found = sensitivity("pocket", [copy, other], out=tmp_path / "out", **QUICK)
    same, failed = found.variants
    assert same.loss is not None
    assert same.loss.is_nothing
    assert "no loss to divide" in str(found)
    assert failed.error is not None
    assert "failed" in str(found)


def test_what_a_study_of_parts_has_no_place_for(variant: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="engine"):
        sensitivity("pocket", [variant], engine="llama.cpp", out=tmp_path, **QUICK)
    with pytest.raises(UsageError, match="one corpus"):
        sensitivity(
            "pocket", [variant], out=tmp_path, **{**QUICK, "corpora": ["pocket-prose", "x"]}
        )
    with pytest.raises(UsageError, match="at least one variant"):
        sensitivity("pocket", [], out=tmp_path, **QUICK)


def test_from_the_command_line(
    variant: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = f"study sensitivity pocket {variant} --corpus pocket-prose --max-length 32 --stride 32"
    words += f" --limit 24 --parts kinds --no-restore --out {tmp_path} --quiet"
    assert main(words.split()) == 0
    shown = capsys.readouterr()
    assert "share of the loss" in shown.out
    assert "sensitivity.json" in shown.err
    assert main([*words.split(), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["model"] == "pocket"
    assert main(words.replace("--parts kinds", "--parts nothing").split()) == 2
    assert "unknown part `nothing`" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("part", "words"),
    [
        ("layer-3.down", "layer 3's down projections"),
        ("layer-3", "layer 3"),
        ("q", "the query projections"),
        ("layer-0.experts-0-7", "layer 0's experts-0-7"),
    ],
)
def test_parts_in_sentences(part: str, words: str) -> None:
    assert part_words(part) == words
