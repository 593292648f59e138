"""A study as plain tables: one per corpus and one for capabilities, levels first, then steps."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from bitloss import wording
from bitloss.results import Estimate
from bitloss.studies.columns import CAPABILITY_COLUMNS, CORPUS_COLUMNS, FACTS
from bitloss.studies.finding_tables import finding_tables
from bitloss.tables.text_table import Cell, TextTable

if TYPE_CHECKING:
    from rich.console import Console

    from bitloss.studies.findings import Finding
    from bitloss.studies.result import LevelResult, ModelResult, StudyResult

__all__ = ["model_tables", "plain", "render_study"]

_WIDTH = 100  # where the reader's is not known
_EACH_ON_ITS_OWN = "[...]: 95% intervals, each on its own"
_PAIRED = "paired: both levels on the same {things}"


def plain(result: StudyResult) -> str:
    """The tables as text, 100 columns wide."""
    from rich.console import Console

    text = io.StringIO()
    render_study(result, Console(file=text, width=_WIDTH, color_system=None))
    return "\n".join(line.rstrip() for line in text.getvalue().strip("\n").split("\n"))


def render_study(result: StudyResult, console: Console) -> None:
    """Print the tables of every model and what they come to, then the levels that failed.

    Args:
        result: the study's answer.
        console: where to; its width decides the layout.
    """
    from rich.text import Text

    from bitloss.reports.terminal import render_table

    for model in result.models:
        for table in model_tables(result, model):
            render_table(table, console)
        _render_findings(model.findings or (), model.name, console)
        for level in model.levels:
            if level.error is None:
                continue
            console.print()
            console.print(Text(f"{model.name}, {level.level}: failed", style="bold"))
            console.print(Text(f"error: {level.error.message}"))
            if level.error.hint:
                console.print(Text(f"hint: {level.error.hint}"))
    _render_findings(result.findings or (), "all models", console)


def _render_findings(findings: Sequence[Finding], whose: str, console: Console) -> None:
    from rich.text import Text

    from bitloss.reports.terminal import render_table

    for finding in findings:
        for table in finding_tables(finding):
            render_table(table, console)
        if finding.sentences:
            console.print()
            console.print(Text(f"{whose}, {finding.name}", style="bold"))
        for sentence in finding.sentences:
            console.print(Text(sentence))


def model_tables(result: StudyResult, model: ModelResult) -> tuple[TextTable, ...]:
    """The tables of one model."""
    tables: list[TextTable] = []
    for corpus in model.corpora:
        tables += _corpus_tables(result, model, corpus)
    capabilities = list(dict.fromkeys(task.capability for task in model.tasks.values()))
    for key in result.columns:
        if key in CAPABILITY_COLUMNS and capabilities:
            tables += _capability_tables(result, model, key, capabilities)
    return tuple(tables)


def _corpus_tables(result: StudyResult, model: ModelResult, corpus: str) -> list[TextTable]:
    measures = [key for key in result.columns if key in CORPUS_COLUMNS]
    levels = [level for level in model.levels if corpus in level.corpora]
    if not measures or not levels:
        return []
    rows: list[dict[str, Cell]] = [
        {"model": level.level, **_facts(level), **_show(level, corpus)} for level in levels
    ]
    columns = {"model": "level"}
    for key in result.columns:
        if key in CORPUS_COLUMNS:
            columns[key] = CORPUS_COLUMNS[key].title
        elif key in FACTS and any(row[key] != wording.MISSING for row in rows):
            columns[key] = FACTS[key]
            if key == "expected":
                columns["standing"] = "standing"
    about = model.corpora[corpus]
    title = (
        f"{model.name}, {result.study} on {corpus}: {about.protocol.name}, "
        f"{wording.count(about.n_scored)} tokens, "
        f"reference PPL {wording.perplexity(about.perplexity)}"
    )
    notes = [_EACH_ON_ITS_OWN, *about.notes]
    notes += [f"{level.level}: {note}" for level in levels for note in level.notes or ()]
    if "kl_divergence" in columns and any(corpus in (one.near_floor or ()) for one in levels):
        notes.append(wording.near_floor_note(exact=True))
    tables = [_table(title, columns, rows, notes)]
    steps: list[dict[str, Cell]] = [
        {"model": f"{step.before} -> {step.after}", **_show_step(step.corpora[corpus])}
        for step in model.steps
        if corpus in step.corpora
    ]
    if steps:
        titles = {key: CORPUS_COLUMNS[key].step_title for key in measures}
        tables.append(
            _table(
                f"{model.name}, {result.study} on {corpus}: steps between neighboring levels",
                {"model": "step", **titles},
                steps,
                [_PAIRED.format(things="tokens")],
            )
        )
    return tables


def _capability_tables(
    result: StudyResult, model: ModelResult, key: str, capabilities: Sequence[str]
) -> list[TextTable]:
    column = CAPABILITY_COLUMNS[key]
    head = f"{model.name}, {result.study}: {column.title}"

    def cells(figures: Mapping[str, Mapping[str, Estimate]]) -> dict[str, Cell]:
        return {
            name: column.show(one)
            for name in capabilities
            if (one := figures.get(name, {}).get(key)) is not None
        }

    rows: list[dict[str, Cell]] = [
        {"model": level.level, **_facts(level), **cells(level.capabilities)}
        for level in model.levels
        if level.capabilities
    ]
    facts = {name: FACTS[name] for name in result.columns if name in FACTS and name != "expected"}
    titles = {name: name for name in capabilities}
    steps: list[dict[str, Cell]] = [
        {"model": f"{step.before} -> {step.after}", **cells(step.capabilities)}
        for step in model.steps
        if step.capabilities
    ]
    scored = ", ".join(
        f"{name} {wording.count(task.n_scored)}" for name, task in model.tasks.items()
    )
    tables = []
    if rows:
        notes = [_EACH_ON_ITS_OWN, f"items: {scored}"]
        notes += [f"{name}: {note}" for name, task in model.tasks.items() for note in task.notes]
        tables.append(_table(head, {"model": "level", **facts, **titles}, rows, notes))
    if steps:
        tables.append(
            _table(
                f"{head}, further loss between neighboring levels",
                {"model": "step", **titles},
                steps,
                [_PAIRED.format(things="items")],
            )
        )
    return tables


def _table(
    title: str,
    columns: Mapping[str, str],
    rows: Sequence[Mapping[str, Cell]],
    notes: Sequence[str],
) -> TextTable:
    droppable = ("standing", "expected", "file_size", "bits_per_weight")
    return TextTable(
        title=title,
        columns=columns,
        rows=tuple(rows),
        notes=tuple(notes),
        left=("model", "standing"),
        wrapped=("standing",),
        dropped_first=tuple(key for key in droppable if key in columns),
    )


def _facts(level: LevelResult) -> dict[str, Cell]:
    expected = level.expected
    band = wording.MISSING
    if expected is not None:
        low = wording.bound(expected.low)
        band = f"from {low}" if expected.high is None else f"{low}-{wording.bound(expected.high)}"
    return {
        "bits_per_weight": wording.number(level.bits_per_weight, 2),
        "file_size": wording.size(level.file_bytes),
        "expected": band,
        "standing": (level.standing or wording.MISSING).removesuffix(" than expected"),
    }


def _show(level: LevelResult, corpus: str) -> dict[str, Cell]:
    cells = {key: CORPUS_COLUMNS[key].show(one) for key, one in level.corpora[corpus].items()}
    if "kl_divergence" in cells and corpus in (level.near_floor or ()):
        cells["kl_divergence"] = wording.near_floor(cells["kl_divergence"])
    return dict(cells)


def _show_step(figures: Mapping[str, Estimate]) -> dict[str, Cell]:
    return {key: CORPUS_COLUMNS[key].show_step(one) for key, one in figures.items()}
