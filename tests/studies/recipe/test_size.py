"""Sizes as users write them. Oracle: arithmetic."""

from __future__ import annotations

import pytest

from bitloss.errors import UsageError
from bitloss.studies.recipe.size import parse_size, require_possible


@pytest.mark.parametrize(
    ("text", "expected"),
    [("1000", 1000), ("3.2MB", 3_200_000), ("1 GiB", 1 << 30), ("4.5bpw", 4500), ("2kB", 2000)],
)
def test_sizes(text: str, expected: int) -> None:
    assert parse_size(text, 8000) == expected


@pytest.mark.parametrize("text", ["", "big", "-3MB", "4.5 bits", "0", "1e9"])
def test_what_is_no_size(text: str) -> None:
    with pytest.raises(UsageError, match="expected a size"):
        parse_size(text, 8000)


def test_impossible_sizes_name_the_bounds() -> None:
    require_possible(5, 5, 9)
    with pytest.raises(UsageError, match=r"at least 5 bytes.*got 4"):
        require_possible(4, 5, 9)
    with pytest.raises(UsageError, match=r"at most 9 bytes.*got 10"):
        require_possible(10, 5, 9)
