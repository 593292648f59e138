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

    base = memory(Work())
    # By hand: weights of 536 MB stay; a head of 336 MB beside them, and 50 rows of 1,400 tokens
    # with 9,216 numbers of 2 bytes each; while it is loaded, its embedding once in float32.
    written = memory(Work(written=50 * 1280, texts=50, longest=1400))
    assert written - base == 335_544_320 + 50 * 1400 * 9_216 * 2 - 167_772_160 * 4
    # At most half as much again as the model's weights are held as heads of variants.
    assert memory(Work(compared=9, variants=9)) == memory(Work(compared=9, variants=3))


def test_nothing_is_measured_unless_asked() -> None:
    cost = estimate(Work(read=9), model(), arithmetic="bf16", device="cpu", measure=False)
    assert cost.seconds is None
