"""The page put together from a study's document."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from markupsafe import Markup

from bitloss import wording as fmt
from bitloss.reports.draw import svg
from bitloss.reports.page.cells import (
    Cell,
    Column,
    Row,
    Table,
    figure,
    join,
    limited,
    row,
    table,
)
from bitloss.reports.page.method import environment_facts
from bitloss.reports.page.shell import render
from bitloss.results.values import Estimate
from bitloss.studies.finding_tables import write_cell
from bitloss.studies.findings import Chart, Finding, FindingCell, FindingTable, Unit
from bitloss.studies.page.charts import draw
from bitloss.studies.result import ModelResult, StudyResult
from bitloss.studies.tables import model_tables
from bitloss.tables.text_table import TextTable
from bitloss.wording import IntervalText

__all__ = ["compose"]

_WORDS: tuple[Unit, ...] = ("text",)
_UNITS = {"points": "points", "share": "share"}


def compose(result: StudyResult) -> str:
    """The page's text."""
    whole = _findings(result.findings or (), "findings")
    models = [_model(result, model, index) for index, model in enumerate(result.models)]
    every = [*whole, *(finding for model in models for finding in model["findings"])]
    version = result.models[0].environment.versions.get("bitloss", "") if result.models else ""
    return render(
        "study.html.j2",
        {
            "title": result.factor,
            "question": result.question,
            "summary": _summary(result),
            "notices": _notices(result),
            "lead": _lead(whole, models),
            "first": next((one["charts"][0] for one in every if one["charts"]), None),
            "whole": whole,
            "models": models,
            "several": len(models) > 1,
            "environment": environment_facts(result.models[0].environment) if result.models else {},
            "method": _method(result),
            "command": result.command,
            "version": version,
        },
        package="bitloss.studies.page",
    )


def _summary(result: StudyResult) -> str:
    names = fmt.join_words([model.name for model in result.models])
    levels = sum(len(model.levels) for model in result.models)
    return f"{names} · {levels} levels of {result.factor}"


def _lead(whole: Sequence[dict[str, Any]], models: Sequence[dict[str, Any]]) -> list[str]:
    """The answer: of all models where they are compared, else of each."""
    if whole and whole[0]["sentences"]:
        return list(whole[0]["sentences"])
    found = []
    for model in models:
        first = next((one for one in model["findings"] if one["answers"]), None)
        if first is None:
            continue
        ahead = f"{model['name']}: " if len(models) > 1 else ""
        found += [f"{ahead}{sentence}" for sentence in first["sentences"]]
    return found


def _notices(result: StudyResult) -> list[dict[str, str]]:
    return [
        {
            "title": f"{model.name}, {level.level} failed",
            "text": level.error.message,
            "hint": level.error.hint,
        }
        for model in result.models
        for level in model.levels
        if level.error is not None
    ]


def _model(result: StudyResult, model: ModelResult, index: int) -> dict[str, Any]:
    return {
        "name": model.name,
        "id": f"model-{index}",
        "findings": _findings(model.findings or (), join("models", index, "findings")),
        "tables": [_written(one) for one in model_tables(result, model)],
    }


# Findings ---------------------------------------------------------------------------------------


def _findings(findings: Sequence[Finding], path: str) -> list[dict[str, Any]]:
    return [
        {
            "name": finding.name,
            "answers": not finding.name.startswith("leaks"),
            "sentences": finding.sentences,
            "path": join(path, index),
            "tables": [
                _table(one, join(path, index, "tables", place))
                for place, one in enumerate(finding.tables)
            ],
            "charts": [drawn for one in finding.charts if (drawn := _drawn(one)) is not None],
        }
        for index, finding in enumerate(findings)
    ]


def _drawn(chart: Chart) -> dict[str, Any] | None:
    drawn = draw(chart)
    if drawn is None:
        return None
    return {
        "title": chart.title,
        "caption": chart.caption,
        "svg": Markup(svg(drawn, f"{chart.title}. {chart.caption}")),
    }


def _table(content: FindingTable, path: str) -> Table:
    columns = (
        Column(content.head, number=False),
        *(Column(one.title, number=one.unit not in _WORDS) for one in content.columns),
    )
    rows = [
        row(
            one.name,
            *(
                _cell(cell, column.unit, join(path, "rows", index, "cells", place))
                for place, (cell, column) in enumerate(zip(one.cells, content.columns, strict=True))
            ),
        )
        for index, one in enumerate(content.rows)
    ]
    notes = [*content.notes, *(f"{one.name}: {one.note}" for one in content.rows if one.note)]
    return Table(content.title, columns, tuple(rows), tuple(notes))


def _cell(cell: FindingCell, unit: Unit, path: str) -> str | Markup:
    written = write_cell(cell, unit)
    if isinstance(written, IntervalText):
        at = path if isinstance(cell, Estimate) else ""
        if not at:
            return figure(written.value, path, _UNITS.get(unit, ""))
        return limited(written, path, unit=_UNITS.get(unit, ""))
    if written == fmt.MISSING:
        return figure(written, path)
    return written


def _written(content: TextTable) -> Table:
    """A table whose cells are written already."""
    rows = tuple(
        Row(tuple(Cell(_shown(one.get(key, ""))) for key in content.columns))
        for one in content.rows
    )
    columns = tuple(
        Column(title, number=key not in content.left) for key, title in content.columns.items()
    )
    return Table(content.title, columns, rows, content.notes)


def _shown(cell: str | IntervalText) -> str | Markup:
    if not isinstance(cell, IntervalText):
        return cell
    if cell.limits is None:
        return cell.value
    return Markup('{} <span class="limits">[{}, {}]</span>').format(cell.value, *cell.limits)


def _method(result: StudyResult) -> Table:
    rows = [
        row(
            model.name,
            name,
            str(corpus.protocol),
            fmt.count(corpus.n_scored),
            fmt.count(corpus.n_windows),
        )
        for model in result.models
        for name, corpus in model.corpora.items()
    ]
    rows += [
        row(model.name, name, task.metric, fmt.count(task.n_scored), "items")
        for model in result.models
        for name, task in model.tasks.items()
    ]
    columns = {"model": False, "measured on": False, "how": False, "scored": True, "windows": True}
    return table("What was scored", columns, rows)
