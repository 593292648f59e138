"""A small run's worth of records, and the result made of them."""

from __future__ import annotations

import dataclasses

import numpy as np

from bitloss.analysis.corpora import analyse_corpus, analyse_reference
from bitloss.results import (
    Comparison,
    Engine,
    Environment,
    Failure,
    NoiseFloor,
    ReferenceResult,
    Seeds,
    VariantResult,
)
from bitloss.types import ModelInfo, ScoredCorpus, TokenRecords

N_WINDOWS, LENGTH = 24, 16


def make_corpus(**changes) -> ScoredCorpus:
    facts = ScoredCorpus(
        name="wikitext-2",
        digest="c" * 64,
        source="data/wikitext-2-raw/wiki.test.raw",
        protocol="strided",
        parameters={"max_length": 32, "stride": 16},
        averaging="tokens",
        valid=(),
        n_windows=N_WINDOWS,
        n_windows_total=100,
        n_scored=N_WINDOWS * LENGTH,
        n_total=1600,
        n_tokens=1700,
        n_bytes=6800,
        n_words=None,
        notes=("24 of 100 windows, drawn at random (seed 0)",),
    )
    return dataclasses.replace(facts, **changes)


def make_records(scale: float = 0.05, *, n_windows: int = N_WINDOWS, seed: int = 0) -> TokenRecords:
    rng = np.random.default_rng(seed)
    n = n_windows * LENGTH
    reference = rng.gamma(2.0, 1.5, n).astype(np.float32)
    return TokenRecords(
        window=np.repeat(np.arange(n_windows, dtype=np.int32), LENGTH),
        reference_nll=reference,
        nll=reference + (scale * rng.normal(0.3, 1.0, n)).astype(np.float32),
        kl_divergence=(scale * rng.lognormal(-1.0, 1.4, n)).astype(np.float32),
        same_top1=rng.random(n) > scale,
        delta_p=(scale * rng.normal(0.0, 0.1, n)).astype(np.float32),
        reference_entropy=rng.gamma(2.0, 1.0, n).astype(np.float32),
        entropy=rng.gamma(2.0, 1.0, n).astype(np.float32),
        overlap=(1 - scale * rng.beta(1.0, 4.0, n)).astype(np.float32),
    )


def make_info(name: str, format_: str, bits: float) -> ModelInfo:
    return ModelInfo(
        name=name,
        digest="d" * 64,
        format=format_,
        bits=bits,
        bits_per_weight=bits + 0.25,
        file_bytes=int(1e9 * bits / 16),
        parameters=500_000_000,
        group_size=128 if bits < 16 else None,
        architecture="LlamaForCausalLM",
    )


def make_facts(name: str, format_: str, bits: float) -> dict:
    return dataclasses.asdict(make_info(name, format_, bits))


def make_comparison() -> Comparison:
    corpus, floor = make_corpus(), NoiseFloor(kl_divergence=9.4e-5, dtype="bf16", n_scored=4096)
    records, small = make_records(), make_records(1e-4, seed=1)
    scored = {"dtype": "bf16", "seed": 0, "noise_floor": floor}
    reference = analyse_reference(records.reference_nll, records.window, corpus, **scored)
    exact = make_records(5e-6, n_windows=12, seed=2)
    return Comparison(
        reference=ReferenceResult(
            **make_facts("org/model", "safetensors-bf16", 16.0), corpora={corpus.name: reference}
        ),
        variants=(
            VariantResult(
                **make_facts("gptq-4", "gptq", 4.0),
                recipe={"method": "gptq", "bits": 4},
                corpora={corpus.name: analyse_corpus(records, corpus, **scored)},
            ),
            VariantResult(
                **make_facts("./model-q8_0.gguf", "gguf-q8_0", 8.0),
                corpora={
                    corpus.name: analyse_corpus(
                        small, corpus, exact=exact, exact_dtype="fp32", **scored
                    )
                },
            ),
            VariantResult(
                name="awq-4",
                recipe={"method": "awq", "bits": 4},
                status="failed",
                error=Failure(message="expected rows divisible by 128, got 172", hint="use gptq-4"),
            ),
        ),
        environment=Environment(
            versions={"bitloss": "0.1.0", "torch": "2.13.0"},
            engine=Engine(name="dense", version="1"),
            dtype="auto",
            device="cpu",
            cpu="AVX512",
            seeds=Seeds(bootstrap=0),
            command="bitloss compare org/model gptq-4 ./model-q8_0.gguf awq-4",
        ),
    )
