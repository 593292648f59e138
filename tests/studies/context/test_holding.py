"""How far a level holds. Oracle: outcomes and ranges chosen by hand."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import pytest

import bitloss
from bitloss.results import Estimate
from bitloss.results.verdicts import CapabilityOutcome, CapabilityVerdict
from bitloss.studies.context.holding import holds_up_to
from bitloss.studies.context.positions import Positions, ranges
from bitloss.studies.context.recall import Recall, _able, recall_finding


def outcome(which: CapabilityOutcome) -> CapabilityVerdict:
    loss = {"kept": 0.0, "lost": 0.3}.get(which, 0.02)
    found = Estimate(value=loss, low=loss - 0.01, high=loss + 0.01)
    return CapabilityVerdict(loss=found, margin=0.02, outcome=which, n_scored=32)


def recall(**levels: str) -> Recall:
    """By level, a letter per length: kept, lost, or not shown (n)."""
    words: dict[str, CapabilityOutcome] = {"k": "kept", "l": "lost", "n": "not shown"}
    lengths = (128, 256, 512)
    score = Estimate(value=0.9, low=0.8, high=0.95)
    return Recall(
        reference=dict.fromkeys(lengths, score),
        able=lengths,
        outcomes={
            (level, length): outcome(words[letter])
            for level, letters in levels.items()
            for length, letter in zip(lengths, letters, strict=True)
        },
        scores={},
        margin=0.02,
        items=32,
    )


def grows(level: str, at: int) -> Positions:
    place = next(one for one in ranges(512) if one[0] == at)
    nothing = type("R", (), {"more": {}, "mean": {}})()
    return Positions("wiki", ranges(512), {level: nothing}, frozenset({(level, place)}))


def test_up_to_the_last_length_before_one_that_is_not_kept() -> None:
    found = recall(all="kkk", lost="klk", open="knl", none="nkk")
    assert [found.kept_up_to(one) for one in ("all", "lost", "open", "none")] == [
        512, 128, 128, None,
    ]  # fmt: skip
    assert [found.lost_from(one) for one in ("all", "lost", "open", "none")] == [
        None, 256, 512, None,
    ]  # fmt: skip


def test_growing_divergence_ends_it_earlier() -> None:
    found = recall(all="kkk")
    assert holds_up_to("all", found, []) == 512
    assert holds_up_to("all", found, [grows("all", 256)]) == 256
    assert holds_up_to("all", found, [grows("all", 64)]) is None
    assert holds_up_to("all", None, []) is None


def test_what_is_said_of_retrieval() -> None:
    first, second, third = recall_finding("m", recall(a="kkk", b="kll", c="nnn")).sentences
    assert (
        first == "a keeps retrieval within 2 points up to 512 tokens; no loss beyond that is shown."
    )
    assert second.startswith(
        "b keeps retrieval within 2 points up to 128 tokens; in 256 it loses 30"
    )
    assert third.startswith("c is not shown to keep retrieval within 2 points at any length; no")


def test_a_reference_that_guesses_has_nothing_to_lose() -> None:
    """25% of 32 is a guess; 97% is not, and 28% is within the margin of one, however sure."""
    scores = {
        128: Estimate(value=0.97, low=0.84, high=0.99),
        256: Estimate(value=0.3, low=0.17, high=0.48),
        512: Estimate(value=0.265, low=0.26, high=0.27),
    }
    assert _able(scores, 0.02) == (128,)


@pytest.mark.skipif(find_spec("llama_cpp") is None, reason="llama_cpp is not installed")
def test_the_study_on_the_bundled_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A model of 4M parameters does not retrieve, and the study says so."""
    monkeypatch.setenv("BITLOSS_CACHE", str(tmp_path / "cache"))
    result = bitloss.study(
        "context", ["pocket"], vary=["gguf-q4_0"], corpora=["pocket-prose"], max_length=128,
        limit=16, out=tmp_path,
    )  # fmt: skip
    (model,) = result.models
    assert list(model.tasks) == ["retrieval-128"]
    assert model.corpora["pocket-prose"].n_windows == 16
    whole, retrieval, by_position = model.findings or ()
    assert whole.name == "how far it holds"
    assert "the reference does not retrieve" in whole.sentences[0]
    assert "better than guessing (25%) in texts of 128 tokens, so" in retrieval.sentences[0]
    assert by_position.tables[0].rows[0].name == "1-63"
