"""Which capability lost how much: a heat map, the ranking, common claims, and every task."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from bitloss import wording as fmt
from bitloss.analysis.families import change_shown
from bitloss.analysis.near_floor import answers_near_floor, is_near_floor
from bitloss.analysis.nothing_to_lose import both_score_nothing
from bitloss.analysis.score_losses import deciding_loss
from bitloss.reports.page.cells import (
    Cell,
    Row,
    Table,
    code,
    divergence,
    figure,
    join,
    lost,
    marked,
    points,
    row,
    share,
    shares,
    stacked,
    table,
)
from bitloss.results import Comparison, LossRanking, VariantResult
from bitloss.results.tasks import CapabilityResult, Flips, ReferenceTask, VariantTask
from bitloss.tables.tasks import (
    NOTHING,
    TASK_P_VALUES,
    ability_notes,
    conditions,
    second_metric,
    task_notes,
)
from bitloss.tasks.base import CAPABILITIES

__all__ = ["HEAT", "Legend", "claims", "heat_map", "legend", "ranking", "tasks"]

# Points lost where the next shade begins: the same in every report, so that two can be compared.
HEAT = (0.25, 1.0, 2.0, 5.0, 10.0, 20.0)


@dataclass(frozen=True, slots=True)
class Legend:
    """A shade, and what it stands for."""

    kind: str
    text: str


def legend() -> list[Legend]:
    """The shades of the heat map."""
    texts = [f"below {HEAT[0]:g} points lost", *(f"from {bound:g}" for bound in HEAT)]
    return [Legend(f"heat{index}", text) for index, text in enumerate(texts)]


def heat_map(comparison: Comparison) -> Table | None:
    """Variants by capabilities; None if no task was run."""
    answered = [v for v in comparison.variants if v.capabilities]
    asked = {name for variant in answered for name in variant.capabilities or {}}
    columns = [name for name in CAPABILITIES if name in asked]
    if not columns:
        return None
    names = comparison.short_names
    rows = [_reference(comparison, columns)]
    for index, variant in enumerate(comparison.variants):
        if not variant.capabilities:
            continue
        cells = [_heat(variant, name, join("variants", index)) for name in columns]
        rows.append(row(names[variant.name], *cells))
    return table(
        "Loss by capability",
        {"variant": False, **dict.fromkeys(columns, True)},
        rows,
        notes=(
            "Change of the score in percentage points, with its 95% interval; bold if it is "
            "significant (Holm's method, 5% for the whole table) or a loss beyond the margin.",
            "Below it, where it stands for the score: the change of the expected score, the "
            "probability of the right answer. It then decides, and colors the cell.",
            "A dot (●) marks a loss of score beyond the margin.",
            *ability_notes(comparison),
        ),
        kind="heat",
    )


def _reference(comparison: Comparison, columns: Sequence[str]) -> Row:
    """Scores of the reference: from the first variant that has a capability's."""
    cells = []
    for name in columns:
        index, result = next(
            (i, v.capabilities[name])
            for i, v in enumerate(comparison.variants)
            if v.capabilities and name in v.capabilities
        )
        path = join("variants", index, "capabilities", name, "reference_score")
        cells.append(Cell(share(result.reference_score, path), "plain"))
    return row("reference's score", *cells, kind="reference")


def _heat(variant: VariantResult, name: str, at: str) -> Cell:
    result = (variant.capabilities or {}).get(name)
    if result is None:
        return Cell(figure(fmt.MISSING, at), "plain")
    path = join(at, "capabilities", name)
    if name in variant.not_measurable:
        return Cell(Markup(NOTHING), "plain")
    change = points(result.difference, join(path, "difference"))
    if change_shown(variant, name) is not None:
        change = Markup("<b>{}</b>").format(change)
    verdict = variant.verdict.capabilities.get(name) if variant.verdict is not None else None
    if verdict is not None and verdict.outcome == "lost":
        change = Markup('<span class="over" title="beyond the margin">●</span> {}').format(change)
    if result.expected_difference is not None:
        expected = points(result.expected_difference, join(path, "expected_difference"))
        change = stacked(change, expected)
    return Cell(change, _shade(result))


def _shade(result: CapabilityResult) -> str:
    loss = deciding_loss(result).value
    return "plain" if loss is None else f"heat{bisect_right(HEAT, 100 * loss)}"


def ranking(comparison: Comparison) -> Table | None:
    """What suffers most, over all variants; None if there is no such ranking."""
    ranked, at = _together(comparison)
    if ranked is None or len(ranked.ranking) < 2:
        return None
    columns = {
        "capability": False, "points lost": True, "by": False,
        "more than text completion": True, "worst": True,
    }  # fmt: skip
    rows = [
        row(
            one.capability,
            lost(one.loss, join(at, "ranking", index, "loss")),
            one.decided_on,
            lost(one.excess, join(at, "ranking", index, "excess")),
            share(one.probability_worst, join(at, "ranking", index, "probability_worst")),
        )
        for index, one in enumerate(ranked.ranking)
    ]
    return table("Over all variants", columns, rows, kind="narrow")


def claims(comparison: Comparison) -> Table | None:
    """Common claims, put to the test; None if none could be."""
    ranked, at = _together(comparison)
    if ranked is None or not ranked.claims:
        return None
    columns = {"claim": False, "outcome": False, "points": True, "why": False}
    rows = [
        row(
            claim.text,
            Cell(claim.outcome, f"claim {claim.outcome}"),
            lost(claim.measured, join(at, "claims", index, "measured")),
            claim.reason,
        )
        for index, claim in enumerate(ranked.claims)
    ]
    return table("Common claims, put to the test", columns, rows, kind="words")


def _together(comparison: Comparison) -> tuple[LossRanking | None, str]:
    """The ranking over all variants, or the only one that there is."""
    answer = comparison.answer
    if answer is not None and answer.loss_ranking is not None:
        return answer.loss_ranking, "answer.loss_ranking"
    alone = [
        (i, v.loss_ranking) for i, v in enumerate(comparison.variants) if v.loss_ranking is not None
    ]
    if len(alone) != 1:
        return None, ""
    index, ranked = alone[0]
    return ranked, join("variants", index, "loss_ranking")


_TASKS = {
    "task": False, "model": False, "conditions": False, "items": True, "score": True,
    "also": True, "change, points": True, "flips -/+": True, "p": True,
    "answers changed": True, "gold KLD, nats/token": True,
}  # fmt: skip


def tasks(comparison: Comparison) -> Table | None:
    """Every task of every model; None if none was run."""
    references = comparison.reference.tasks
    if not references:
        return None
    names = comparison.short_names
    rows = []
    for name, task in references.items():
        at = join("reference", "tasks", name)
        items = figure(fmt.count(task.n_scored), join(at, "n_scored"))
        score = share(task.score.value, join(at, "score", "value"))
        own = (conditions(task), items, score, _second(task, at))
        rows.append(row(name, "reference", *own, "", "", "", "", "", kind="reference"))
        rows += [
            _task((variant.tasks or {})[name], names[variant.name], join("variants", index), name)
            for index, variant in enumerate(comparison.variants)
            if name in (variant.tasks or {})
        ]
    notes = (f"{TASK_P_VALUES}.", *task_notes(comparison))
    return table("Every task", _TASKS, rows, notes=notes, kind="tasks")


def _task(task: VariantTask, short: str, variant: str, name: str) -> Row:
    at = join(variant, "tasks", name)
    p = None if task.flips is None else task.flips.p_value
    return row(
        "",
        short,
        "",
        figure(fmt.count(task.n_scored), join(at, "n_scored")),
        share(task.score.value, join(at, "score", "value")),
        _second(task, at),
        NOTHING if both_score_nothing(task) else points(task.difference, join(at, "difference")),
        _flips(task.flips, join(at, "flips")),
        figure(fmt.p_value(p), join(at, "flips", "p_value")),
        marked(
            shares(task.answer_change, join(at, "answer_change")), near=answers_near_floor(task)
        ),
        divergence(task.kl_divergence, join(at, "kl_divergence"), near=is_near_floor(task)),
    )


def _second(task: ReferenceTask, at: str) -> Markup:
    name = second_metric(task)
    if name is None:
        return Markup("")
    value = share(task.scores[name].value, join(at, "scores", name, "value"))
    return Markup("{} {}").format(code(name), value)


def _flips(flips: Flips | None, at: str) -> Markup:
    if flips is None:
        return figure(fmt.MISSING, at)
    return Markup("{}/{}").format(
        figure(fmt.count(flips.right_to_wrong), join(at, "right_to_wrong")),
        figure(fmt.count(flips.wrong_to_right), join(at, "wrong_to_right")),
    )
