"""What tests of scoring do again and again: make a scorer, score, be killed, compare files."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bitloss.engines.base import PairScorer
from bitloss.engines.evaluate import evaluate, make_scorer
from bitloss.engines.values import Candidate, Model, Scores, Setup
from bitloss.runner import RunStore
from bitloss.types import ScoredCorpus, SilentProgress, Window

__all__ = [
    "candidates",
    "contents",
    "dense_scorer",
    "facts_of",
    "killed_at_write",
    "question_windows",
    "score",
]


def dense_scorer(
    store: RunStore, models: Mapping[str, Model], arithmetic: str = "fp32", **options: Any
) -> PairScorer:
    """The dense engine's scorer beside ``models["reference"]``, in forwards of 64 tokens."""
    reference = Candidate(models["reference"], arithmetic=arithmetic)
    setup = Setup(store, reference, SilentProgress(), **{"batch_tokens": 64, **options})
    return make_scorer(setup, "dense")


def candidates(
    models: Mapping[str, Model], *names: str, arithmetic: str = "fp32"
) -> list[Candidate]:
    """Some of the models, to be run by the dense engine."""
    return [Candidate(models[name], arithmetic=arithmetic) for name in names]


def score(
    store: RunStore, models: Mapping[str, Model], windows: Sequence[Window], *names: str,
    arithmetic: str = "fp32", **options: Any,
) -> Scores:  # fmt: skip
    """Some of the models on all windows, by the dense engine; `options` are the setup's."""
    scorer = dense_scorer(store, models, arithmetic, **options)
    group = candidates(models, *names, arithmetic=arithmetic)
    return evaluate(scorer, scorer.pieces(windows), group)


def question_windows(count: int) -> list[Window]:
    """So many questions after two preambles, half after each, with four options of one or more
    tokens.
    """
    rng = np.random.default_rng(2)

    def some(n: int) -> Any:
        return rng.integers(2, 100, size=n).astype(np.int32)

    windows = []
    for document in range(count):
        if document % (count // 2) == 0:
            preamble = some(30)
        question = np.concatenate([preamble, some(rng.integers(3, 12))])
        for size in (1, 1, 1, 1) if document % 3 else (1, 1, 3, 2):
            ids = np.concatenate([question, some(size)])
            windows.append(Window(ids, len(question), document))
    return windows


def facts_of(windows: Sequence[Window], **changes: Any) -> ScoredCorpus:
    """Of a corpus that is named ``text``, as a protocol without weights of its own gives them."""
    n = sum(window.n_scored for window in windows)
    values = ScoredCorpus(
        name="text", digest="0" * 64, source="", protocol="strided", parameters={},
        averaging="tokens", valid=(), n_windows=len(windows), n_windows_total=len(windows),
        n_scored=n, n_total=n, n_tokens=n, n_bytes=n, n_words=None, notes=(),
    )  # fmt: skip
    return dataclasses.replace(values, **changes)


def contents(folder: Path) -> dict[str, bytes]:
    """Every file of a folder but locks, by its path within it."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != ".lock"
    }


@contextmanager
def killed_at_write(moment: int) -> Iterator[None]:
    """The block is interrupted when it has written so many files and is about to write another.

    Fails if it ends before that.
    """
    original: Callable[[RunStore, Path, Any], None] = RunStore._write
    writes = 0

    def write(self: RunStore, path: Path, writer: Any) -> None:
        nonlocal writes
        writes += 1
        if writes > moment:
            raise KeyboardInterrupt
        original(self, path, writer)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(RunStore, "_write", write)
        with pytest.raises(KeyboardInterrupt):
            yield
