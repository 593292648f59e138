"""A run beside a pack. Oracle: the run from the weights, byte for byte."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import bitloss
from bitloss.errors import Incomparable, UsageError
from bitloss.results import Comparison
from bitloss.results.pack import PackDocument
from bitloss.runner import RunStore
from peers.tiny import save_tiny

Check = Callable[[Comparison, Comparison], None]


def _document(pack: Path) -> PackDocument:
    return PackDocument.from_json((pack / "pack.json").read_bytes(), name="pack.json")


def test_a_pack_that_was_moved_and_made_read_only_gives_the_figures_of_the_weights(
    copied: Path, inside: Path, tmp_path: Path, equal_but_for_source: Check
) -> None:
    tiny, away = inside / "tiny", inside / "tiny-out-of-reach"
    for path in [*copied.rglob("*"), copied]:
        path.chmod(0o555 if path.is_dir() else 0o444)
    before = sorted(copied.rglob("*"))
    for name in ("first.txt", "second.txt", "choice.yaml", "contains.yaml"):
        (inside / name).rename(inside / f"{name}.away")
    tiny.rename(away)
    try:
        beside = bitloss.compare(copied, "./noisy", out=tmp_path / "run")
    finally:
        away.rename(tiny)
        for name in ("first.txt", "second.txt", "choice.yaml", "contains.yaml"):
            (inside / f"{name}.away").rename(inside / name)
        for path in [copied, *copied.rglob("*")]:
            path.chmod(0o755 if path.is_dir() else 0o644)
    equal_but_for_source(bitloss.load("weights"), beside)
    assert beside.reference.pack is not None
    assert beside.reference.pack.digest == _document(copied).digest
    assert sorted(copied.rglob("*")) == before
    # What a report needs is in the run directory: the pack may go.
    shutil.rmtree(copied)
    assert bitloss.load(tmp_path / "run") == beside
    RunStore(tmp_path / "run").read_manifest()


def test_a_part_of_a_pack_gives_the_figures_of_the_whole(inside: Path, tmp_path: Path) -> None:
    whole = bitloss.load("weights")["./noisy"]
    part = bitloss.compare(
        "ref.pack", "./noisy", out=tmp_path / "run", corpora=["second.txt"], tasks=["contains"]
    )["./noisy"]
    assert part.tasks is not None
    assert whole.tasks is not None
    assert (list(part.corpora), list(part.tasks)) == (["second.txt"], ["contains"])
    assert part.corpora["second.txt"] == whole.corpora["second.txt"]
    assert part.tasks["contains"] == whole.tasks["contains"]


def test_a_copy_of_the_reference_has_no_divergence(inside: Path, tmp_path: Path) -> None:
    result = bitloss.compare("ref.pack", "./tiny", out=tmp_path / "run")["./tiny"]
    assert {one.kl_divergence.max for one in result.corpora.values()} == {0.0}


def test_a_finished_run_is_read_again_until_the_pack_changes(
    copied: Path, inside: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = bitloss.compare(copied, "./noisy", out=tmp_path / "run")
    with monkeypatch.context() as patch:
        patch.setattr("bitloss.runner.plan.prepare", None)
        assert bitloss.compare(copied, "./noisy", out=tmp_path / "run") == first
    (copied / "head.safetensors").write_bytes(b"another")
    with pytest.raises(bitloss.BitlossError, match=r"head\.safetensors"):
        bitloss.compare(copied, "./noisy", out=tmp_path / "run")


def test_a_variant_with_another_vocabulary_cannot_be_compared(inside: Path, tmp_path: Path) -> None:
    save_tiny(tmp_path / "other", "llama", hidden_size=32, intermediate_size=64,
              num_hidden_layers=1, num_attention_heads=2, num_key_value_heads=2)  # fmt: skip
    with pytest.raises(bitloss.BitlossError, match="different vocabularies") as error:
        bitloss.compare("ref.pack", tmp_path / "other", out=tmp_path / "run")
    assert isinstance(error.value.__cause__, Incomparable)


@pytest.mark.parametrize(
    ("choices", "names"),
    [
        ({"limit": 7}, ("--limit", "6", "7")),
        ({"dtype": "bf16"}, ("--dtype", "fp32", "bf16")),
        ({"protocol": "gptq"}, ("--protocol", "strided", "gptq")),
        ({"protocol": "strided", "stride": 8}, ("--stride", "none", "8")),
        ({"seed": 3}, ("--seed", "0", "3")),
        ({"batch_tokens": 64}, ("--batch-tokens", "2048", "64")),
        ({"chat": True}, ("--chat", "false", "true")),
        ({"corpora": ["third.txt"]}, ("first.txt, second.txt", "third.txt")),
        ({"tasks": ["arc_easy"]}, ("choice, contains", "arc_easy")),
        ({"suite": "quick"}, ("first.txt, second.txt", "wikitext-2")),
        ({"speed": True}, ("--speed",)),
        ({"until": "decided"}, ("--until",)),
        ({"replicates": 2}, ("--replicates",)),
    ],
)
def test_a_choice_that_disagrees_with_the_pack_is_refused_and_both_are_named(
    inside: Path, tmp_path: Path, choices: dict[str, Any], names: tuple[str, ...]
) -> None:
    with pytest.raises(UsageError) as error:
        bitloss.compare("ref.pack", "./noisy", out=tmp_path / "run", **choices)
    assert all(name in error.value.message for name in names)
    assert not (tmp_path / "run").exists()


def test_choices_that_agree_with_the_pack_are_taken(inside: Path, tmp_path: Path) -> None:
    result = bitloss.compare(
        "ref.pack", "./noisy", out=tmp_path / "run", limit=6, dtype="fp32", protocol="strided",
        corpora=["./first.txt"], tasks=["./choice.yaml"],
    )  # fmt: skip
    assert result.environment.dtype == "fp32"


def test_a_pack_cannot_be_quantized_or_scored_alone(inside: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="a pack, which cannot be quantized"):
        bitloss.compare("ref.pack", "gptq-4", out=tmp_path / "run")
    with pytest.raises(UsageError, match="which has none"):
        bitloss.evaluate_perplexity("ref.pack", corpus="first.txt")
    with pytest.raises(bitloss.BitlossError, match="got a pack"):
        bitloss.compare("./tiny", "ref.pack", out=tmp_path / "run", corpora=["first.txt"])
    assert not (tmp_path / "run" / "comparison.json").exists()


def test_another_place_or_version_is_said_or_refused(
    copied: Path, inside: Path, tmp_path: Path
) -> None:
    document = _document(copied)
    _rewrite(copied, document.model_copy(update={"cpu": "ANOTHER"}))
    corpus = bitloss.compare(copied, "./noisy", out=tmp_path / "one").reference.corpora["first.txt"]
    assert any("scored elsewhere (cpu ANOTHER there" in note for note in corpus.notes)
    identity = json.loads(document.reference.identity) | {"version": "dense-0"}
    older = document.reference.model_copy(update={"identity": json.dumps(identity)})
    _rewrite(copied, document.model_copy(update={"reference": older}))
    with pytest.raises(Incomparable, match="got those of dense-0"):
        bitloss.compare(copied, "./noisy", out=tmp_path / "two")


def _rewrite(pack: Path, document: PackDocument) -> None:
    (pack / "pack.json").write_text(document.signed().to_json())


def test_a_reference_in_a_gguf_file(
    inside: Path, tmp_path: Path, equal_but_for_source: Check
) -> None:
    """Its tokenizer is in the file's metadata, which a pack has without the tensors."""
    pytest.importorskip("gguf")
    (tmp_path / "sharp").mkdir()
    save_tiny(tmp_path / "sharp", "llama")
    file = bitloss.quantize(tmp_path / "sharp", tmp_path / "ref.gguf", recipe="gguf-f32")
    choices: dict[str, Any] = {"corpora": ["first.txt"], "tasks": ["./contains.yaml"], "limit": 4}
    weights = bitloss.compare(file, tmp_path / "sharp", out=tmp_path / "one", **choices)
    document = bitloss.pack(file, tmp_path / "ref.pack", engines=["dense"], **choices)
    assert (tmp_path / "ref.pack/tokenizer/tokenizer.gguf").stat().st_size < 30_000
    file.unlink()
    beside = bitloss.compare(tmp_path / "ref.pack", tmp_path / "sharp", out=tmp_path / "two")
    equal_but_for_source(weights, beside)
    assert document.reference.implied is not None
