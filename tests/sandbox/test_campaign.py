"""A part of the campaign, in seconds; all of it is `campaigns.sandbox`. Oracles: see there."""

from __future__ import annotations

from bitloss.sandbox import Bubblewrap
from campaigns.sandbox import CAMPAIGN, faults_of, in_plain_python

# Chosen evenly, and what each fault of the past took.
_STEP = 24
_ALWAYS = (
    "right: a closure", "right: a lambda with state", "right: rows that change places",
    "right: instances that are equal", "right: unittest's assertions",
    "steering: raises a custom mro: all(map)", "steering: raises IndexError: a loop over",
    "steering: returns 20,000 digits: == on the other side", "steering: 16 MB of source",
    "broken: a check that is never called", "broken: an exit at once",
)  # fmt: skip


def test_a_part_of_the_campaign_has_no_faults(sandbox: Bubblewrap) -> None:
    quick = [trial for trial in CAMPAIGN if not trial.name.startswith("hostile")]
    chosen = {*quick[::_STEP], *(trial for trial in quick if trial.name.startswith(_ALWAYS))}
    assert len(chosen) >= 40
    assert faults_of(sandbox, chosen) == []


def test_right_answers_are_right_in_plain_python() -> None:
    right = [trial for trial in CAMPAIGN if trial.expected == "passes"]
    assert len(right) > 100
    assert [fault for fault in map(in_plain_python, right) if fault] == []
