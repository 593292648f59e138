"""Seconds to analyse and draw a large run, and how large its page becomes.

    python benchmarks/report.py

The run is made up: eight variants, a corpus of 300,000 scored tokens in windows of 512, ten tasks
of 1,000 items with questions and answers of the usual lengths. Timed are what `bitloss report`
does: reading and analysing the records (`collect`), then the page. The page of a second run of as
many items, with long answers, shows where the page stops growing.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path

import numpy as np

from bitloss.analysis.collect import collect
from bitloss.report.details import read_details
from bitloss.report.page import write_page
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
from bitloss.types import ModelInfo, ScoredCorpus, TokenRecords

WINDOW = 512
CAPABILITIES = (
    "text completion", "knowledge (English)", "knowledge (English)", "knowledge (Chinese)",
    "instruction following", "math", "math", "code", "logic", "logic",
)  # fmt: skip


def write_run(store: RunStore, *, variants: int, tokens: int, items: int, answer: int) -> None:
    """Records of the right sizes; the more bits, the smaller a variant's losses."""
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
    found = {}
    for rank, name in enumerate(["reference", *names]):
        own = right ^ (rng.random(items) < 0.015 * rank)
        store.write_records(
            f"{task}-{name}",
            {
                "item": ids, "subject": [f"subject {n % 20}" for n in range(items)],
                "asked": [True] * items, "detail": texts(40), "answer": texts(answer),
                "gold_tokens": tokens, "gold_nll": tokens * (2.0 + 0.02 * rank),
                "gold_kl": tokens * rng.lognormal(-4.0, 1.0, items) * rank,
                "score:acc": own.astype(float), "weight:acc": np.ones(items),
            },
        )  # fmt: skip
        found[name] = f"{task}-{name}"
    return TaskEntry(
        capability=capability, metrics=("acc",), license="", source="made up", digest=task,
        identity=task, version=1, chance=0.25, samples=1, shots=0, groups={}, gold="option",
        n_items=items, n_total=items, notes=(), dtype="fp32", noise_floor=None,
        questions=f"{task}-questions", items=found,
    )  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--variants", type=int, default=8)
    parser.add_argument("--tokens", type=int, default=300_000)
    parser.add_argument("--items", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    print("| answers, characters | analyse, s | page, s | first page, s | page, MB |")
    print("|---|---|---|---|---|")
    for answer in (100, 2000):
        with tempfile.TemporaryDirectory() as folder:
            store = RunStore(Path(folder))
            write_run(
                store, variants=arguments.variants, tokens=arguments.tokens,
                items=arguments.items, answer=answer,
            )  # fmt: skip
            analysed, drawn = [], []
            for _ in range(arguments.rounds):
                start = time.perf_counter()
                manifest = store.read_manifest()
                result = collect(store, manifest)
                middle = time.perf_counter()
                page = write_page(result, read_details(store, manifest), Path(folder, "r.html"))
                analysed.append(middle - start)
                drawn.append(time.perf_counter() - middle)
            size = page.stat().st_size / 1e6
        figures = (np.median(analysed), np.median(drawn), drawn[0], size)
        print(f"| {answer} | {' | '.join(f'{value:.1f}' for value in figures)} |", flush=True)


if __name__ == "__main__":
    main()
