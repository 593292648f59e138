"""What the answer calls the variants. Oracle: the last part of a path, where it says which."""

from __future__ import annotations

from bitloss.analysis.conclude import conclude
from bitloss.analysis.loss_ranking import ItemLosses
from bitloss.expectations import load_expectations
from bitloss.results import Answer, VariantResult
from verdict_parts import capability, corpus, losses, variant


def concluded(
    *variants: VariantResult, found: ItemLosses | None = None
) -> tuple[tuple[VariantResult, ...], Answer]:
    judged, answer = conclude(variants, lambda _: found, load_expectations(None))
    assert answer is not None
    return judged, answer


def test_paths_are_read_without_their_folders() -> None:
    """Tables call a file by its last part; `recommended` is the name that the user gave."""
    scores = {
        "text completion": capability((0.0, 0.0, 0.0)),
        "math": capability((-0.30, -0.35, -0.25)),
    }
    judged, answer = concluded(
        variant("/models/q8.gguf", corpora={"wiki": corpus(1.001, 1.0, 1.002)}, file_bytes=9000),
        variant("./models/q2.gguf", corpora={"wiki": corpus(1.5, 1.4, 1.6)}, capabilities=scores),
        found=losses({name: {"./models/q2.gguf": 0.3} for name in scores}),
    )
    assert answer.recommended == "/models/q8.gguf"
    assert "Ship q8.gguf" in answer.text
    assert "q2.gguf is `problematic`" in answer.text
    ranking = judged[1].loss_ranking
    assert ranking is not None
    assert "math suffers most: q2.gguf loses 30.0 [" in ranking.text
    assert "models/" not in answer.text + ranking.text


def test_files_of_one_name_keep_their_folders() -> None:
    _, answer = concluded(
        variant("a/q4.gguf", corpora={"wiki": corpus(1.001, 1.0, 1.002)}, file_bytes=9000),
        variant("b/q4.gguf", corpora={"wiki": corpus(1.5, 1.4, 1.6)}),
    )
    assert answer.text.startswith("Ship a/q4.gguf (9.0 kB)")
    assert "b/q4.gguf is 8.0 kB smaller, but is `problematic`" in answer.text
