"""Speed as a part of a run: measured once, kept, and no variant's failure."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from bitloss.analysis.collect import collect
from bitloss.engines.speed import Speed
from bitloss.errors import NumericalError
from bitloss.results import Estimate
from bitloss.results.speed import Footprint, SpeedRate
from bitloss.runner import Plan, RunStore, execute
from bitloss.runner import speed as measuring
from bitloss.runner.memory import buffer_bytes, cache_bytes, context_bytes
from bitloss.spec.serving import Serving
from bitloss.types import SilentProgress

LLAMA = {
    "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "hidden_size": 128,
}  # fmt: skip


@pytest.mark.parametrize(
    ("config", "serving", "expected"),
    [
        # Layers x key heads x width of a head x (bits of a key + bits of a value) / 8.
        (LLAMA, Serving(), 2 * 2 * 32 * 4),
        (LLAMA | {"head_dim": 64}, Serving(), 2 * 2 * 64 * 4),
        (LLAMA, Serving("q8_0", "q4_0"), round(2 * 2 * 32 * (34 / 32 + 18 / 32))),
        (LLAMA, Serving("fp8", "fp8"), 2 * 2 * 32 * 2),
        ({"text_config": LLAMA}, Serving(), 2 * 2 * 32 * 4),
        (LLAMA | {"kv_lora_rank": 8}, Serving(), None),
        ({}, Serving(), None),
    ],
)
def test_a_token_of_context_takes_its_keys_and_values(config, serving, expected):
    assert cache_bytes(config, serving) == expected


SMOLLM2 = {
    "num_hidden_layers": 30, "num_attention_heads": 9, "num_key_value_heads": 3,
    "hidden_size": 576, "intermediate_size": 1536,
}  # fmt: skip
GEMMA3 = {
    "num_hidden_layers": 18, "num_attention_heads": 4, "num_key_value_heads": 1, "head_dim": 256,
    "hidden_size": 640, "intermediate_size": 2048, "sliding_window": 512,
    "layer_types": [*["sliding_attention"] * 5, "full_attention"] * 3,
}  # fmt: skip


@pytest.mark.parametrize(
    ("config", "cache", "context", "mebibytes"),
    [
        # Sizes of the buffers in the log of llama.cpp (llama-cpp-python 0.3.36) for both files.
        (SMOLLM2, "f16", 2048, 45.00),
        (SMOLLM2, "q8_0", 2048, 23.91),
        (SMOLLM2, "f16", 8192, 180.00),
        (SMOLLM2, "q8_0", 8192, 95.62),
        (GEMMA3, "f16", 2048, 6.00 + 15.00),
        (GEMMA3, "q8_0", 2048, 3.19 + 7.97),
        (GEMMA3, "f16", 8192, 24.00 + 15.00),
        (GEMMA3, "q8_0", 8192, 12.75 + 7.97),
    ],
)
def test_a_context_takes_what_llama_cpp_makes_for_it(config, cache, context, mebibytes):
    found = context_bytes(config, Serving(cache, cache), context)
    assert found is not None
    assert found / 2**20 == pytest.approx(mebibytes, abs=0.02)


def test_buffers_are_those_of_a_forward_the_tokenizer_and_a_process():
    """By hand: 512 tokens x 4 bytes x (4 x 576 + 2 x 1536), 49,152 entries of 160 bytes, 16 MiB."""
    assert buffer_bytes(SMOLLM2, 49_152) == 2048 * 5376 + 49_152 * 160 + 16 * 2**20
    assert buffer_bytes({}, 49_152) is None
    assert context_bytes({}, Serving(), 100) is None


SPEED = Speed(
    prefill=SpeedRate(
        tokens_per_second=200.0, reference=100.0, ratio=Estimate(value=2.0, low=1.9, high=2.1)
    ),
    decode=None,
    candidate=Footprint(load_seconds=0.5, resident_bytes=1000, device_bytes=0),
    reference=Footprint(load_seconds=0.6, resident_bytes=2000, device_bytes=0),
)


def carry_out(plan: Plan, folder: Path):
    store = RunStore(folder)
    manifest = execute(plan, store, command="", progress=SilentProgress())
    return collect(store, manifest)


def test_what_was_measured_is_kept(
    plan: Callable[..., Plan], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    timed = []

    def measure(reference, candidate, setup, work):
        timed.append((candidate.model.name, candidate.serving.keys, work.prompt))
        return SPEED

    monkeypatch.setattr(measuring, "measure_speed", measure)
    made = plan(variants=("./noisy",), corpora=("text.txt",), cache_type="fp8", speed=True)
    first = carry_out(made, tmp_path)
    assert [name for name, _, _ in timed] == ["./noisy", "./noisy [dense, cache fp8]"]
    assert [keys for _, keys, _ in timed] == ["", "fp8"]
    (variant,) = first.variants
    assert variant.speed is not None
    assert variant.speed.prefill is not None
    assert variant.speed.prefill.ratio.low == 1.9
    assert variant.speed.decode is None
    assert variant.served is not None
    assert variant.served[0].speed is not None
    assert variant.served[0].speed.cache_bytes < variant.speed.cache_bytes
    assert carry_out(made, tmp_path) == first
    assert len(timed) == 2


def test_what_cannot_be_timed_keeps_its_results(
    plan: Callable[..., Plan], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def measure(*_: object) -> Speed:
        raise NumericalError("too short to be timed", hint="use more tokens")

    monkeypatch.setattr(measuring, "measure_speed", measure)
    found = carry_out(plan(variants=("./noisy",), corpora=("text.txt",), speed=True), tmp_path)
    (variant,) = found.variants
    assert variant.status == "ok"
    assert variant.speed is not None
    assert variant.speed.error is not None
    assert variant.speed.error.message == "too short to be timed"


def test_variants_are_timed_in_turns_with_each_other(
    plan: Callable[..., Plan], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not with the reference: the first of a pair has its place; and no pair is timed twice."""
    timed = []

    def measure(reference, candidate, setup, work):
        timed.append((reference.model.name, candidate.model.name))
        return SPEED

    monkeypatch.setattr(measuring, "measure_speed", measure)
    made = plan(variants=("./noisy", "./copy"), corpora=("text.txt",))
    carry_out(made, tmp_path)
    pairs = [("./noisy", "./copy"), ("./copy", "./noisy")]

    def compare():
        return measuring.compare_speeds(
            made.spec, tmp_path, pairs, engine="dense", progress=SilentProgress()
        )

    first = compare()
    assert timed == pairs
    assert list(first) == pairs
    assert first[pairs[0]].prefill is not None
    assert first[pairs[0]].prefill.ratio.value == 2.0
    assert compare() == first
    assert timed == pairs


def test_a_pair_that_cannot_be_timed_has_its_error(
    plan: Callable[..., Plan], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def measure(*_: object) -> Speed:
        raise NumericalError("too short to be timed", hint="use more tokens")

    monkeypatch.setattr(measuring, "measure_speed", measure)
    made = plan(variants=("./noisy", "./copy"), corpora=("text.txt",))
    carry_out(made, tmp_path)
    pair = ("./noisy", "./copy")
    found = measuring.compare_speeds(
        made.spec, tmp_path, [pair], engine="dense", progress=SilentProgress()
    )
    assert found[pair].prefill is None
    assert found[pair].error is not None
    assert found[pair].error.message == "too short to be timed"
