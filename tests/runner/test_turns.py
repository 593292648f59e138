"""Texts and tasks in turns. Oracles: the rule by hand, and the same run undisturbed."""

from __future__ import annotations

from collections.abc import Callable, Collection
from pathlib import Path

import pytest

from bitloss.engines.dense import precision
from bitloss.metrics import item_looks
from bitloss.metrics import sequential as metric
from bitloss.results.manifest import Manifest
from bitloss.runner import Plan, RunStore, execute
from bitloss.runner.enough import Enough, Settle
from bitloss.runner.sequential import RandomText, random_looks
from bitloss.types import SilentProgress
from peers.scoring import contents, killed_at_write

MakePlan = Callable[..., Plan]


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Several looks at a text of a few windows and at tasks of a few items."""
    monkeypatch.setattr(item_looks, "FEWEST_ITEMS", 1)
    monkeypatch.setattr(metric, "FEWEST", 2)


def carry_out(plan: Plan, folder: Path, settle: Settle | None) -> Manifest:
    store = RunStore(folder)
    return execute(plan, store, command="", progress=SilentProgress(), settle=settle)


@pytest.fixture
def in_turns(plan: MakePlan, monkeypatch: pytest.MonkeyPatch) -> Plan:
    """A plan whose text decides nothing by itself."""
    monkeypatch.setattr("bitloss.runner.sequential.Stopping.reason", lambda *_: None)
    return plan(corpora=("text.txt",), tasks=("choice",), until="decided", max_length=64, stride=32)


def test_a_turn_is_a_look_at_the_text_and_one_at_the_tasks(in_turns: Plan, tmp_path: Path) -> None:
    asked: list[tuple[set[str], int]] = []

    def listening(store: RunStore, manifest: Manifest, reading: Collection[str]) -> Enough:
        assert manifest.missing is None
        text, task = manifest.corpora["text.txt"], manifest.tasks["choice"]
        drawn = store.read_records([task.items["./noisy"]], ("drawn",))["drawn"]
        asked.append((set(reading), int(drawn.sum())))
        assert text.noise_floor is not None
        assert text.variants["./noisy"].stopped == "end"
        sizes.append(len(text.variants["./noisy"].records))
        return Enough()

    sizes: list[int] = []
    manifest = carry_out(in_turns, tmp_path, listening)
    assert len(sizes) > 2
    assert sizes == sorted(set(sizes))
    assert all(reading == {"./noisy", "./copy"} for reading, _ in asked)
    items = [count for _, count in asked]
    assert items[0] < items[1] <= len(in_turns.tasks[0].questions)
    assert items == sorted(items)
    assert len(manifest.corpora["text.txt"].variants["./noisy"].records) > sizes[-1]


def some_settled(store: RunStore, manifest: Manifest, reading: Collection[str]) -> Enough:
    return Enough(texts={"./copy": "not needed"}, tasks={"./noisy": "decided"})


def test_who_needs_no_more_text_or_items_gets_none(in_turns: Plan, tmp_path: Path) -> None:
    found = carry_out(in_turns, tmp_path / "settled", some_settled)
    every = carry_out(in_turns, tmp_path / "all", None)
    text, task = found.corpora["text.txt"], found.tasks["choice"]
    assert {name: one.stopped for name, one in text.variants.items()} == {
        "./noisy": "end", "./copy": "not needed",
    }  # fmt: skip
    assert task.stopped == {"./noisy": "decided", "./copy": "end"}
    whole = every.corpora["text.txt"].variants
    assert text.variants["./noisy"].records == whole["./noisy"].records
    assert set(text.variants["./copy"].records) < set(whole["./copy"].records)
    assert text.noise_floor == every.corpora["text.txt"].noise_floor
    drawn = {
        name: RunStore(tmp_path / "settled").read_records([key], ("drawn",))["drawn"].sum()
        for name, key in task.items.items()
    }
    assert drawn["./noisy"] < drawn["./copy"] == drawn["./tiny"]


def test_what_a_text_decides_itself_it_decides(
    plan: MakePlan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of two texts the first is decided at once, the second by what is settled."""
    (tmp_path / "other.txt").write_text("".join(f"{n} owls, {n * n} mice. " for n in range(200)))
    monkeypatch.setattr(
        RandomText,
        "stop_reason",
        lambda self, _: "decided" if self.facts.name == "text.txt" else None,
    )
    both = plan(
        corpora=("text.txt", str(tmp_path / "other.txt")), tasks=("choice",), until="decided"
    )

    def at_once(store: RunStore, manifest: Manifest, reading: Collection[str]) -> Enough:
        return Enough(texts=dict.fromkeys(reading, "not needed"))

    manifest = carry_out(both, tmp_path / "run", at_once)
    for name, reason in (("text.txt", "decided"), ("other.txt", "not needed")):
        stopped = {one.stopped for one in manifest.corpora[name].variants.values()}
        assert stopped == {reason}


def test_what_is_near_the_floor_is_exact_before_it_is_judged(
    plan: MakePlan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(precision, "has_fast_bf16", lambda device: True)
    monkeypatch.setattr(precision, "SMALL_RUN", 0)
    monkeypatch.setattr(RandomText, "stop_reason", lambda *_: "decided")
    monkeypatch.setattr(RandomText, "needs_exact", lambda *_: True)
    judged = []

    def listening(store: RunStore, manifest: Manifest, reading: Collection[str]) -> Enough:
        text = manifest.corpora["text.txt"]
        assert text.dtype == "bf16"
        judged.append({one.exact and one.exact.dtype for one in text.variants.values()})
        return Enough(tasks={"./noisy": "decided", "./copy": "decided"})

    carry_out(plan(corpora=("text.txt",), tasks=("choice",), until="decided"), tmp_path, listening)
    assert judged == [{"fp32"}]


def test_what_is_settled_at_once_ends_the_run(in_turns: Plan, tmp_path: Path) -> None:
    asked = []

    def at_once(store: RunStore, manifest: Manifest, reading: Collection[str]) -> Enough:
        asked.append(reading)
        names = dict.fromkeys(("./noisy", "./copy"), "not needed")
        return Enough(texts=dict(names), tasks=dict(names))  # type: ignore[arg-type]

    manifest = carry_out(in_turns, tmp_path, at_once)
    assert len(asked) == 1
    text = manifest.corpora["text.txt"]
    first = random_looks(in_turns.corpora[0].windows, 0)[0]  # type: ignore[arg-type]
    assert {len(one.records) for one in text.variants.values()} == {len(first)}
    assert len(text.reference) == len(first) < len(in_turns.corpora[0].windows)


@pytest.mark.parametrize("moment", [2, 9, 20])
def test_a_killed_run_ends_with_the_same_bytes(in_turns: Plan, tmp_path: Path, moment: int) -> None:
    expected = carry_out(in_turns, tmp_path / "whole", some_settled)
    with killed_at_write(moment):
        carry_out(in_turns, tmp_path / "killed", some_settled)
    assert carry_out(in_turns, tmp_path / "killed", some_settled) == expected
    assert contents(tmp_path / "killed") == contents(tmp_path / "whole")


def test_what_is_there_between_two_turns_can_be_reported(in_turns: Plan, tmp_path: Path) -> None:
    def interrupted(store: RunStore, manifest: Manifest, reading: Collection[str]) -> Enough:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        carry_out(in_turns, tmp_path, interrupted)
    assert RunStore(tmp_path).read_unfinished().missing == ("text.txt, choice: not decided yet",)
