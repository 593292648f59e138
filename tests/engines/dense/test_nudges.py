"""Layers whose outputs move by their last bit. Oracle: the size of a rounding error by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from bitloss.engines.dense.nudges import Nudges, nudge
from bitloss.errors import UnsupportedModel
from bitloss.runner import RunStore
from bitloss.runner.noise import measure_floor, measure_served_floor
from bitloss.spec.serving import AS_COMPUTED, Serving
from peers.scoring import dense_scorer


@pytest.mark.parametrize(("dtype", "bits"), [(torch.bfloat16, 7), (torch.float32, 23)])
def test_a_nudge_is_as_large_as_rounding(dtype: torch.dtype, bits: int) -> None:
    """By hand: rounding spreads errors evenly over a unit in the last place, whose mean square is a
    twelfth; numbers between 1 and 2 have a unit of 2**-bits.
    """
    generator = torch.Generator().manual_seed(1)
    x = (1.05 + 0.9 * torch.rand(200_000, generator=generator)).to(dtype)
    moved = nudge(x, generator)
    units = (moved.double() - x.double()) * 2**bits
    assert moved.dtype == dtype
    assert {*units.unique().tolist()} == {-1.0, 0.0, 1.0}
    assert float((units**2).mean()) == pytest.approx(1 / 12, rel=0.05)
    assert float(units.mean()) == pytest.approx(0, abs=0.01)


def test_layers_that_are_not_found_are_refused() -> None:
    body = nn.Sequential(nn.Linear(2, 2))
    body.config = type("Config", (), {"num_hidden_layers": 3})()
    with pytest.raises(UnsupportedModel, match="m: expected a list of 3 layers"):
        Nudges().add(body, "m")


def test_a_model_is_itself_again_without_them(tmp_path, models, windows) -> None:
    """The same floor twice, of other scorers: hooks of the first are gone, and the seed is fixed.
    Between them the plain reference is read, whose records are those of a store of its own.
    """
    found = []
    for name in ("one", "other"):
        store = RunStore(tmp_path / name)
        scorer = dense_scorer(store, models)
        records = scorer.rounding_noise(windows, Serving("int8-g8", "int8-g8"))
        found.append(store.read_records(records, ("nll", "reference_nll", "kl_divergence")))
    for column in found[0]:
        np.testing.assert_array_equal(found[0][column], found[1][column])
    assert found[0]["kl_divergence"].any()


def test_what_is_stored_in_few_bits_is_further_from_itself(tmp_path, models, windows) -> None:
    """A last bit of float32 moves the logits by float32's rounding, or a number to another code."""
    store = RunStore(tmp_path)
    scorer = dense_scorer(store, models)
    plain = measure_floor(scorer, store, windows, nudges=True)
    own = store.read_records(scorer.rounding_noise(windows, AS_COMPUTED), ("kl_divergence",))
    served = {
        name: measure_served_floor(scorer, store, windows, serving, plain).kl_divergence
        for name, serving in (
            ("8 bits", Serving("int8-g8", "int8-g8")),
            ("2 bits", Serving("int2-g8", "int2-g8")),
            ("int8", Serving(activations="int8")),
        )
    }
    assert abs(own["kl_divergence"].mean(dtype=np.float64)) < 1e-7
    assert plain.kl_divergence < 1e-7
    for floor in served.values():
        assert plain.kl_divergence < floor < 0.1
    assert served["8 bits"] < served["2 bits"]


def test_the_floor_of_bf16_holds_it_against_itself_too(tmp_path, models, windows) -> None:
    store = RunStore(tmp_path)
    scorer = dense_scorer(store, models, "bf16")
    means = [
        store.read_records(records, ("kl_divergence",))["kl_divergence"].mean(dtype=np.float64)
        for records in (
            scorer.noise_floor(windows), scorer.rounding_noise(windows, AS_COMPUTED)
        )
    ]  # fmt: skip
    floor = measure_floor(scorer, store, windows, nudges=True)
    assert floor.kl_divergence == pytest.approx(max(means), rel=1e-6)
    # Both are the noise of bf16, within one order of magnitude.
    assert max(means) < 10 * min(means)
