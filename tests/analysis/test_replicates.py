"""Replicates put together: by hand, and against the analysis of one of them."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from bitloss.analysis.corpora import analyse_corpus
from bitloss.analysis.families import families_of
from bitloss.analysis.replicated_corpora import analyse_replicates
from bitloss.analysis.replicated_losses import over_replicates, over_seeds
from bitloss.analysis.replicated_tasks import (
    Answered,
    combine_capabilities,
    combine_tasks,
    mean_series,
)
from bitloss.analysis.replicates import spread_of, together
from bitloss.analysis.score_losses import TaskChanges
from bitloss.analysis.task_items import TaskItems
from bitloss.analysis.tasks import analyse_capabilities, analyse_task
from bitloss.expectations import load_expectations
from bitloss.metrics.intervals import Series
from bitloss.results import Estimate, VariantResult
from bitloss.results.manifest import TaskEntry
from bitloss.runner.tasks.records import WRITING
from example_run import make_corpus, make_records
from task_parts import ENTRY

SCORED = {"dtype": "bf16", "seed": 0}


def estimate(value: float, half: float = 0.0) -> Estimate:
    return Estimate(value=value, low=value - half, high=value + half)


# One statistic -------------------------------------------------------------------------------


def test_a_ratio_is_averaged_as_a_logarithm() -> None:
    # By hand: sqrt(1.1 * 1.21), and a t of 12.7062 with the one degree of freedom of two values
    # that are log 1.1 apart: the error of their mean is half of that.
    found = together([estimate(1.1), estimate(1.21)], scale="exp")
    assert found.value == pytest.approx(math.sqrt(1.1 * 1.21))
    assert found.high == pytest.approx(
        math.sqrt(1.1 * 1.21) * math.exp(12.7062 * math.log(1.1) / 2), rel=1e-3
    )


def test_limits_stay_within_the_range() -> None:
    found = together([estimate(0.01), estimate(0.03)], bounds=(0.0, 1.0))
    assert (found.low, found.value) == (0.0, pytest.approx(0.02))


def test_no_mean_where_a_replicate_has_no_value() -> None:
    lacking = Estimate(value=None, low=None, high=None)
    assert together([estimate(1.0), lacking]) == lacking
    spread = spread_of([estimate(1.0), lacking])
    assert (spread.values, spread.deviation, spread.range) == ((1.0, None), None, (1.0, 1.0))


# A corpus ------------------------------------------------------------------------------------


def test_equal_replicates_have_the_results_of_one() -> None:
    corpus, records = make_corpus(), make_records()
    one = analyse_corpus(records, corpus, **SCORED)
    together_, spreads = analyse_replicates([records] * 3, corpus, **SCORED)
    for key in ("relative_perplexity", "top1_agreement", "overlap", "entropy"):
        mine, theirs = getattr(together_, key), getattr(one, key)
        assert list(mine.model_dump().values()) == pytest.approx(
            list(theirs.model_dump().values())
        ), key
    assert together_.perplexity == pytest.approx(one.perplexity)
    assert together_.delta_p.rms_high == pytest.approx(one.delta_p.rms_high)
    assert spreads["relative_perplexity"].deviation == 0
    assert together_.notes == one.notes


def test_the_mean_is_over_replicates_and_the_interval_is_wider() -> None:
    corpus = make_corpus()
    base = make_records()
    shifts = (0.0, 0.05, 0.13)  # what a seed adds to every loss: the log ratio moves by as much
    records = [replace(base, nll=base.nll + np.float32(shift)) for shift in shifts]
    one = analyse_corpus(base, corpus, **SCORED)
    found, spreads = analyse_replicates(records, corpus, **SCORED)
    ratio = one.relative_perplexity
    assert found.relative_perplexity.value == pytest.approx(ratio.value * math.exp(0.06), rel=1e-5)
    assert spreads["relative_perplexity"].values == pytest.approx(
        [ratio.value * math.exp(shift) for shift in shifts], rel=1e-5
    )
    # The items' error is the same in all: both sides apart, with Student's 4.3027 for the seeds.
    seeds = 4.3027 * np.std(shifts, ddof=1) / math.sqrt(3)
    items = math.log(ratio.high / ratio.value)
    expected = math.hypot(items, seeds)
    high = math.log(found.relative_perplexity.high / found.relative_perplexity.value)
    assert high >= expected * 0.999
    # The divergence did not move.
    kl = found.kl_divergence.estimate.model_dump().values()
    assert list(kl) == pytest.approx(list(one.kl_divergence.estimate.model_dump().values()))


def test_exact_records_are_compared_on_common_windows() -> None:
    corpus = make_corpus()
    coarse = [make_records(1e-4, seed=1)] * 2
    exact = [make_records(5e-6, n_windows=n, seed=2) for n in (8, 12)]
    found, spreads = analyse_replicates(
        coarse, corpus, exact=exact, exact_dtype="fp32", exact_drawn_from=100, **SCORED
    )
    assert found.rescored is not None
    assert found.rescored.n_windows == 8
    first = exact[1].window < 8
    values = spreads["kl_divergence"].values
    assert values[0] == pytest.approx(float(exact[0].kl_divergence.mean()), rel=1e-4)
    assert values[1] == pytest.approx(float(exact[1].kl_divergence[first].mean()), rel=1e-4)


def test_documents_are_drawn_whole_for_replicates_too() -> None:
    # Oracle: the same tokens with every document as one window, drawn one by one. What a document
    # has in common is in all replicates, what a seed changes differs from window to window.
    rng = np.random.default_rng(3)
    base = make_records()
    documents = np.arange(24) // 2
    length = len(base.nll) // 24
    common = rng.normal(0, 0.1, 12)[documents]
    records = [
        replace(base, nll=base.nll + (common + rng.normal(0, 0.3, 24)).repeat(length).astype("f4"))
        for _ in range(3)
    ]
    merged = [replace(one, window=documents[one.window].astype(np.int32)) for one in records]
    corpus = make_corpus(documents=tuple(documents.tolist()))
    whole = make_corpus(draw_seed=0, n_windows_total=10**9)
    found, _ = analyse_replicates(records, corpus, **SCORED)
    expected, _ = analyse_replicates(merged, whole, **SCORED)
    for key in ("relative_perplexity", "top1_agreement", "overlap"):
        mine, oracle = getattr(found, key), getattr(expected, key)
        assert list(mine.model_dump().values()) == pytest.approx(
            list(oracle.model_dump().values()), rel=1e-6
        ), key


# Tasks ---------------------------------------------------------------------------------------


def items(right: list[int], probability: list[float]) -> TaskItems:
    n = len(right)
    columns = {
        "item": np.arange(n).astype(str).astype(object),
        "subject": np.array(["one", "two"] * (n // 2), dtype=object),
        "cluster": np.arange(n).astype(str).astype(object),
        "asked": np.ones(n, dtype=bool),
        "gold_tokens": np.ones(n, dtype=np.int64),
        "gold_nll": -np.log(probability),
        "gold_kl": np.full(n, 0.01),
        "gold_affinity": 1 - np.array(probability) / 10,
        "gold_overlap": np.full(n, 0.9),
        "right": np.array(probability),
        "same_option": np.ones(n),
        "score:acc": np.array(right, dtype=float),
        "weight:acc": np.ones(n),
        **{name: np.full(n, math.nan) for name in WRITING},
    }
    return TaskItems(TaskEntry(**ENTRY), columns)


REFERENCE = items([1] * 8, [0.9] * 8)
LOST_ONE = items([0] + [1] * 7, [0.1] + [0.9] * 7)
LOST_THREE = items([0, 0, 0] + [1] * 5, [0.1] * 3 + [0.9] * 5)


def test_a_tasks_replicates_by_hand() -> None:
    answered = Answered((LOST_ONE, LOST_THREE), REFERENCE)
    results = [analyse_task(one, REFERENCE, seed=0) for one in answered.replicates]
    found, spreads = combine_tasks(results, answered)
    assert found.difference.value == pytest.approx(-(1 / 8 + 3 / 8) / 2)
    assert found.score.value == pytest.approx(6 / 8)
    assert found.expected_difference.value == pytest.approx(-(0.8 / 8 + 2.4 / 8) / 2)
    # Subject one has items 0, 2, 4, 6: the copies miss one and two of them.
    assert found.subjects["one"].score == pytest.approx((3 / 4 + 2 / 4) / 2)
    assert found.flips is None
    assert spreads["difference"].values == (-1 / 8, -3 / 8)
    assert spreads["difference"].deviation == pytest.approx(math.sqrt(2 * (1 / 8) ** 2))


def test_a_capabilitys_p_value_belongs_to_its_interval() -> None:
    answered = Answered((LOST_ONE, LOST_THREE), REFERENCE)
    each = [analyse_capabilities({"t": (one, REFERENCE)}, seed=0) for one in answered.replicates]
    found, _ = combine_capabilities(each, {"t": answered})
    logic = found["logic"]
    assert logic.difference.value == pytest.approx(-0.25)
    assert logic.flips is None
    assert logic.p_value is None  # it is the page's to give
    variant = VariantResult(name="gptq-4", capabilities=found)
    families = families_of([variant], load_expectations())
    assert (families.scores["gptq-4", "logic"] < 0.05) == logic.difference.excludes_zero


def test_equal_replicates_lose_what_one_loses() -> None:
    answered = Answered((LOST_ONE, LOST_ONE), REFERENCE)
    each = [analyse_capabilities({"t": (one, REFERENCE)}, seed=0) for one in answered.replicates]
    found, _ = combine_capabilities(each, {"t": answered})
    for key in ("difference", "expected_difference", "answer_change"):
        mine, theirs = getattr(found["logic"], key), getattr(each[0]["logic"], key)
        assert list(mine.model_dump().values()) == pytest.approx(
            list(theirs.model_dump().values())
        ), key


def test_items_that_belong_together_are_one_for_replicates_too() -> None:
    pairs = np.repeat(np.arange(10), 2).astype(str).astype(object)
    rng = np.random.default_rng(5)

    def copy(right: list[int]) -> TaskItems:
        made = items(right, [0.9 if one else 0.1 for one in right])
        return replace(made, columns={**made.columns, "cluster": pairs})

    reference = copy([1] * 20)
    copies = tuple(copy(rng.integers(0, 2, 10).repeat(2).tolist()) for _ in range(3))
    answered = Answered(copies, reference)
    for field in ("difference", "expected_difference", "answer_change"):
        (first, *_) = answered.of(field)
        assert len(first.means) == 10, field
    # By hand: what the first copy lost of each pair.
    lost = copies[0].score("acc").reshape(10, 2).mean(1) - 1
    assert answered.of("difference")[0].means == pytest.approx(lost)


# Means over variants -------------------------------------------------------------------------


def test_a_mean_loss_is_widened_by_what_was_made_again() -> None:
    lost = (0.02, 0.06, 0.04)
    each = {f"v{seed}": Series(np.full(5, -loss), np.ones(5)) for seed, loss in enumerate(lost)}
    file = Series(np.full(5, -0.04), np.ones(5))
    changes = over_replicates(
        TaskChanges({**each, "file": file}, expected=True), {"v0": list(each), "file": ["file"]}
    )
    assert changes.items["v0"].means == pytest.approx(np.full(5, -0.04))
    assert changes.replicates == {"v0": pytest.approx((-0.02, -0.06, -0.04))}
    alone = over_seeds(estimate(0.04), [changes], ["v0"])
    # Losses 0.02, 0.06, 0.04: standard deviation 0.02, Student's 4.3027 with two.
    assert alone.high - alone.value == pytest.approx(4.3027 * 0.02 / math.sqrt(3), rel=1e-3)
    beside = over_seeds(estimate(0.04), [changes], ["v0", "file"])  # half of it varies
    assert beside.high - beside.value == pytest.approx((alone.high - alone.value) / 2)
    assert over_seeds(estimate(0.04), [changes], ["file"]) == estimate(0.04)


def test_series_of_one_copy_are_its_own() -> None:
    series = Series(np.array([0.1, 0.7]), np.array([1.0, 2.0]))
    assert mean_series([series]).means.tolist() == series.means.tolist()
