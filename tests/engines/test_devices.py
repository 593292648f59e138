"""Oracle: what the facts of a card are said to be, by a card that is made up."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from types import SimpleNamespace

import psutil
import pytest
import torch

from bitloss.engines import devices
from bitloss.engines.base import Engine
from bitloss.engines.dense.precision import first_precision, has_fast_bf16
from bitloss.errors import BitlossError
from bitloss.spec.run import RunSpec
from peers.random_models import models, random_model
from peers.scoring import candidates

__all__ = ["models", "random_model"]


@pytest.fixture
def card(monkeypatch: pytest.MonkeyPatch) -> Iterator[SimpleNamespace]:
    """One that says what it is asked for."""
    facts = SimpleNamespace(name="NVIDIA H100 80GB HBM3", major=9, minor=0)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: facts)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (60 << 30, 80 << 30))
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    devices.describe.cache_clear()
    yield facts
    devices.describe.cache_clear()


def test_a_cpu_is_its_kind() -> None:
    assert devices.describe("cpu") == "cpu"
    assert abs(devices.free_memory("cpu") - psutil.virtual_memory().available) < 2 << 30


def test_two_cards_never_share_a_record(card, models) -> None:
    engine = Engine(name="x", version="1")
    (own,) = candidates(models, "a")

    def identity(device: str) -> dict[str, object]:
        devices.describe.cache_clear()
        return engine.identity(replace(own, device=device), batch_tokens=8)

    first = identity("cuda")
    assert first["device"] == "cuda: NVIDIA H100 80GB HBM3, 9.0, CUDA 13.0"
    assert identity("cuda:1") == first  # which of several equal ones does not matter
    card.name, card.major = "NVIDIA A100-SXM4-80GB", 8
    assert identity("cuda") != first


def test_memory_is_the_cards(card) -> None:
    assert devices.free_memory("cuda:0") == 60 << 30


def test_a_card_that_emulates_bf16_is_not_fast_at_it(card) -> None:
    assert has_fast_bf16("cuda")
    large = {"device": "cuda", "parameters": 10**9}
    assert first_precision("auto", **large, tokens=2 * 10**6) == "bf16"
    assert first_precision("auto", **large, tokens=10**5) == "fp32"  # two seconds of a card
    card.major, card.minor = 7, 5  # a T4
    assert not has_fast_bf16("cuda")
    assert not has_fast_bf16("mps")


def test_a_full_device_is_an_error_of_the_model() -> None:
    with (
        pytest.raises(BitlossError, match="my-model: not enough memory on cpu") as error,
        devices.reports_full_memory("my-model", "cpu"),
    ):
        raise torch.OutOfMemoryError("CUDA out of memory")
    assert error.value.hint.startswith("lower --batch-tokens")


def test_heads_need_float64() -> None:
    assert [devices.for_heads(name) for name in ("cpu", "cuda:1", "mps")] == [
        "cpu",
        "cuda:1",
        "cpu",
    ]


def test_a_card_reads_more_at_a_time() -> None:
    def tokens(**choices):
        return RunSpec(reference="m", variants=(), **choices).tokens_in_forward

    assert tokens() == 2048
    assert tokens(device="cuda:1") == 16384
    assert tokens(device="cuda", batch_tokens=64) == 64
