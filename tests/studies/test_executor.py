"""A study whose work workers do; oracle: the answer of the same study in this process.

Ray itself is stood in for by threads: `tests/e2e/test_cluster.py` runs a comparison on a cluster,
and a study is a list of comparisons.
"""

from __future__ import annotations

from importlib.machinery import ModuleSpec
from pathlib import Path
from types import SimpleNamespace

import pytest

import bitloss
from bitloss.runner.executors import choose, cluster
from bitloss.runner.executors.parts import Compare, Make, Read
from peers.registering import register
from peers.thread_machines import ThreadMachines
from peers.tiny_model import write_tiny_model


def test_a_study_has_the_same_answer_from_workers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    register(monkeypatch, "QUANTIZERS", round="peers.round_quantizer:ROUND")
    monkeypatch.setenv("BITLOSS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(choose, "find_spec", lambda name: ModuleSpec(name, None))
    machines = ThreadMachines(2)
    stand_in = SimpleNamespace(of=lambda *_: machines)
    monkeypatch.setattr(cluster, "RayMachines", stand_in)
    write_tiny_model(tmp_path / "tiny")
    (tmp_path / "text.txt").write_text("".join(f"{n} foxes, {n * n} dogs. " for n in range(300)))

    def answer(name: str, executor: str) -> dict[str, bytes]:
        out = tmp_path / name
        bitloss.study(
            "bits", [tmp_path / "tiny"], vary=["round-6", "round-4"], out=out,
            corpora=[tmp_path / "text.txt"], executor=executor,
        )  # fmt: skip
        run = out / "runs" / "tiny"
        kept = [out / "bits" / "study.json", run / "comparison.json", *(run / "records").iterdir()]
        return {path.name: path.read_bytes() for path in kept}

    shared = answer("shared", "ray")
    assert machines.closed
    assert {Make, Read, Compare} <= {type(action) for action in machines.actions}
    assert len(list((tmp_path / "cache").rglob("recipe.json"))) == 2  # made once each
    assert shared == answer("alone", "local")
