"""When a smaller group pays. Oracles: bits counted by hand, and records of known ratios."""

from __future__ import annotations

from pathlib import Path

import pytest

from bitloss.studies.contrast import contrast, shown
from bitloss.studies.group_size.findings import _verdict, exchange_rate, recipe_bits
from example_store import write_run
from study_parts import measured_levels


def test_bits_of_a_weight_and_its_share_of_a_scale() -> None:
    """A scale of 16 bits and a zero point of 4 for each group."""
    assert recipe_bits("gptq-4-g128") == 4 + 20 / 128
    assert recipe_bits("gptq-3-g32") == 3 + 19 / 32
    assert recipe_bits("gptq-4-row") == 4


def test_a_bit_leaves_a_fourth() -> None:
    assert exchange_rate(1) == 0.25
    assert exchange_rate(0) == 1
    assert exchange_rate(0.5) == 0.5


@pytest.mark.parametrize(("scale", "expected"), [(0.030, "pays"), (0.046, "does not pay")])
def test_it_pays_where_it_beats_as_many_bits(tmp_path: Path, scale: float, expected: str) -> None:
    """The coarser groups diverge by 0.05; a quarter of a bit would leave 0.707 of it, 0.0354."""
    write_run(tmp_path / "coarse", scale=0.05)
    write_run(tmp_path / "fine", scale=scale)
    measured = measured_levels({name: tmp_path / name for name in ("coarse", "fine")})
    share = exchange_rate(0.25)
    beats = contrast(measured, "wikitext-2", {"coarse": share, "fine": -1.0})
    falls = contrast(measured, "wikitext-2", {"coarse": 1.0, "fine": -1.0})
    found = shown({"beats": beats, "falls": falls})
    assert _verdict(beats, falls, found["beats"], found["falls"]) == expected


def test_what_is_not_measured_is_not_judged() -> None:
    assert _verdict(None, None, False, False) == "not measured"
