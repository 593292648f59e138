"""What the study of bits concludes: the smallest acceptable level, the expected losses beside the
measured ones, the curve of loss against bits, and the common claims level by level.
"""

from __future__ import annotations

from bitloss import wording
from bitloss.analysis.families import expected_row
from bitloss.expectations import Expectations, load_expectations
from bitloss.results import Estimate, VariantResult
from bitloss.results.verdicts import Claim
from bitloss.studies.contrast import shown
from bitloss.studies.findings import (
    Chart,
    ChartPoint,
    Finding,
    FindingColumn,
    FindingRow,
    FindingTable,
)
from bitloss.studies.measured import Measured

__all__ = ["conclude", "curve"]

_DIVERGENCE = "kl_divergence"
_BROKEN = 10.0
"""A relative perplexity beside which no other could be told apart on a linear axis."""


def conclude(measured: Measured) -> tuple[Finding, ...]:
    """The findings of one model; see `bitloss.studies.base.Study.conclude`."""
    if not measured.levels:
        return ()
    found = [_needed(measured), _expected(measured)]
    if claims := _claims(measured):
        found.append(claims)
    return tuple(found)


# How many bits ----------------------------------------------------------------------------------


def _needed(measured: Measured) -> Finding:
    charts = [
        curve(measured, corpus, column)
        for corpus in measured.corpora
        for column in (_DIVERGENCE, "relative_perplexity")
    ]
    return Finding(
        name="bits needed",
        sentences=(_smallest(measured), *_growth(measured)),
        charts=tuple(chart for chart in charts if chart is not None),
    )


def _smallest(measured: Measured) -> str:
    """The smallest level that is shown to be acceptable, as the comparison recommends it."""
    risky = None
    for run in measured.runs:
        answer = run.comparison.answer
        if answer is None:
            continue
        risky = risky or answer.least_risky
        if answer.recommended is not None:
            level = next(one for one in run.levels if one.recipe == answer.recommended)
            variant = measured.variant(level.name)
            return (
                f"{level.name} is the smallest level shown to be acceptable: "
                f"{wording.number(variant.bits_per_weight, 2)} bits per weight"
                f"{_verdict_words(variant)}."
            )
    less = f"; the least risky is {risky}" if risky else ""
    return f"No level is shown to be acceptable{less}."


def _verdict_words(variant: VariantResult) -> str:
    verdict = variant.verdict
    if verdict is None or verdict.level is None:
        return ""
    return f", level `{verdict.level}`"


def _growth(measured: Measured) -> list[str]:
    """Where less bits cost more, over all steps of all methods, corrected for their number."""
    sentences = []
    for corpus in measured.corpora:
        steps = {
            (step.before, step.after): step.corpora[corpus][_DIVERGENCE]
            for step in measured.result.steps
            if corpus in step.corpora
        }
        if not steps:
            continue
        more = [key for key, is_shown in shown(steps).items() if is_shown and _above(steps[key])]
        less = [
            key for key, is_shown in shown(steps).items() if is_shown and not _above(steps[key])
        ]
        largest = max(steps, key=lambda key: steps[key].value or 0.0)
        text = (
            f"On {corpus}, divergence is shown to grow at {len(more)} of {len(steps)} steps to the "
            "next level of a method"
        )
        if less:
            text += f" and to fall at {len(less)}"
        step = wording.divergence_interval(steps[largest])
        sentences.append(
            f"{text}; the largest is {largest[0]} -> {largest[1]}, {step} nats per token."
        )
    return sentences


def _above(step: Estimate) -> bool:
    return (step.value or 0.0) > 0


def curve(measured: Measured, corpus: str, column: str) -> Chart | None:
    """Loss against bits per weight, a line per series; None without two levels."""
    levels = [
        level
        for level in measured.levels
        if column in level.corpora.get(corpus, {}) and level.bits_per_weight is not None
    ]
    if len(levels) < 2:
        return None
    points = tuple(
        ChartPoint(
            name=level.level,
            x=level.bits_per_weight,
            y=level.corpora[corpus][column],
            series=level.series,
        )
        for level in levels
        if level.bits_per_weight is not None
    )
    is_divergence = column == _DIVERGENCE
    largest = max((point.y.value or 0.0 for point in points), default=0.0)
    ends = sorted(points, key=lambda point: point.x)
    write = wording.divergence if is_divergence else (lambda value: wording.number(value, 3))
    caption = (
        f"From {write(ends[-1].y.value)} ({ends[-1].name}) to {write(ends[0].y.value)} "
        f"({ends[0].name}). Bars are 95% intervals."
    )
    what = "KL divergence" if is_divergence else "Relative perplexity"
    return Chart(
        title=f"{what} against bits per weight, {corpus}",
        caption=caption,
        across="bits per weight",
        up="nats per token" if is_divergence else "relative perplexity",
        unit="nats" if is_divergence else "ratio",
        points=points,
        log_y=is_divergence or largest > _BROKEN,
        around=None if is_divergence else 1.0,
    )


# Beside what is expected ------------------------------------------------------------------------


def _expected(measured: Measured) -> Finding:
    table = load_expectations(None)
    columns = [
        FindingColumn(title="bits", unit="count"),
        FindingColumn(title="expected", unit="text"),
        FindingColumn(title="usually", unit="text"),
        *(FindingColumn(title=f"PPL ratio, {name}", unit="ratio") for name in measured.corpora),
        FindingColumn(title="acceptable?", unit="text"),
    ]
    rows, better, worse = [], [], []
    for level in measured.levels:
        variant = measured.variant(level.level)
        rows.append(
            FindingRow(
                name=level.level,
                cells=(
                    *_format_cells(variant, table),
                    *(
                        level.corpora.get(name, {}).get("relative_perplexity")
                        for name in measured.corpora
                    ),
                    _acceptable(variant),
                ),
            )
        )
        if level.standing == "better":
            better.append(level.level)
        elif level.standing == "worse than expected":
            worse.append(level.level)
    sentences = []
    if worse:
        sentences.append(f"Worse than expected for the format: {wording.join_words(worse)}.")
    if better:
        sentences.append(f"Better than expected for the format: {wording.join_words(better)}.")
    if not sentences:
        sentences.append("No level is shown to be outside the expected range of its format.")
    return Finding(
        name="measured beside expected",
        sentences=tuple(sentences),
        tables=(
            FindingTable(
                title=f"{measured.result.name}: what formats usually lose, and what this model "
                "loses",
                columns=tuple(columns),
                rows=tuple(rows),
                notes=(
                    "expected: usual relative perplexity of the format; acceptable?: by the worst "
                    "of four axes (docs/verdicts.md); ? is not settled",
                ),
            ),
        ),
    )


def _format_cells(
    variant: VariantResult, table: Expectations
) -> tuple[float | None, str | None, str | None]:
    row = expected_row(variant, table)
    if row is None:
        return variant.bits, None, None
    high = None if row.high is None else wording.bound(row.high)
    return row.bits, wording.expected_range(wording.bound(row.low), high), row.level


def _acceptable(variant: VariantResult) -> str | None:
    verdict = variant.verdict
    if verdict is None or verdict.level is None:
        return None
    return f"{verdict.level}{'' if verdict.settled else '?'}"


# Capabilities -----------------------------------------------------------------------------------


def _claims(measured: Measured) -> Finding | None:
    """The three common claims at every level, and over all levels together."""
    by_level = {
        level.level: ranking.claims
        for level in measured.levels
        if (ranking := measured.variant(level.level).loss_ranking) is not None
    }
    texts = list(dict.fromkeys(claim.text for own in by_level.values() for claim in own))
    if not texts:
        return None
    rows = [
        FindingRow(
            name=level,
            cells=tuple(
                _outcome(next((claim for claim in own if claim.text == text), None))
                for text in texts
            ),
        )
        for level, own in by_level.items()
    ]
    return Finding(
        name="what suffers most",
        sentences=_together(measured),
        tables=(
            FindingTable(
                title=f"{measured.result.name}: common claims, level by level (points)",
                columns=tuple(
                    FindingColumn(title=_SHORT.get(text, text), unit="text") for text in texts
                ),
                rows=tuple(rows),
                notes=(
                    "points of the score that decides (docs/verdicts.md); corrected for the claims "
                    "of a level, not for the number of levels",
                    "only capabilities that the reference is shown to have are counted",
                ),
            ),
        ),
    )


_SHORT = {
    "instruction following loses more than text completion": "instructions lose more",
    "math suffers severely": "math severe",
    "logic holds up": "logic holds",
}


def _outcome(claim: Claim | None) -> str | None:
    if claim is None:
        return None
    if claim.measured is None:
        return claim.outcome
    return f"{claim.outcome} {wording.unsigned_points_interval(claim.measured)}"


def _together(measured: Measured) -> tuple[str, ...]:
    sentences = []
    for run in measured.runs:
        answer = run.comparison.answer
        ranking = None if answer is None else answer.loss_ranking
        if ranking is None:
            continue
        sentences += [
            f"Over all levels, `{claim.text}` is {claim.outcome}: {claim.reason}."
            for claim in ranking.claims
        ]
    return tuple(sentences) or ("No level differs from the reference on any task.",)
