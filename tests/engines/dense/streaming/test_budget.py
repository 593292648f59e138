"""What is read at once, worked out by hand."""

from __future__ import annotations

from bitloss.engines.dense.streaming.budget import LayerSize, chosen_experts, plan_stream

DENSE = [LayerSize(1000)] * 10
MOE = [LayerSize(1000), *[LayerSize(500, experts=8, expert=1000, extra=5)] * 9]


def test_what_fits_is_read_at_once() -> None:
    plan = plan_stream(tokens=100, layers=DENSE, state=10, memory=4000, disk=10**9)
    assert (plan.wave, plan.waves, plan.on_disk, plan.moved) == (100, 1, 0, 0)
    assert plan.weights == 2000  # one layer, and the next
    assert plan.states == 1000
    assert not any(plan.groups)


def test_waves_where_weights_are_less_than_states() -> None:
    # A quarter of 4,000 is 100 states; three waves read 30,000 bytes of weights. On disk, 200
    # states go out and in after each of ten layers: 2 x 10 x 200 x 10 bytes and the weights once.
    plan = plan_stream(tokens=300, layers=DENSE, state=10, memory=4000, disk=10**9)
    assert (plan.wave, plan.waves, plan.on_disk) == (100, 3, 0)


def test_states_on_disk_where_they_are_less_than_weights() -> None:
    large = [LayerSize(100_000)] * 10
    plan = plan_stream(tokens=300, layers=large, state=10, memory=4000, disk=10**9)
    assert (plan.wave, plan.waves) == (300, 1)
    assert plan.on_disk == 2 * 200 * 10  # what a layer is given, and what it gives
    assert plan.moved == 10 * 200 * 10
    # The disk has room for 80 of them beside the 100 in memory.
    small = plan_stream(tokens=300, layers=large, state=10, memory=4000, disk=2000)
    assert (small.wave, small.waves) == (180, 2)


def test_experts_in_groups() -> None:
    # Two layers of 8,500 take more than half of 16,000: the others go in groups, two of them in a
    # quarter of it. A token takes six states then.
    plan = plan_stream(tokens=10, layers=MOE, state=10, memory=16_000, disk=10**9)
    assert plan.groups == (0, *[2] * 9)
    assert plan.states == 10 * 10 * 6
    assert plan.weights == 2 * 500 + 2 * 2 * 1000
    assert plan_stream(10, MOE, 10, 34_000, 10**9).groups == (0,) * 10
    assert plan_stream(10, MOE, 10, 1, 10**9).groups == (0, *[1] * 9)


def test_experts_of_a_token() -> None:
    assert chosen_experts({"num_experts_per_tok": 4}) == 4
    assert chosen_experts({"text_config": {"moe_topk": [2, 6]}}) == 6
    assert chosen_experts({}) == 8
