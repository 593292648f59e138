"""Study files. Oracle: the levels written out by hand."""

from __future__ import annotations

from pathlib import Path

import pytest

from bitloss.errors import UnknownName, UsageError
from bitloss.studies.base import FactorLevel
from bitloss.studies.grid import load_study_file

GRID = """\
name: bits-and-groups
factor: bits and group size
recipe: gptq-{bits}-g{group}
axes:
  bits: [4, 3]
  group: [32, 128]
series: bits
columns: [bits_per_weight, kl_divergence]
options: {limit: 6}
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "study.yaml"
    path.write_text(text)
    return path


def test_a_grid_has_every_combination(tmp_path: Path) -> None:
    study = load_study_file(write(tmp_path, GRID))
    assert study.levels == (
        FactorLevel("gptq-4-g32", "gptq-4-g32", "4"),
        FactorLevel("gptq-4-g128", "gptq-4-g128", "4"),
        FactorLevel("gptq-3-g32", "gptq-3-g32", "3"),
        FactorLevel("gptq-3-g128", "gptq-3-g128", "3"),
    )
    assert study.columns == ("bits_per_weight", "kl_divergence")
    assert study.question == "What does bits and group size cost?"
    with pytest.raises(UnknownName, match="level of the study `bits-and-groups`"):
        study.parse("gptq-2-g32")


def test_levels_one_by_one(tmp_path: Path) -> None:
    text = """\
name: mine
factor: this and that
levels:
  - awq-4
  - {name: short, recipe: gguf-q4_0, series: s, changes: {max_length: 128}}
"""
    study = load_study_file(write(tmp_path, text))
    assert study.levels == (
        FactorLevel("awq-4", "awq-4"),
        FactorLevel("short", "gguf-q4_0", "s", {"max_length": "128"}),
    )


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("bits: [4, 3]", "bits: [5, 3]", ":3: recipe: recipe `gptq-5-g32`: GPTQ is made with"),
        ("bits: [4, 3]", "bits: [4, 4]", "level `gptq-4-g32` is given twice"),
        ("{bits}", "{width}", ":4: axes: expected `axes` of group, width"),
        ("kl_divergence", "kld", ":8: columns: unknown column `kld`"),
        ("limit: 6", "limti: 6", ":9: options.limti: unknown option `limti`; did you mean"),
        ("limit: 6", "until: decided", "unknown option `until`"),
        ("bits-and-groups", "bits", ":1: name: `bits` is taken"),
        ("bits-and-groups", "runs", "`runs` is taken"),
        ("bits-and-groups", "../up", ":1: name"),
        ("series: bits", "series: group-size", "expected one of the axes, got `group-size`"),
        ("recipe: gptq-{bits}-g{group}\n", "", "expected either `recipe` with `axes` or `levels`"),
    ],
)
def test_mistakes_are_named_with_their_lines(
    tmp_path: Path, old: str, new: str, message: str
) -> None:
    assert old in GRID
    with pytest.raises(UsageError) as caught:
        load_study_file(write(tmp_path, GRID.replace(old, new)))
    assert message in caught.value.message


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no study file"):
        load_study_file(tmp_path / "none.yaml")
