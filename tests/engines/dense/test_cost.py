"""What is counted, worked out by hand; and that time follows the work, whatever the machine."""

from __future__ import annotations

import pytest

from bitloss.engines.dense.cost import estimate
from bitloss.engines.values import Work
from bitloss.formats.base import ModelIdentity
from bitloss.formats.shapes import shape_of
from bitloss.types import ModelInfo

# Gemma 3 270M's sizes: 262,144 x 640 embeddings, tied, and 18 layers.
GEMMA = {
    "model_type": "gemma3_text", "vocab_size": 262_144, "hidden_size": 640, "head_dim": 256,
    "intermediate_size": 2048, "num_hidden_layers": 18, "num_attention_heads": 4,
    "num_key_value_heads": 1, "tie_word_embeddings": True,
}  # fmt: skip


def model(parameters: int = 268_098_176, **config: object) -> ModelIdentity:
    info = ModelInfo(
        name="x", format="dense", bits=16, bits_per_weight=16.0, group_size=None,
        parameters=parameters, file_bytes=1, digest="0",
    )  # fmt: skip
    return ModelIdentity(info, GEMMA | config)


def seconds(work: Work, of: ModelIdentity) -> float:
    cost = estimate(work, of, arithmetic="fp32", device="cpu", measure=True)
    assert cost.seconds is not None
    return cost.seconds


def test_sizes_of_a_model() -> None:
    shape = shape_of(model())
    assert shape.embedding == 167_772_160
    assert shape.body == 268_098_176 - 167_772_160
    assert shape.key_numbers == 2 * 18 * 256
    untied = shape_of(model(tie_word_embeddings=False, parameters=435_870_336))
    assert untied.body == shape.body


def test_embeddings_are_look_ups_and_heads_are_compared() -> None:
    small = model(parameters=100_326_016 + 640 * 1024, vocab_size=1024)
    read, compared = Work(read=50_000), Work(compared=1000, variants=1)
    # The body is the same: reading takes as long, but for loading a longer table.
    assert seconds(read, model()) == pytest.approx(seconds(read, small), rel=0.2)
    # 256 times the vocabulary: 256 times the work of the heads.
    assert seconds(compared, model()) == pytest.approx(256 * seconds(compared, small))
    more = Work(compared=1000, variants=3)
    alone = Work(compared=1000)
    added = seconds(compared, model()) - seconds(alone, model())
    assert seconds(more, model()) == pytest.approx(seconds(alone, model()) + 3 * added)


@pytest.mark.parametrize(("arithmetic", "amx", "size"), [("bf16", False, 4), ("bf16", True, 2),
                                                         ("fp32", False, 4)])  # fmt: skip
def test_texts_that_are_written_together_keep_their_keys(
    monkeypatch: pytest.MonkeyPatch, arithmetic: str, amx: bool, size: int
) -> None:
    """By hand: 50 texts of 1,000 tokens with 9,216 keys and values each, in float32 where attention
    is computed so, the prompts of a forward (2,048 tokens and a text's), and a layer of 18 that is
    copied as it grows; and two logits of each text. Beside the process, the tokenizer, weights and
    head.
    """
    monkeypatch.setattr("bitloss.engines.dense.precision.has_amx", lambda: amx)
    work = Work(read=50 * 300, written=50 * 700, texts=50, longest=1000)
    found = estimate(work, model(), arithmetic=arithmetic, device="cpu", measure=False)
    keys = (50 * 1000 + 2048 + 1000) * 9216 * size
    weights = (268_098_176 + 262_144 * 640) * (4 if arithmetic == "fp32" else 2)
    beside = (500 << 20) + 262_144 * 1500 + weights + 50 * 2 * 4 * 262_144
    assert found.memory_bytes == pytest.approx(beside + keys * 19 / 18, abs=2)


def test_writing_is_steps_of_few_tokens() -> None:
    together = Work(written=32 * 100, texts=32, longest=150)
    one = Work(written=100, texts=1, longest=150)
    # 32 texts side by side take the steps of one, and less than 32 times as long.
    assert seconds(one, model()) <= seconds(together, model()) < 32 * seconds(one, model())
    half = Work(written=256 * 100, texts=256, longest=150)
    again = Work(written=512 * 100, texts=512, longest=150)  # 256 at a time
    assert seconds(again, model()) == pytest.approx(2 * seconds(half, model()))


def test_memory_is_that_of_the_largest_stage() -> None:
    def memory(work: Work) -> int:
        return estimate(work, model(), arithmetic="bf16", device="cpu", measure=False).memory_bytes

    # By hand: weights of 536 MB, and while they are loaded, the embedding once in float32.
    assert memory(Work()) == (500 << 20) + 262_144 * 1500 + 2 * 268_098_176 + 4 * 167_772_160
    # At most half as much again as the model's weights are held as heads of variants.
    assert memory(Work(compared=9, variants=9)) == memory(Work(compared=9, variants=3))


def test_nothing_is_measured_unless_asked() -> None:
    cost = estimate(Work(read=9), model(), arithmetic="bf16", device="cpu", measure=False)
    assert cost.seconds is None


def test_a_model_that_does_not_fit_is_planned_a_layer_at_a_time() -> None:
    """By hand: of 60 MB, two layers of 2 x 5.6 MB in bf16 are held whole, and states of 1,000
    tokens; the head of 336 MB stays on disk.
    """
    layer = 640 * (2 * 1024 + 2 * 256) + 3 * 640 * 2048 + 4 * 640 + 2 * 256
    work = Work(read=1000, scored=1000, compared=1000, variants=1, memory=60_000_000)
    cost = estimate(work, model(), arithmetic="bf16", device="cpu", measure=False)
    assert cost.by_layers
    kept = 3 * 256 * 262_144 * 4
    beside = (500 << 20) + 262_144 * 1500
    assert cost.memory_bytes == beside + min(kept, 3 * (1 << 25) * 4)
    reading = estimate(
        Work(read=1000, memory=60_000_000), model(), arithmetic="bf16", device="cpu", measure=False
    )
    passing = 2048 * (8 * 640 + 3 * 2048) * 4
    assert reading.memory_bytes == beside + 2 * 2 * layer + 1000 * 640 * 2 + passing
    alone = Work(compared=1000, variants=1, memory=60_000_000)  # a job of its own
    compared = estimate(alone, model(), arithmetic="bf16", device="cpu", measure=False)
    assert compared.memory_bytes == cost.memory_bytes
    assert not compared.by_layers
    whole = estimate(
        Work(read=1000, memory=1 << 40), model(), arithmetic="bf16", device="cpu", measure=False
    )
    assert not whole.by_layers
