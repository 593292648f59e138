"""What the study of calibration texts concludes of tasks: points lost by text and capability, and
own against other domains, item by item.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from bitloss import wording
from bitloss.analysis.score_losses import deciding_loss
from bitloss.results import Estimate
from bitloss.studies.calibration.domains import NATURAL
from bitloss.studies.calibration.methods import OTHERS, by_method, words_for
from bitloss.studies.calibration.tasks import domain_of
from bitloss.studies.contrast import shown
from bitloss.studies.finding_tables import text_of
from bitloss.studies.findings import (
    Chart,
    ChartCell,
    Finding,
    FindingColumn,
    FindingRow,
    FindingTable,
)
from bitloss.studies.item_contrast import capability_contrast, mean_of
from bitloss.studies.measured import Measured
from bitloss.studies.result import LevelResult

__all__ = ["task_finding"]

_Key = tuple[str, str, str]
"""Method, domain that is evaluated, text that is calibrated on."""

_ALL = "all"


def task_finding(measured: Measured) -> Finding | None:
    """What tasks say; None where none was evaluated, or nothing was calibrated."""
    methods = by_method(measured)
    names = _capabilities(measured)
    if not names or not methods:
        return None
    costs = {
        (method, domain, what): cost
        for method, levels in methods.items()
        for domain, what, cost in _costs(measured, levels, names)
    }
    is_shown = shown(costs)
    return Finding(
        name="tasks: own domain against others",
        sentences=_sentences(measured, names, costs, is_shown),
        tables=(
            *([_cost_table(measured, costs, is_shown)] if costs else []),
            *(_matrix(measured, method, levels, names) for method, levels in methods.items()),
        ),
        charts=tuple(
            _chart(measured, method, levels, names)
            for method, levels in methods.items()
            if len(levels) > 1
        ),
    )


def _capabilities(measured: Measured) -> dict[str, tuple[str, ...]]:
    """Capabilities that were evaluated, each with its tasks; those of a domain first."""
    found: dict[str, tuple[str, ...]] = {}
    for name, task in measured.result.tasks.items():
        found[task.capability] = (*found.get(task.capability, ()), name)
    return dict(sorted(found.items(), key=lambda one: domain_of(one[0]) is None))


def _unable(measured: Measured) -> set[str]:
    """Capabilities that the reference is not shown to have: nothing can be lost of them."""
    return {
        name
        for level in measured.levels
        for name in measured.variant(level.level).not_measurable or ()
    }


def _costs(
    measured: Measured, levels: Mapping[str, LevelResult], names: Mapping[str, Sequence[str]]
) -> list[tuple[str, str, Estimate | None]]:
    """By domain and calibration text, points lost more than calibrated on the domain's own text;
    last the means over domains.
    """
    unable = _unable(measured)
    home = {
        domain: name
        for name in names
        if name not in unable and (domain := domain_of(name)) is not None and domain in levels
    }
    people = [name for name in levels if name in NATURAL]
    others: dict[str, list[str]] = {OTHERS: people} if len(people) > 1 else {}
    others |= {words_for(name): [name] for name in levels if name not in NATURAL}
    found: list[tuple[str, str, Estimate | None]] = []
    for what, of in others.items():
        each = []
        for domain, capability in home.items():
            weights = {levels[domain].level: -1.0}
            rest = [name for name in of if name != domain]
            weights |= {levels[name].level: 1 / len(rest) for name in rest}
            each.append(capability_contrast(measured, capability, weights))
            found.append((domain, what, each[-1]))
        if len(home) > 1:
            found.append((_ALL, what, mean_of(each)))
    return found


def _sentences(
    measured: Measured,
    names: Mapping[str, Sequence[str]],
    costs: Mapping[_Key, Estimate | None],
    is_shown: Mapping[_Key, bool],
) -> tuple[str, ...]:
    sentences = []
    unable = [name for name in names if name in _unable(measured)]
    if unable:
        sentences.append(
            "The reference is not shown to do better than guessing, so nothing can be lost: "
            f"{wording.join_words(unable)}."
        )
    domains = {domain for _, domain, _ in costs}
    for (method, domain, what), cost in costs.items():
        if cost is None or (
            domain != _ALL and _ALL in domains and not is_shown[method, domain, what]
        ):
            continue
        where = "on the tasks of all domains" if domain == _ALL else f"on the tasks of {domain}"
        if not is_shown[method, domain, what]:
            sentences.append(
                f"{method}: {where}, calibrating on {what} is not shown to differ from the own "
                f"domain's ({text_of(cost, 'points')} points)."
            )
        elif (cost.value or 0.0) > 0:
            sentences.append(
                f"{method}: {where}, calibrating on {what} costs {text_of(cost, 'points')} points."
            )
        else:
            sentences.append(
                f"{method}: {where}, calibrating on {what} saves "
                f"{text_of(cost.negated(), 'points')} points."
            )
    return tuple(sentences) or (
        "Nothing to compare: no method was calibrated on two domains, one of which has a task.",
    )


def _cost_table(
    measured: Measured, costs: Mapping[_Key, Estimate | None], is_shown: Mapping[_Key, bool]
) -> FindingTable:
    whats = list(dict.fromkeys(what for _, _, what in costs))
    rows = list(dict.fromkeys((method, domain) for method, domain, _ in costs))
    listed = [
        f"{method} on {domain}, {what}" for (method, domain, what), on in is_shown.items() if on
    ]
    return FindingTable(
        title=f"{measured.result.name}: points of score lost more than calibrated on the own "
        "domain",
        head="recipe, tasks of",
        columns=tuple(FindingColumn(title=what, unit="points") for what in whats),
        rows=tuple(
            FindingRow(
                name=f"{method}, {domain}",
                cells=tuple(costs.get((method, domain, what)) for what in whats),
            )
            for method, domain in rows
        ),
        notes=(
            "of the score that decides (docs/verdicts.md); paired on the same items",
            f"all: the mean over domains, each counting the same; {OTHERS}: the mean over the "
            "other texts of people",
            f"shown, of {len(costs)} (Holm's method): " + ("; ".join(listed) or "none"),
        ),
    )


def _losses(measured: Measured, level: LevelResult) -> dict[str, Estimate]:
    results = measured.variant(level.level).capabilities or {}
    return {name: deciding_loss(one) for name, one in results.items()}


def _matrix(
    measured: Measured,
    method: str,
    levels: Mapping[str, LevelResult],
    names: Mapping[str, Sequence[str]],
) -> FindingTable:
    unable = _unable(measured)
    scored = {
        task: f"{task} ({domain_of(name) or 'no domain'}): reference "
        f"{wording.share(measured.result.tasks[task].score.value)}, "
        f"{wording.count(measured.result.tasks[task].n_scored)} items"
        for name, tasks in names.items()
        for task in tasks
    }
    return FindingTable(
        title=f"{measured.result.name}, {method}: points of score lost, by calibration text and "
        "capability",
        head="calibrated on",
        columns=tuple(FindingColumn(title=name, unit="points") for name in names),
        rows=tuple(
            FindingRow(
                name=domain,
                cells=tuple(
                    None if name in unable else _losses(measured, level).get(name) for name in names
                ),
            )
            for domain, level in levels.items()
        ),
        notes=(
            "of the score that decides; each interval on its own",
            *scored.values(),
            *(
                f"{name}: not measurable, the reference does no better than guessing"
                for name in names
                if name in unable
            ),
        ),
    )


def _chart(
    measured: Measured,
    method: str,
    levels: Mapping[str, LevelResult],
    names: Mapping[str, Sequence[str]],
) -> Chart:
    unable = _unable(measured)
    return Chart(
        title=f"Points of score lost by calibration text and capability, {method}",
        caption="Rows: calibrated on; columns: what tasks ask for. Compare within a column.",
        across="capability",
        up="calibrated on",
        unit="points",
        cells=tuple(
            ChartCell(row=domain, column=name, value=found)
            for domain, level in levels.items()
            for name, found in _losses(measured, level).items()
            if name not in unable
        ),
    )
