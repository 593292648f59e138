"""Changes since an earlier run. Oracles: equal runs, arithmetic on the example's records."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from bitloss.checks import CheckResult, rules_of
from bitloss.checks.baseline import judge_changes
from bitloss.errors import DataError, Incomparable, StorageError, UsageError
from example_run import make_records
from example_store import write_run


def changes(run: Path, old: Path, *variants: str, **limits: Any) -> CheckResult:
    return judge_changes(run, old, rules_of(limits), variants=variants)


def test_equal_runs_have_not_changed_at_all(tmp_path: Path) -> None:
    write_run(tmp_path / "new")
    write_run(tmp_path / "old")
    result = changes(
        tmp_path / "new", tmp_path / "old", max_relative_perplexity=1,
        max_kld={"all": 0, "math": 0, "sums": 0}, max_loss={"all": 0, "sums": 0},
    )  # fmt: skip
    assert result.outcome == "pass"
    assert len(result.judgments) == 12
    assert {(j.value, j.low, j.high) for j in result.judgments} == {(0, 0, 0), (1, 1, 1)}


def test_changes_are_new_over_old_and_new_minus_old(tmp_path: Path) -> None:
    write_run(tmp_path / "new", scale=0.1, right="110100", gold_kl=0.05)
    write_run(tmp_path / "old", scale=0.05, right="111100", gold_kl=0.02)
    result = changes(
        tmp_path / "new", tmp_path / "old", "gptq-4", max_relative_perplexity=1,
        max_kld={"all": 0.01, "math": 0.03, "sums": 0.02}, max_loss={"all": 0, "sums": 0},
    )  # fmt: skip
    after, before = make_records(0.1), make_records(0.05)
    found = {(j.measure, j.kind): j for j in result.judgments}
    ratio = math.exp(float((after.nll.astype("d") - before.nll.astype("d")).mean()))
    more = float((after.kl_divergence.astype("d") - before.kl_divergence.astype("d")).mean())
    assert found["max_relative_perplexity", "corpus"].value == pytest.approx(ratio)
    assert found["max_kld", "corpus"].value == pytest.approx(more)
    assert found["max_kld", "corpus"].outcome == "fail"
    assert found["max_kld", "capability"].value == pytest.approx(0.03)
    assert found["max_kld", "task"].outcome == "fail"
    for kind in ("capability", "task"):
        assert found["max_loss", kind].value == pytest.approx(1 / 6)
    back = changes(tmp_path / "old", tmp_path / "new", "gptq-4", max_kld=0)
    assert back.judgments[0].value == pytest.approx(-more)
    assert back.outcome == "pass"


def test_equal_scores_of_other_answers_are_not_the_same(tmp_path: Path) -> None:
    write_run(tmp_path / "new", gold_kl=0.0)
    write_run(tmp_path / "old", gold_kl=0.02)
    (found,) = changes(tmp_path / "new", tmp_path / "old", "gptq-4", max_loss=0.0).judgments
    assert (found.value, found.outcome) == (0.0, "undecided")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"limit": 20}, "number of windows: 24 here, 20 there"),
        ({"identity": "0" * 32}, "task `sums`.*identity"),
        ({"digest": "0" * 64}, "task `sums`.*digest"),
        ({"shots": 0}, "task `sums`.*shots: 2 here, 0 there"),
    ],
)
def test_runs_that_did_not_measure_the_same(
    tmp_path: Path, change: dict[str, Any], said: str
) -> None:
    write_run(tmp_path / "new")
    write_run(tmp_path / "old", **change)
    with pytest.raises(Incomparable, match=said):
        changes(tmp_path / "new", tmp_path / "old", max_kld=1, max_loss=1)


def edit(run: Path, old: str, new: str) -> None:
    for name in ("manifest.json", "comparison.json"):
        text = (run / name).read_text()
        assert old in text
        (run / name).write_text(text.replace(old, new))


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("d" * 64, "0" * 64, "reference `org/model`.*weights"),
        ("c" * 64, "0" * 64, "corpus `wikitext-2`.*digest"),
        ('"strided"', '"gptq"', "corpus `wikitext-2`.*protocol"),
        ('"gptq-4"', '"gptq-3"', "no results of `gptq-4`"),
    ],
)
def test_other_reference_text_or_protocol(tmp_path: Path, old: str, new: str, said: str) -> None:
    write_run(tmp_path / "new")
    write_run(tmp_path / "old")
    edit(tmp_path / "old", old, new)
    with pytest.raises(Incomparable, match=said):
        changes(tmp_path / "new", tmp_path / "old", max_kld=1)


def test_what_cannot_be_asked_of_a_change(tmp_path: Path) -> None:
    write_run(tmp_path / "new")
    with pytest.raises(UsageError, match="got none"):
        changes(tmp_path / "new", tmp_path / "new")
    with pytest.raises(UsageError, match="--min-top1"):
        changes(tmp_path / "new", tmp_path / "new", min_top1=0.9)
    with pytest.raises(UsageError, match="--min-overlap"):
        changes(tmp_path / "new", tmp_path / "new", min_overlap=0.9)
    with pytest.raises(DataError, match="cannot read"):
        changes(tmp_path / "new", tmp_path / "none", max_kld=1)
    assert not (tmp_path / "none").exists()
    (tmp_path / "new" / "records" / "gptq-4-b.parquet").write_bytes(b"PAR1")
    with pytest.raises(StorageError, match=r"gptq-4-b\.parquet"):
        changes(tmp_path / "new", tmp_path / "new", max_kld=1)


def test_windows_drawn_by_another_seed_are_other_windows(tmp_path: Path) -> None:
    write_run(tmp_path / "new", draw_seed=0)
    write_run(tmp_path / "old", draw_seed=1)
    with pytest.raises(Incomparable, match="seed of the windows drawn: 0 here, 1 there"):
        changes(tmp_path / "new", tmp_path / "old", max_kld=0)
