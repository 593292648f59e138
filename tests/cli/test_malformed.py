"""What the campaigns take for a fault; a part of each runs in `tests/cli/test_disturbed.py`."""

from __future__ import annotations

import pytest

from campaigns.forks import Bounds, Outcome, fault_of

ERROR = "error: expected x, got y\nhint: do it\n"


@pytest.mark.parametrize(
    ("outcome", "words"),
    [
        (Outcome(1, 1.0, 0, "", ERROR), ""),
        (Outcome(0, 1.0, 0, "", ""), ""),
        (Outcome(1, 1.0, 0, "", "Traceback (most recent call last):\nKeyError: 1\n"), "Traceback"),
        (Outcome(1, 1.0, 0, "", "error: internal error: KeyError: 1\nhint: x\n"), "internal error"),
        (Outcome(-9, 1.0, 0, "", ""), "exit status -9"),
        (Outcome(1, 1.0, 0, "", "error: x\n"), "no hint"),
        (Outcome(1, 1.0, 0, "", ""), "no line `error: `"),
        (Outcome(0, 99.0, 0, "", ""), "took 99 s"),
        (Outcome(0, 1.0, 2 << 30, "", ""), "took 2048 MB"),
        (Outcome(1, 1.0, 0, "", ERROR, (".tmp-x",)), "left .tmp-x"),
        (Outcome(1, 1.0, 0, "", f"error: {'n' * 5000}\nhint: x\n"), "characters in a line"),
    ],
)
def test_what_is_a_fault(outcome: Outcome, words: str) -> None:
    """The campaign can fail: every kind of fault is found, and nothing else is one."""
    fault = fault_of(outcome, Bounds())
    assert words in fault
    assert bool(words) == bool(fault)
