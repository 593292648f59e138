"""What a user may write for a model. Oracle: the table of `bitloss.spec.model`."""

from __future__ import annotations

from pathlib import Path

import pytest

from bitloss.errors import CheckpointError, UnknownName, UsageError
from bitloss.spec.calibration import Calibration
from bitloss.spec.model import ModelRef, parse_model
from bitloss.spec.recipe import parse_recipe


@pytest.mark.parametrize(
    ("text", "ref"),
    [
        ("pocket", ModelRef("pocket", "builtin")),
        ("org/name", ModelRef("org/name", "hub", repo="org/name")),
        ("org/name@v1.0", ModelRef("org/name@v1.0", "hub", repo="org/name", revision="v1.0")),
        ("o/n-GGUF:q4_0", ModelRef("o/n-GGUF:q4_0", "hub", repo="o/n-GGUF", gguf="Q4_0")),
        ("gptq-4/name", ModelRef("gptq-4/name", "hub", repo="gptq-4/name")),
    ],
)  # fmt: skip
def test_names(text: str, ref: ModelRef) -> None:
    assert parse_model(text) == ref
    assert parse_model(text, allow_recipe=True) == ref


def test_a_recipe_takes_calibration_and_seed() -> None:
    calibration = Calibration("code", 4, 64)
    ref = parse_model("gptq-4", allow_recipe=True, calibration=calibration, seed=5)
    assert ref.kind == "recipe"
    assert ref.recipe == parse_recipe("gptq-4", calibration=calibration, seed=5)


def test_what_exists_is_a_path_whatever_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("gptq-4").mkdir()
    ref = parse_model("gptq-4", allow_recipe=True)
    assert (ref.kind, ref.path) == ("path", Path("gptq-4"))


def test_a_recipe_is_no_reference() -> None:
    with pytest.raises(UsageError, match="`gptq-4` is a recipe; a model is expected here"):
        parse_model("gptq-4")


@pytest.mark.parametrize("text", ["./none", "/none", "none.gguf", "a/b/c"])
def test_a_path_that_does_not_exist(text: str) -> None:
    with pytest.raises(CheckpointError, match=f"no model at `{text}`"):
        parse_model(text, allow_recipe=True)


def test_a_mistyped_name() -> None:
    with pytest.raises(UnknownName, match="unknown model or recipe `gtpq-4`") as caught:
        parse_model("gtpq-4", allow_recipe=True)
    assert "`gptq-4`" in caught.value.hint
    with pytest.raises(UnknownName, match="unknown model `gtpq-4`") as caught:
        parse_model("gtpq-4")
    assert "`gptq-4`" not in caught.value.hint
