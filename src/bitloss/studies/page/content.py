"""What a study's page shows, in the order in which it shows it: the same for all studies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from markupsafe import Markup

from bitloss.reports.page.cells import Table
from bitloss.studies.findings import Chart
from bitloss.studies.page.charts import draw

__all__ = ["PageContent", "Picture", "Section", "Sentence", "Told", "picture"]


@dataclass(frozen=True, slots=True)
class Picture:
    """A chart, drawn."""

    title: str
    caption: str
    svg: Markup


@dataclass(frozen=True, slots=True)
class Sentence:
    """A sentence, and its place in the document; empty if it is made of what stands there."""

    text: str
    path: str = ""


@dataclass(frozen=True, slots=True)
class Told:
    """A conclusion: its heading, what is said, and what stands behind it."""

    name: str
    sentences: tuple[Sentence, ...]
    tables: tuple[Table, ...] = ()
    pictures: tuple[Picture, ...] = ()


@dataclass(frozen=True, slots=True)
class Section:
    """All that is shown of a model or variant.

    Attributes:
        id: of the anchor.
        link: in the navigation.
        title: the heading.
        told: conclusions.
        folded: tables that are shown on demand.
        folded_title: the heading above them; without one they are left out.
    """

    id: str
    link: str
    title: str
    told: tuple[Told, ...]
    folded: tuple[Table, ...] = ()
    folded_title: str = ""


@dataclass(frozen=True, slots=True)
class PageContent:
    """A page.

    Attributes:
        title: in a word or two, for the window.
        question: that the study answers.
        summary: what was measured, in a line.
        answer: the answer; the first sentence is the most prominent.
        effect: the one chart that shows it.
        sections: everything behind it.
        how: how it was measured, in sentences.
        scored: what was scored.
        environment: what the results depend on besides models and data.
        command: the words of the command line; empty if Python called it.
        version: of bitloss.
        document: name of the file with all numbers.
        failures: what could not be measured: title, message, hint.
    """

    title: str
    question: str
    summary: str
    answer: tuple[str, ...]
    effect: Picture | None
    sections: tuple[Section, ...]
    how: str
    scored: Table
    environment: Mapping[str, str]
    command: str
    version: str
    document: str
    failures: Sequence[tuple[str, str, str]] = field(default=())


def picture(chart: Chart) -> Picture | None:
    """A chart, drawn; None where there is nothing to draw."""
    from bitloss.reports.draw import svg

    drawn = draw(chart)
    if drawn is None:
        return None
    label = f"{chart.title}. {chart.caption}"
    return Picture(chart.title, chart.caption, Markup(svg(drawn, label)))
