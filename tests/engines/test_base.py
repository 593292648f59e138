"""What an engine says of itself. Oracle: the facts that it was made of."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bitloss import __version__
from bitloss.engines.base import PAIR_COLUMNS, Engine
from bitloss.engines.values import Candidate, Cost, Model, Work
from bitloss.formats.base import ModelIdentity
from bitloss.types import ModelInfo

INFO = ModelInfo("m", "digest", "memory", 32, 32.0, 0, 0)
MODEL = Model("m", ModelIdentity(INFO, {"vocab_size": 9}))
CANDIDATE = Candidate(MODEL, "mine", "native")
ENGINE = Engine(name="mine", version="mine-1", packages=("numpy", "no-such-package"))


def identity(engine: Engine = ENGINE, candidate: Candidate = CANDIDATE, n: int = 64) -> Any:
    return engine.identity(candidate, batch_tokens=n)


def test_an_engine_of_a_name_and_logits_is_complete() -> None:
    engine = replace(ENGINE, logits=lambda candidate, *, batch_tokens: None)  # type: ignore
    assert engine.abilities == {"score"}
    assert engine.columns == set(PAIR_COLUMNS)
    assert engine.reference_engine == "dense"
    assert engine.arithmetic("auto", device="cpu", parameters=1, tokens=1) == "native"
    assert engine.arithmetic("fp32", device="cpu", parameters=1, tokens=1) == "fp32"
    cost = engine.cost(
        Work(read=9), MODEL.identity, arithmetic="native", device="cpu", measure=True
    )
    assert cost == Cost(seconds=None)
    engine.release()
    assert ENGINE.abilities == frozenset()


def test_packages_and_bitloss_are_in_the_identity() -> None:
    import numpy

    assert identity()["packages"] == {"numpy": numpy.__version__, "no-such-package": ""}
    assert identity()["bitloss"] == __version__


def test_one_device_is_as_good_as_the_next() -> None:
    devices = [replace(CANDIDATE, device=name) for name in ("cuda", "cuda:1", "cpu")]
    first, second, other = (identity(candidate=one) for one in devices)
    assert first == second != other


def test_what_people_call_a_model_decides_nothing() -> None:
    renamed = replace(MODEL, name="another", path=Path("elsewhere"))
    assert identity(candidate=replace(CANDIDATE, model=renamed)) == identity()


def test_read_alone_the_batch_size_decides_nothing() -> None:
    alone = replace(CANDIDATE, alone=True)
    assert identity(candidate=alone, n=64) == identity(candidate=alone, n=128)
    assert identity(n=64) != identity(n=128)


@pytest.mark.parametrize(
    "changes",
    [{"name": "other"}, {"version": "mine-2"}, {"packages": ("numpy",)}, {"settings": {"a": 1}}],
    ids=lambda changes: next(iter(changes)),
)
def test_whatever_decides_numbers_is_in_the_identity(changes: dict[str, Any]) -> None:
    assert identity(replace(ENGINE, **changes)) != identity()


def test_weights_config_and_code_are_in_the_identity(tmp_path: Path) -> None:
    def of(**changes: Any) -> Any:
        return identity(candidate=replace(CANDIDATE, model=replace(MODEL, **changes)))

    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "own.py").write_text("x = 1\n")
    assert of(identity=ModelIdentity(replace(INFO, digest="another"), {"vocab_size": 9})) != of()
    assert of(identity=ModelIdentity(INFO, {"vocab_size": 8})) != of()
    code = of(code=tmp_path)
    assert code != of()
    (tmp_path / "a" / "own.py").write_text("x = 2\n")
    assert of(code=tmp_path) != code


@pytest.mark.parametrize(
    ("changes", "label"),
    [
        ({}, "m (mine native)"),
        ({"arithmetic": "fp32"}, "m (mine fp32)"),
        ({"alone": True}, "m (mine native, alone)"),
    ],
)
def test_labels_of_candidates(changes: dict[str, Any], label: str) -> None:
    assert replace(CANDIDATE, **changes).label == label
