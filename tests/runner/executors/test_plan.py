"""A run planned for a cluster; oracle: the schedule by hand."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from bitloss.engines.values import Cost, Work
from bitloss.reports.plan import render_plan
from bitloss.runner import prepare, summarize
from bitloss.runner.executors import worker
from bitloss.runner.executors.parts import Estimate
from bitloss.runner.executors.plan import as_tasks, plan_cluster
from bitloss.runner.jobs import Job, Resources
from bitloss.spec.run import RunSpec
from bitloss.types import SilentProgress
from peers.thread_machines import ThreadMachines
from peers.tiny_model import write_tiny_model


def job(kind: Any, model: str, seconds: float | None, parts: int = 1, *needs: str) -> Job:
    resources = Resources(seconds=seconds, parts=parts)
    return Job(f"{kind}/{model}", kind, lambda: None, model, needs, resources)


JOBS = [
    job("make-variant", "q", 5.0),
    job("states", "ref", 14.0, 4),
    job("states", "q", 14.0, 4, "make-variant/q"),
    job("pair", "", 8.0, 4, "states/ref", "states/q"),
    job("collect", "", 0.0, 1, "pair/"),
]


def test_jobs_in_parts() -> None:
    tasks = as_tasks(JOBS, 2, 2.0)
    assert tasks is not None
    by_key = {task.key: task for task in tasks}
    assert len(by_key) == 1 + 4 + 4 + 4
    # Loading is the schedule's to count: 14 seconds are 2 to load and 4 times 3 to read.
    assert by_key["states/ref/0"].seconds == 3.0
    assert by_key["states/ref/0"].needs == ("make-variant/q/0",)  # all are made first
    # A piece is compared once it is read by both.
    assert by_key["pair//2"].needs == ("make-variant/q/0", "states/ref/2", "states/q/2")
    assert by_key["pair//2"].seconds == 2.0


def test_the_time_by_hand() -> None:
    machines = ThreadMachines(2)
    found = plan_cluster(JOBS, machines, load=2.0, price=3.0)
    # 2 to start, 2 + 5 to make q; then both models side by side, 2 + 12; then 2 + 2 + 2.
    assert found.seconds == 2 + 7 + 14 + 6
    assert found.worker_hours == pytest.approx(2 * 29 / 3600)
    assert found.cost == pytest.approx(2 * 29 / 3600 * 3)
    assert found.busy == pytest.approx((7 + 14 * 2 + 6 * 2) / (2 * 29))


def test_unknown_times_stay_unknown() -> None:
    found = plan_cluster([job("make-variant", "q", None)], ThreadMachines(2), load=0, price=1)
    assert (found.seconds, found.worker_hours, found.cost) == (None, None, None)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    write_tiny_model(tmp_path / "tiny")
    write_tiny_model(tmp_path / "noisy", noise=0.02)
    (tmp_path / "text.txt").write_text("".join(f"{n} foxes. " for n in range(300)))
    return tmp_path


def test_rates_are_those_of_a_worker(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its engine says so many seconds for whatever is asked, and reading one token takes 1."""
    asked: list[Work] = []

    class Slow:
        @staticmethod
        def cost(work: Work, *_: Any, **__: Any) -> Cost:
            asked.append(work)
            return Cost(seconds=1.0 if work == Work(read=1) else 101.0)

        @staticmethod
        def release() -> None:
            pass

    spec = RunSpec(
        reference=str(place / "tiny"), variants=(str(place / "noisy"),),
        corpora=(str(place / "text.txt"),), price=36.0,
    )  # fmt: skip
    ready = prepare(spec, progress=SilentProgress())
    machines = ThreadMachines(1)
    monkeypatch.setattr(worker, "load_engine", lambda name: Slow)
    summary = summarize(ready, place / "run", connect=lambda *_: machines)
    assert {type(action) for action in machines.actions} == {Estimate}
    assert len(machines.started) == 1
    assert machines.closed
    cluster = summary.cluster
    assert cluster is not None
    # To start, and to load and read, of both models; to load and compare, and the floor.
    assert cluster.seconds == 2 + 2 * (1 + 100) + (1 + 101) + (1 + 101)
    out = io.StringIO()
    Console(file=out, width=200).print(render_plan(summary))
    assert "cluster: 1 worker of 1 CPU: 7 min, 2 s of it to start, busy 100%; " in out.getvalue()
    assert "0.113 worker hours at 36 per hour: 4.08" in out.getvalue()
