"""A study's tables hold the document's values, and only the columns it asked for."""

from __future__ import annotations

from pathlib import Path

import pytest

from bitloss import wording
from bitloss.errors import DataError
from bitloss.results import Engine, Environment, Estimate, Expected, Failure, ProtocolUsed
from bitloss.results.environment import Seeds
from bitloss.studies.result import (
    CorpusMeasured,
    LevelResult,
    ModelResult,
    Step,
    StudyResult,
    TaskMeasured,
)
from bitloss.studies.tables import model_tables


def estimate(value: float) -> Estimate:
    return Estimate(value=value, low=value - 0.01, high=value + 0.02)


BAND = Expected(format="GPTQ", bits=4, low=1.05, high=1.1, level="usually", source="a rule")
LEVELS = (
    LevelResult(
        level="four", recipe="gptq-4", bits_per_weight=4.25, file_bytes=812_000_000,
        expected=BAND, standing="worse than expected",
        corpora={"text": {"relative_perplexity": estimate(1.25)}},
        capabilities={"math": {"loss": estimate(0.05)}},
    ),
    LevelResult(level="five", recipe="gptq-3", error=Failure(message="no way", hint="use 4")),
    LevelResult(
        level="two", recipe="gptq-2", bits_per_weight=2.25, file_bytes=612_000_000,
        corpora={"text": {"relative_perplexity": estimate(2.5)}},
        capabilities={"math": {"loss": estimate(0.4)}},
    ),
)  # fmt: skip
STEP = Step(
    before="four",
    after="two",
    corpora={"text": {"relative_perplexity": estimate(2.0)}},
    capabilities={"math": {"loss": estimate(0.35)}},
)


def make(*columns: str) -> StudyResult:
    model = ModelResult(
        name="org/model",
        digest="d" * 64,
        format="safetensors-bf16",
        run="runs/model",
        corpora={
            "text": CorpusMeasured(
                protocol=ProtocolUsed(name="strided", parameters={}),
                n_scored=4096, n_windows=8, perplexity=6.5, notes=("a note",),
            )
        },
        tasks={
            "sums": TaskMeasured(
                capability="math", metric="acc", n_scored=200, score=estimate(0.6)
            )
        },
        levels=LEVELS,
        steps=(STEP,),
        environment=Environment(
            versions={}, engine=Engine(name="dense"), dtype="fp32", device="cpu",
            seeds=Seeds(bootstrap=0, calibration=0),
        ),
    )  # fmt: skip
    return StudyResult(study="bits", factor="bits per weight", columns=columns, models=(model,))


ALL = ("bits_per_weight", "file_size", "relative_perplexity", "expected", "loss")


def test_every_value_is_shown() -> None:
    result = make(*ALL)
    levels, steps, losses, further = model_tables(result, result.models[0])
    assert levels.rows[0] == {
        "model": "four",
        "bits_per_weight": "4.25",
        "file_size": "812 MB",
        "relative_perplexity": wording.ratio_interval(Estimate(value=1.25, low=1.24, high=1.27)),
        "expected": "1.05-1.10",
        "standing": "worse",
    }
    assert [row["model"] for row in levels.rows] == ["four", "two"]
    assert list(levels.columns) == ["model", *ALL[:4], "standing"]
    assert "4,096 tokens, reference PPL 6.5000" in levels.title
    assert "a note" in levels.notes
    assert steps.rows[0]["relative_perplexity"] == wording.ratio_interval(
        Estimate(value=2.0, low=1.99, high=2.02)
    )
    assert steps.rows[0]["model"] == "four -> two"
    assert losses.rows[1]["math"] == wording.unsigned_points_interval(
        Estimate(value=0.4, low=0.39, high=0.42)
    )
    assert "items: sums 200" in losses.notes
    assert further.rows[0]["math"] == wording.unsigned_points_interval(
        Estimate(value=0.35, low=0.34, high=0.37)
    )


def test_only_what_the_study_asks_for() -> None:
    result = make("relative_perplexity")
    levels, _ = model_tables(result, result.models[0])
    assert list(levels.columns) == ["model", "relative_perplexity"]
    result = make("loss")
    losses, _ = model_tables(result, result.models[0])
    assert list(losses.columns) == ["model", "math"]


def test_print_shows_tables_and_failures() -> None:
    text = str(make(*ALL))
    assert text.startswith("org/model, bits on text: strided")
    assert "org/model, five: failed\nerror: no way\nhint: use 4" in text
    assert "\n\n\n" not in text


def test_the_document_is_read_back(tmp_path: Path) -> None:
    result = make(*ALL)
    result.write(tmp_path / "study.json")
    assert StudyResult.load(tmp_path / "study.json") == result
    assert StudyResult.load(f"{tmp_path}/study.json") == result


def test_a_number_that_does_not_exist_is_null(tmp_path: Path) -> None:
    result = make(*ALL)
    infinite = Step(
        before="a", after="b",
        corpora={"x": {"relative_perplexity": Estimate(value=float("inf"), low=None, high=None)}},
    )  # fmt: skip
    model = result.models[0].model_copy(update={"steps": (infinite,)})
    result = result.model_copy(update={"models": (model,)})
    result.write(tmp_path / "study.json")
    (step,) = StudyResult.load(tmp_path / "study.json").models[0].steps
    assert step.corpora["x"]["relative_perplexity"].value is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "cannot read"),
        ("{", "damaged, not JSON"),
        ("{}", "got no `study_version`"),
        ('{"study_version": 2}', "got version 2"),
        ('{"study_version": 1}', "`study`"),
    ],
)
def test_a_damaged_document(tmp_path: Path, text: str | None, message: str) -> None:
    path = tmp_path / "study.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(DataError, match=message):
        StudyResult.load(path)
