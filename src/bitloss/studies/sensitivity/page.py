"""The page of a study of parts, from its `SensitivityResult`."""

from __future__ import annotations

from bitloss import wording
from bitloss.reports.page.cells import Table, count, figure, join, limited, row, table
from bitloss.reports.page.method import environment_facts
from bitloss.studies.findings import Chart, ChartPoint, ChartRow
from bitloss.studies.page.content import PageContent, Section, Sentence, Told, picture
from bitloss.studies.sensitivity.result import DivisionResult, SensitivityResult, VariantParts
from bitloss.studies.sensitivity.tables import (
    division_notes,
    percent,
    sensitivity_sentences,
    shown_standing,
    work_done,
)

__all__ = ["content"]

_MOST_ROWS = 24
_LAYERS = "layers"
_HOW = (
    "One part of the variant at a time is put into the unquantized model (alone), and one part of "
    "the unquantized model into the variant (restored). The divergence of each hybrid is measured "
    "on the same windows. Numbers in brackets are 95% confidence intervals; where scoring stops as "
    "soon as a ranking is decided, they hold at every look. What is called worst or cheap is "
    "corrected for all such statements on the page (Bonferroni's method)."
)


def content(result: SensitivityResult) -> PageContent:
    """What the page shows."""
    measured = [
        (index, variant) for index, variant in enumerate(result.variants) if variant.error is None
    ]
    several = len(measured) > 1
    sections = tuple(_section(result, index, variant, several) for index, variant in measured)
    drawn = (one for section in sections for told in section.told for one in told.pictures)
    names = wording.join_words([variant.name for variant in result.variants])
    return PageContent(
        title="sensitivity",
        question=f"Which parts of {result.model} carry the loss?",
        summary=f"{names} · {result.corpus} · {work_done(result)}",
        answer=tuple(
            f"{variant.name}: {sentence}" if several else sentence
            for _, variant in measured
            for sentence in sensitivity_sentences(result, variant)
        ),
        effect=next(drawn, None),
        sections=sections,
        how=_HOW,
        scored=_scored(result),
        environment=environment_facts(result.environment),
        command=result.environment.command,
        version=result.environment.versions.get("bitloss", ""),
        document="sensitivity.json",
        failures=[
            (f"{variant.name} failed", variant.error.message, variant.error.hint)
            for variant in result.variants
            if variant.error is not None
        ],
    )


def _section(
    result: SensitivityResult, index: int, variant: VariantParts, several: bool
) -> Section:
    told = tuple(
        Told(
            name=f"by {_singular(division.division)}",
            sentences=(),
            tables=(
                _table(result, variant, division, join("variants", index, "divisions", place)),
            ),
            pictures=tuple(
                drawn
                for chart in _charts(variant, division)
                if (drawn := picture(chart)) is not None
            ),
        )
        for place, division in enumerate(variant.divisions)
    )
    if not told:
        told = (Told("nothing to divide", tuple(Sentence(note) for note in variant.notes)),)
    return Section(
        id=f"variant-{index}",
        link=variant.name if several else "Parts",
        title=variant.name if several else f"The parts of {variant.name}",
        told=told,
    )


def _singular(division: str) -> str:
    return "part" if division == "named" else division.removesuffix("s")


def _table(
    result: SensitivityResult, variant: VariantParts, division: DivisionResult, path: str
) -> Table:
    restored = any(part.recovered is not None for part in division.parts)
    rows = []
    for index, part in enumerate(division.parts):
        at = join(path, "parts", index)
        loss = limited(wording.divergence_interval(part.loss), join(at, "loss"))
        cells = [
            count(part.weights, join(at, "weights")),
            loss,
            limited(percent(part.share), join(at, "share"), unit="share"),
        ]
        if restored:
            cells.append(
                figure(wording.MISSING, at)
                if part.recovered is None
                else limited(percent(part.recovered), join(at, "recovered"), unit="share")
            )
        rows.append(
            row(
                part.part,
                *cells,
                shown_standing(part),
                count(part.n_windows, join(at, "n_windows")),
            )
        )
    columns = {_singular(division.division): False, "weights": True,
               "KLD alone (nats/token)": True, "share of the loss": True}  # fmt: skip
    if restored:
        columns["recovered if restored"] = True
    loss_of = wording.MISSING
    if variant.loss is not None:
        loss_of = str(wording.divergence_interval(variant.loss))
    return table(
        f"{variant.name} on {result.corpus}: KLD {loss_of} nats/token",
        {**columns, "standing": False, "windows": True},
        rows,
        notes=(*division_notes(result, division), *variant.notes),
    )


def _charts(variant: VariantParts, division: DivisionResult) -> list[Chart]:
    if not division.parts:
        return []
    if division.division == _LAYERS:
        return [_along_layers(variant, division)]
    parts = division.parts[:_MOST_ROWS]
    more = len(division.parts) - len(parts)
    first = f"The {len(parts)} that carry most. " if more else ""
    return [
        Chart(
            title=f"Share of the loss of {variant.name}, by {_singular(division.division)}",
            caption=f"{first}Each part alone in the unquantized model. Bars are 95% intervals.",
            across="percent of the variant's KLD",
            up="",
            unit="share",
            rows=tuple(ChartRow(name=part.part, value=part.share) for part in parts),
            around=0.0,
        )
    ]


def _along_layers(variant: VariantParts, division: DivisionResult) -> Chart:
    """From the first layer to the last; what lies outside of them is in the table."""
    numbered = sorted(
        (int(part.part.removeprefix("layer-")), part)
        for part in division.parts
        if part.part.startswith("layer-")
    )
    return Chart(
        title=f"KL divergence by layer, {variant.name}",
        caption="Each layer alone in the unquantized model. Bars are 95% intervals.",
        across="layer",
        up="nats per token",
        unit="nats",
        points=tuple(ChartPoint(name="", x=number, y=part.loss) for number, part in numbered),
        around=0.0,
    )


def _scored(result: SensitivityResult) -> Table:
    return table(
        "What was scored",
        {"model": False, "measured on": False, "how": False, "tokens": True, "windows": True},
        [
            row(
                result.model,
                result.corpus,
                str(result.protocol),
                count(result.n_tokens, "n_tokens"),
                count(result.n_windows, "n_windows"),
            )
        ],
    )
