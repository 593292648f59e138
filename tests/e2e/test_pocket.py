"""Quality, on the trained model that comes along: what damages a model shows here.

Oracles: divergence falls with every bit (Frantar et al. 2023, table 1, and llama.cpp's table for
Llama-3-8B order the same formats so); and the figures measured when the model was shipped, within
a factor of three, which no wrong nibble, scale or group survives.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import pytest

import bitloss
from bitloss import Calibration
from bitloss.results import Comparison

# KL divergence on pocket-prose, nats a token, as shipped.
SHIPPED = {
    "gguf-q8_0": 0.009, "gguf-q4_k_m": 0.14, "gguf-q3_k_m": 0.29, "gguf-q2_k": 0.67,
    "gptq-8": 0.005, "gptq-4": 0.13, "gptq-3": 0.35,
}  # fmt: skip
LADDERS = (
    ("gguf-q8_0", "gguf-q4_k_m", "gguf-q3_k_m", "gguf-q2_k"),
    ("gptq-8", "gptq-4", "gptq-3"),
)
LIBRARIES = {"gguf": "llama_cpp", "gptq": "gptqmodel"}


CALIBRATION = Calibration("pocket-calibration-mixed", samples=16, length=256)


def compared(variants: tuple[str, ...], folder: Path) -> Comparison:
    for name in variants:
        if find_spec(library := LIBRARIES[name.partition("-")[0]]) is None:
            pytest.skip(f"{library} is not installed")
    return bitloss.compare(
        "pocket", variants, corpora=["pocket-prose"], out=folder / "run", seed=0,
        tasks=["pocket_knowledge_en", "pocket_knowledge_zh", "pocket_logic"], limit=100,
        calibration=Calibration() if variants[0].startswith("gguf") else CALIBRATION,
    )  # fmt: skip


def divergences(found: Comparison) -> dict[str, float]:
    assert [variant.error for variant in found.variants] == [None] * len(found.variants)
    means = {v.name: v.corpora["pocket-prose"].kl_divergence.mean for v in found.variants}
    return {name: mean for name, mean in means.items() if mean is not None}


@pytest.mark.parametrize("ladder", LADDERS, ids=["gguf", "gptq"])
def test_every_bit_counts(
    ladder: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BITLOSS_CACHE", str(tmp_path / "cache"))
    found = compared(ladder, tmp_path)
    means = divergences(found)
    assert list(means.values()) == sorted(means.values())
    for name, mean in means.items():
        assert SHIPPED[name] / 3 < mean < 3 * SHIPPED[name], name
    assert found.reference.tasks is not None
    for name, task in found.reference.tasks.items():
        assert task.score.value is not None
        assert task.score.value > 0.55, name
    best, worst = found.variants[0], found.variants[-1]
    assert best.tasks is not None
    assert worst.tasks is not None
    for name, task in best.tasks.items():
        assert abs(task.difference.value or 0) <= 0.03, name
        assert (task.kl_divergence.value or 0) < (worst.tasks[name].kl_divergence.value or 0) / 10
