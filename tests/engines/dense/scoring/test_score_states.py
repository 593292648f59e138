"""How many workers ask heads for logits. Oracle: what they would disturb in each other."""

from __future__ import annotations

import pytest
import torch

from bitloss.engines.dense.scoring import heads
from bitloss.engines.dense.scoring.head import Head
from bitloss.engines.dense.scoring.heads import StateLogits, score_states
from bitloss.engines.dense.scoring.stored_rows import rows_in_file

WEIGHT = torch.randn(40, 8, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    found: list[int] = []
    monkeypatch.setattr(heads, "workers_on", lambda device: 2)
    monkeypatch.setattr(heads, "score_positions", lambda *_, workers: found.append(workers))
    return found


def logits(precision, weight=WEIGHT):
    return StateLogits(Head(weight, precision), torch.zeros(3, 8))


def test_heads_of_one_precision_are_asked_side_by_side(asked):
    score_states(torch.zeros(3).long(), logits("fp32"), [logits("fp32"), logits("fp32")])
    assert asked == [2]


def test_a_switch_of_the_process_is_not_shared(asked):
    score_states(torch.zeros(3).long(), logits("fp32"), [logits("mixed")])
    assert asked == [1]


def test_a_file_is_read_by_one(asked):
    stored = rows_in_file(WEIGHT, None, torch.float32, "cpu")
    score_states(torch.zeros(3).long(), logits("fp32"), [logits("fp32", stored)])
    assert asked == [1]


def test_little_memory_is_for_one(asked):
    score_states(torch.zeros(3).long(), logits("fp32"), [logits("fp32")], roomy=False)
    assert asked == [1]


def test_the_switch_is_put_back():
    before = torch.backends.mkldnn.matmul.fp32_precision
    score_states(torch.zeros(3).long(), logits("mixed"), [logits("mixed")])
    assert torch.backends.mkldnn.matmul.fp32_precision == before
