"""The noise floors of tasks: what the arithmetic itself makes of their first gold answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from bitloss.engines.base import PairScorer
from bitloss.results.manifest import MeasuredFloor
from bitloss.runner.run import Run
from bitloss.runner.store import RunStore
from bitloss.runner.tasks.records import PAIR_SCORES, window_scores
from bitloss.types import Window

__all__ = ["TASKS", "measure_floors", "take_floors"]

TASKS = "tasks"
"""What all tasks together are called where a noise floor is missing."""

# The noise floor of a task is measured on its first gold answers: so many tokens, read from no
# more than so many.
FLOOR_TOKENS = 256
FLOOR_READ = 2048


def measure_floors(
    scorer: PairScorer, store: RunStore, gold: Mapping[str, Sequence[Window]]
) -> dict[str, MeasuredFloor]:
    """The noise floors, by task.

    Args:
        scorer: of the tasks.
        store: the run directory, which the scorer writes to.
        gold: by task, the windows of its gold answers.

    Returns:
        Of the tasks that have gold answers.

    Raises:
        BitlossError: see `PairScorer.noise_floor`.
    """
    windows: list[Window] = []
    spans: dict[str, slice] = {}
    for name, answers in gold.items():
        if own := _first_windows(answers):
            spans[name] = slice(len(windows), len(windows) + len(own))
            windows.extend(own)
    if not windows:
        return {}
    columns = store.read_records(scorer.noise_floor(windows), PAIR_SCORES)
    scores = window_scores(columns, len(windows))
    floors = {}
    for name, span in spans.items():
        tokens = int(scores.tokens[span].sum())
        floors[name] = MeasuredFloor(
            dtype=scorer.reference.arithmetic,
            kl_divergence=float(abs(scores.divergence[span].sum() / tokens)),
            n_scored=tokens,
            answer_change=float((1 - scores.affinity[span]).mean()),
        )
    return floors


def take_floors(run: Run, engine: str) -> None:
    """Take an engine's noise floors from the pack beside which a run is."""
    pack = run.reference.pack
    assert pack is not None, "asked only beside a pack"
    assert pack.document.tasks is not None, "it has the run's tasks"
    packed = pack.document.tasks
    if engine in packed.floors:
        run.task_floors[engine] = packed.floors[engine]
    else:
        run.floor_of_pack(TASKS, engine, packed.no_floor)


def _first_windows(windows: Sequence[Window]) -> list[Window]:
    chosen: list[Window] = []
    scored = read = 0
    for window in windows:
        read += len(window.ids) - 1
        if chosen and (scored >= FLOOR_TOKENS or read > FLOOR_READ):
            break
        scored += window.n_scored
        chosen.append(window)
    return chosen
