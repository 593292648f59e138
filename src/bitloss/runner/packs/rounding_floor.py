"""What rounded hidden states add: the reference held against itself by the engine's own scorer.

The reference is scored once more from its rounded states, at every position, as a variant would be.
The mean divergence is added to the noise floor: a variant's is measured from the same states. It is
the divergence from the exact states to the rounded ones; a run has it the other way, which is the
same to second order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from bitloss.engines.base import PairScorer, Piece
from bitloss.engines.dense.scoring.scorer import DenseScorer
from bitloss.files import make_folder, replacing
from bitloss.results.manifest import MeasuredFloor
from bitloss.results.pack import StateType
from bitloss.runner.packs.opened import state_file
from bitloss.runner.packs.rounding import restore, rounded
from bitloss.runner.store import RunStore
from bitloss.runner.tasks.layout import TaskWindows
from bitloss.runner.tasks.plan import PlannedTask
from bitloss.runner.tasks.records import PAIR_SCORES, window_scores

__all__ = ["added_to_tasks", "added_to_text", "raised", "write_rounded"]

_ELSEWHERE = "give another directory with --out"


def write_rounded(store: RunStore, names: Sequence[str], kind: StateType) -> None:
    """Write hidden states of a run as a pack stores them; nothing if they are kept as they are.

    Raises:
        StorageError: a file is damaged, or the directory cannot be written.
    """
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    if kind == "fp32":
        return
    for name in names:
        path: Path = store.root / state_file(name, kind)
        make_folder(path.parent, elsewhere=_ELSEWHERE)
        with replacing(path, elsewhere=_ELSEWHERE, also=(SafetensorError,)) as temporary:
            save_file(rounded(store.read_states(name), kind), temporary)


def added_to_text(
    scorer: PairScorer, pieces: Sequence[Piece], store: RunStore, kind: StateType
) -> float:
    """Mean divergence that rounding adds on a corpus, nats per token."""
    if kind == "fp32":
        return 0.0
    records = _held_against_itself(scorer, pieces, store, kind)
    divergence = store.read_records(records, ("kl_divergence",))["kl_divergence"]
    return float(abs(divergence.mean(dtype=np.float64)))


def added_to_tasks(
    scorer: PairScorer,
    pieces: Sequence[Piece],
    store: RunStore,
    kind: StateType,
    layout: TaskWindows,
    tasks: Sequence[PlannedTask],
) -> dict[str, tuple[float, float]]:
    """By task, the mean divergence that rounding adds on its gold answers, nats per token, and the
    answer change.
    """
    if kind == "fp32" or not pieces:
        return {}
    records = _held_against_itself(scorer, pieces, store, kind)
    scores = window_scores(store.read_records(records, PAIR_SCORES), len(layout.windows))
    found = {}
    for planned in tasks:
        start, _ = layout.spans[planned.name]
        gold = [start + at for own in layout.gold(planned) for at in own]
        if gold:
            tokens = max(1, int(scores.tokens[gold].sum()))
            divergence = float(abs(scores.divergence[gold].sum() / tokens))
            found[planned.name] = divergence, float((1 - scores.affinity[gold]).mean())
    return found


def raised(floor: MeasuredFloor, divergence: float, answer_change: float = 0.0) -> MeasuredFloor:
    """A noise floor with what rounding adds, and without its records, which no result needs."""
    changed = floor.answer_change
    return floor.model_copy(
        update={
            "records": (),
            "kl_divergence": floor.kl_divergence + divergence,
            "answer_change": None if changed is None else changed + answer_change,
        }
    )


def _held_against_itself(
    scorer: PairScorer, pieces: Sequence[Piece], store: RunStore, kind: StateType
) -> list[str]:
    """Records of the reference beside itself, scored from its rounded states."""
    assert isinstance(scorer, DenseScorer), "hidden states are the dense engine's"
    reference = scorer.reference
    model = replace(
        reference.model,
        name=f"{reference.model.name} ({kind} states)",
        recorded={**scorer.identity(reference), "states": kind},
    )
    candidate = replace(reference, model=model)
    exact, own = scorer.kept_states(pieces), scorer.kept_states(pieces, candidate)
    for source, target in zip(exact, own, strict=True):
        store.write_states(target, restore(rounded(store.read_states(source), kind)).contiguous())
    return scorer.score(pieces, [candidate]).records_of(candidate)
