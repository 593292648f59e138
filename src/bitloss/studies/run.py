"""`study`: one factor varied over models, everything else held.

    OUT/<study>/study.json     the answer
    OUT/<study>/page.html      the same as a page
    OUT/runs/<model>/          one run directory per model, shared by all studies of OUT
    OUT/made/<model>/          texts that a study made for a model

Records are named by everything that decides them and made variants are kept in the cache, so a
level that two studies share is quantized and scored once.
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

from bitloss import api, registry
from bitloss.errors import DataError, UnknownName, UsageError
from bitloss.files import make_folder
from bitloss.results.document import refuse_newer_schema
from bitloss.spec.choices import CompareOptions, StrPath
from bitloss.spec.model import parse_model
from bitloss.spec.run import options_of
from bitloss.studies.base import FactorLevel, Prepared, Study, Subject
from bitloss.studies.measured import Measured, MeasuredRun
from bitloss.studies.model import model_result
from bitloss.studies.paired import RunRecords
from bitloss.studies.result import STUDY, StudyResult
from bitloss.types import Progress, SilentProgress

if TYPE_CHECKING:
    from bitloss.spec.run import RunSpec

__all__ = ["choose_levels", "find_study", "run_folders", "study"]


def study(
    name: StrPath,
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
        name: a study of levels (`bitloss list studies`), or a study file (`bitloss.studies.grid`).
        models: unquantized models: paths or hub names. Their last path components must differ.
        vary: levels of the factor; None is the study's own.
        out: where ``<study>/study.json`` and the run directories go. Rerun to resume.
        command: the words of the command line, recorded.
        progress: where to report; None is silent.
        options: see `bitloss.spec.choices.CompareOptions`; without `until` and `precision`.

    Returns:
        The levels with intervals, the paired steps between neighbors, and what they come to. A
        level that cannot be made or scored has its error there; the others go on.

    Raises:
        UnknownName: no such study, or no such level of its factor.
        UsageError: models or levels that are given twice, or values that cannot be.
        BitlossError: a model, a corpus or a task cannot be used.
    """
    plan = find_study(name)
    levels = choose_levels(plan, vary)
    root = Path(out)
    folders = run_folders(models, root / "runs")
    target = root / plan.name / "study.json"
    refuse_newer_schema(target, STUDY)
    reporter = progress or SilentProgress()
    chosen = {**plan.options, **_changed(options)}
    if len(folders) > 1:
        for model in folders:
            parse_model(model)  # before anything is made for the first one
    prepared = {
        model: _prepare(
            plan, Subject(model, levels, chosen, root / "made" / folder.name, reporter), model
        )
        for model, folder in folders.items()
    }
    if len(models) > 1:  # the last model's error is found before the first one's hours
        for model, (_, groups) in prepared.items():
            for spec, _ in groups:
                api.plan(
                    spec, folders[model], recipes_must_fit=False, force=True, progress=reporter
                )
    measured = []
    for model, folder in folders.items():
        ready, groups = prepared[model]
        runs = []
        for spec, group in groups:
            # A level may fit some of the models only. What is kept is the study's result.
            comparison = api.run(
                spec, folder, command=command, recipes_must_fit=False, force=True, progress=reporter
            )
            runs.append(MeasuredRun(spec, comparison, RunRecords(folder), tuple(group)))
        result = model_result(plan, ready, runs, run=folder.relative_to(root))
        timed = bool(chosen.get("speed"))
        found = Measured(result, tuple(runs), folder, timed, reporter)
        # What was found comes first: the first sentence is the answer.
        findings = (*plan.conclude(found), *ready.findings)
        result = result.model_copy(update={"findings": findings or None})
        measured.append(replace(found, result=result))
    return _written(plan, measured, target, shlex.join(command))


def _written(plan: Study, measured: Sequence[Measured], target: Path, command: str) -> StudyResult:
    result = StudyResult(
        study=plan.name,
        factor=plan.factor,
        question=plan.question,
        columns=plan.columns,
        models=tuple(one.result for one in measured),
        findings=plan.across(measured) or None,
        command=command,
    )
    make_folder(target.parent)
    result.write(target)
    return result


def find_study(name: StrPath) -> Study:
    """A study by its name, or the one that a file describes.

    Raises:
        UnknownName: neither.
        UsageError: the file has mistakes.
    """
    text = os.fspath(name)
    if Path(text).suffix in (".yaml", ".yml"):
        from bitloss.studies.grid import load_study_file

        return load_study_file(Path(text).expanduser())
    if text not in registry.STUDIES:
        raise UnknownName("study", text, [*registry.STUDIES, *registry.OWN_STUDIES])
    found: Study = registry.load("study", registry.STUDIES, text)
    return found


def _changed(options: Mapping[str, Any]) -> dict[str, Any]:
    """What the user chose: the command line gives every option, as a rule its default."""
    defaults = {one.keyword: one.default for one in options_of(deep=False)}
    return {
        name: value
        for name, value in options.items()
        if name not in defaults or value != defaults[name]
    }


def _prepare(
    plan: Study, subject: Subject, model: str
) -> tuple[Prepared, list[tuple[RunSpec, list[FactorLevel]]]]:
    _refuse_looks(subject.options)
    ready = plan.prepare(subject)
    if len(ready.failed) == len(ready.levels):
        first = next(iter(ready.failed.values()))
        raise DataError(f"{model}: no level can be run: {first.message}", hint=first.hint)
    groups = [
        (_spec(model, group, {**ready.options, **changes}), group)
        for changes, group in _group(ready.levels, ready.failed)
    ]
    return ready, groups


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
            hint=f"add levels: --vary {','.join(level.name for level in plan.levels[:2])}",
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
    levels: Sequence[FactorLevel], failed: Collection[str]
) -> list[tuple[Mapping[str, Any], list[FactorLevel]]]:
    """Levels that one run can measure side by side: those with equal changes."""
    groups: list[tuple[Mapping[str, Any], list[FactorLevel]]] = []
    for level in levels:
        if level.name in failed:
            continue
        for changes, group in groups:
            if changes == level.changes:
                group.append(level)
                break
        else:
            groups.append((level.changes, [level]))
    return groups


def _spec(model: str, levels: Sequence[FactorLevel], keywords: Mapping[str, Any]) -> RunSpec:
    _refuse_looks(keywords)
    recipes = list(dict.fromkeys(level.recipe for level in levels))
    return api.make_spec(model, recipes, **keywords)


def _refuse_looks(keywords: Mapping[str, Any]) -> None:
    if keywords.get("until", "all") != "all" or keywords.get("precision") is not None:
        raise UsageError(
            "expected levels that are scored on the same windows, got `until` or `precision`, "
            "which stop at each level's own",
            hint="drop `until` and `precision`",
        )
