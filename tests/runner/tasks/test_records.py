"""Oracle: sums, products and shares of a few numbers by hand."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from bitloss.requests import Generated
from bitloss.runner.tasks.floors import measure_floors
from bitloss.runner.tasks.records import WRITING, empty_columns, item_columns, window_scores
from bitloss.tasks.base import Grade, Item, Prompt
from bitloss.types import Window
from peers.planned_tasks import planned

ITEMS = (
    Item(id="a", prompt=Prompt("?"), options=("x", "y"), gold=1),
    Item(id="b", prompt=Prompt("?"), gold_answer="four"),
)
# Three windows: the options of the first item, then the gold answer of the second, of two tokens.
PAIR = {
    "window": np.array([0, 1, 2, 2]),
    "nll": -np.log(np.array([0.1, 0.3, 0.5, 0.5], dtype=np.float64)),
    "greedy": np.array([False, True, True, False]),
    "reference_nll": -np.log(np.array([0.1, 0.1, 0.5, 0.8])),
    "kl_divergence": np.array([0.1, 0.2, 0.3, 0.4]),
    "overlap": np.array([1.0, 0.5, 0.9, 0.8]),
    "hellinger": np.array([0.0, 0.25, 0.1, 0.2]),
}


def columns(scores):
    grades = [Grade({"acc": 1.0}), Grade({"acc": 0.0})]
    options = [range(2), range(0)]
    return item_columns(
        planned(*ITEMS), grades, [range(1, 2), range(2, 3)], scores, options, ["y", "four"]
    )


def test_windows_are_summed_and_multiplied() -> None:
    scores = window_scores(PAIR, 3)
    assert np.exp(scores.logprob) == pytest.approx([0.1, 0.3, 0.25])
    assert np.exp(scores.reference_logprob) == pytest.approx([0.1, 0.1, 0.4])
    assert scores.divergence == pytest.approx([0.1, 0.2, 0.7])
    assert scores.overlap == pytest.approx([1, 0.5, 0.72])
    assert scores.affinity == pytest.approx([1, 0.75, 0.72])
    assert scores.greedy.tolist() == [False, True, False]
    assert scores.between(1, 3).tokens.tolist() == [1, 2]


def test_distributions_without_anything_in_common_leave_nothing() -> None:
    apart = {**PAIR, "overlap": np.array([0, 1, 0, 1.0]), "hellinger": np.array([1, 0, 1, 0.0])}
    scores = window_scores(apart, 3)
    assert scores.overlap.tolist() == scores.affinity.tolist() == [0, 1, 0]


def test_an_item_tells_what_both_models_share() -> None:
    found = columns(window_scores(PAIR, 3))
    assert found["gold_overlap"] == pytest.approx([0.5, 0.72])
    assert found["gold_affinity"] == pytest.approx([0.75, 0.72])
    # Of the options the variant chooses the right one with 0.3 / 0.4, the reference with 0.1 / 0.2.
    assert found["right"] == pytest.approx([0.75, math.nan], nan_ok=True)
    assert found["same_option"] == pytest.approx([0.25 + 0.5, math.nan], nan_ok=True)


def test_the_reference_is_equal_to_itself() -> None:
    own = {name: PAIR[name] for name in ("window", "nll", "greedy")}
    found = columns(window_scores(own, 3))
    assert found["gold_overlap"] == found["gold_affinity"] == [1, 1]
    assert found["gold_kl"] == [0, 0]
    assert found["same_option"] == pytest.approx([1, math.nan], nan_ok=True)


def test_a_window_without_records_has_no_tokens() -> None:
    scores = window_scores(empty_columns(tuple(PAIR)), 2)
    assert scores.tokens.tolist() == [0, 0]


class _Scorer:
    """Gives what is measured at noise: the records of `PAIR`."""

    def __init__(self) -> None:
        self.reference = self
        self.arithmetic = "bf16"

    def noise_floor(self, windows):
        self.windows = windows
        return ["floor"]


class _Store:
    def read_records(self, fingerprints, names):
        assert fingerprints == ["floor"]
        return {name: PAIR[name] for name in names}


def test_floors_by_task() -> None:
    one, two = Window(np.array([1, 2], np.int32), 1), Window(np.array([1, 2, 3], np.int32), 1)
    floors = measure_floors(_Scorer(), _Store(), {"first": [one, one], "none": [], "last": [two]})
    assert list(floors) == ["first", "last"]
    assert floors["first"].kl_divergence == pytest.approx((0.1 + 0.2) / 2)
    assert floors["first"].answer_change == pytest.approx((0 + 0.25) / 2)
    assert floors["last"].kl_divergence == pytest.approx(0.7 / 2)  # nats per token
    assert floors["last"].answer_change == pytest.approx(1 - 0.72)  # per answer
    assert (floors["last"].n_scored, floors["last"].dtype) == (2, "bf16")


def test_lengths_and_ends_of_texts_are_means_over_an_items_texts() -> None:
    loop = "again and " * 30
    texts = [
        [
            Generated("one", 10, "eos", "hm", 4),
            Generated(loop, 30, "length"),
        ],
        [Generated("", 8, "length", loop, 8, answered=False)],
    ]
    items = tuple(replace(ITEMS[1], id=name) for name in "ab")
    scores = window_scores(PAIR, 3)
    found = item_columns(
        planned(*items), [None, None], [range(0)] * 2, scores, [range(0)] * 2, ["", ""], texts
    )
    assert found["answer_tokens"] == [18.0, 0.0]  # (10 - 4 + 30) / 2
    assert found["thinking_tokens"] == [2.0, 8.0]
    assert found["cut_off"] == [0.5, 1.0]
    assert found["unanswered"] == [0.0, 1.0]
    assert found["loops"] == [0.5, 1.0]
    options = columns(scores)
    assert all(math.isnan(value) for name in WRITING for value in options[name])
