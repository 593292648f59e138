"""Tasks evaluated in looks. Oracles: the same run with all items at once, and one undisturbed."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bitloss.metrics import item_looks
from bitloss.results.manifest import Manifest
from bitloss.runner import Plan, RunStore, execute
from bitloss.runner.draw import item_order
from bitloss.runner.enough import Enough, Settle
from bitloss.runner.tasks.decided import task_looks
from bitloss.types import SilentProgress

MakePlan = Callable[..., Plan]
TASKS = ("choice", "contains")


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two looks at tasks of a few items."""
    monkeypatch.setattr(item_looks, "FEWEST_ITEMS", 1)


def carry_out(plan: Plan, folder: Path, settle: Settle) -> Manifest:
    store = RunStore(folder)
    return execute(plan, store, command="", progress=SilentProgress(), settle=settle)


def nobody(store: RunStore, manifest: Manifest, reading: Collection[str]) -> Enough:
    return Enough()


def copies(store: RunStore, manifest: Manifest, reading: Collection[str]) -> Enough:
    return Enough(tasks={"./copy": "decided"})


def test_looks_hold_every_item_once(plan: MakePlan) -> None:
    planned = plan(tasks=TASKS).tasks[0]
    looks = task_looks(planned)
    assert len(looks) > 1
    ids = [question.item.id for look in looks for question in look.questions]
    assert sorted(ids) == sorted(question.item.id for question in planned.questions)
    assert len(ids) == len(set(ids))
    assert len({look.identity for look in looks}) == len(looks)


def test_what_does_not_fit_is_of_the_first_look(plan: MakePlan) -> None:
    planned = plan(tasks=TASKS).tasks[0]
    order = item_order([question.item for question in planned.questions], seed=planned.seed)
    first = order[0]
    questions = [
        replace(question, windows=()) if index == first else question
        for index, question in enumerate(planned.questions)
    ]
    looks = task_looks(replace(planned, questions=tuple(questions)))
    assert [question.asked for question in looks[0].questions].count(False) == 1
    for look in looks:
        assert any(question.asked for question in look.questions)


def test_asked_to_the_end_they_say_what_the_whole_task_says(plan: MakePlan, tmp_path: Path) -> None:
    decided = carry_out(plan(tasks=TASKS, until="decided"), tmp_path / "looks", nobody)
    whole = carry_out(plan(tasks=TASKS), tmp_path / "whole", nobody)
    for name in TASKS:
        assert decided.tasks[name].stopped == {"./noisy": "end", "./copy": "end"}
        assert whole.tasks[name].stopped is None
        metric = f"score:{whole.tasks[name].metrics[0]}"
        for model, key in whole.tasks[name].items.items():
            columns = ("item", "asked", "answer", "gold_nll", "gold_kl", metric)
            theirs = RunStore(tmp_path / "whole").read_records([key], columns)
            mine = RunStore(tmp_path / "looks").read_records(
                [decided.tasks[name].items[model]], (*columns, "drawn")
            )
            assert mine["drawn"].all()
            for column in ("item", "asked", "answer", metric):
                assert mine[column].tolist() == theirs[column].tolist()
            for column in ("gold_nll", "gold_kl"):  # the last bits depend on the company
                np.testing.assert_allclose(mine[column], theirs[column], atol=1e-4)


def test_a_variant_that_is_settled_is_asked_no_more(plan: MakePlan, tmp_path: Path) -> None:
    made = plan(tasks=TASKS, until="decided")
    manifest = carry_out(made, tmp_path, copies)
    store = RunStore(tmp_path)
    for planned in made.tasks:
        entry = manifest.tasks[planned.name]
        assert entry.stopped == {"./noisy": "end", "./copy": "decided"}
        first = {question.item.id for question in task_looks(planned)[0].questions}
        columns = {
            name: store.read_records([key], ("item", "asked", "drawn", "gold_tokens"))
            for name, key in entry.items.items()
        }
        assert columns["./tiny"]["drawn"].all()
        assert columns["./noisy"]["drawn"].all()
        copy = columns["./copy"]
        assert set(copy["item"][copy["drawn"] > 0].tolist()) == first
        assert not copy["asked"][copy["drawn"] == 0].any()
        assert (copy["gold_tokens"][copy["drawn"] == 0] == 0).all()


def test_the_reference_stops_when_all_have(plan: MakePlan, tmp_path: Path) -> None:
    def all_of_them(store: RunStore, manifest: Manifest, reading: Collection[str]) -> Enough:
        return Enough(tasks={"./copy": "decided", "./noisy": "not needed", "./unknown": "decided"})

    manifest = carry_out(plan(tasks=("choice",), until="decided"), tmp_path, all_of_them)
    entry = manifest.tasks["choice"]
    assert entry.stopped == {"./noisy": "not needed", "./copy": "decided"}
    drawn = RunStore(tmp_path).read_records([entry.items["./tiny"]], ("drawn",))["drawn"]
    assert 0 < drawn.sum() < len(drawn)


def test_what_is_there_between_two_looks_can_be_reported(plan: MakePlan, tmp_path: Path) -> None:
    def interrupted(store: RunStore, manifest: Manifest, reading: Collection[str]) -> Enough:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        carry_out(plan(tasks=TASKS, until="decided"), tmp_path, interrupted)
    so_far = RunStore(tmp_path).read_unfinished()
    assert list(so_far.tasks) == list(TASKS)
    assert so_far.missing == (f"{', '.join(TASKS)}: not decided yet",)
