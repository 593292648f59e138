"""`study`: one factor varied over models, everything else held.

    OUT/<study>/study.json     the answer
    OUT/runs/<model>/          one run directory per model, shared by all studies of OUT

Records are named by everything that decides them and made variants are kept in the cache, so a
level that two studies share is quantized and scored once.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

from bitloss import api, registry
from bitloss.analysis.near_floor import is_near_floor
from bitloss.errors import UsageError
from bitloss.files import make_folder
from bitloss.results import Comparison, Estimate, VariantResult
from bitloss.results.document import refuse_newer_schema
from bitloss.spec.choices import CompareOptions, StrPath
from bitloss.studies.base import FactorLevel, Study
from bitloss.studies.columns import CAPABILITY_COLUMNS, CORPUS_COLUMNS
from bitloss.studies.paired import MeasuredLevel, RunRecords, measure_step, neighbors
from bitloss.studies.result import (
    STUDY,
    CorpusMeasured,
    LevelResult,
    ModelResult,
    StudyResult,
    TaskMeasured,
)
from bitloss.types import Progress

if TYPE_CHECKING:
    from bitloss.spec.run import RunSpec

__all__ = ["choose_levels", "run_folders", "study"]

_NO_ABILITY = "no loss is shown: the reference is not shown to do better than guessing"
_OTHER_REFERENCE = "the reference as at level {level}; at other levels it is evaluated differently"


def study(
    name: str,
    models: Sequence[StrPath],
    *,
    vary: Sequence[str] | None = None,
    out: StrPath = "studies",
    command: Sequence[str] = (),
    progress: Progress | None = None,
    **options: Unpack[CompareOptions],
) -> StudyResult:
    """Vary one factor of quantization on each model, hold everything else, and compare the levels.

    Args:
        name: a study (`bitloss list studies`).
        models: unquantized models: paths or hub names. Their last path components must differ.
        vary: levels of the factor; None is the study's own.
        out: where ``<study>/study.json`` and the run directories go. Rerun to resume.
        command: the words of the command line, recorded.
        progress: where to report; None is silent.
        options: see `bitloss.spec.choices.CompareOptions`; without `until` and `precision`.

    Returns:
        The levels with intervals, and the paired steps between neighbors. A level that cannot be
        made or scored has its error there; the others go on.

    Raises:
        UnknownName: no such study, or no such level of its factor.
        UsageError: models or levels that are given twice, or values that cannot be.
        BitlossError: a model, a corpus or a task cannot be used.
    """
    plan: Study = registry.load("study", registry.STUDIES, name)
    levels = choose_levels(plan, vary)
    root = Path(out)
    folders = run_folders(models, root / "runs")
    target = root / name / "study.json"
    refuse_newer_schema(target, STUDY)
    groups = _group(levels)
    specs = {
        model: [_spec(model, group, {**options, **changes}) for changes, group in groups]
        for model in folders
    }
    if len(models) > 1:  # the last model's typing error is found before the first one's hours
        for model, planned in specs.items():
            for spec in planned:
                api.plan(spec, folders[model], force=True, progress=progress)
    results = []
    for model, folder in folders.items():
        measured = []
        for spec, (_, group) in zip(specs[model], groups, strict=True):
            # A level may fit some of the models only. What is kept is the study's result.
            comparison = api.run(
                spec, folder, command=command, recipes_must_fit=False, force=True, progress=progress
            )
            measured.append((comparison, RunRecords(folder), group))
        results.append(_model_result(plan, levels, measured, run=folder.relative_to(root)))
    result = StudyResult(
        study=plan.name, factor=plan.factor, columns=plan.columns, models=tuple(results)
    )
    make_folder(target.parent)
    result.write(target)
    return result


def choose_levels(plan: Study, vary: Sequence[str] | None) -> tuple[FactorLevel, ...]:
    """The levels asked for, or the study's own.

    Raises:
        UsageError: a level is unknown or given twice, or there is none.
    """
    if vary is None:
        return plan.levels
    if not vary:
        raise UsageError(
            f"expected levels of {plan.factor}, got none",
            hint=f"for example --vary {','.join(level.name for level in plan.levels[:2])}",
        )
    levels = tuple(plan.parse(text) for text in vary)
    if twice := _first_twice([level.name for level in levels]):
        raise UsageError(f"level `{twice}` is given twice", hint="give each level once")
    return levels


def run_folders(models: Sequence[StrPath], root: Path) -> dict[str, Path]:
    """By model, its run directory: named after the model's last path component.

    Raises:
        UsageError: there are no models, or two of the same name.
    """
    if not models:
        raise UsageError("expected at least one model, got none", hint="name a model to study")
    folders: dict[str, Path] = {}
    for model in [os.fspath(model) for model in models]:
        last = Path(model.partition("@")[0]).name.removesuffix(".gguf")
        folder = root / (re.sub(r"[^\w.-]+", "-", last).strip("-.") or "model")
        for other, taken in folders.items():
            if taken == folder:
                raise UsageError(
                    f"expected models with different names, got `{other}` and `{model}`, both "
                    f"`{folder.name}`",
                    hint="rename one, or study each with an --out of its own",
                )
        if model in folders:
            raise UsageError(f"model `{model}` is given twice", hint="give each model once")
        folders[model] = folder
    return folders


def _first_twice(names: Sequence[str]) -> str | None:
    return next((name for place, name in enumerate(names) if name in names[:place]), None)


def _group(
    levels: Sequence[FactorLevel],
) -> list[tuple[Mapping[str, Any], list[FactorLevel]]]:
    """Levels that one run can measure side by side: those with equal changes."""
    groups: list[tuple[Mapping[str, Any], list[FactorLevel]]] = []
    for level in levels:
        for changes, group in groups:
            if changes == level.changes:
                group.append(level)
                break
        else:
            groups.append((level.changes, [level]))
    return groups


def _spec(model: str, levels: Sequence[FactorLevel], keywords: Mapping[str, Any]) -> RunSpec:
    if keywords.get("until", "all") != "all" or keywords.get("precision") is not None:
        raise UsageError(
            "expected levels that are scored on the same windows, got `until` or `precision`, "
            "which stop at each level's own",
            hint="drop `until` and `precision`",
        )
    return api.make_spec(model, [level.recipe for level in levels], **keywords)


def _model_result(
    plan: Study,
    levels: Sequence[FactorLevel],
    runs: Sequence[tuple[Comparison, RunRecords, Sequence[FactorLevel]]],
    *,
    run: Path,
) -> ModelResult:
    results: dict[str, LevelResult] = {}
    measured: dict[str, MeasuredLevel] = {}
    for comparison, records, group in runs:
        variants = {variant.name: variant for variant in comparison.variants}
        for level in group:
            results[level.name] = _level_result(plan, level, variants[level.recipe])
            if results[level.name].error is None:
                measured[level.name] = MeasuredLevel(level, records)
    untold = {
        name for comparison, *_ in runs for v in comparison.variants for name in v.not_measurable
    }
    first = runs[0][0]
    reference, seed = first.reference, first.environment.seeds.bootstrap
    in_order = [measured[level.name] for level in levels if level.name in measured]

    def notes(own: tuple[str, ...], name: str) -> tuple[str, ...]:
        same = len({records.reference_records(name) for _, records, _ in runs}) == 1
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


def _level_result(plan: Study, level: FactorLevel, variant: VariantResult) -> LevelResult:
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
    )
