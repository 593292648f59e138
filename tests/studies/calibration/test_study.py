"""Levels and texts of the study of calibration. Oracles: names of recipes, the texts themselves."""

from __future__ import annotations

from pathlib import Path

import pytest

from bitloss.errors import UnknownName, UsageError
from bitloss.studies.base import FactorLevel, Prepared, Subject
from bitloss.studies.calibration.study import CALIBRATION
from peers.tiny_model import write_tiny_model


def prepare(folder: Path, *levels: str, model: str = "pocket", **options: object) -> Prepared:
    parsed = tuple(CALIBRATION.parse(level) for level in levels)
    return CALIBRATION.prepare(Subject(model, parsed, options, folder))


def test_a_level_is_a_recipe_and_a_domain() -> None:
    assert CALIBRATION.parse("gptq-2@code") == FactorLevel(
        "gptq-2@code", "gptq-2@code", "gptq-2@code"
    )
    sized = CALIBRATION.parse("awq-4@math:16x256")
    assert sized.recipe == "awq-4@math"
    assert sized.series == "awq-4@math"  # sizes of one text are steps of each other
    assert sized.changes == {"calibration": {"samples": 16, "length": 256}}


@pytest.mark.parametrize("text", ["gptq-2", "gptq-2@poetry", "gptq-2@code:16", "@code"])
def test_other_levels_are_refused(text: str) -> None:
    with pytest.raises(UnknownName, match="level of the study `calibration`") as caught:
        CALIBRATION.parse(text)
    assert "domains: prose, code, math" in caught.value.hint


def test_a_recipe_that_does_not_calibrate_is_refused() -> None:
    with pytest.raises(UsageError, match="names a calibration text but uses none"):
        CALIBRATION.parse("gguf-q2_k@code")


def test_each_domain_is_written_in_two_parts(tmp_path: Path) -> None:
    ready = prepare(tmp_path, "gptq-2@prose", "gptq-2@chinese", "gguf-q2_k-imatrix@chinese")
    assert [level.recipe for level in ready.levels] == [
        f"gptq-2@{tmp_path}/calibration/prose",
        f"gptq-2@{tmp_path}/calibration/chinese",
        f"gguf-q2_k-imatrix@{tmp_path}/calibration/chinese",
    ]
    assert ready.options["corpora"] == [f"{tmp_path}/prose", f"{tmp_path}/chinese"]
    calibration = (tmp_path / "calibration" / "chinese").read_text().split("\n\n")
    evaluation = (tmp_path / "chinese").read_text().split("\n\n")
    assert calibration
    assert all(max(block) > "一" for block in (*calibration, *evaluation))
    assert len(ready.findings[0].tables[0].rows) == 2


def test_texts_of_the_user_replace_those_for_evaluation(tmp_path: Path) -> None:
    ready = prepare(tmp_path, "gptq-2@prose", corpora=["mine.txt"])
    assert ready.options["corpora"] == ["mine.txt"]


def test_random_tokens_are_the_seeds(tmp_path: Path) -> None:
    texts = []
    for folder, seed in (("a", 0), ("b", 0), ("c", 1)):
        prepare(tmp_path / folder, "gptq-2@random", seed=seed)
        texts.append((tmp_path / folder / "calibration" / "random").read_text())
    assert texts[0] == texts[1] != texts[2]
    assert "\ufffd" not in texts[0]


def test_a_domain_without_a_text_fails_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("BITLOSS_DATA", raising=False)
    write_tiny_model(tmp_path / "tiny")
    ready = prepare(tmp_path / "made", "gptq-2@math", "gptq-2@random", model=str(tmp_path / "tiny"))
    assert list(ready.failed) == ["gptq-2@math"]
    assert "no file `gsm8k/train.jsonl`" in ready.failed["gptq-2@math"].message
    assert ready.options["corpora"] == [f"{tmp_path}/made/random"]
