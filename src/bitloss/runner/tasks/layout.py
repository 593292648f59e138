"""The windows of all tasks in one row, and what their scores say of options."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from bitloss.runner.store import RunStore
from bitloss.runner.tasks.plan import PlannedTask
from bitloss.runner.tasks.records import (
    LIKELY_SCORES,
    PAIR_SCORES,
    REFERENCE_SCORES,
    WindowScores,
    empty_columns,
    window_scores,
)
from bitloss.sandbox.base import Sandbox
from bitloss.tasks.base import Answer, Grade, Item
from bitloss.types import Window

__all__ = ["TaskWindows", "grade_options", "lay_out", "option_answers", "read_scores"]


@dataclass(frozen=True, slots=True)
class TaskWindows:
    """The windows of all tasks, one after the other.

    Attributes:
        windows: all of them; documents numbered through.
        spans: by task, its first window and one past its last.
        own: by task and question, indices of its windows counted from the task's first one.
    """

    windows: tuple[Window, ...]
    spans: Mapping[str, tuple[int, int]]
    own: Mapping[str, tuple[range, ...]]

    def gold(self, planned: PlannedTask) -> list[range]:
        """By question, indices of the windows of its gold answer, counted from the task's first
        window: one, or several of a text that is read by itself; empty where there is none.
        """
        found = []
        for question, own in zip(planned.questions, self.own[planned.name], strict=True):
            at = question.item.gold or 0
            found.append(own if question.item.rolling else own[at : at + 1])
        return found

    def gold_windows(self, planned: PlannedTask) -> list[Window]:
        """A task's gold windows."""
        start, _ = self.spans[planned.name]
        return [self.windows[start + at] for own in self.gold(planned) for at in own]


def lay_out(
    tasks: Sequence[PlannedTask], written: Mapping[str, Sequence[tuple[Window, ...]]]
) -> TaskWindows:
    """Put the windows of all tasks in a row.

    Args:
        tasks: of the run.
        written: by task without gold answers, windows of what the reference wrote, one tuple a
            question.
    """
    windows: list[Window] = []
    spans: dict[str, tuple[int, int]] = {}
    own: dict[str, tuple[range, ...]] = {}
    documents = 0
    for planned in tasks:
        start = len(windows)
        ranges = []
        groups = written.get(planned.name) or [question.windows for question in planned.questions]
        for group in groups:
            at = len(windows) - start
            ranges.append(range(at, at + len(group)))
            windows.extend(replace(w, document=w.document + documents) for w in group)
        documents = 1 + max((window.document for window in windows), default=-1)
        spans[planned.name] = start, len(windows)
        own[planned.name] = tuple(ranges)
    return TaskWindows(tuple(windows), spans, own)


def read_scores(
    store: RunStore,
    records: Sequence[str],
    windows: int,
    *,
    is_reference: bool,
    is_partial: bool = False,
) -> WindowScores:
    """Sums by window from the stored records of one model.

    Args:
        store: the run directory.
        records: fingerprints.
        windows: how many there are; those without records have no tokens.
        is_reference: whether the records are the reference's own, which have no divergence.
        is_partial: whether they are of a model of which only likely tokens are known.
    """
    names = REFERENCE_SCORES if is_reference else LIKELY_SCORES if is_partial else PAIR_SCORES
    if not records:
        return window_scores(empty_columns(names), windows)
    return window_scores(store.read_records(records, names), windows)


def grade_options(
    planned: PlannedTask, own: Sequence[range], scores: WindowScores, sandbox: Sandbox
) -> list[Grade | None]:
    """Grade the answers to a task whose options are scored; None where an item was not asked."""
    return [
        None if answer is None else planned.task.grade(question.item, answer, sandbox)
        for question, answer in zip(
            planned.questions, option_answers(planned, own, scores), strict=True
        )
    ]


def option_answers(
    planned: PlannedTask, own: Sequence[range], scores: WindowScores
) -> list[Answer | None]:
    """What a model made of each question whose options are scored; None where it was not asked."""
    return [
        _answer(question.item, scores, slice(span.start, span.stop)) if span else None
        for question, span in zip(planned.questions, own, strict=True)
    ]


def _answer(item: Item, scores: WindowScores, part: slice) -> Answer:
    logprobs, greedy = scores.logprob[part], scores.greedy[part]
    if item.rolling:  # in several windows, and one text
        return Answer((float(logprobs.sum()),), (bool(greedy.all()),))
    return Answer(tuple(logprobs.tolist()), tuple(greedy.tolist()))
