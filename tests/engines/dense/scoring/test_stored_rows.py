"""Heads that stay on disk; oracle: the same head in memory."""

from __future__ import annotations

import pytest
import torch

from bitloss.engines.dense.scoring import heads as heads_module
from bitloss.engines.dense.scoring.head import load_head, load_stored_head
from bitloss.engines.dense.scoring.stored_rows import StoredRows, rows_in_file
from bitloss.errors import NumericalError
from bitloss.formats import open_checkpoint
from bitloss.runner import RunStore
from peers.random_models import opened
from peers.scoring import contents, score
from peers.tiny_architectures import save_tiny


@pytest.mark.parametrize("name", ["llama", "gemma2", "cohere", "phi"])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_logits_are_those_of_the_held_head(tmp_path, name, precision):
    """Tied and untied, with a factor, a cap and a bias."""
    save_tiny(name, tmp_path)
    checkpoint = open_checkpoint(tmp_path)
    held = load_head(checkpoint, precision=precision, device="cpu")
    stored = load_stored_head(checkpoint, precision=precision, device="cpu", scratch=tmp_path)
    assert isinstance(stored.weight, StoredRows)
    assert stored.weight.nbytes == 0
    states = torch.randn(7, held.weight.shape[1]).to(held.held.dtype)
    for start, stop in ((0, held.vocabulary), (5, 40)):
        assert torch.equal(stored.logits(states, start, stop), held.logits(states, start, stop))
    assert not stored.is_equivalent(stored)


def test_records_have_the_same_bytes(tmp_path, monkeypatch, models, windows):
    """Of formats that cannot read single rows, by way of a scratch file; faults are found too."""
    found = {}
    for held in (True, False):
        monkeypatch.setattr(heads_module, "holds_head", lambda *args, held=held: held)
        scores = score(RunStore(tmp_path / str(held)), models, windows, *models)
        found[held] = sorted(scores.failed), contents(tmp_path / str(held))
    assert found[True] == found[False]
    assert found[True][0]


def test_rows_in_a_file(tmp_path):
    weight = torch.randn(5000, 3)
    rows = rows_in_file(weight, tmp_path, torch.bfloat16, "cpu")
    assert rows.shape == (5000, 3)
    assert torch.equal(rows[4090:5000], weight[4090:].bfloat16())
    assert not list(tmp_path.iterdir())


def test_a_head_that_is_not_finite_is_refused(tmp_path, random_model):
    _, checkpoint = random_model("llama")
    checkpoint.tensors["lm_head.weight"][3, 1] = torch.inf
    with pytest.raises(NumericalError, match=r"in `lm_head\.weight`"):
        load_stored_head(
            opened(checkpoint).weights, precision="fp32", device="cpu", scratch=tmp_path
        )
