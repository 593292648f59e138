"""By hand."""

from __future__ import annotations

import pytest

from bitloss.errors import UsageError
from bitloss.spec.run import RunSpec
from bitloss.spec.sizes import parse_size


@pytest.mark.parametrize(
    ("text", "size"),
    [("8GB", 8 * 10**9), ("8 gb", 8 * 10**9), ("1.5GiB", 3 << 29), ("500M", 5 * 10**8),
     ("2T", 2 * 10**12), ("4096", 4096), ("16KiB", 1 << 14)],
)  # fmt: skip
def test_sizes(text: str, size: int) -> None:
    assert parse_size(text, "--memory") == size
    assert RunSpec(reference="m", variants=(), memory=text).memory_bytes == size


@pytest.mark.parametrize("text", ["", "GB", "eight", "8 GBit", "-1GB", "0", "0.5", "8GB!"])
def test_no_size(text: str) -> None:
    with pytest.raises(UsageError, match=r"--memory: expected a size, got `") as error:
        parse_size(text, "--memory")
    assert error.value.hint == "write it as 8GB or 500MB"
