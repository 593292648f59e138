"""The study that docs/studies.md shows is one: it satisfies the contract, with one line."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from bitloss.registry import STUDIES, load
from bitloss.studies.base import FactorLevel
from bitloss.studies.columns import COLUMNS

PAGE = (Path(__file__).parents[2] / "docs" / "studies.md").read_text(encoding="utf-8")


def test_the_example_is_a_study() -> None:
    (example,) = [
        text for text in re.findall(r"^```python\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
        if "recipe_sweep(" in text
    ]  # fmt: skip
    names: dict[str, Any] = {}
    exec(example, names)
    study = names["FOUR_BITS"]
    assert study.levels == tuple(
        FactorLevel(kind, f"gguf-{kind}") for kind in ("q4_0", "q4_k_s", "q4_k_m")
    )
    assert set(study.columns) <= set(COLUMNS)
    assert f'"{study.name}": "bitloss.studies.four_bits:FOUR_BITS",' in PAGE


def test_every_study_is_in_the_table() -> None:
    for name in STUDIES:
        assert re.search(rf"^\| `{name}` \| {load('study', STUDIES, name).factor}", PAGE, re.M)
