"""What the study of calibration texts concludes: the matrix, and own against other domains."""

from __future__ import annotations

from collections.abc import Mapping

from bitloss import wording
from bitloss.results import Estimate
from bitloss.studies.calibration.domains import NATURAL
from bitloss.studies.calibration.methods import OTHERS, by_method, words_for
from bitloss.studies.calibration.task_matrix import task_finding
from bitloss.studies.contrast import contrast, mean_contrast, shown, with_intervals
from bitloss.studies.finding_tables import text_of
from bitloss.studies.findings import (
    Chart,
    ChartCell,
    Finding,
    FindingColumn,
    FindingRow,
    FindingTable,
)
from bitloss.studies.measured import Measured
from bitloss.studies.result import LevelResult

__all__ = ["conclude"]


def conclude(measured: Measured) -> tuple[Finding, ...]:
    """The findings of one model; see `bitloss.studies.base.Study.conclude`."""
    found = [_divergence_finding(measured), task_finding(measured)]
    return tuple(one for one in found if one is not None)


def _divergence_finding(measured: Measured) -> Finding | None:
    methods = by_method(measured)
    if not methods or not measured.corpora:
        return None
    costs = {
        (method, what): cost
        for method, levels in methods.items()
        for what, cost in _costs(measured, levels).items()
    }
    is_shown = shown(costs)
    sentences = [
        _sentence(
            measured, methods[method], method, what, costs[method, what], is_shown[method, what]
        )
        for method, what in costs
        if costs[method, what] is not None
    ]
    if not sentences:
        sentences = [
            "Nothing to compare: no method was calibrated on two domains that are evaluated."
        ]
    return Finding(
        name="own domain against others",
        sentences=tuple(sentences),
        tables=(_cost_table(measured, costs, is_shown), *_matrices(measured, methods)),
        charts=tuple(
            _chart(measured, method, levels)
            for method, levels in methods.items()
            if len(levels) > 1
        ),
    )


def _costs(measured: Measured, levels: Mapping[str, LevelResult]) -> dict[str, Estimate | None]:
    """What it costs to calibrate on other text than the one that is evaluated, nats per token."""
    own = _own(measured, levels)
    found: dict[str, Estimate | None] = {}
    if len(own) > 1:
        found[OTHERS] = mean_contrast(
            measured,
            {
                corpus: {
                    levels[name].level: -1.0 if name == corpus else 1 / (len(own) - 1)
                    for name in own
                }
                for corpus in own
            },
        )
    for name, level in levels.items():
        if name in NATURAL or not own:
            continue
        found[words_for(name)] = mean_contrast(
            measured,
            {corpus: {levels[corpus].level: -1.0, level.level: 1.0} for corpus in own},
        )
    return found


def _own(measured: Measured, levels: Mapping[str, LevelResult]) -> list[str]:
    """Domains of people's that are calibrated on and evaluated, with intervals."""
    known = with_intervals(measured)
    return [name for name in levels if name in NATURAL and name in known]


def _left_out(measured: Measured) -> list[str]:
    known = with_intervals(measured)
    short = [name for name in measured.corpora if name in NATURAL and name not in known]
    if not short:
        return []
    return [f"left out, as too short for an interval: {wording.join_words(short)}"]


def _in_domain(measured: Measured, levels: Mapping[str, LevelResult]) -> float | None:
    """Mean divergence of levels on their own domain."""
    own = _own(measured, levels)
    values = [levels[name].corpora[name]["kl_divergence"].value for name in own]
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def _sentence(
    measured: Measured,
    levels: Mapping[str, LevelResult],
    method: str,
    what: str,
    cost: Estimate | None,
    is_shown: bool,
) -> str:
    assert cost is not None
    base = _in_domain(measured, levels)
    share = (
        f", {abs(cost.value) / base:.0%} of what it loses in its own domain"
        if (base and cost.value is not None)
        else ""
    )
    if not is_shown:
        return (
            f"{method}: calibrating on {what} is not shown to differ from calibrating on the same "
            f"domain ({text_of(cost, 'nats')} nats per token)."
        )
    if (cost.value or 0.0) > 0:
        return (
            f"{method}: calibrating on {what} costs {text_of(cost, 'nats')} nats per token{share}."
        )
    return (
        f"{method}: calibrating on {what} saves {text_of(cost.negated(), 'nats')} nats per "
        f"token{share}."
    )


def _cost_table(
    measured: Measured,
    costs: Mapping[tuple[str, str], Estimate | None],
    is_shown: Mapping[tuple[str, str], bool],
) -> FindingTable:
    whats = list(dict.fromkeys(what for _, what in costs))
    methods = list(dict.fromkeys(method for method, _ in costs))
    return FindingTable(
        title=f"{measured.result.name}: KLD beyond calibration on the same domain, nats per token",
        head="recipe",
        columns=tuple(FindingColumn(title=what, unit="nats") for what in whats),
        rows=tuple(
            FindingRow(name=method, cells=tuple(costs.get((method, what)) for what in whats))
            for method in methods
        ),
        notes=(
            "the mean over the domains that people write, each counting the same; paired on the "
            "same tokens",
            *_left_out(measured),
            f"shown, of {len(costs)} (Holm's method): "
            + (
                ", ".join(f"{method}, {what}" for (method, what), on in is_shown.items() if on)
                or "none"
            ),
        ),
    )


# The matrix -------------------------------------------------------------------------------------


def _matrices(
    measured: Measured, methods: Mapping[str, Mapping[str, LevelResult]]
) -> list[FindingTable]:
    return [
        FindingTable(
            title=f"{measured.result.name}, {method}: KLD by calibration text and evaluation text, "
            "nats per token",
            head="calibrated on",
            columns=tuple(FindingColumn(title=name, unit="nats") for name in measured.corpora),
            rows=tuple(
                FindingRow(
                    name=domain,
                    cells=tuple(
                        level.corpora.get(name, {}).get("kl_divergence")
                        for name in measured.corpora
                    ),
                )
                for domain, level in levels.items()
            ),
            notes=tuple(_best(measured, method, levels)),
        )
        for method, levels in methods.items()
    ]


def _best(measured: Measured, method: str, levels: Mapping[str, LevelResult]) -> list[str]:
    """Where another text than the domain's own is shown to be better."""
    changes = {
        (corpus, domain): contrast(measured, corpus, {levels[corpus].level: 1.0, level.level: -1.0})
        for corpus in measured.corpora
        if corpus in levels
        for domain, level in levels.items()
        if domain != corpus
    }
    better = [
        f"{domain} on {corpus}"
        for (corpus, domain), on in shown(changes).items()
        if on and ((changes[corpus, domain] or _NOTHING).value or 0.0) > 0
    ]
    if not better:
        return ["on no domain is another text shown to be better than the domain's own"]
    return [f"shown to be better than the domain's own text: {wording.join_words(better)}"]


_NOTHING = Estimate(value=None, low=None, high=None)


def _chart(measured: Measured, method: str, levels: Mapping[str, LevelResult]) -> Chart:
    return Chart(
        title=f"KL divergence by calibration and evaluation text, {method}",
        caption="Rows: calibrated on; columns: evaluated on. Compare within a column.",
        across="evaluated on",
        up="calibrated on",
        unit="nats",
        cells=tuple(
            ChartCell(row=domain, column=name, value=found)
            for domain, level in levels.items()
            for name in measured.corpora
            if (found := level.corpora.get(name, {}).get("kl_divergence")) is not None
        ),
    )
