"""Packed kernels beside a dense reference, a conformance test per format.

Oracle: transformers' float32 forward of the weights that the files mean, which the tests' own
packer knows. Kernels that compute in float32 agree with it to rounding.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from bitloss.engines.values import TextSetup
from engines import pair_checks, text_checks
from peers.packed_models import IN_PROCESS, Make, candidate, logits_of, maker, some_window
from peers.registering import register
from peers.tiny import VOCABULARY, save_tiny

# Where loading takes a second, what does not depend on the format is checked for others alone.
QUICK = ("dense", "w8a16")
SLOW = ("gptq-8", "gptq-4", "awq-4", "w4a16")
PER_FORMAT = (
    pair_checks.check_a_copy_of_the_reference_lost_nothing,
    pair_checks.check_records_are_what_the_logits_say,
    pair_checks.check_a_broken_candidate_fails_alone,
    pair_checks.check_the_noise_floor_is_small,
    pair_checks.check_logits_are_one_row_per_scored_token,
)


@pytest.fixture(scope="module")
def make(tmp_path_factory: pytest.TempPathFactory) -> Make:
    return maker(tmp_path_factory.mktemp("packed"))


def pair_facts(make: Make, layout: str) -> pair_checks.Facts:
    """AWQ's kernels have 16 bits alone: the test of them is coarse."""
    own, noises = ("bf16", (1.0, 2.0)) if layout == "awq-4" else ("fp32", (0.05, 0.1))
    reference = make("dense")[0]
    made = {noise: make(layout, noise) for noise in noises}
    oracles = {path.name: model for path, model in (make("dense"), *made.values())}

    def logits(name: str, ids: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            return oracles[name](torch.from_numpy(ids[None]).long()).logits[0].double().numpy()

    return pair_checks.Facts(
        vocabulary=VOCABULARY,
        reference=candidate(reference, engine="dense"),
        copy=candidate(reference, own),
        variants=tuple(candidate(path, own) for path, _ in made.values()),
        broken=candidate(make(layout, float("nan"))[0], own),
        logits=None if layout == "awq-4" else logits,
        tolerance=1e-4,
        floor=0.05 if own == "bf16" else 1e-5,
    )


@pytest.fixture
def _in_process(monkeypatch: pytest.MonkeyPatch) -> None:
    register(monkeypatch, "ENGINES", packed="peers.packed_models:IN_PROCESS")


@pytest.mark.usefixtures("_in_process")
@pytest.mark.parametrize("layout", QUICK)
@pytest.mark.parametrize("check", pair_checks.PAIR_CHECKS, ids=lambda check: check.__name__)
def test_it_scores(make: Make, tmp_path: Path, check: Any, layout: str) -> None:
    check(IN_PROCESS, pair_facts(make, layout), tmp_path)


@pytest.mark.usefixtures("_in_process")
@pytest.mark.parametrize("layout", SLOW)
@pytest.mark.parametrize("check", PER_FORMAT, ids=lambda check: check.__name__)
def test_it_scores_every_format(make: Make, tmp_path: Path, check: Any, layout: str) -> None:
    check(IN_PROCESS, pair_facts(make, layout), tmp_path)


def decode(ids: Any) -> str:
    return " ".join(map(str, ids))


@pytest.fixture(scope="module")
def writer(make: Make) -> Callable[[str], Any]:
    @cache
    def loaded(layout: str) -> Any:
        own = candidate(make(layout)[0])
        assert IN_PROCESS.text_model is not None
        setup = TextSetup(own.model.identity.config, decode, (1,), batch_tokens=64)
        return IN_PROCESS.text_model(own, setup)

    return loaded


@pytest.mark.parametrize("layout", ["w8a16", "gptq-4"])
@pytest.mark.parametrize("check", text_checks.TEXT_CHECKS, ids=lambda check: check.__name__)
def test_it_writes(make: Make, writer: Any, check: Any, layout: str) -> None:
    oracle = make(layout)[1]

    def logits(ids: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            return oracle(torch.from_numpy(ids[None]).long()).logits[0].double().numpy()

    check(
        writer(layout),
        text_checks.Facts(
            vocabulary=VOCABULARY, context=128, logits=logits, decode=decode, eos_ids=(1,)
        ),
    )


def divergence(ours: torch.Tensor, theirs: torch.Tensor) -> float:
    p, q = (logits.double().log_softmax(-1) for logits in (ours, theirs))
    return float((p.exp() * (p - q)).sum(-1).mean())


def test_awq_is_what_the_file_means_up_to_16_bits(make: Make) -> None:
    """Oracle: the same weights, dense, by transformers in the same 16 bits."""
    path, oracle = make("awq-4", 1.0)
    window = some_window()
    ids = torch.from_numpy(window.ids[None, :-1]).long()
    with torch.no_grad():
        exact = oracle(ids).logits[0]
        rounded = oracle.bfloat16()(ids).logits[0].float()
        oracle.float()
    found = divergence(exact, logits_of(candidate(path, "bf16"), window))
    assert 0 < found < 3 * divergence(exact, rounded)


def test_quantized_activations_are_part_of_what_is_run(make: Make) -> None:
    """W8A8 rounds activations to 8 bits per token; without them the same file is exact."""
    window = some_window()
    exact, rounded = (
        divergence(
            make(layout)[1](torch.from_numpy(window.ids[None, :-1]).long()).logits[0].detach(),
            logits_of(candidate(make(layout)[0]), window),
        )
        for layout in ("w8a16", "w8a8")
    )
    assert abs(exact) < 1e-6
    assert 1e-4 < rounded < 0.1


@pytest.mark.parametrize("layout", ["nf4", "int8"])
def test_bitsandbytes(tmp_path: Path, layout: str) -> None:
    """Oracle: the dense engine on the same file; the library computes in 16 bits."""
    if find_spec("bitsandbytes") is None:
        pytest.skip("bitsandbytes is not installed")
    from transformers import AutoModelForCausalLM, BitsAndBytesConfig

    # Rows in whole blocks of 64: others its CPU kernel of 0.50 refuses or reads wrongly.
    save_tiny(tmp_path / "m", "llama", dtype=torch.bfloat16, intermediate_size=128)
    options: dict[str, Any] = {"nf4": {"load_in_4bit": True, "bnb_4bit_quant_type": "nf4"},
                               "int8": {"load_in_8bit": True}}[layout]  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        loader: Any = AutoModelForCausalLM
        model = loader.from_pretrained(
            tmp_path / "m",
            quantization_config=BitsAndBytesConfig(**options),
            dtype=torch.bfloat16,
        )
        model.save_pretrained(tmp_path / layout)
    from bitloss.engines.dense.plug import ENGINE as DENSE

    assert DENSE.logits is not None
    window = some_window()
    own = candidate(tmp_path / layout, engine="dense")
    exact = torch.cat(list(DENSE.logits(own, batch_tokens=64).logits(window)))
    assert 0 < divergence(exact, logits_of(candidate(tmp_path / layout, "bf16"), window)) < 0.02


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("layout", ["gptq-4", "awq-4", "w8a16"])
def test_on_cuda(make: Make, layout: str) -> None:
    path, oracle = make(layout, 1.0)
    window = some_window()
    with torch.no_grad():
        exact = oracle(torch.from_numpy(window.ids[None, :-1]).long()).logits[0]
    own = candidate(path, "bf16", device="cuda")
    assert 0 < divergence(exact, logits_of(own, window).cpu()) < 0.1
