"""Questions and answers in words. Oracle: items made by hand, read back as a report reads them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from bitloss.requests import Generated
from bitloss.runner.store import RunStore
from bitloss.runner.tasks.display import chosen_options, first_texts, keep_questions
from bitloss.runner.tasks.records import WindowScores
from bitloss.tasks.base import Item, Prompt
from peers.planned_tasks import planned

SHOTS = ("1 + 1? 2\n\n",)
BLANK = tuple(Prompt(f"The cup is in the bag, so the {noun}") for noun in ("cup", "bag"))


def scores(*logprobs: float, greedy: tuple[bool, ...] = ()) -> WindowScores:
    n = len(logprobs)
    return WindowScores(
        logprob=np.array(logprobs),
        greedy=np.array(greedy or (False,) * n),
        tokens=np.ones(n, np.int64),
        divergence=np.zeros(n),
        overlap=np.ones(n),
        affinity=np.ones(n),
        reference_logprob=np.array(logprobs),
    )


ITEMS = (
    Item("choice", Prompt("2 + 2?", SHOTS, "Sums."), options=("3", "4", "四"), gold=1),
    Item("blank", Prompt("The cup"), options=("is small.",) * 2, option_prompts=BLANK, gold=0),
    Item("written", Prompt("def f():\n"), gold_answer="    return 1"),
    Item("rule", Prompt("No commas, please.")),
    Item("word", Prompt("at the end of the"), options=("day",), gold=0),
)


def test_questions_are_kept_without_shots(tmp_path: Path) -> None:
    store = RunStore(tmp_path)
    key = keep_questions(store, planned(*ITEMS))
    columns = store.read_records([key], ("item", "question", "options", "gold"))
    assert columns["item"].tolist() == ["choice", "blank", "written", "rule", "word"]
    assert columns["question"].tolist() == [
        "2 + 2?", "The cup", "def f():\n", "No commas, please.", "at the end of the",
    ]  # fmt: skip
    sentences = [f"The cup is in the bag, so the {noun} is small." for noun in ("cup", "bag")]
    assert [json.loads(text) for text in columns["options"]] == [
        ["3", "4", "四"], sentences, [], [], ["day"],
    ]  # fmt: skip
    assert columns["gold"].tolist() == ["4", sentences[0], "    return 1", "", "day"]


def test_questions_are_written_once_and_others_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = RunStore(tmp_path)
    key = keep_questions(store, planned(*ITEMS))
    with monkeypatch.context() as patch:
        patch.setattr(store, "write_records", lambda *_: pytest.fail("written again"))
        assert keep_questions(store, planned(*ITEMS)) == key
    assert keep_questions(store, planned(*ITEMS[:2])) != key
    other = Item("choice", Prompt("2 + 2 = ?"), options=("3", "4", "四"), gold=1)
    assert keep_questions(store, planned(other, *ITEMS[1:])) != key


def test_likeliest_option_is_the_answer() -> None:
    task = planned(*ITEMS[:2], ITEMS[0])
    own = [range(3), range(3, 5), range(5, 5)]  # the last one did not fit
    answers = chosen_options(task, own, scores(-3.0, -2.0, -2.0, -9.0, -1.0))
    assert answers == ["4", "The cup is in the bag, so the bag is small.", ""]


def test_answer_is_the_option_that_the_score_takes() -> None:
    """By hand: -4 / 2 characters against -6 / 4, so the second option where lengths count."""
    item = Item("choice", Prompt("?"), options=("no", "yeah"), gold=1)
    own, known = [range(2)], scores(-4.0, -6.0)
    assert chosen_options(planned(item), own, known) == ["no"]
    assert chosen_options(planned(item, metrics=("acc_norm", "acc")), own, known) == ["yeah"]


@pytest.mark.parametrize(("greedy", "answer"), [(True, "day"), (False, "")])
def test_single_option_is_the_answer_where_it_would_be_written(greedy: bool, answer: str) -> None:
    own = [range(1)]
    assert chosen_options(planned(ITEMS[4]), own, scores(-0.1, greedy=(greedy,))) == [answer]


def test_first_text_is_the_answer() -> None:
    texts = [[Generated(text, 1, "eos") for text in own] for own in ("ab", "", [""])]
    assert first_texts(texts) == ["a", "", ""]
