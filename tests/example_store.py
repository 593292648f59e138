"""A small run directory with records made by formula: two variants, a corpus, a task of six."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from bitloss.analysis.collect import collect
from bitloss.results import Comparison, Engine, Environment, Seeds
from bitloss.results.manifest import (
    CorpusEntry,
    Manifest,
    ModelEntry,
    ReferenceEntry,
    ScoredVariant,
    TaskEntry,
)
from bitloss.runner import RunStore
from bitloss.runner.tasks.drafts import PARTING
from bitloss.runner.tasks.records import WRITING
from example_run import LENGTH, make_corpus, make_info, make_records

N_WINDOWS = 24
REFERENCE = "org/model"
TASK: dict[str, Any] = {
    "capability": "math",
    "metrics": ("acc",),
    "license": "MIT",
    "source": "sums.jsonl",
    "digest": "e" * 64,
    "identity": "f" * 32,
    "version": 1,
    "chance": None,
    "samples": 1,
    "shots": 2,
    "groups": {},
    "gold": "answer",
    "n_items": 6,
    "n_total": 9,
    "notes": (),
    "dtype": "fp32",
    "noise_floor": None,
}


def write_run(
    root: Path,
    *,
    scale: float = 0.05,
    right: str = "111100",
    reference: str = "111110",
    gold_kl: float = 0.02,
    limit: int = N_WINDOWS,
    draw_seed: int | None = None,
    words: str = "",
    writing: dict[str, dict[str, list[float]]] | None = None,
    **task: Any,
) -> Comparison:
    """A finished run of `gptq-4` (as the arguments say) and `q8.gguf` (a copy).

    Args:
        root: the run directory.
        scale: of gptq-4's divergences.
        right: which of the six items gptq-4 gets right; the reference: the first five.
        reference: which of them the reference and its copy get right.
        gold_kl: its divergence on a gold answer, nats a token.
        limit: windows.
        draw_seed: by which they are said to be drawn.
        writing: by model, columns of item records that tell of generated texts.
        words: stand in every question, option and answer.
        task: changes to the task's entry.
    """
    store = RunStore(root)
    copy = (reference, 0.0)
    answers = {"reference": copy, "gptq-4": (right, gold_kl), "q8.gguf": copy}
    for name, (grades, divergence) in answers.items():
        own = (writing or {}).get(name)
        store.write_records(f"items-{name}", _items(grades, divergence, words, own))
    store.write_records("questions", _questions(words))
    variants = {
        name: _write_tokens(store, name, amount, limit)
        for name, amount in (("gptq-4", scale), ("q8.gguf", 0.0))
    }
    corpus = CorpusEntry(
        facts=make_corpus(n_windows=limit, n_scored=limit * LENGTH, draw_seed=draw_seed),
        dtype="fp32",
        noise_floor=None,
        reference=("reference",),
        random_order=None,
        variants=variants,
    )
    items = {REFERENCE if name == "reference" else name: f"items-{name}" for name in answers}
    entry = TaskEntry(**{**TASK, **task}, questions="questions", items=items)
    store.write_manifest(make_manifest(corpora={"wikitext-2": corpus}, tasks={"sums": entry}))
    result = collect(store, store.read_manifest())
    result.write(root / "comparison.json")
    return result


def _write_tokens(store: RunStore, name: str, amount: float, limit: int) -> ScoredVariant:
    """A variant's records in two shards; the reference's are the same whatever the amount."""
    records = make_records(amount, n_windows=limit)
    columns = {key: getattr(records, key) for key in type(records).__slots__}
    half = limit // 2 * LENGTH
    for part, rows in (("a", slice(0, half)), ("b", slice(half, None))):
        store.write_records(f"{name}-{part}", {key: v[rows] for key, v in columns.items()})
    own = {key: columns[f"reference_{key}"] for key in ("nll", "entropy")}
    store.write_records("reference", {"window": columns["window"], **own})
    return ScoredVariant(records=(f"{name}-a", f"{name}-b"), stopped=None, exact=None, notes=())


def make_manifest(**parts: Any) -> Manifest:
    """The manifest of a reference and two variants, with these parts."""
    variants = tuple(
        ModelEntry(name=name, info=make_info(name, fmt, bits), recipe=recipe, error=None)
        for name, fmt, bits, recipe in (
            ("gptq-4", "gptq", 4.0, {"method": "gptq", "bits": 4}),
            ("q8.gguf", "gguf-q8_0", 8.0, None),
        )
    )
    reference = ReferenceEntry(name=REFERENCE, info=make_info(REFERENCE, "safetensors-bf16", 16.0))
    environment = Environment(
        versions={"bitloss": "0.1.0", "torch": "2.13.0", "transformers": "5.17.0"},
        engine=Engine(name="dense", version="1"),
        dtype="fp32",
        device="cpu",
        seeds=Seeds(bootstrap=0),
        command="bitloss compare org/model gptq-4 q8.gguf --tasks sums.jsonl",
    )
    return Manifest(
        **{"reference": reference, "variants": variants, "environment": environment, **parts}
    )


def _questions(words: str) -> dict[str, list[Any]]:
    return {
        "item": [f"sum/{n}" for n in range(6)],
        "question": [f"{n} + 1 = ?{words}" for n in range(6)],
        "options": [json.dumps([f"{n}{words}", f"{n + 1}{words}"]) for n in range(6)],
        "gold": [f"{n + 1}{words}" for n in range(6)],
    }


def _items(
    answers: str, divergence: float, words: str, writing: dict[str, list[float]] | None
) -> dict[str, list[Any]]:
    tokens = [2, 3, 2, 4, 0, 5]
    return {
        "item": [f"sum/{n}" for n in range(6)],
        "subject": [""] * 6,
        "cluster": [f"sum/{n}" for n in range(6)],
        "asked": [True] * 6,
        "detail": ["7", 'a "quoted", cell', "line\nbreak", "", "é", "0"],
        "answer": [f"{n + int(right)}{words}" for n, right in enumerate(answers)],
        "gold_tokens": tokens,
        "gold_nll": [n * (1.0 + divergence) if n else math.nan for n in tokens],
        "gold_kl": [n * divergence if n else math.nan for n in tokens],
        "gold_overlap": [(1 - divergence) ** n if n else math.nan for n in tokens],
        "gold_affinity": [math.exp(-n * divergence / 4) if n else math.nan for n in tokens],
        "right": [0.75] * 6,
        "same_option": [1 - divergence] * 6,
        **{name: [math.nan] * 6 for name in (*WRITING, *PARTING)},
        **(writing or {}),
        "score:acc": [float(answer) for answer in answers],
        "weight:acc": [1.0] * 6,
        # A stricter rule, for a task that has it among its metrics.
        "score:acc_norm": [float(answer) * (n % 2) for n, answer in enumerate(answers)],
        "weight:acc_norm": [1.0] * 6,
    }
