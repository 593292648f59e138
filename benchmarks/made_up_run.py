"""A finished run of any size, made up: what the benchmarks of analysis and report read.

A corpus in windows of 512 tokens and ten tasks over all capabilities, with questions and answers of
the usual lengths, written by the run directory's own writer.
"""

from __future__ import annotations

import json

import numpy as np

from bitloss.results import Engine, Environment, Seeds
from bitloss.results.manifest import (
    CorpusEntry,
    Manifest,
    ModelEntry,
    ReferenceEntry,
    ScoredVariant,
    TaskEntry,
)
from bitloss.runner import RunStore
from bitloss.runner.tasks.records import WRITING
from bitloss.types import ModelInfo, ScoredCorpus, TokenRecords

__all__ = ["CAPABILITIES", "WINDOW", "write_run"]

WINDOW = 512
CAPABILITIES = (
    "text completion", "knowledge (English)", "knowledge (English)", "knowledge (Chinese)",
    "instruction following", "math", "math", "code", "logic", "logic",
)  # fmt: skip
WRITTEN = ("instruction following", "math", "code")


def write_run(
    store: RunStore, *, variants: int, tokens: int, items: int, answer: int = 100
) -> None:
    """Records of the right sizes; the more bits, the smaller a variant's losses.

    Args:
        store: an empty run directory.
        variants: beside the reference.
        tokens: scored ones of the one corpus, in windows of `WINDOW`.
        items: of each of the ten tasks.
        answer: characters of an answer.
    """
    rng = np.random.default_rng(0)
    names = [f"variant-{n}" for n in range(variants)]
    corpus = _write_corpus(store, rng, names, tokens)
    tasks = {
        f"task_{n}": _write_task(store, rng, f"task_{n}", capability, names, items, answer)
        for n, capability in enumerate(CAPABILITIES)
    }
    store.write_manifest(
        Manifest(
            reference=ReferenceEntry(name="reference", info=_info("reference", 16.0)),
            variants=tuple(
                ModelEntry(name=name, info=_info(name, 8.0 - 0.7 * n), recipe=None, error=None)
                for n, name in enumerate(names)
            ),
            corpora={"text": corpus},
            tasks=tasks,
            environment=Environment(
                versions={"bitloss": "0"}, engine=Engine(name="dense", version="1"), dtype="fp32",
                device="cpu", seeds=Seeds(bootstrap=0), command="made up",
            ),
        )
    )  # fmt: skip


def _info(name: str, bits: float) -> ModelInfo:
    return ModelInfo(
        name=name, digest=name, format="gguf", bits=bits, bits_per_weight=bits,
        file_bytes=int(1e9 * bits / 16), parameters=500_000_000, group_size=None,
        architecture="LlamaForCausalLM",
    )  # fmt: skip


def _write_corpus(
    store: RunStore, rng: np.random.Generator, names: list[str], tokens: int
) -> CorpusEntry:
    windows = np.repeat(np.arange(tokens // WINDOW, dtype=np.int32), WINDOW)
    n = len(windows)
    nll = rng.gamma(1.0, 2.5, n).astype(np.float32)
    entropy = rng.gamma(2.0, 1.0, n).astype(np.float32)
    store.write_records("reference", {"window": windows, "nll": nll, "entropy": entropy})
    entries = {}
    for rank, name in enumerate(names, start=1):
        scale = 0.01 * 2.0**rank
        columns = TokenRecords(
            window=windows,
            reference_nll=nll,
            nll=(nll + rng.normal(scale / 4, scale, n)).astype(np.float32),
            kl_divergence=(scale * rng.lognormal(-2.0, 1.6, n)).astype(np.float32),
            same_top1=rng.random(n) > scale / 4,
            delta_p=rng.normal(0.0, scale / 10, n).astype(np.float32),
            overlap=1 - (scale * rng.beta(1.0, 4.0, n)).astype(np.float32),
            reference_entropy=entropy,
            entropy=entropy,
        )
        store.write_records(name, {key: getattr(columns, key) for key in TokenRecords.__slots__})
        entries[name] = ScoredVariant(records=(name,), stopped=None, exact=None, notes=())
    facts = ScoredCorpus(
        name="text", digest="text", source="made up", protocol="strided",
        parameters={"max_length": 1024, "stride": WINDOW}, averaging="tokens", valid=(),
        n_windows=n // WINDOW, n_windows_total=n // WINDOW, n_scored=n, n_total=n, n_tokens=n,
        n_bytes=4 * n, n_words=None, notes=(),
    )  # fmt: skip
    return CorpusEntry(
        facts=facts, dtype="fp32", noise_floor=None, reference=("reference",), random_order=None,
        variants=entries,
    )  # fmt: skip


def _write_task(
    store: RunStore, rng: np.random.Generator, task: str, capability: str, names: list[str],
    items: int, answer: int,
) -> TaskEntry:  # fmt: skip
    ids = [f"{task}/{n}" for n in range(items)]
    words = " ".join(f"word{n}" for n in rng.integers(0, 10_000, 200_000))

    def texts(length: int) -> list[str]:
        return [words[at : at + length] for at in rng.integers(0, 1_000_000, items)]

    options = [json.dumps(four) for four in zip(*(texts(40) for _ in range(4)), strict=True)]
    store.write_records(
        f"{task}-questions",
        {"item": ids, "question": texts(400), "options": options, "gold": texts(40)},
    )
    right = rng.random(items) < 0.6
    tokens = rng.integers(1, 30, items)
    # A right answer is likely, and the others are not.
    nll = np.where(right, rng.exponential(0.1, items), rng.exponential(5.0, items))
    writes = capability in WRITTEN
    found = {}
    for rank, name in enumerate(["reference", *names]):
        own = right ^ (rng.random(items) < 0.015 * rank)
        divergence = rng.lognormal(-6.0, 1.0, items) * rank
        likely = np.clip(np.where(right, 0.7, 0.15) + rng.normal(0, 0.02 * rank, items), 0, 1)
        store.write_records(
            f"{task}-{name}",
            {
                "item": ids, "subject": [f"subject {n % 20}" for n in range(items)],
                "cluster": ids,
                "asked": [True] * items, "detail": texts(40), "answer": texts(answer),
                "gold_tokens": tokens,
                "gold_nll": np.maximum(nll + tokens * rng.normal(0, 0.01, items) * rank, 0),
                "gold_kl": tokens * divergence,
                "gold_overlap": np.exp(-tokens * np.sqrt(divergence / 2)),
                "gold_affinity": np.exp(-tokens * divergence / 4),
                "right": np.full(items, np.nan) if writes else likely,
                "same_option": np.full(items, np.nan) if writes else np.exp(-divergence),
                **{column: np.full(items, 0.0 if writes else np.nan) for column in WRITING},
                "score:acc": own.astype(float), "weight:acc": np.ones(items),
            },
        )  # fmt: skip
        found[name] = f"{task}-{name}"
    return TaskEntry(
        capability=capability, metrics=("acc",), license="", source="made up", digest=task,
        identity=task, version=1, chance=None if writes else 0.25, samples=1, shots=0, groups={},
        gold="answer" if writes else "option",
        n_items=items, n_total=items, notes=(), dtype="fp32", noise_floor=None,
        questions=f"{task}-questions", items=found,
    )  # fmt: skip
