"""docs/formats.md shows what the command prints, and has a row for every format."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from bitloss import registry
from bitloss.cli.main import main
from bitloss.formats.safetensors.mlx_families import FAMILIES
from bitloss.formats.undecoded import UNDECODED

PAGE = (Path(__file__).parents[1] / "docs" / "formats.md").read_text(encoding="utf-8")


def test_the_list_is_what_the_command_prints(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "formats"]) == 0
    assert f"```\n{capsys.readouterr().out}```" in PAGE


def test_every_quantized_format_has_a_row() -> None:
    rows = set(re.findall(r"^\| ([a-z0-9-]+) \|", PAGE, re.MULTILINE)) - {"format", "recipe"}
    assert rows == set(registry.FORMATS) - {"safetensors"}


def test_methods_called_undecoded_are() -> None:
    (named,) = re.findall(r"Other methods\n\((.*?) \.\.\.\)", PAGE)
    assert set(re.findall(r"`(\w+)`", named)) <= set(UNDECODED)


def test_the_number_of_mlx_model_types() -> None:
    assert f"; {len(FAMILIES)} model types |" in PAGE
