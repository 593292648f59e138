"""A part of the campaign of malformed inputs, in seconds; all of it is `campaigns.malformed`."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from campaigns.forks import Bounds, Outcome, fault_of

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(
    "words",
    [["campaigns.malformed", "--scale", "1", "--step", "24"],
     ["campaigns.full_disk", "--steps", "2", "--only", "report json"],
     ["campaigns.full_disk", "--only", "stdout: list"]],
    ids=["malformed", "full disks", "full devices"],
)  # fmt: skip
def test_a_part_of_the_campaign_has_no_faults(words: list[str]) -> None:
    """In a process of its own: it forks, and this one has threads."""
    paths = os.pathsep.join([str(ROOT / "src"), str(ROOT / "tests")])
    done = subprocess.run(
        [sys.executable, "-m", *words],
        env={**os.environ, "PYTHONPATH": paths}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert ", faults 0" in done.stdout


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
