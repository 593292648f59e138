"""Steps between neighboring levels, measured pairwise from the records of their runs.

Both levels were scored on the same tokens and items, so most of their errors are the same and
cancel in the difference. Subtracting two levels' intervals would hide that.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bitloss.analysis.replicates import together
from bitloss.analysis.task_items import TaskItems, read_items
from bitloss.analysis.tasks import analyse_capabilities
from bitloss.analysis.window_intervals import drawn_together, window_intervals
from bitloss.metrics.replicates import replicate_covariance
from bitloss.results import Estimate
from bitloss.results.manifest import CorpusEntry, TaskEntry
from bitloss.runner import RunStore
from bitloss.studies.columns import (
    CAPABILITY_COLUMNS,
    CORPUS_COLUMNS,
    CapabilityColumn,
    CorpusColumn,
    TokenPair,
)
from bitloss.studies.levels import FactorLevel
from bitloss.studies.result import Step
from bitloss.types import ScoredCorpus, TokenRecords

__all__ = ["MeasuredLevel", "RunRecords", "measure_step", "neighbors", "same_items", "same_tokens"]


class RunRecords:
    """The records behind a run's result, by corpus or task and variant.

    Read right after the run: a shared run directory keeps all records, but only the manifest of its
    last run.

    Args:
        run: the run directory.

    Raises:
        StorageError: it has no finished run, or its manifest is damaged.
    """

    def __init__(self, run: Path) -> None:
        self._store = RunStore(run)
        manifest = self._store.read_manifest()
        self.corpora: Mapping[str, CorpusEntry] = manifest.corpora
        self.tasks: Mapping[str, TaskEntry] = manifest.tasks
        self._reference = manifest.reference.name
        self.replicates: Mapping[str, tuple[str, ...]] = manifest.replicates

    def reference_records(self, name: str) -> tuple[str, ...]:
        """Fingerprints of the reference's records of a corpus or task: equal where it was
        evaluated on the same inputs in the same arithmetic.
        """
        if name in self.corpora:
            return self.corpora[name].reference
        return (self.tasks[name].items[self._reference],)

    def read(self, records: Sequence[str]) -> TokenRecords:
        """Records of these fingerprints, one after the other."""
        return self._store.read_token_records(records)

    def item_pair(
        self, task: str, variant: str, other: RunRecords, later_variant: str
    ) -> tuple[TaskItems, TaskItems] | None:
        """Items of the second level, and of the first in the reference's place; None if they
        differ.
        """
        found = same_items(task, [(self, variant), (other, later_variant)])
        if found is None:
            return None
        first, second = found
        # Levels with equal scores and equal losses on every gold answer are the same to this task.
        return second.beside(first), first

    def items(self, task: str, variant: str) -> TaskItems | None:
        """A variant's items of a task; None where it was not evaluated."""
        entry = self.tasks[task]
        return read_items(self._store, entry, variant) if variant in entry.items else None

    def reference_items(self, task: str) -> TaskItems:
        """The reference's items of a task."""
        return read_items(self._store, self.tasks[task], self._reference)


def same_items(task: str, of: Sequence[tuple[RunRecords, str]]) -> tuple[TaskItems, ...] | None:
    """Items of several variants, asked in the same way.

    Args:
        task: its name.
        of: the variants, each with the records of its run; at least one.

    Returns:
        In the order of `of`; None if the variants were not asked the same.

    Raises:
        StorageError: a record is missing or damaged.
    """
    first = of[0][0]
    if any(task not in records.tasks for records, _ in of):
        return None
    wanted = _same_task(first.tasks[task]), first.reference_records(task)
    # Other prompts or another arithmetic change the reference's answers too. The difference of
    # two variants is then not the further loss.
    if any(
        (_same_task(records.tasks[task]), records.reference_records(task)) != wanted
        for records, _ in of
    ):
        return None
    read = [records.items(task, variant) for records, variant in of]
    found = tuple(items for items in read if items is not None)
    if len(found) < len(read) or any(
        not np.array_equal(found[0].columns[column], items.columns[column])
        for column in ("item", "asked", "gold_tokens")
        for items in found
    ):
        return None
    return found


def same_tokens(
    corpus: str, of: Sequence[tuple[RunRecords, str]]
) -> tuple[CorpusEntry, tuple[TokenRecords, ...], int | None] | None:
    """Records of several variants on the same tokens in the same arithmetic.

    Args:
        corpus: its name.
        of: the variants, each with the records of its run; at least one.

    Returns:
        The corpus, the records in the order of `of`, and how many windows theirs were drawn from
        (None if they are neighbors). None if the variants were not scored on the same tokens.

    Raises:
        StorageError: a record is missing or damaged.
    """
    entries = [records.corpora.get(corpus) for records, _ in of]
    first = entries[0]
    if first is None or any(
        one is None or one.dtype != first.dtype or _same_text(one.facts) != _same_text(first.facts)
        for one in entries
    ):
        return None
    scored = [
        entry.variants.get(name)
        for entry, (_, name) in zip(entries, of, strict=True)
        if entry is not None
    ]
    if any(one is None for one in scored):
        return None
    known = [one for one in scored if one is not None]
    exact = None
    names = [one.records for one in known]
    if all(one.exact for one in known):  # all near the noise floor, all scored exactly
        exact = known[0].exact
        names = [one.exact.records for one in known if one.exact is not None]
    found = tuple(records.read(own) for (records, _), own in zip(of, names, strict=True))
    if any(not np.array_equal(found[0].window, one.window) for one in found):
        return None
    return first, found, first.drawn_from(exact)


def _token_pair(
    corpus: str, before: tuple[RunRecords, str], after: tuple[RunRecords, str]
) -> TokenPair | None:
    """Two variants' records of the same tokens in the same arithmetic; None if they differ."""
    found = same_tokens(corpus, [before, after])
    if found is None:
        return None
    entry, (first, second), drawn_from = found
    facts = entry.facts
    return TokenPair(first, second, facts.averaging, facts.valid, drawn_from, facts.documents)


def _same_text(facts: ScoredCorpus) -> tuple[object, ...]:
    """What two corpora must have in common for their tokens to be the same."""
    return facts.digest, facts.protocol, facts.parameters, facts.averaging, facts.valid


def _same_task(entry: TaskEntry) -> tuple[object, ...]:
    """What two tasks must have in common for their items to be the same."""
    return entry.identity, entry.digest, entry.version, entry.metrics, entry.samples


@dataclass(frozen=True, slots=True)
class MeasuredLevel:
    """A level that was measured, and the records behind it.

    Attributes:
        level: the level.
        records: of the run that measured it.
    """

    level: FactorLevel
    records: RunRecords


def neighbors(levels: Sequence[MeasuredLevel]) -> list[tuple[MeasuredLevel, MeasuredLevel]]:
    """Each level with the next one of its series; a level that failed is passed over."""
    pairs = []
    latest: dict[str, MeasuredLevel] = {}
    for measured in levels:
        if measured.level.series in latest:
            pairs.append((latest[measured.level.series], measured))
        latest[measured.level.series] = measured
    return pairs


def measure_step(
    before: MeasuredLevel,
    after: MeasuredLevel,
    columns: Sequence[str],
    *,
    seed: int,
    leave_out: Collection[str] = (),
) -> Step:
    """The change from one level to its neighbor, with paired intervals.

    A corpus or capability that the two levels did not measure on the same tokens or items is left
    out: it has no paired difference.

    Args:
        before: the first level.
        after: its neighbor.
        columns: of the study.
        seed: of the bootstrap.
        leave_out: capabilities that the reference does not have.

    Raises:
        StorageError: a record is missing or damaged.
    """
    records = before.records
    pairs = _replicate_pairs(before, after)
    measures = {key: CORPUS_COLUMNS[key] for key in columns if key in CORPUS_COLUMNS}
    asked = {key: CAPABILITY_COLUMNS[key] for key in columns if key in CAPABILITY_COLUMNS}
    corpora: dict[str, dict[str, Estimate]] = {}
    for corpus in records.corpora if measures else ():
        tokens = [
            _token_pair(corpus, (records, one), (after.records, other)) for one, other in pairs
        ]
        found = [pair for pair in tokens if pair is not None]
        if len(found) == len(pairs):
            corpora[corpus] = _corpus_step(found, measures, seed)
    items = {
        task: [records.item_pair(task, one, after.records, other) for one, other in pairs]
        for task in records.tasks
        if asked
    }
    known = {
        task: [pair for pair in of if pair is not None]
        for task, of in items.items()
        if all(pair is not None for pair in of)
    }
    capabilities = _capability_steps(known, asked, len(pairs), seed)
    return Step(
        before=before.level.name,
        after=after.level.name,
        corpora=corpora,
        capabilities={
            name: step
            for name, step in capabilities.items()
            if name not in leave_out and all(task in known for task in _tasks_of(records, name))
        },
    )


def _replicate_pairs(before: MeasuredLevel, after: MeasuredLevel) -> list[tuple[str, str]]:
    """Variants of the two levels: of recipes made several times, those of the same seed, which
    were calibrated on the same draw; one that was made once is held against all of the other.
    """
    first = before.records.replicates.get(before.level.recipe, (before.level.recipe,))
    second = after.records.replicates.get(after.level.recipe, (after.level.recipe,))
    count = max(len(first), len(second))
    first, second = (of * count if len(of) == 1 else of for of in (first, second))
    return list(zip(first, second, strict=True))


def _corpus_step(
    pairs: Sequence[TokenPair], measures: Mapping[str, CorpusColumn], seed: int
) -> dict[str, Estimate]:
    """The step on a corpus, the mean over replicates."""
    each = [{key: column.step(pair) for key, column in measures.items()} for pair in pairs]
    drawn_from = pairs[0].drawn_from
    intervals = [
        window_intervals(
            series,
            pair.before.window,
            documents=pair.documents,
            drawn_from=drawn_from,
            seed=seed,
        )
        for series, pair in zip(each, pairs, strict=True)
    ]
    steps = {}
    for key in measures:
        estimates = [Estimate.of(one[key]) for one in intervals]
        series = [one[key] for one in each]
        steps[key] = estimates[0]
        if len(pairs) > 1:
            merged, block = drawn_together(
                series,
                pairs[0].before.window,
                documents=pairs[0].documents,
                drawn_from=drawn_from,
            )
            covariance = replicate_covariance([merged], block=block)
            scale, bounds = series[0].scale, series[0].bounds
            steps[key] = together(estimates, covariance, scale=scale, bounds=bounds)
    return steps


def _capability_steps(
    tasks: Mapping[str, Sequence[tuple[TaskItems, TaskItems]]],
    columns: Mapping[str, CapabilityColumn],
    count: int,
    seed: int,
) -> dict[str, dict[str, Estimate]]:
    """By capability and column, the mean over so many replicates."""
    results = [
        analyse_capabilities({task: pairs[index] for task, pairs in tasks.items()}, seed=seed)
        for index in range(count)
    ]
    steps: dict[str, dict[str, Estimate]] = {}
    for name, first in results[0].items():
        for key, column in columns.items():
            estimates = [column.of(one[name]) for one in results]
            strata = [[column.step(*pair) for pair in tasks[task]] for task in first.tasks]
            steps.setdefault(name, {})[key] = (
                estimates[0] if count == 1 else together(estimates, replicate_covariance(strata))
            )
    return steps


def _tasks_of(records: RunRecords, capability: str) -> list[str]:
    return [name for name, task in records.tasks.items() if task.capability == capability]
