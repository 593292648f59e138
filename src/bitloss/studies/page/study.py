"""The page of a study of levels, from its `StudyResult`."""

from __future__ import annotations

from collections.abc import Sequence

from bitloss import wording as fmt
from bitloss.reports.page.cells import Table, join, row, table
from bitloss.reports.page.method import environment_facts
from bitloss.studies.findings import Finding
from bitloss.studies.page.content import PageContent, Section, Sentence, Told, picture
from bitloss.studies.page.parts import finding_table, written_table
from bitloss.studies.result import ModelResult, StudyResult
from bitloss.studies.tables import model_tables

__all__ = ["content"]

_HOW = (
    "One factor is varied, everything else is held. All levels are scored on the same tokens and "
    "items as the unquantized model. Numbers in brackets are 95% confidence intervals; steps and "
    "contrasts are paired on the same tokens. What a sentence calls shown is corrected for the "
    "number of statements of its finding (Holm's method)."
)


def content(result: StudyResult) -> PageContent:
    """What the page shows."""
    several = len(result.models) > 1
    sections = [_section(result, index, several) for index in range(len(result.models))]
    if result.findings:
        whole = _told(result.findings, "findings")
        sections.insert(0, Section("all", "All models", "All models", whole))
    first = result.models[0].environment if result.models else None
    drawn = (one for section in sections for told in section.told for one in told.pictures)
    return PageContent(
        title=result.factor,
        question=result.question,
        summary=_summary(result),
        answer=tuple(_answer(result)),
        effect=next(drawn, None),
        sections=tuple(sections),
        how=_HOW,
        scored=_scored(result),
        environment={} if first is None else environment_facts(first),
        command=result.command,
        version="" if first is None else first.versions.get("bitloss", ""),
        document="study.json",
        failures=[
            (f"{model.name}, {level.level} failed", level.error.message, level.error.hint)
            for model in result.models
            for level in model.levels
            if level.error is not None
        ],
    )


def _summary(result: StudyResult) -> str:
    names = fmt.join_words([model.name for model in result.models])
    levels = sum(len(model.levels) for model in result.models)
    return f"{names} · {levels} levels of {result.factor}"


def _answer(result: StudyResult) -> list[str]:
    """The answer: of all models where they are compared, else of each."""
    if result.findings and result.findings[0].sentences:
        return list(result.findings[0].sentences)
    found = []
    for model in result.models:
        if not model.findings:
            continue
        first = model.findings[0]
        ahead = f"{model.name}: " if len(result.models) > 1 else ""
        found += [f"{ahead}{sentence}" for sentence in first.sentences]
    return found


def _section(result: StudyResult, index: int, several: bool) -> Section:
    model: ModelResult = result.models[index]
    return Section(
        id=f"model-{index}",
        link=model.name if several else "Findings",
        title=model.name if several else "What was found",
        told=_told(model.findings or (), join("models", index, "findings")),
        folded=tuple(written_table(one) for one in model_tables(result, model)),
        folded_title="Every level and step",
    )


def _told(findings: Sequence[Finding], path: str) -> tuple[Told, ...]:
    return tuple(
        Told(
            name=finding.name,
            sentences=tuple(
                Sentence(text, join(path, index, "sentences", place))
                for place, text in enumerate(finding.sentences)
            ),
            tables=tuple(
                finding_table(one, join(path, index, "tables", place))
                for place, one in enumerate(finding.tables)
            ),
            pictures=tuple(drawn for one in finding.charts if (drawn := picture(one)) is not None),
        )
        for index, finding in enumerate(findings)
    )


def _scored(result: StudyResult) -> Table:
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
