"""File names from any text. Oracle: names written down by hand."""

from __future__ import annotations

import pytest

from bitloss.reports.file_names import file_name


@pytest.mark.parametrize(
    ("name", "taken", "expected"),
    [
        ("divergence-by-size:wikitext-2", (), "divergence-by-size-wikitext-2.png"),
        ("./a b/x.gguf", (), "a-b-x.gguf.png"),
        ("../..", (), "chart.png"),
        ("x", ("x.png",), "x-2.png"),
        ("x", ("x.png", "x-2.png"), "x-3.png"),
    ],
)
def test_names(name: str, taken: tuple[str, ...], expected: str) -> None:
    assert file_name(name, ".png", default="chart", taken=taken) == expected
