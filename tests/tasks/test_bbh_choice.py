"""Oracles: lm-eval 0.4.13's own tasks run on the same files (digest), and by hand."""

from __future__ import annotations

from pathlib import Path

import pytest

from bitloss.spec.fingerprint import sha256_text
from bitloss.tasks.base import Item, TaskItems
from bitloss.tasks.bbh_choice import BBH_CHOICE
from peers.bbh_files import items_file, write_bbh
from tasks.conformance import NoSandbox, answer, check

# sha256 over all requests (context and continuation) that lm-eval 0.4.13's ConfigurableTask builds
# from the 24 files of tasks/leaderboard/bbh_mc, joined by NUL.
REQUESTS = "ee46ff357184e884601e31348a04f207ecd2544f83c3fc325ec9c7ba2efbc901"
FREE = ("dyck_languages", "multistep_arithmetic_two", "word_sorting")


def find(loaded: TaskItems, name: str) -> Item:
    (item,) = (item for item in loaded.items if item.id == name)
    return item


def test_the_prompt(tmp_path: Path) -> None:
    item = find(BBH_CHOICE.load(write_bbh(tmp_path), shots=1), "snarks/0")
    # Nothing stands between description and question upstream.
    assert item.prompt.text == "Do snarks.Q: Which\nA?\nA: (A)\n\nQ: snarks 0?\nA:"
    assert (item.options, item.delimiter, item.gold) == (("(A)", "(B)"), " ", 0)
    assert BBH_CHOICE.facts.groups[item.subject] == "leaderboard_bbh"


def test_the_requests_are_those_of_lm_eval(shared: Path) -> None:
    requests = [
        item.prompt.text + item.delimiter + option
        for item in BBH_CHOICE.load(shared / "data").items
        if BBH_CHOICE.facts.groups[item.subject] == "leaderboard_bbh"
        for option in item.options
    ]
    assert sha256_text("\0".join(requests)) == REQUESTS


def test_length_is_taken_out(tmp_path: Path) -> None:
    items = items_file(write_bbh(tmp_path), "formal_fallacies")
    items.write_text('{"examples": [{"input": "?", "target": "valid"}]}')
    item = find(BBH_CHOICE.load(tmp_path), "formal_fallacies/0")
    # "valid" has 5 characters, "invalid" 7: -6 / 5 < -7 / 7, but -6 > -7.
    grade = BBH_CHOICE.grade(item, answer(-6.0, -7.0), NoSandbox())
    assert dict(grade.scores) == {"acc_norm": 0.0, "acc": 1.0}


@pytest.mark.parametrize("name", FREE)
def test_without_options_the_target_must_be_what_greedy_decoding_writes(
    tmp_path: Path, name: str
) -> None:
    item = find(BBH_CHOICE.load(write_bbh(tmp_path)), f"{name}/1")
    assert (item.options, item.gold) == (("no",), 0)
    assert BBH_CHOICE.facts.groups[name] == "greedy match"
    for greedy, score in ((0, 1.0), (None, 0.0)):
        grade = BBH_CHOICE.grade(item, answer(-1.0, greedy=greedy), NoSandbox())
        assert dict(grade.scores) == {"acc_norm": score, "acc": score}


def test_a_target_that_is_no_option_is_never_right(shared: Path) -> None:
    loaded = BBH_CHOICE.load(shared / "data")
    broken = [item for item in loaded.items if item.gold is None]
    assert [item.id for item in broken] == [
        "movie_recommendation/163", "ruin_names/99", "ruin_names/144",
    ]  # fmt: skip
    assert loaded.notes == ("3 items cannot be answered: their target is not an option",)


def test_chance_is_that_of_the_options(shared: Path) -> None:
    items = check(BBH_CHOICE, shared / "data").items
    guesses = [1 / len(item.options) if item.subject not in FREE else 0.0 for item in items]
    assert BBH_CHOICE.facts.chance == pytest.approx(sum(guesses) / 6511)
    assert sum(item.subject not in FREE for item in items) == 5761
