"""No bound that is printed is beyond what the number can be. Oracle: each number's definition.

Records are drawn at random, with few items and large losses, where bounds reach furthest. Every
estimate in the document has to be known here, so that a new one cannot be left out.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from bitloss.analysis.collect import collect
from bitloss.results.manifest import CorpusEntry, ScoredVariant, TaskEntry
from bitloss.runner import RunStore
from bitloss.runner.tasks.drafts import PARTING
from bitloss.runner.tasks.records import WRITING
from example_run import make_corpus
from example_store import REFERENCE, TASK, make_manifest

VOCABULARY, LENGTH = 50, 4
CAPABILITIES = {"sums": "math", "more": "math", "facts": "text completion"}
LEAST = -1e-9  # of rounding


def _items(
    rng: np.random.Generator, task: str, n: int, skill: float, loss: float, variant: bool
) -> dict[str, Any]:
    fractions = rng.random() < 0.3
    score = rng.random(n) if fractions else (rng.random(n) < skill).astype(float)
    tokens = rng.integers(0, 4, n)
    has = tokens > 0
    return {
        "item": [f"{task}/{k}" for k in range(n)],
        "subject": [""] * n,
        "cluster": [f"{task}/{k // rng.integers(1, 4)}" for k in range(n)],
        "asked": [True] * n,
        "detail": [""] * n,
        "answer": [""] * n,
        "gold_tokens": tokens,
        "gold_nll": np.where(has, rng.gamma(1.0, 0.2 + loss * variant, n), math.nan),
        "gold_kl": np.where(has, rng.gamma(0.3, loss, n) * variant, math.nan),
        "gold_overlap": np.where(has, rng.random(n), math.nan),
        "gold_affinity": np.where(has, rng.beta(2, 0.1 + loss * variant, n), math.nan),
        "right": rng.random(n),
        "same_option": rng.random(n),
        "score:acc": score,
        "weight:acc": [1.0] * n,
        **{name: np.full(n, math.nan) for name in (*WRITING, *PARTING)},
    }


def _tokens(rng: np.random.Generator, n_windows: int, loss: float) -> dict[str, Any]:
    n = n_windows * LENGTH
    reference = rng.gamma(0.5, 1.0, n)
    nll = np.abs(reference + loss * rng.normal(0, 1, n))
    return {
        "window": np.repeat(np.arange(n_windows, dtype=np.int32), LENGTH),
        "reference_nll": reference.astype(np.float32),
        "nll": nll.astype(np.float32),
        "kl_divergence": rng.gamma(0.1, loss, n).astype(np.float32),
        "same_top1": rng.random(n) > 0.2 * loss,
        "delta_p": (np.exp(-nll) - np.exp(-reference)).astype(np.float32),
        "reference_entropy": (math.log(VOCABULARY) * rng.beta(5, 1, n)).astype(np.float32),
        "entropy": (math.log(VOCABULARY) * rng.beta(5, 1, n)).astype(np.float32),
        "overlap": rng.beta(5, 0.2 + loss, n).astype(np.float32),
    }


def _document(root: Path, seed: int, n_items: int, n_windows: int, loss: float) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    store = RunStore(root)
    tasks = {}
    for task, capability in CAPABILITIES.items():
        models = {REFERENCE: "reference", "gptq-4": "gptq-4", "q8.gguf": "q8.gguf"}
        clusters = None
        for model, key in models.items():
            columns = _items(
                rng, task, n_items, rng.choice([0.0, 0.3, 1.0]), loss, model != REFERENCE
            )
            clusters = clusters or (columns["cluster"], columns["gold_tokens"])
            columns["cluster"], columns["gold_tokens"] = clusters
            for name in ("gold_nll", "gold_kl", "gold_affinity"):
                fallback = {"gold_nll": 0.1, "gold_kl": 0.1, "gold_affinity": 0.9}[name]
                known = np.nan_to_num(columns[name], nan=fallback)
                columns[name] = np.where(np.asarray(clusters[1]) > 0, known, math.nan)
            store.write_records(f"{task}-{key}", columns)
        entry = {**TASK, "capability": capability, "n_items": n_items}
        items = {model: f"{task}-{key}" for model, key in models.items()}
        tasks[task] = TaskEntry(**entry, questions="none", items=items)
    variants = {}
    for name in ("gptq-4", "q8.gguf"):
        columns = _tokens(rng, n_windows, loss)
        store.write_records(f"tokens-{name}", columns)
        variants[name] = ScoredVariant(
            records=(f"tokens-{name}",), stopped=None, exact=None, notes=()
        )
    own = {"window": columns["window"], "nll": columns["reference_nll"]}
    store.write_records("reference", {**own, "entropy": columns["reference_entropy"]})
    facts = make_corpus(n_windows=n_windows, n_scored=n_windows * LENGTH, vocabulary=VOCABULARY)
    corpus = CorpusEntry(
        facts=facts, dtype="fp32", noise_floor=None, reference=("reference",),
        random_order=None, variants=variants,
    )  # fmt: skip
    manifest = make_manifest(corpora={"text": corpus}, tasks=tasks)
    return collect(store, manifest).model_dump(mode="json")


def _numbers(value: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], dict]]:
    """Every part of a document that has bounds, with its path."""
    if isinstance(value, dict):
        if "low" in value and "high" in value:
            yield path, value
        for key, one in value.items():
            yield from _numbers(one, (*path, key))
    elif isinstance(value, list | tuple):
        for index, one in enumerate(value):
            yield from _numbers(one, (*path, str(index)))


def _at(document: Any, path: tuple[str, ...]) -> Any:
    for key in path:
        document = document[int(key) if isinstance(document, list | tuple) else key]
    return document


def _differences(reference: float | None) -> tuple[float, float]:
    return (-1.0, 1.0) if reference is None else (-reference, 1.0 - reference)


def _range(document: dict[str, Any], path: tuple[str, ...]) -> tuple[float, float]:
    """What the number at this path can be."""
    name, parent = path[-1], _at(document, path[:-1])
    if name == "estimate":  # of an axis, less its noise floor
        share = path[-2] in ("top1_agreement", "overlap")
        return 0.0, 1.0 if share else math.inf
    if name in ("score", "top1_agreement", "overlap", "answer_change") or path[-2] == "scores":
        return 0.0, 1.0
    if name == "perplexity_interval":
        return 1.0, math.inf
    if name == "relative_perplexity":
        return 1 / parent["reference_perplexity"], math.inf
    if name in ("entropy", "reference_entropy"):
        return 0.0, math.log(VOCABULARY)
    if name in ("kl_divergence", "gold_nll", "expected"):
        return 0.0, math.inf
    if name in ("excess", "measured"):  # a loss, or one less another
        return -2.0, 2.0
    if name == "delta_p":
        return -1.0, 1.0
    if name == "gold_nll_difference":
        return -math.inf, math.inf
    if name == "expected_difference" and path[-3] == "tasks":
        return _differences(document["reference"]["tasks"][path[-2]]["expected_score"])
    if name in ("difference", "expected_difference"):
        return (-1.0, 1.0) if name != "difference" else _differences(parent["reference_score"])
    if path[-2] == "differences":
        return _differences(document["reference"]["tasks"][path[-3]]["scores"][name]["value"])
    if name == "loss":
        low, high = (-1.0, 1.0)
        capability = parent.get("capability") or (path[-2] if path[-3] == "capabilities" else None)
        known = document["reference"]["abilities"].get(capability)
        decided = parent.get("decided_on", "score")
        return (low, high) if known is None or decided != "score" else (
            known["score"] - 1.0, known["score"],
        )  # fmt: skip
    raise AssertionError(f"no range is known of {'.'.join(path)}")


@settings(
    max_examples=12,
    deadline=None,
    phases=(Phase.explicit, Phase.generate),
    suppress_health_check=list(HealthCheck),
)
@given(
    seed=st.integers(0, 2**32 - 1),
    n_items=st.sampled_from([1, 2, 5, 8, 30]),
    n_windows=st.sampled_from([1, 4, 10, 13]),
    loss=st.sampled_from([1e-6, 0.1, 3.0]),
)
def test_every_bound_is_possible(
    tmp_path_factory: pytest.TempPathFactory, seed: int, n_items: int, n_windows: int, loss: float
) -> None:
    document = _document(tmp_path_factory.mktemp("run"), seed, n_items, n_windows, loss)
    seen = set()
    for path, one in _numbers(document):
        least, most = _range(document, path)
        seen.add(path[-1])
        value = one.get("value", one.get("mean", math.nan))
        for bound in (one["low"], value, one["high"]):
            if bound is not None and not math.isnan(bound):
                assert least + LEAST <= bound <= most - LEAST, (path, one, least, most)
        if one["low"] is not None and value is not None and not math.isnan(value):
            assert one["low"] - 1e-12 <= value <= one["high"] + 1e-12, (path, one)
    assert {"relative_perplexity", "difference", "kl_divergence", "top1_agreement"} <= seen
