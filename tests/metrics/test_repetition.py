"""Oracle: texts made to loop or not, and every period tried by comparing slices."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bitloss.metrics.repetition import LONGEST, REPEATS, SHORTEST, ends_in_loop

PROSE = "It was a bright cold day in April, and the clocks were striking thirteen. "


@pytest.mark.parametrize(
    ("text", "loops"),
    [
        ("", False),
        (PROSE, False),
        (PROSE * 4, True),
        (PROSE * 3, False),
        (PROSE + "the end, " * 20, True),
        (PROSE + "the end, " * 20 + "the e", True),  # the last copy is cut off
        (PROSE + "the end, " * 20 + "or is it?", False),
        ("-" * 30, False),
        ("-" * 60, True),
        ("".join(f"Step {n}: add {n}.\n" for n in range(60)), False),  # it counts, it is no copy
        (PROSE + "return x\n" * 30 + "   \n", True),
        ("".join(map(chr, range(0x4E00, 0x5600))), False),
        ("好的，" * 20, True),
    ],
)
def test_texts(text: str, loops: bool) -> None:
    assert ends_in_loop(text) is loops


def by_slices(text: str) -> bool:
    end = text.strip()[-LONGEST:]
    for period in range(1, (len(end) + 1) // REPEATS + 1):
        size = max(REPEATS * period, SHORTEST) - 1
        tail = end[-size:]
        if len(end) >= size and all(a == b for a, b in zip(tail, tail[period:], strict=False)):
            return True
    return False


@given(st.text("ab", max_size=90), st.text("ab", min_size=1, max_size=6), st.integers(0, 60))
@settings(max_examples=300, deadline=None)
def test_every_period_is_found(begin: str, unit: str, copies: int) -> None:
    text = begin + unit * copies
    assert ends_in_loop(text) is by_slices(text)
