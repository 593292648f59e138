"""Swaps on windows, look by look; each forward's results are kept, so a killed study resumes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from bitloss.engines.dense.batches import batches
from bitloss.engines.dense.swaps.scorer import Swap, SwapScorer, SwapWork, WindowScores
from bitloss.engines.values import digest_windows
from bitloss.metrics.sequential import look_sizes
from bitloss.runner.draw import shuffled
from bitloss.runner.store import RunStore
from bitloss.spec.fingerprint import fingerprint
from bitloss.types import FloatArray, IntArray, Progress, ScoredCorpus, Window

__all__ = ["Measurement", "Scored", "in_order", "measure"]

# Raised when the same swaps come to mean other numbers.
_VERSION = 1
_COLUMNS = ("swap", "window", "tokens", "kl_divergence", "loss_difference")


@dataclass(frozen=True, slots=True)
class Scored:
    """What was scored of one swap, window by window.

    Attributes:
        window: index of each window in the text, ascending, shape ``[n_windows]``.
        tokens: scored tokens of each, same shape.
        loss: sum of KL(reference || hybrid) over each window's tokens in nats, same shape.
    """

    window: IntArray
    tokens: IntArray
    loss: FloatArray

    def on(self, windows: IntArray) -> Scored:
        """Of some of the windows, which all were scored."""
        at = np.searchsorted(self.window, windows)
        return Scored(self.window[at], self.tokens[at], self.loss[at])


@dataclass(slots=True)
class Measurement:
    """Everything scored so far.

    Attributes:
        scored: by the swap's key.
        total: windows of the text.
        looks: how many looks there were.
        work: what was computed, now or before the study was resumed.
    """

    total: int
    scored: dict[str, Scored] = field(default_factory=dict)
    looks: int = 0
    work: SwapWork = field(default_factory=SwapWork)


Decide = Callable[[Measurement], "list[Swap]"]
"""After a look, the swaps that are to be scored further; none ends the study."""


def in_order(windows: Sequence[Window], facts: ScoredCorpus, seed: int) -> tuple[Window, ...]:
    """Windows in random order, each with its place; what a limit drew has one already."""
    if facts.draw_seed is not None:
        return tuple(windows)
    return shuffled(windows, text=facts.digest, seed=seed)


def measure(
    scorer: SwapScorer,
    store: RunStore,
    windows: Sequence[Window],
    swaps: Sequence[Swap],
    decide: Decide,
    *,
    identities: Mapping[str, str],
    batch_tokens: int,
    progress: Progress,
) -> Measurement:
    """Score swaps on more and more windows until they are decided.

    Args:
        scorer: with all models loaded.
        store: keeps what was scored.
        windows: in random order.
        swaps: what to score at first.
        decide: called after each look.
        identities: what decides each model's numbers, by its name in the swaps; the reference's
            first.
        batch_tokens: tokens in one forward.
        progress: where to report.

    Raises:
        BitlossError: see `SwapScorer.score`; or the directory cannot be written.
    """
    found = Measurement(len(windows))
    active, before = list(swaps), 0
    for size in look_sizes(len(windows)):
        added = sorted(windows[before:size], key=lambda window: len(window.ids))
        before = size
        label = f"exchange {len(active)} parts, look {found.looks + 1}"
        with progress.task(label, sum(len(window.ids) for window in added)) as advance:
            for batch in batches(added, batch_tokens):
                _take(found, _score(scorer, store, batch, active, identities, found.work))
                advance(sum(len(window.ids) for window in batch))
        found.looks += 1
        active = decide(found)
        if not active:
            break
    return found


def _score(
    scorer: SwapScorer,
    store: RunStore,
    batch: Sequence[Window],
    swaps: Sequence[Swap],
    identities: Mapping[str, str],
    work: SwapWork,
) -> dict[str, WindowScores]:
    """The results of a forward, from the store or computed now."""
    key = fingerprint(
        {
            "kind": "swaps",
            "version": _VERSION,
            "windows": digest_windows(batch),
            "swaps": [_facts(swap, identities) for swap in swaps],
            "reference": next(iter(identities.values())),
        }
    )
    work.add(_work(scorer, batch, swaps))
    if not store.has_records(key):
        found = scorer.score(batch, 0, swaps)
        columns = [
            (np.full(len(one.window), number, np.int32), one.window, one.tokens, one.kl_divergence,
             one.loss_difference)
            for number, one in enumerate(found[swap.key] for swap in swaps)
        ]  # fmt: skip
        joined = [np.concatenate(values) for values in zip(*columns, strict=True)]
        store.write_records(key, dict(zip(_COLUMNS, joined, strict=True)))
    read = store.read_records([key], _COLUMNS)
    return {
        swap.key: WindowScores(*(read[name][read["swap"] == number] for name in _COLUMNS[1:]))
        for number, swap in enumerate(swaps)
    }


def _facts(swap: Swap, identities: Mapping[str, str]) -> list[object]:
    pieces = [] if swap.part is None else sorted(swap.part.pieces, key=str)
    return [identities[swap.home], identities[swap.donor], [[p.name, p.experts] for p in pieces]]


def _work(scorer: SwapScorer, batch: Sequence[Window], swaps: Sequence[Swap]) -> SwapWork:
    """What a forward takes, whether it is computed now or was before."""
    read = sum(len(window.ids) - 1 for window in batch)
    layers = len(scorer.stack)
    homes = {swap.home for swap in swaps} | {scorer.first}
    run = layers * len(homes)
    for swap in swaps:
        if swap.part is not None:
            run += layers - (scorer.starts_at(swap))
    scored = sum(window.n_scored for window in batch)
    return SwapWork(read * run, scored * (1 + len(swaps)))


def _take(found: Measurement, scores: Mapping[str, WindowScores]) -> None:
    for key, one in scores.items():
        added = Scored(one.window, one.tokens, one.kl_divergence)
        parts = [added] if key not in found.scored else [found.scored[key], added]
        window = np.concatenate([part.window for part in parts])
        order = np.argsort(window)
        found.scored[key] = Scored(
            window[order],
            np.concatenate([part.tokens for part in parts])[order],
            np.concatenate([part.loss for part in parts])[order],
        )
