"""What every study has of a model: its levels' values, and the steps between them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from bitloss.analysis.near_floor import is_near_floor
from bitloss.results import Estimate, ReferenceResult, VariantResult
from bitloss.results.values import Failure
from bitloss.studies.base import FactorLevel, Prepared, Study
from bitloss.studies.columns import CAPABILITY_COLUMNS, CORPUS_COLUMNS
from bitloss.studies.measured import MeasuredRun
from bitloss.studies.paired import MeasuredLevel, measure_step, neighbors
from bitloss.studies.result import CorpusMeasured, LevelResult, ModelResult, TaskMeasured

__all__ = ["model_result"]

_NO_ABILITY = "no loss is shown: the reference is not shown to do better than guessing"
_OTHER_REFERENCE = "the reference as at level {level}; at other levels it is evaluated differently"


def model_result(
    plan: Study, ready: Prepared, runs: Sequence[MeasuredRun], *, run: Path
) -> ModelResult:
    """Everything that every study has of a model.

    Args:
        plan: the study.
        ready: what was run.
        runs: at least one, with the records of each.
        run: the run directory as the document names it.

    Raises:
        StorageError: a record is missing or damaged.
    """
    levels = ready.levels
    results = {
        level.name: _not_run(level, ready.failed[level.name])
        for level in levels
        if level.name in ready.failed
    }
    measured: dict[str, MeasuredLevel] = {}
    for one in runs:
        variants = {variant.name: variant for variant in one.comparison.variants}
        for level in one.levels:
            results[level.name] = _level_result(
                plan, level, variants[level.recipe], one.comparison.reference
            )
            if results[level.name].error is None:
                measured[level.name] = MeasuredLevel(level, one.records)
    untold = {name for one in runs for v in one.comparison.variants for name in v.not_measurable}
    first = runs[0].comparison
    reference, seed = first.reference, first.environment.seeds.bootstrap
    in_order = [measured[level.name] for level in levels if level.name in measured]

    def notes(own: tuple[str, ...], name: str) -> tuple[str, ...]:
        same = len({one.records.reference_records(name) for one in runs}) == 1
        return own if same else (*own, _OTHER_REFERENCE.format(level=levels[0].name))

    return ModelResult(
        name=reference.name,
        digest=reference.digest,
        format=reference.format,
        run=run.as_posix(),
        corpora={
            name: CorpusMeasured(
                protocol=corpus.protocol,
                n_scored=corpus.n_scored,
                n_windows=corpus.n_windows,
                perplexity=corpus.perplexity,
                notes=notes(corpus.notes, name),
            )
            for name, corpus in reference.corpora.items()
        },
        tasks={
            name: TaskMeasured(
                capability=task.capability,
                metric=task.metric,
                n_scored=task.n_scored,
                score=task.score,
                notes=notes(
                    (*task.notes, _NO_ABILITY) if task.capability in untold else task.notes, name
                ),
            )
            for name, task in (reference.tasks or {}).items()
        },
        levels=tuple(results[level.name] for level in levels),
        steps=tuple(
            measure_step(before, after, plan.columns, leave_out=untold, seed=seed)
            for before, after in neighbors(in_order)
        ),
        environment=first.environment,
    )


def _not_run(level: FactorLevel, error: Failure) -> LevelResult:
    return LevelResult(
        level=level.name,
        recipe=level.recipe,
        series=level.series,
        changes=dict(level.changes),
        error=error,
    )


def _notes(variant: VariantResult, reference: ReferenceResult) -> tuple[str, ...]:
    """What a reader should know of this level alone."""
    known = {note for corpus in reference.corpora.values() for note in corpus.notes}
    own = [note for corpus in variant.corpora.values() for note in corpus.notes]
    return tuple(dict.fromkeys(note for note in own if note not in known))


def _level_result(
    plan: Study, level: FactorLevel, variant: VariantResult, reference: ReferenceResult
) -> LevelResult:
    """A level's row. A variant that failed halfway keeps what was measured, as in its run."""
    verdict = variant.verdict if "expected" in plan.columns else None
    corpora: dict[str, dict[str, Estimate]] = {
        name: {key: CORPUS_COLUMNS[key].of(corpus) for key in plan.columns if key in CORPUS_COLUMNS}
        for name, corpus in variant.corpora.items()
    }
    capabilities: dict[str, dict[str, Estimate]] = {
        name: {
            key: CAPABILITY_COLUMNS[key].of(capability)
            for key in plan.columns
            if key in CAPABILITY_COLUMNS
        }
        for name, capability in (variant.capabilities or {}).items()
        if name not in variant.not_measurable
    }
    return LevelResult(
        level=level.name,
        recipe=level.recipe,
        series=level.series,
        changes=dict(level.changes),
        error=variant.error,
        bits_per_weight=variant.bits_per_weight,
        file_bytes=variant.file_bytes,
        expected=None if verdict is None else verdict.expected,
        standing=None if verdict is None else verdict.standing,
        corpora=corpora,
        capabilities=capabilities,
        near_floor=tuple(n for n, one in variant.corpora.items() if is_near_floor(one)) or None,
        notes=_notes(variant, reference) or None,
    )
