"""Runs of one pack put together. Oracle: what stands in the runs' own results, by hand."""

from __future__ import annotations

import json

import pytest

from bitloss.analysis.leaderboard import rank_runs
from bitloss.errors import DataError, Incomparable
from bitloss.results import Comparison, KLDivergence
from bitloss.results.environment import PackUsed
from bitloss.tables.leaderboard import leaderboard_table
from bitloss.tables.markdown import markdown_table
from example_run import make_comparison


def _beside(digest: str, result: Comparison | None = None) -> Comparison:
    result = make_comparison() if result is None else result
    pack = PackUsed(digest=digest * 64, reference="llama", bitloss="0.1.0")
    reference = result.reference.model_copy(update={"pack": pack})
    return result.model_copy(update={"reference": reference})


def _with_divergence(mean: float, low: float, high: float, name: str) -> Comparison:
    """The example's first variant alone, with another divergence on its corpora."""
    whole = make_comparison()
    variant = next(one for one in whole.variants if one.error is None)
    found = KLDivergence(mean=mean, low=low, high=high, p50=0, p90=0, p99=0, p999=0, max=0)
    corpora = {
        key: one.model_copy(update={"kl_divergence": found}) for key, one in variant.corpora.items()
    }
    renamed = variant.model_copy(update={"name": name, "digest": name, "corpora": corpora})
    return _beside("a", whole.model_copy(update={"variants": (renamed,)}))


def test_rows_are_sorted_by_divergence_and_those_that_overlap_the_best_are_marked() -> None:
    board = rank_runs(
        {
            "one": _with_divergence(0.30, 0.25, 0.35, "third"),
            "two": _with_divergence(0.10, 0.08, 0.14, "first"),
            "three": _with_divergence(0.15, 0.13, 0.17, "second"),
        }
    )
    found = [(row.rank, row.name, row.run, row.like_best) for row in board.rows]
    # 0.13 is below 0.14, the upper bound of the first; 0.25 is not.
    assert found == [
        (1, "first", "two", True),
        (2, "second", "three", True),
        (3, "third", "one", False),
    ]
    assert board.rule.startswith("KL divergence from the reference on ")
    assert json.loads(board.to_json())["rows"][0]["ranked_by"] == {
        "value": 0.1, "low": 0.08, "high": 0.14,
    }  # fmt: skip
    page = markdown_table(leaderboard_table(board))
    assert "| 1= | first |" in page
    assert "| 3 | third |" in page
    assert f"sorted by {board.rule}" in page


def test_what_two_runs_measured_alike_is_there_once() -> None:
    one, two = _with_divergence(0.1, 0.08, 0.14, "same"), _with_divergence(0.2, 0.1, 0.3, "same")
    assert len(rank_runs({"a": one, "b": one}).rows) == 1
    names = [row.name for row in rank_runs({"a": one, "b": two}).rows]
    assert names == ["same (a)", "same (b)"]


def test_a_failed_variant_has_no_rank_and_says_why() -> None:
    board = rank_runs({"run": _beside("a")})
    failed = [row for row in board.rows if row.error is not None]
    assert failed
    assert {row.rank for row in failed} == {None}
    assert board.rows[-1] in failed
    assert any(failed[0].name in note for note in leaderboard_table(board).notes)


def test_runs_of_different_packs_are_refused_with_their_digests() -> None:
    with pytest.raises(Incomparable) as error:
        rank_runs({"mine": _beside("a"), "yours": _beside("b")})
    assert all(part in error.value.message for part in ("mine", "yours", "a" * 64, "b" * 64))


def test_a_run_from_weights_is_refused() -> None:
    with pytest.raises(DataError, match="mine: expected a run made from a pack"):
        rank_runs({"mine": make_comparison()})
