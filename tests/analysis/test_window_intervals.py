"""What is drawn together of a text. Oracles: the same intervals by hand-made blocks; coverage of
simulated texts is in ``benchmarks/interval_coverage.py``."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest

from bitloss.analysis.corpora import analyse_corpus
from bitloss.analysis.window_intervals import window_intervals
from bitloss.metrics.intervals import Series, bootstrap
from example_run import LENGTH, make_corpus, make_records


def intervals(n: int, documents=(), drawn_from=None, places=None):
    means = np.random.default_rng(n).normal(size=n)
    window = np.repeat(np.arange(n) if places is None else places, 3).astype(np.int32)
    series = {"x": Series(means, np.ones(n))}
    found = window_intervals(series, window, documents=documents, drawn_from=drawn_from, seed=0)
    return found["x"], series


@pytest.mark.parametrize(
    ("n", "drawn_from", "known"),
    [(9, None, False), (10, None, True), (4, 1000, False), (5, 1000, True), (1, None, False)],
)
def test_too_few_windows_have_no_interval(n: int, drawn_from: int | None, known: bool) -> None:
    found, _ = intervals(n, drawn_from=drawn_from)
    assert math.isnan(found.low) is not known


def test_documents_are_the_blocks() -> None:
    documents = (0, 0, 0, 1, 2, 2, 3, 3, 3, 3, 4, 5)
    found, series = intervals(12, documents)
    starts = [0, 3, 4, 6, 10, 11]
    sums = np.add.reduceat(series["x"].means, starts)
    sizes = np.diff([*starts, 12]).astype(float)
    by_hand = bootstrap({"x": Series(sums / sizes, sizes)}, seed=0, block=1)["x"]
    assert (found.value, found.low, found.high) == pytest.approx(
        (by_hand.value, by_hand.low, by_hand.high)
    )


def test_drawn_windows_of_a_document_stay_together() -> None:
    documents = tuple(np.repeat(np.arange(10), 10).tolist())
    places = np.array([3, 5, 17, 33, 38, 61, 90])
    found, series = intervals(7, documents, drawn_from=100, places=places)
    m = series["x"].means
    sums, sizes = np.array([m[0] + m[1], m[2], m[3] + m[4], m[5], m[6]]), [2.0, 1, 2, 1, 1]
    by_hand = bootstrap({"x": Series(sums / sizes, np.array(sizes))}, seed=0, block=1)["x"]
    assert (found.low, found.high) == pytest.approx((by_hand.low, by_hand.high))


def test_fewer_than_five_documents_have_no_interval() -> None:
    assert math.isnan(intervals(20, (0,) * 10 + (1,) * 10)[0].low)
    assert intervals(20, (0,) * 20)[0] == intervals(20)[0]  # of one, like a text without any
    corpus = make_corpus(documents=(0,) * 8 + (8,) * 92)
    found = analyse_corpus(make_records(), corpus, dtype="fp32", seed=0)
    assert found.kl_divergence.low is None
    assert any("of only 2 documents" in note for note in found.notes)


def test_the_result_says_that_there_are_too_few_windows() -> None:
    found = analyse_corpus(make_records(n_windows=9), make_corpus(), dtype="fp32", seed=0)
    assert found.relative_perplexity.low is None
    assert any("only 9 windows" in note for note in found.notes)


def test_windows_scored_again_look_by_look_have_the_intervals_of_a_sequence() -> None:
    exact = make_records(1e-5, n_windows=16, seed=9)
    given = {"dtype": "bf16", "seed": 0, "exact": exact, "exact_dtype": "fp32"}
    plain = analyse_corpus(make_records(1e-4), make_corpus(), exact_drawn_from=100, **given)
    looks = analyse_corpus(
        make_records(1e-4), make_corpus(), exact_drawn_from=100, exact_blocks=range(100), **given
    )
    assert looks.kl_divergence.mean == plain.kl_divergence.mean
    assert looks.kl_divergence.high > plain.kl_divergence.high
    assert looks.perplexity_interval == plain.perplexity_interval  # of all windows, scored once
    assert any("look" in note for note in looks.notes)


def test_an_entropy_is_at_most_that_of_a_uniform_guess() -> None:
    records = make_records()
    n = len(records.nll)
    entropy = np.where(np.arange(n) < LENGTH, 0.0, math.log(50)).astype(np.float32)
    flat = dataclasses.replace(records, entropy=entropy)
    found = analyse_corpus(flat, make_corpus(vocabulary=50), dtype="fp32", seed=0)
    assert found.entropy.high == pytest.approx(math.log(50))
